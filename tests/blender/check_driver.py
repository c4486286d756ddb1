# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: jobs of a fake worker, from the click to the finished head, and all that a user may do
to the file meanwhile. ``python check_driver.py WORK`` as check_import.py. The printed line has the longest tick.
"""

import errno
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender import properties
from idto3d_blender.capture import properties as capture
from idto3d_blender.head import expressions
from idto3d_blender.head.import_head import JOB, is_head
from idto3d_blender.jobs import driver, generate, session
from idto3d_blender.jobs.records import Record, Records
from idto3d_blender.studio import live, preview_mesh
from tests.blender import blender_session, check_polls
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import refused

WORK = Path(sys.argv[-1])
LARGE = synthetic.write(WORK / "large", 150, 300, expressions.EXPRESSIONS)


def request(name: str, prompt: str = "") -> dict[str, Any]:
    return blender_session.request(WORK, name, prompt)


def points(obj: Any) -> np.ndarray:
    """(V,3) in the bundle's frame."""
    flat = np.empty(3 * len(obj.data.vertices), dtype=np.float32)
    obj.data.attributes["position"].data.foreach_get("vector", flat)
    return flat.reshape(-1, 3) + np.array(obj.original.data["idto3d_origin"], np.float32)


def leftovers() -> list[str]:
    """Data-blocks that an import or a preview should have taken with it."""
    blocks = [*bpy.data.meshes, *bpy.data.materials, *bpy.data.images, *bpy.data.objects]
    return [block.name for block in blocks if block.users == 0 or "idto3d_part" in block or JOB in block]


def check_whole_way(state: session.Session, ticks: blender_session.Ticks) -> str:
    """Click, see it change in the viewport, get the finished head in the same object."""
    blender_session.fill_panel(WORK, "hold")
    # The button's operator would wait for the end here, in background mode.
    assert bpy.ops.idto3d.generate_from_list.poll()
    job = generate.ask(generate.request_from_settings(), frame=True)
    ticks.until(lambda: live.find(job) is not None)
    obj = live.find(job)
    assert bpy.context.view_layer.objects.active == obj and obj.select_get()
    name, mesh_name = obj.name, obj.data.name
    obj.location.x += 0.5
    placed = tuple(obj.location)
    first = points(obj)
    ticks.until(lambda: not np.array_equal(points(live.find(job)), first))
    assert live.find(job).data.name == mesh_name, "the same topology made another mesh"
    assert live.find(job).data.polygons[0].use_smooth
    ticks.until(lambda: preview_mesh.COLOURS in live.find(job).data.color_attributes)
    truth = synthetic.ellipsoid(16, 30, quads=True)
    mesh = live.find(job).data
    assert len(mesh.vertices) == len(truth["vertices"])
    corners = [[corner for corner in face if corner >= 0] for face in truth["faces"].tolist()]
    assert [list(polygon.vertices) for polygon in mesh.polygons] == corners
    ticks.until(lambda: (now := state.running()) is not None and now.stage == "texture" and now.step == 3)
    out = Path(state.jobs.record(job).request["out"])  # type: ignore[union-attr]
    assert out.parent == WORK / "heads" and out.name == "photo-of-anna"
    out.with_suffix(".go").touch()
    ticks.until(lambda: not driver.alive(job))
    assert state.ended is not None and state.ended.state == "done", state.ended
    head = bpy.data.objects[name]
    assert is_head(head) and JOB not in head
    assert np.allclose(tuple(head.location), placed), "the finished head jumped"
    keys = head.data.shape_keys.key_blocks
    assert [key.name for key in keys] == ["Basis", *expressions.EXPRESSIONS] and not any(k.value for k in keys[1:])
    assert not leftovers(), leftovers()
    assert min(head.preview.image_size) > 0
    assert np.allclose(head.color[1:3], (0.305, 0.188), atol=0.01), "not the skin's tone"
    (fit,) = state.fits().values()
    assert (fit.photo, fit.verdict, fit.yaw) == ("photo of anna.png", "good", -23.4)
    shown = check_polls.drawn()
    assert shown.operators.count("idto3d.remove_photo") == 1
    assert {"Understood well", "Fits to 0.8 mm, 23° left, mouth open"} <= set(shown.texts), shown.texts
    return name


def undo(blocks: list[Any]) -> None:
    """What an undo does to what came after the last step. The real one is not there in background mode, the GUI tests
    have it."""
    bpy.data.batch_remove(blocks)
    for handler in bpy.app.handlers.undo_post:
        handler(bpy.context.scene, None)


def check_undo(state: session.Session, ticks: blender_session.Ticks) -> None:
    """Undo takes the preview away: it comes again, and the head is finished."""
    job = generate.ask(request("undone", "hold"), frame=False)
    ticks.until(lambda: live.find(job) is not None)
    undo([live.find(job), live.find(job).data])
    assert live.find(job) is None
    ticks.until(lambda: live.find(job) is not None)
    (WORK / "heads" / "undone.go").touch()
    # An undo in the middle of the import, here slowed down to a slice a tick: it starts again.
    budget, driver.BUDGET = driver.BUDGET, 0.0
    ticks.until(lambda: driver.importing(job))
    for kind in (bpy.data.meshes, bpy.data.images):
        ticks.until(lambda blocks=kind: any("idto3d_part" in block for block in blocks))  # type: ignore[misc]
        undo([block for block in kind if "idto3d_part" in block])
    driver.BUDGET = budget
    ticks.until(lambda: not driver.alive(job))
    heads = [obj for obj in bpy.data.objects if is_head(obj) and obj.name.startswith("undone")]
    ended = state.ended
    assert ended is not None and ended.state == "done" and len(heads) == 1 and not leftovers(), (ended, leftovers())


def check_sketch(state: session.Session, ticks: blender_session.Ticks) -> None:
    """A whole head within seconds, in place: previews move it, keys and all, and it is kept, or finished."""
    before = [len(blocks) for blocks in (bpy.data.meshes, bpy.data.materials, bpy.data.images)]
    for use in (True, False):
        job = generate.ask(request("used" if use else "unused", "sketch"), frame=False)
        ticks.until(lambda j=job: is_head(live.find(j)))  # type: ignore[misc]
        head = live.find(job)
        with np.load(LARGE / "head.npz") as stored:
            basis, smile = stored["vertices"] * np.float32(1.0), stored["vertices"] + stored["offsets"][0]
        ticks.until(lambda: (now := state.running()) is not None and now.stage == "texture" and now.step == 3)
        wanted = basis * np.float32(0.9 + 0.02 * 5)
        ticks.until(lambda j=job, w=wanted: np.allclose(points(live.find(j)), w, atol=1e-6))  # type: ignore[misc]
        assert live.find(job) == head and is_head(head) and preview_mesh.COLOURS not in head.data.color_attributes
        keys = head.data.shape_keys.key_blocks
        keys["smile"].value = 1.0
        bpy.context.view_layer.update()
        posed = points(head.evaluated_get(bpy.context.evaluated_depsgraph_get()))
        assert np.allclose(posed, smile + wanted - basis, atol=1e-6), "the keys stayed behind"
        keys["smile"].keyframe_insert("value", frame=bpy.context.scene.frame_current)
        keys["mouth_stretch"].driver_add("value").driver.expression = "0.25"
        if use:
            blender_session.select(head)
            assert bpy.ops.object.duplicate() == {"FINISHED"} and JOB in bpy.context.object
            copy = bpy.context.object
            blender_session.select(head)
            assert "idto3d.use_sketch" in check_polls.draw_all_panels()
            assert bpy.ops.idto3d.use_sketch(job=job) == {"FINISHED"}
            ticks.until(lambda: state.running() is None)
            assert JOB not in head and is_head(head) and live.find(job) is None
            assert JOB not in copy, "the copy waits for ever"
            bpy.data.meshes.remove(copy.data)
            bundle = Path(head["idto3d"]["folder"])
            assert bundle == WORK / "heads" / "used unfinished"
            state.jobs.forget(job)
            assert (bundle / "head.npz").is_file(), "the head's folder went with the job"
            assert not any(live._SKETCH in material for material in head.data.materials)
            assert state.ended is not None and state.ended.state == "cancelled"
        else:
            (WORK / "heads" / "unused.go").touch()
            ticks.until(lambda j=job: not driver.alive(j))  # type: ignore[misc]
            assert is_head(head) and np.allclose(points(head), basis, atol=1e-6)
            moved = head.data.shape_keys
            assert moved.key_blocks["smile"].value == 1.0, "the pose is lost"
            assert moved.animation_data.action is not None, "the animation is lost"
            (curve,) = moved.animation_data.drivers
            assert (curve.data_path, curve.driver.expression) == ('key_blocks["mouth_stretch"].value', "0.25")
            moved.key_blocks["smile"].value = 0.0
            bpy.context.scene.frame_set(bpy.context.scene.frame_current)
            assert moved.key_blocks["smile"].value == 1.0, "the action moves nothing"
        assert not leftovers(), leftovers()
    counts = [len(blocks) for blocks in (bpy.data.meshes, bpy.data.materials, bpy.data.images)]
    assert counts == [b + 2 * n for b, n in zip(before, (1, 4, 8), strict=True)], (before, counts)
    # One that is being saved already ends all the same, and does not come beside the one that is used.
    count = len([obj for obj in bpy.data.objects if is_head(obj)])
    job = generate.ask(request("saved", "saving"), frame=False)
    ticks.until(lambda: (now := state.running()) is not None and now.stage == "saving")
    assert bpy.ops.idto3d.use_sketch(job=job) == {"FINISHED"}
    ticks.until(lambda: state.running() is None and not driver.alive(job))
    assert state.ended is not None and state.ended.state == "done" and job in state.ready
    assert len([obj for obj in bpy.data.objects if is_head(obj)]) == count + 1
    state.ready.pop(job)
    # In another file there is no such object: the bundle is imported.
    job = generate.ask(request("elsewhere-used", "sketch"), frame=False)
    ticks.until(lambda: (now := state.running()) is not None and now.sketch is not None)
    state.here.discard(job)
    if live.find(job) is not None:
        live.remove(job)
    assert bpy.ops.idto3d.use_sketch(job=job) == {"FINISHED"}
    ticks.until(lambda: not driver.alive(job))
    assert is_head(bpy.data.objects["elsewhere-used"]) and not leftovers(), leftovers()


def check_deleted(state: session.Session, ticks: blender_session.Ticks) -> None:
    """The user deletes the preview: no more previews, but the finished head comes. What is selected meanwhile stays."""
    cube = bpy.data.objects.new("cube", None)
    bpy.context.scene.collection.objects.link(cube)
    job = generate.ask(request("deleted", "hold"), frame=False)
    ticks.until(lambda: live.find(job) is not None)
    bpy.data.batch_remove([live.find(job), live.find(job).data])
    cube.select_set(True)
    bpy.context.view_layer.objects.active = cube
    ticks.until(lambda: (now := state.running()) is not None and now.stage == "texture" and now.step == 3)
    ticks.until(lambda: driver.tick() is not None)
    assert live.find(job) is None
    (WORK / "heads" / "deleted.go").touch()
    ticks.until(lambda: not driver.alive(job))
    assert is_head(bpy.data.objects["deleted"])
    assert bpy.context.view_layer.objects.active == cube and not bpy.data.objects["deleted"].select_get()
    bpy.data.objects.remove(cube)


def check_scene_deleted(state: session.Session, ticks: blender_session.Ticks) -> None:
    scene = bpy.data.scenes.new("other")
    bpy.context.window.scene = scene
    job = generate.ask(request("scene", "hold"), frame=False)
    ticks.until(lambda: live.find(job) is not None)
    assert live.find(job).name in scene.objects
    bpy.data.scenes.remove(scene)
    (WORK / "heads" / "scene.go").touch()
    ticks.until(lambda: not driver.alive(job))
    assert any(is_head(obj) and obj.name.startswith("scene") for obj in bpy.context.scene.objects)


def check_edit_mode(state: session.Session, ticks: blender_session.Ticks) -> None:
    """A preview in edit mode is left alone; the finished head waits, also while another file fails to open."""
    job = generate.ask(request("edited", "hold"), frame=False)
    ticks.until(lambda: live.find(job) is not None)
    obj = live.find(job)
    bpy.context.view_layer.objects.active = obj
    bpy.ops.object.mode_set(mode="EDIT")
    (WORK / "heads" / "edited.go").touch()
    ticks.until(lambda: driver.importing(job))
    for _ in range(20):
        driver.tick()
    assert driver.importing(job) and not is_head(live.find(job))
    refused(lambda: bpy.ops.wm.open_mainfile(filepath=str(WORK / "nowhere.blend")), "nowhere.blend")
    bpy.ops.object.mode_set(mode="OBJECT")
    asked, driver.rendering = driver.rendering, lambda: True
    for _ in range(20):
        driver.tick()
    assert not asked() and driver.importing(job), "data-blocks are made while Blender renders"
    driver.rendering = asked
    ticks.until(lambda: not driver.alive(job))
    assert is_head(bpy.data.objects["edited"])


def check_other_file(state: session.Session, ticks: blender_session.Ticks) -> None:
    """Another file: the job goes on, the photos stay in the list, the head is offered and not put."""
    blender_session.fill_panel(WORK)
    job = generate.ask(request("elsewhere", "hold"), frame=False)
    ticks.until(lambda: live.find(job) is not None)
    capture.settings().gain, capture.settings().performer, capture.settings().flip = 2.0, "VIDEO", (True, False, True)
    begun = WORK / "begun.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(begun))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    kept = capture.settings()
    assert (kept.gain, kept.performer, tuple(kept.flip)) == (2.0, "VIDEO", (True, False, True))
    assert len(properties.settings().photos) == 1 and properties.settings().consent
    assert not bpy.data.objects
    for go_on in (False, True):
        bpy.ops.wm.open_mainfile(filepath=str(begun))
        assert bpy.data.objects["elsewhere"][JOB] == job, "it is still being made"
        bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
        if not go_on:
            (WORK / "heads" / "elsewhere.go").touch()
            ticks.until(lambda: job in state.ready)
    assert bpy.ops.idto3d.import_ready(job=job) == {"FINISHED"}
    ticks.until(lambda: not driver.alive(job))
    assert is_head(bpy.data.objects["elsewhere"]) and not state.ready
    # What the first file has of it waits for nothing any more.
    bpy.ops.wm.open_mainfile(filepath=str(begun))
    assert JOB not in bpy.data.objects["elsewhere"]
    bpy.data.objects["elsewhere"].name = "begun"
    driver.import_bundle(job, WORK / "heads" / "elsewhere")
    ticks.until(lambda: not driver.alive(job))
    # The same file read again goes on.
    file = WORK / "same.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    job = generate.ask(request("reverted", "hold"), frame=False)
    ticks.until(lambda: live.find(job) is not None)
    bpy.ops.wm.open_mainfile(filepath=str(file))
    (WORK / "heads" / "reverted.go").touch()
    ticks.until(lambda: not driver.alive(job))
    assert is_head(bpy.data.objects["reverted"]) and is_head(bpy.data.objects["elsewhere"])


def check_queue(state: session.Session, ticks: blender_session.Ticks) -> None:
    """Jobs wait for each other; cancel, resume, error with its remedy, forget."""
    first = generate.ask(request("first", "hold"), frame=False)
    second = generate.ask(request("second", "hold"), frame=False)
    third = generate.ask(request("third"), frame=False)
    assert [record.id for record in state.jobs.waiting] == [second, third]
    check_polls.draw_all_panels()
    assert bpy.ops.idto3d.cancel_job(job=second) == {"FINISHED"}
    assert [record.id for record in state.jobs.waiting] == [third]
    ticks.until(lambda: live.find(first) is not None)
    assert bpy.ops.idto3d.cancel_job(job=first) == {"FINISHED"}
    ticks.until(lambda: not driver.alive(third))
    assert is_head(bpy.data.objects["third"])
    names = {record.id for record in state.resumable}
    assert {first, second} <= names, state.resumable
    check_polls.draw_all_panels()
    (WORK / "heads" / "first.go").touch()
    preview = live.find(first).name
    assert bpy.ops.idto3d.resume_job(job=first) == {"FINISHED"}
    assert is_head(bpy.data.objects[preview]), "the resumed head is not where its preview was"
    assert bpy.ops.idto3d.forget_job(job=second) == {"FINISHED"}
    assert second not in {record.id for record in state.resumable}
    refused(
        lambda: bpy.ops.idto3d.generate(
            photos=str(blender_session.photo(WORK)), output=str(WORK / "heads" / "failed"), consent=True, prompt="fail"
        ),
        "E_NO_FACE",
    )
    assert "idto3d.other_photos" in check_polls.draw_all_panels()


def check_other_window(state: session.Session) -> None:
    """Another Blender begins a job while this one has its list already."""
    other, job = Records(state.folder), "20250101-000000-aaaaaa"
    other.lock(job)
    other.write(Record(job, request("shared"), time.time(), state="running"))
    assert generate.new_folder(WORK / "heads", "shared").name == "shared-2"
    assert generate.new_folder(WORK / "heads", "Shared").name == "Shared-2", "one and the same on Windows and macOS"
    refused(lambda: bpy.ops.idto3d.forget_job(job=job), "E_JOB_ELSEWHERE")
    refused(lambda: bpy.ops.idto3d.resume_job(job=job), "another Blender")
    refused(bpy.ops.idto3d.remove_backend, "E_JOB_ELSEWHERE")
    other.unlock()
    assert not state.jobs.records.others_at_work()
    assert bpy.ops.idto3d.forget_job(job=job) == {"FINISHED"}
    assert generate.new_folder(WORK / "heads", "shared").name == "shared"
    long = generate.new_folder(WORK / "heads", "\u82b1" * 200)
    long.mkdir(parents=True)
    assert len(long.name.encode()) <= 180 and generate.new_folder(WORK / "heads", "\u82b1" * 200).name.endswith("-2")


def check_script(state: session.Session) -> None:
    """The operator for scripts blocks in background mode."""
    output = WORK / "heads" / "scripted"
    photos = f"{blender_session.photo(WORK)};{blender_session.photo(WORK)}"
    arguments = {"photos": photos, "output": str(output), "quality": "draft", "expressions": "smile", "seed": 3}
    refused(lambda: bpy.ops.idto3d.generate(**arguments), "consent=True")
    written = state.jobs.records.write
    for error, code in ((PermissionError(errno.EACCES, "no"), "E_QUEUE"), (OSError(errno.ENOSPC, "x"), "E_DISK_FULL")):
        state.jobs.records.write = Mock(side_effect=error)  # type: ignore[method-assign]
        refused(lambda: bpy.ops.idto3d.generate(**arguments, consent=True), code)
    state.jobs.records.write = written  # type: ignore[method-assign]
    assert bpy.ops.idto3d.generate(**arguments, consent=True) == {"FINISHED"}
    assert is_head(bpy.data.objects["scripted"]) and (output / "head.json").is_file()


def main() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    (WORK / "heads").mkdir()
    state = blender_session.start(WORK, LARGE)
    ticks = blender_session.Ticks()
    check_whole_way(state, ticks)
    spot = tuple(round(x, 3) for x in bpy.context.scene.cursor.location)
    assert spot == (0, 0, 0)
    check_undo(state, ticks)
    check_sketch(state, ticks)
    check_deleted(state, ticks)
    check_scene_deleted(state, ticks)
    check_edit_mode(state, ticks)
    check_other_file(state, ticks)
    check_queue(state, ticks)
    check_other_window(state)
    check_script(state)
    # The goal is 0.05 on a quiet machine; here others may have the cores.
    assert ticks.longest < 0.25, f"a tick took {ticks.longest:.3f} s"
    # Unregistered while a job runs: it stays resumable, and is offered when the extension is there again.
    job = generate.ask(request("left", "hold"), frame=False)
    ticks.until(lambda: live.find(job) is not None)
    idto3d_blender.unregister()
    assert "IDTO3D_PT_generate" not in dir(bpy.types)
    state = blender_session.start(WORK, LARGE)
    assert job in {record.id for record in state.resumable}
    idto3d_blender.unregister()
    blender_session.leave(ticks=ticks.count, longest_tick_ms=round(1000 * ticks.longest, 1))


if __name__ == "__main__":
    main()
