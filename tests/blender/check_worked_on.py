# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: what an artist does to a head that is still being made, or was stopped.

``python check_worked_on.py WORK`` as check_import.py; the worker is the fake one, see fake_worker.py: "sketch".
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from idto3d_blender.head import expressions, frame, naming
from idto3d_blender.head.import_head import JOB, is_head
from idto3d_blender.jobs import driver, generate, session
from idto3d_blender.jobs.records import Records
from idto3d_blender.studio import live, preview_mesh, worked_on
from tests.blender import blender_session, check_polls
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import key_places, refused, select

WORK = Path(sys.argv[-1])
BUNDLE = synthetic.write(WORK / "made", 40, 60, expressions.EXPRESSIONS)
with np.load(BUNDLE / "head.npz") as stored:
    PLACES, FACES = stored["vertices"], stored["faces"]


def sketched(state: session.Session, ticks: blender_session.Ticks, name: str) -> tuple[str, Any]:
    """A job whose head is whole and waits to be finished, and its object."""
    job = generate.ask(blender_session.request(WORK, name, "sketch"), frame=False)
    ticks.until(lambda: (now := state.running()) is not None and now.stage == "texture" and now.step == 3)
    ticks.until(lambda: np.abs(in_bundle(live.find(job)) - PLACES).max() < 1e-6)
    assert is_head(live.find(job))
    return job, live.find(job)


def in_bundle(obj: Any) -> np.ndarray:
    return key_places(obj).reshape(-1, 3) + np.array(obj.data[frame.ORIGIN], np.float32)


def finished(ticks: blender_session.Ticks, job: str, name: str) -> None:
    (WORK / "heads" / f"{name}.go").touch()
    ticks.until(lambda: not driver.alive(job))


def shown(steps: Iterator[Any]) -> bool:
    """What a generator of `live` returns."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return bool(stop.value)


def preview(job: str, obj: Any, scale: float) -> preview_mesh.Shape:
    topology = int(obj.data[preview_mesh._TOPOLOGY])
    return preview_mesh.Shape(job, topology, PLACES * np.float32(scale), FACES, None, np.zeros(3, np.float32))


def in_world(obj: Any) -> np.ndarray:
    return np.asarray(
        key_places(obj).reshape(-1, 3) @ np.array(obj.matrix_world)[:3, :3].T + np.array(obj.matrix_world)[:3, 3]
    )


def check_applied(state: session.Session, ticks: blender_session.Ticks) -> None:
    """Ctrl+A: previews and the finished head come to stand where it stood."""
    job, head = sketched(state, ticks, "applied")
    child = bpy.data.objects.new("hat", None)
    bpy.context.scene.collection.objects.link(child)
    child.parent = head
    way = Matrix.LocRotScale((1.0, 2.0, 0.5), Matrix.Rotation(1.5, 3, "Z").to_quaternion(), (100.0,) * 3)
    head.matrix_basis = way
    bpy.context.view_layer.update()
    before, hat = in_world(head), child.matrix_world.copy()
    select(head)
    assert bpy.ops.object.transform_apply(location=True, rotation=True, scale=True) == {"FINISHED"}
    assert np.abs(in_world(head) - before).max() < 1e-3 and np.array_equal(np.array(head.matrix_world), np.eye(4))
    assert shown(live.show(preview(job, head, 1.1), "applied"))
    bpy.context.view_layer.update()
    assert np.abs(np.array(head.matrix_world) - np.array(way)).max() < 1e-3, head.matrix_world
    assert np.abs(np.array(child.matrix_world) - np.array(hat)).max() < 1e-3, "what hangs on it jumped"
    # By less than what tells a head's own shape, and with nothing to tell the parts by.
    head.matrix_basis = head.matrix_basis @ Matrix.Translation((0.01, 0.0, 0.0))
    bpy.context.view_layer.update()
    assert bpy.ops.object.transform_apply(location=True, rotation=True, scale=True) == {"FINISHED"}
    finished(ticks, job, "applied")
    bpy.context.view_layer.update()
    head = bpy.data.objects[head.name]
    assert is_head(head) and JOB not in head and state.ended is not None and not state.ended.warnings, state.ended
    assert np.abs(in_world(head) - before - np.array(way.to_3x3() @ Matrix.Identity(3))[:, 0] * 0.01).max() < 2e-3
    assert worked_on._WRITTEN not in head.data.attributes and worked_on._LAYERS not in head.data
    bpy.data.objects.remove(child)


def check_edited(state: session.Session, ticks: blender_session.Ticks) -> None:
    """A shape key, a sculpted nose, a driver: previews wait, and all is in the file afterwards."""
    job, head = sketched(state, ticks, "edited")
    lamp = bpy.data.lights.new("lamp", "POINT")
    lamp_driver = lamp.driver_add("energy").driver
    target = lamp_driver.variables.new().targets[0]
    target.id_type, target.id = "KEY", head.data.shape_keys
    target.data_path = 'key_blocks["smile"].value'
    assert live._in_use(head.data.shape_keys), "a preview without keys would take the driver's"
    assert shown(live.show(preview(job, head, 1.0), "edited")), "a driver keeps no preview from moving it"
    head.shape_key_add(name="my scar", from_mix=False)
    basis = head.data.shape_keys.reference_key
    basis.points[0].co.x += 0.05
    nose = basis.points[0].co.copy()
    assert not shown(live.show(preview(job, head, 1.1), "edited"))
    assert basis.points[0].co == nose
    finished(ticks, job, "edited")
    assert is_head(head) and "my scar" not in head.data.shape_keys.key_blocks and JOB not in head
    kept = bpy.data.objects[f"{head.name} edited"]
    assert "my scar" in kept.data.shape_keys.key_blocks and kept.data.shape_keys.reference_key.points[0].co == nose
    assert kept.hide_get() and kept.hide_render and not is_head(kept) and JOB not in kept
    assert naming.collection_of(kept) == naming.collection_of(head)
    assert target.id == head.data.shape_keys, "the driver reads nothing any more"
    assert state.ended is not None
    (warning,) = state.ended.warnings
    assert warning.code == "W_HEAD_EDITED" and kept.name in warning.said
    naming.remove_objects([kept])


def check_painted(state: session.Session, ticks: blender_session.Ticks) -> None:
    """Paint on a picture, saved since or not, or on the mesh; entering and leaving a mode is none."""
    for way in ("nothing", "picture", "saved", "mesh"):
        job, head = sketched(state, ticks, f"painted {way}")
        image = next(one for one in naming.images(head) if one[naming.ROLE] == "skin_albedo")
        select(head)
        for mode in ("EDIT", "SCULPT", "TEXTURE_PAINT", "OBJECT"):
            assert bpy.ops.object.mode_set(mode=mode) == {"FINISHED"}
        if way == "mesh":
            head.data.color_attributes.new("freckles", "BYTE_COLOR", "CORNER")
        elif way != "nothing":
            image.pixels.foreach_set(np.full(4 * image.size[0] * image.size[1], 0.5, np.float32))
            image.update()
        if way == "saved":
            image.pack()
            assert not image.is_dirty
        assert shown(live.show(preview(job, head, 1.0), head.name)) == (way == "nothing"), way
        finished(ticks, job, f"painted {way}")
        kept = bpy.data.objects.get(f"{head.name} edited")
        assert (kept is None) == (way == "nothing"), way
        if kept is not None:
            theirs = next(one for one in naming.images(kept) if one.get(naming.ROLE) == "skin_albedo")
            assert abs(theirs.pixels[0] - 0.5) < 0.01 or way == "mesh"
            assert ("freckles" in kept.data.color_attributes) == (way == "mesh")
            naming.remove_objects([kept])
        naming.remove_objects([head])


def check_out_of_view(state: session.Session, ticks: blender_session.Ticks) -> None:
    """In a collection that the view layer leaves out nothing can be hidden, and need not be."""
    job, head = sketched(state, ticks, "aside")
    head.data.shape_keys.reference_key.points[0].co.x += 0.05
    away = bpy.data.collections.new("away")
    bpy.context.scene.collection.children.link(away)
    for collection in list(head.users_collection):
        collection.objects.unlink(head)
    away.objects.link(head)
    bpy.context.view_layer.layer_collection.children["away"].exclude = True
    finished(ticks, job, "aside")
    assert state.ended is not None and state.ended.error is None, state.ended
    assert is_head(head) and JOB not in head and bpy.data.objects[f"{head.name} edited"].hide_render
    bpy.data.collections.remove(away)


def check_copies(state: session.Session, ticks: blender_session.Ticks) -> None:
    """The head is finished where it was made, whatever it and its copies are called."""
    job, head = sketched(state, ticks, "copied")
    select(head)
    assert bpy.ops.object.duplicate() == {"FINISHED"}
    copy, head.name = bpy.context.object, "zed"
    assert live.find(job) == head
    finished(ticks, job, "copied")
    assert worked_on._WRITTEN not in head.data.attributes and worked_on._WRITTEN not in copy.data.attributes
    assert head["idto3d"]["folder"] == str(WORK / "heads" / "copied") and JOB not in copy
    naming.remove_objects([copy, head])


def check_stopped(state: session.Session, ticks: blender_session.Ticks) -> None:
    """After Cancel the head says what can be done, and nothing of it goes without being asked for."""
    for way in ("as it is", "forgotten", "selected"):
        job, head = sketched(state, ticks, way)
        assert bpy.ops.idto3d.cancel_job(job=job) == {"FINISHED"}
        ticks.until(lambda j=job: not state.running() and j in {record.id for record in state.resumable})  # type: ignore[misc]
        select(head)
        refused(bpy.ops.idto3d.add_rig, "use it as it is")
        assert "idto3d.use_sketch" in check_polls.draw_all_panels()
        if way == "selected":  # as in a Blender that was opened since
            state.ended = None
            assert bpy.ops.idto3d.use_sketch() == {"FINISHED"}
        elif way == "as it is":
            assert bpy.ops.idto3d.use_sketch(job=job) == {"FINISHED"}
        else:
            other = Records(state.folder)
            other.lock(job)  # as another Blender that has resumed it
            refused(lambda j=job: bpy.ops.idto3d.forget_job(job=j), "E_JOB_ELSEWHERE")  # type: ignore[misc]
            other.unlock()
            assert not (WORK / "heads" / f"{way} unfinished").exists(), "nobody asked for a copy"
            assert bpy.ops.idto3d.forget_job(job=job) == {"FINISHED"}
        assert JOB not in head and is_head(head) and head.name in bpy.context.scene.objects
        assert worked_on._WRITTEN not in head.data.attributes
        folder = Path(head["idto3d"]["folder"])
        assert folder == WORK / "heads" / f"{way} unfinished" and (folder / "head.npz").is_file()
        assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
        assert bpy.ops.idto3d.remove_rig() == {"FINISHED"}
        assert (job in {record.id for record in state.jobs.records.left_behind()}) == (way != "forgotten")
        refused(bpy.ops.idto3d.use_sketch, "no head to be used")


def check_appended(state: session.Session, ticks: blender_session.Ticks) -> None:
    """A sketch whose job nobody knows is a head like any other."""
    job, head = sketched(state, ticks, "appended")
    file = WORK / "file.blend"
    bpy.data.libraries.write(str(file), {head})
    assert bpy.ops.idto3d.cancel_job(job=job) == {"FINISHED"}
    ticks.until(lambda: state.running() is None)
    name = head.name
    naming.remove_objects([head])
    state.jobs.forget(job)
    assert bpy.ops.wm.append(filepath=str(file / "Object" / name), directory=str(file / "Object"), filename=name) == {
        "FINISHED"
    }
    assert is_head(bpy.data.objects[name]) and JOB not in bpy.data.objects[name]


def main() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    (WORK / "heads").mkdir()
    state = blender_session.start(WORK, BUNDLE)
    ticks = blender_session.Ticks()
    check_applied(state, ticks)
    check_edited(state, ticks)
    check_painted(state, ticks)
    check_out_of_view(state, ticks)
    check_copies(state, ticks)
    check_stopped(state, ticks)
    if bpy.app.version >= (4, 3):  # before, only opening the file tells
        check_appended(state, ticks)
    blender_session.leave(ticks=ticks.count)


main()
