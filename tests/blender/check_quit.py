# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy, twice: Blender ends while a head is made, and is started again.

``python check_quit.py begin WORK`` leaves a job running and ends; ``python check_quit.py again WORK`` resumes it.
"""

import sys
from pathlib import Path

import bpy

from idto3d_blender.head.import_head import is_head
from idto3d_blender.jobs import driver, generate, session
from idto3d_blender.studio import live
from tests.blender import blender_session
from tests.blender import synthetic_bundle as synthetic

MOMENT, WORK = sys.argv[-2], Path(sys.argv[-1])


def begin() -> None:
    (WORK / "heads").mkdir()
    synthetic.write(WORK / "bundle")
    state = blender_session.start(WORK, WORK / "bundle")
    blender_session.fill_panel(WORK, "hold")
    job = generate.ask(generate.request_from_settings(), frame=True)
    blender_session.Ticks().until(lambda: live.find(job) is not None)
    process = state.jobs.current._process if state.jobs.current else None
    assert process is not None and process.popen is not None
    # The preview is saved with the file, and has to be found again.
    bpy.ops.wm.save_as_mainfile(filepath=str(WORK / "scene.blend"))
    blender_session.leave(job=job, worker=process.popen.pid)


def again() -> None:
    bpy.ops.wm.open_mainfile(filepath=str(WORK / "scene.blend"))
    state = blender_session.start(WORK, WORK / "bundle")
    (record,) = session.get().resumable
    preview = live.find(record.id)
    assert preview is not None and not is_head(preview)
    name = preview.name
    Path(str(record.request["out"])).with_suffix(".go").touch()
    assert bpy.ops.idto3d.resume_job(job=record.id) == {"FINISHED"}
    assert not driver.alive(record.id) and not state.resumable
    assert is_head(bpy.data.objects[name]), "the head did not come in its preview's place"
    assert len([obj for obj in bpy.data.objects if obj.type == "MESH"]) == 1
    blender_session.leave()


bpy.ops.wm.read_factory_settings(use_empty=True)
begin() if MOMENT == "begin" else again()
