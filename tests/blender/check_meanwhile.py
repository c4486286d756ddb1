# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: what happens to a head that is being made, or was stopped, while something else goes
on. ``python check_meanwhile.py WORK`` as check_import.py; the worker is the fake one, see fake_worker.py: "sketch".
"""

import sys
from pathlib import Path
from typing import Any

import bpy

from idto3d_blender.head import expressions, material
from idto3d_blender.head.import_head import JOB, is_head
from idto3d_blender.jobs import driver, generate, session
from idto3d_blender.studio import live
from tests.blender import blender_session
from tests.blender import synthetic_bundle as synthetic

WORK = Path(sys.argv[-1])
BUNDLE = synthetic.write(WORK / "made", 40, 60, expressions.EXPRESSIONS)


def ask(name: str, prompt: str = "sketch") -> str:
    return generate.ask(blender_session.request(WORK, name, prompt), frame=False)


def go_on(state: session.Session, job: str) -> None:
    """As the button Resume does; that waits for the end here, in background mode."""
    state.jobs.resume(job)
    generate.belongs_here(job, frame=False)


def sketched(ticks: blender_session.Ticks, job: str) -> Any:
    """The job's object, once it is a whole head."""
    ticks.until(lambda: is_head(live.find(job)))
    return live.find(job)


def finished(ticks: blender_session.Ticks, job: str, name: str) -> None:
    (WORK / "heads" / f"{name}.go").touch()
    ticks.until(lambda: not driver.alive(job))


def check_resumed(state: session.Session, ticks: blender_session.Ticks) -> None:
    """A head that was used as it is, and is finished all the same, is a whole one again within seconds."""
    job = ask("resumed")
    head = sketched(ticks, job)
    assert bpy.ops.idto3d.use_sketch(job=job) == {"FINISHED"}
    ticks.until(lambda: state.running() is None)
    go_on(state, job)
    again = sketched(ticks, job)
    assert again != head and JOB not in head
    finished(ticks, job, "resumed")


def check_deleted_and_resumed(state: session.Session, ticks: blender_session.Ticks) -> None:
    """Who deletes a head, stops it, and resumes it, wants to see it again."""
    job = ask("deleted")
    head = sketched(ticks, job)
    bpy.data.batch_remove([head, head.data])
    bpy.data.orphans_purge(do_recursive=True)
    ticks.until(lambda: (now := state.running()) is not None and now.stage == "texture" and now.step == 3)
    assert bpy.ops.idto3d.cancel_job(job=job) == {"FINISHED"}
    ticks.until(lambda: state.running() is None)
    assert live.find(job) is None
    go_on(state, job)
    sketched(ticks, job)
    finished(ticks, job, "deleted")


def check_another_imported(state: session.Session, ticks: blender_session.Ticks) -> None:
    """A finished head is asked for while the next one's first is half-built: that one comes nevertheless."""
    other = ask("other", "")
    state.here.discard(other)
    ticks.until(lambda: other in state.ready)
    job, budget = ask("next"), driver.BUDGET
    driver.BUDGET = 0.0
    ticks.until(lambda: any("idto3d_part" in image for image in bpy.data.images))
    driver.BUDGET = budget
    driver.import_bundle(other, state.ready.pop(other))
    ticks.until(lambda: not driver.importing(other))
    sketched(ticks, job)
    finished(ticks, job, "next")


def check_edited_meanwhile(state: session.Session, ticks: blender_session.Ticks) -> None:
    """Somebody enters a mode while the finished head, or the first form of a resumed one, is half-built: it waits until
    they are back, and takes the object's place."""
    for first in (True, False):
        name = "first" if first else "last"
        job = ask(name)
        head, budget = sketched(ticks, job), driver.BUDGET
        driver.BUDGET = 0.0
        if first:
            assert bpy.ops.idto3d.cancel_job(job=job) == {"FINISHED"}
            ticks.until(lambda: state.running() is None)
            go_on(state, job)
        else:
            (WORK / "heads" / f"{name}.go").touch()
        before = head.data.session_uid
        ticks.until(lambda: any("idto3d_part" in image for image in bpy.data.images))
        blender_session.select(head)
        assert bpy.ops.object.mode_set(mode="SCULPT") == {"FINISHED"}
        driver.BUDGET = budget
        ticks.until(lambda: not any("idto3d_part" in image for image in bpy.data.images))
        for _ in range(20):
            driver.tick()
        assert driver.alive(job) and head.data.session_uid == before
        assert bpy.ops.object.mode_set(mode="OBJECT") == {"FINISHED"}
        if first:
            ticks.until(lambda h=head, b=before: h.data.session_uid != b)  # type: ignore[misc]
        finished(ticks, job, name)
        assert is_head(head) and JOB not in head and head["idto3d"]["folder"] == str(WORK / "heads" / name)
        assert [obj.name for obj in bpy.data.objects if obj.name.startswith(name)] == [name]
        blocks = (*bpy.data.meshes, *bpy.data.materials, *bpy.data.images, *bpy.data.objects)
        assert all(block.users for block in blocks), [block.name for block in blocks if not block.users]


def check_linked_copy(state: session.Session, ticks: blender_session.Ticks) -> None:
    """Alt+D: what is edited is the mesh of both, and all waits."""
    for mode in ("EDIT", "SCULPT"):
        job = ask(f"linked {mode}")
        head = sketched(ticks, job)
        copy = head.copy()
        bpy.context.scene.collection.objects.link(copy)
        blender_session.select(copy)
        assert bpy.ops.object.mode_set(mode=mode) == {"FINISHED"}
        ticks.until(lambda: (now := state.running()) is not None and now.stage == "texture" and now.step == 3)
        (WORK / "heads" / f"linked {mode}.go").touch()
        ticks.until(lambda j=job: driver.importing(j))  # type: ignore[misc]
        for _ in range(20):
            driver.tick()
        assert driver.importing(job) and live.busy(job) and head.data == copy.data
        assert bpy.ops.object.mode_set(mode="OBJECT") == {"FINISHED"}
        ticks.until(lambda j=job: not driver.alive(j))  # type: ignore[misc]
        assert state.ended is not None and state.ended.error is None, state.ended
        assert is_head(head) and JOB not in head and head.data != copy.data
        bpy.data.batch_remove([copy, head])


def check_override(state: session.Session, ticks: blender_session.Ticks) -> None:
    """An override of an unfinished head that lies in another file forgets what it is given when it is saved: the
    finished one comes beside it."""
    job = ask("override")
    sketched(ticks, job)
    file = WORK / "file.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    assert bpy.ops.idto3d.cancel_job(job=job) == {"FINISHED"}
    ticks.until(lambda: state.running() is None)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    assert bpy.ops.wm.link(directory=f"{file}/Collection/", filename="override") == {"FINISHED"}
    blender_session.select(bpy.context.scene.objects[0])
    assert bpy.ops.object.make_override_library() == {"FINISHED"}
    theirs = next(obj for obj in bpy.context.scene.objects if is_head(obj))
    assert theirs.override_library is not None and theirs.data.library is not None
    go_on(state, job)
    head = sketched(ticks, job)
    assert head != theirs and not head.library
    finished(ticks, job, "override")
    assert JOB not in theirs and JOB not in head
    shot, name = WORK / "shot.blend", head.name
    bpy.ops.wm.save_as_mainfile(filepath=str(shot))
    bpy.ops.wm.open_mainfile(filepath=str(shot))
    head = bpy.data.objects[name, None]
    assert Path(bpy.path.abspath(head["idto3d"]["folder"])).resolve() == (WORK / "heads" / "override").resolve()


def check_other_unit(state: session.Session, ticks: blender_session.Ticks) -> None:
    """Somebody looks at a scene in centimetres when the head is finished, which stands in one in metres."""
    scene, other = bpy.context.scene, bpy.data.scenes.new("centimetres")
    other.unit_settings.scale_length = 0.01
    job = ask("unit")
    head = sketched(ticks, job)
    bpy.context.window.scene = other
    finished(ticks, job, "unit")
    bpy.context.window.scene = scene
    skin = material.principled(head.data.materials[0].node_tree)
    assert JOB not in head and head.users_scene == (scene,) and head.scale.z == 1.0
    assert abs(skin.inputs["Subsurface Scale"].default_value - 0.004) < 1e-6, "light goes through the whole head"
    bpy.data.scenes.remove(other)


def check_linked_scene(state: session.Session, ticks: blender_session.Ticks) -> None:
    """Somebody looks at another file's scene, which takes nothing new: the head comes into one of this file's."""
    file = WORK / "theirs.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    own = bpy.context.scene
    with bpy.data.libraries.load(str(file), link=True) as (given, wanted):
        wanted.scenes = given.scenes[:1]
    bpy.context.window.scene = wanted.scenes[0]
    assert bpy.context.scene.library is not None
    job = ask("seen")
    sketched(ticks, job)
    finished(ticks, job, "seen")
    assert state.ended is not None and state.ended.error is None, state.ended
    (head,) = (obj for obj in bpy.data.objects if is_head(obj) and not obj.library)
    assert head.users_scene == (own,) and JOB not in head
    assert own.view_layers[0].objects.active == head
    bpy.context.window.scene = own


def main() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    (WORK / "heads").mkdir()
    state = blender_session.start(WORK, BUNDLE)
    ticks = blender_session.Ticks()
    check_resumed(state, ticks)
    check_deleted_and_resumed(state, ticks)
    check_another_imported(state, ticks)
    check_edited_meanwhile(state, ticks)
    check_linked_copy(state, ticks)
    check_other_unit(state, ticks)
    check_override(state, ticks)
    check_linked_scene(state, ticks)
    blender_session.leave(ticks=ticks.count)


main()
