# SPDX-License-Identifier: GPL-3.0-or-later
"""An artist's first head: photo, Generate, faults on the way, pose, animation, light, render. Played by drive.py."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
from mathutils import Euler, Vector

if TYPE_CHECKING:
    from tests.gui.common import GIVEN, HANDS, WORK, click_until, enter, ext, install, note, running, until
    from tests.gui.hands import Steps
else:
    from common import GIVEN, HANDS, WORK, click_until, enter, ext, install, note, running, until
    from hands import Steps


def sculpting(step: int) -> bool:
    """The running job has come to a step of its geometry, or beyond."""
    now = running()
    return now is not None and ((now.stage == "geometry" and now.step >= step) or now.stage == "texture")


def borrow() -> Steps:
    """Use an environment that is there already, instead of installing gigabytes."""
    enter("borrow a backend")
    state = ext.session.get()
    if GIVEN["backend"] == "fake":
        _fake_backend(state)
    else:
        source, target = Path(GIVEN["backend"]), ext.setup_backend.environment_folder(state.folder)
        (target / "bin").mkdir(parents=True)
        python = os.readlink(source / "bin" / "python3")
        (target / "bin" / "python").symlink_to(python if os.path.isabs(python) else source / "bin" / "python3")
        (target / "lib").symlink_to(source / "lib")
        shutil.copy(source / "pyvenv.cfg", target)
        names = ("requirements.txt", "requirements-base.txt", "constraints.txt")
        digests = {name: ext.setup_backend._digest(ext.setup_backend.BACKEND / name) for name in names}
        (target / "complete").write_text(json.dumps({"requirements": digests, "device": "cpu"}), encoding="utf-8")
        bpy.ops.idto3d.check_backend()
    yield 1.0
    note(setup_after=ext.session.get().status.state)


def _fake_backend(state: Any) -> None:
    job, setup_backend = ext.job, ext.setup_backend

    def launch(record: Any) -> Any:
        real = setup_backend.worker_launch(folder, record.id, record.request)
        command = (sys.executable, str(WORK / "tests" / "blender" / "fake_worker.py"), str(WORK / "bundle"))
        environment = {**ext.backend_process.child_environment(folder, WORK), "PYTHONPATH": str(WORK)}
        return job.Launch(command, environment, real.log, real.request, real.stages)

    folder = state.folder
    state = ext.session.start(folder, launch)
    state.status = setup_backend.Status("ready", "The backend is ready (CPU).", "cpu")


def drop(photo: Path) -> None:
    """What Blender does when a file is dropped on the viewport and our name is chosen from the menu of takers."""
    handler = bpy.types.IDTO3D_FH_photos
    with HANDS.override("WINDOW"):
        note(drop_accepted=bool(handler.poll_drop(bpy.context)), drop_endings=handler.bl_file_extensions)
        group, _, verb = handler.bl_import_operator.partition(".")
        take = getattr(getattr(bpy.ops, group), verb)
        take("INVOKE_DEFAULT", directory=f"{photo.parent}{os.sep}", files=[{"name": photo.name}])


def choose_photo() -> Steps:
    enter("photo")
    yield from HANDS.shot("02-empty")
    drop(WORK / GIVEN["photo"])
    given = ext.properties.settings()
    given.output = str(WORK / "heads")
    if GIVEN["backend"] == "fake":
        given.prompt = "hold"
    yield 1.0
    yield from HANDS.click_on("idto3d.generate_from_list")
    note(started_without_consent=ext.session.get().busy)
    yield from click_until(lambda: given.consent, "consent")
    note(consent=given.consent)
    # Three buttons in a row, Draft, Standard, Fine. Others are done before they can be killed, cancelled and undone.
    yield from click_until(lambda: given.quality == "draft", "quality", at=0.2)
    note(quality=given.quality)
    yield from click_until(lambda: given.quality == "fine", "quality", at=0.8)
    note(quality_then=given.quality)
    yield from HANDS.away()
    yield from HANDS.shot("03-photo")


def generate() -> Steps:
    enter("generate")
    began = time.monotonic()
    yield from click_until(lambda: ext.session.get().busy, "idto3d.generate_from_list")
    pressed = time.monotonic()
    note(seconds_to_find_button=round(pressed - began, 1))
    yield from HANDS.away()
    yield from HANDS.shot("04-starting")
    yield from until(lambda: running() and running().state == "running", 180, "the worker's hello")
    note(seconds_to_hello=round(time.monotonic() - pressed, 1))
    yield from until(lambda: running() is None or ext.live.find(running().id), 300, "the first preview")
    assert running() is not None, ext.session.get().ended
    note(seconds_to_first_preview=round(time.monotonic() - pressed, 1))
    yield 0.5
    yield from HANDS.shot("05-first-preview", preview=True)
    head = ext.live.find(running().id)
    space = HANDS.area().spaces.active
    note(in_sight=ext.view.shows(HANDS.area(), space, head), degrees_aside=degrees_aside(space.region_3d, head))
    clear_start_scene()
    if GIVEN["backend"] != "fake":
        yield from until(lambda: ext.import_head.is_head(ext.live.find(running().id)), 240, "the head of the photos")
        note(seconds_to_sketch=round(time.monotonic() - pressed, 1), fits=[fit.verdict for fit in running().fits])
        yield 1.0
        yield from HANDS.shot("05-sketch", preview=True)


def heads() -> list[Any]:
    return [obj for obj in bpy.context.scene.objects if ext.import_head.is_head(obj)]


def clear_start_scene() -> None:
    """What artists do to the scene that Blender starts with; till here it has been in the way."""
    for name in ("Cube", "Camera", "Light"):
        bpy.data.objects.remove(bpy.data.objects[name])


def degrees_aside(region_3d: Any, head: Any) -> float:
    """How far the view stands beside the face."""
    eye = region_3d.view_location + region_3d.view_rotation @ Vector((0.0, 0.0, region_3d.view_distance))
    away = eye - head.location
    return round(math.degrees(math.atan2(away.x, -away.y)), 1)


def kill_worker() -> Steps:
    """The backend dies while it works."""
    if GIVEN["backend"] != "fake":
        yield from until(lambda: sculpting(2), 300, "sculpting")
    enter("kill the worker")
    os.kill(ext.session.get().jobs.current._process.popen.pid, signal.SIGKILL)
    yield from until(lambda: ext.session.get().ended, 20, "an error")
    ended = ext.session.get().ended
    note(killed_state=ended.state, killed_code=ended.error.code, killed_resumable=ended.resumable)
    yield 1.0
    yield from HANDS.shot("06-error")
    yield from click_until(running, "idto3d.resume_job", at=0.25)
    yield from until(lambda: running() and running().state == "running", 180, "the resumed worker's hello")
    note(resumed_after_kill=True)


def cancel() -> Steps:
    if GIVEN["backend"] != "fake":
        yield from until(lambda: sculpting(4), 300, "more sculpting")
    enter("cancel")
    job = running()

    def over() -> Any:
        nonlocal job
        job = running() or job
        return ext.session.get().ended

    ended = yield from click_until(over, "idto3d.cancel_job", at=0.25)
    note(cancel_stage=job.stage, cancel_step=job.step)
    seconds = round(time.monotonic() - HANDS.pressed, 2)
    note(cancelled_state=ended.state, cancelled_resumable=ended.resumable, seconds_to_cancel=seconds)
    yield from HANDS.away()
    yield from HANDS.shot("07-cancelled")
    yield from click_until(running, "idto3d.resume_job", at=0.25)
    enter("resume")
    if GIVEN["backend"] == "fake":
        record = ext.session.get().jobs.record(ended.id)
        go = Path(record.request["out"]).with_suffix(".go")
        go.parent.mkdir(exist_ok=True)
        go.touch()
    else:
        work = ("geometry", "texture")
        yield from until(lambda: running() and running().stage in work, 400, "work after Resume")
        note(resume_stage=running().stage, resume_step=running().step)
    yield from HANDS.away()


def undo() -> Steps:
    """Undo while the head is made: its preview goes, and the next one brings it back."""
    if GIVEN["backend"] == "fake":
        return
    job = running().id
    yield from until(lambda: ext.live.find(job), 120, "a preview after Resume")
    assert running() is not None, "the head was done before it could be undone"
    with HANDS.override("WINDOW"):
        bpy.ops.ed.undo_push(message="Something of the artist's")
        bpy.ops.ed.undo()
    note(gone_after_undo=ext.live.find(job) is None)
    began = time.monotonic()
    yield from until(lambda: ext.live.find(job) or heads(), 60, "the head after the undo")
    # The unfinished head itself, and not the finished one that comes in any case.
    note(back_after_undo=running() is not None and running().id == job)
    note(seconds_after_undo=round(time.monotonic() - began, 1))
    # The undo brought all of the start scene back, and selected the cube again.
    clear_start_scene()
    head = ext.live.find(job) or heads()[0]
    head.select_set(True)
    bpy.context.view_layer.objects.active = head


def see_it_grow() -> Steps:
    """A screenshot at each of some previews, until the head is there."""
    seen: set[Any] = set()
    number = 0
    while running() is not None:
        now = running()
        mark = (now.stage, now.mesh)
        if now.mesh is not None and mark not in seen:
            seen.add(mark)
            # The preview is built within a few turns after its event.
            yield 0.6
            if number < 12 or now.stage == "texture":
                number += 1
                solid = HANDS.area().spaces.active.shading.color_type
                whole = ext.import_head.is_head(ext.live.find(now.id))
                yield from HANDS.shot(
                    f"08-growing-{number:02d}", preview=True, stage=now.stage, solid=solid, whole=whole
                )
        else:
            yield 0.1
    note(previews_seen=len(seen))
    enter("import")
    ended = ext.session.get().ended
    assert ended is not None and ended.error is None, ended
    for frame in range(6):
        yield from HANDS.shot(f"09-import-{frame}")
    yield from until(lambda: not ext.driver.alive(ended.id), 120, "the import")
    enter("done")
    yield 1.5
    yield from HANDS.shot("10-done")
    note(solid_shows=HANDS.area().spaces.active.shading.color_type)
    head = bpy.context.object
    keys = head.data.shape_keys.key_blocks
    images = [
        node.image.name
        for material in head.data.materials
        for node in material.node_tree.nodes
        if node.type == "TEX_IMAGE" and node.image is not None and node.image.packed_file
    ]
    note(
        job_state=ended.state,
        bundle_there=ended.bundle.is_dir(),
        head=head.name,
        is_head=ext.import_head.is_head(head),
        heads=len([obj for obj in bpy.data.objects if obj.type == "MESH"]),
        vertices=len(head.data.vertices),
        keys=[key.name for key in keys],
        key_values=[round(key.value, 3) for key in keys],
        images=images,
        warnings=[warning.code for warning in ended.warnings],
    )


def pose() -> Steps:
    enter("pose")
    head = bpy.context.object
    # Look it in the face, from a little aside.
    HANDS.area().spaces.active.region_3d.view_rotation = Euler((1.45, 0.0, 0.45)).to_quaternion()
    key = "mouth_stretch"
    # Its group is folded where the poses have pictures, and no script can tell where to unfold it.
    ext.properties.settings().key_search = "mouth stretch"
    yield 0.5
    x, y = yield from HANDS.find(f'key_blocks["{key}"].value', at=0.2)
    region = HANDS.region()
    yield from HANDS.drag(x, y, region.x + region.width * 0.9, y)
    yield from HANDS.away()
    note(slid=key, slid_to=round(head.data.shape_keys.key_blocks[key].value, 2))
    ext.properties.settings().key_search = ""
    yield 0.5
    yield from HANDS.shot("11-expression")
    yield from reset(head)
    note(after_reset=max(each.value for each in head.data.shape_keys.key_blocks[1:]))


def reset(head: Any) -> Steps:
    keys = head.data.shape_keys.key_blocks[1:]
    yield from click_until(lambda: not any(key.value for key in keys), "idto3d.reset_expressions", at=0.25)


def animate() -> Steps:
    enter("animate")
    scene, keys = bpy.context.scene, bpy.context.object.data.shape_keys
    yield from click_until(lambda: keys.animation_data and keys.animation_data.action, "idto3d.test_animation", at=0.25)
    moved = []
    for frame in range(scene.frame_start, scene.frame_end + 1, 6):
        scene.frame_set(frame)
        moved.append(max(key.value for key in keys.key_blocks[1:]))
    note(frames=[scene.frame_start, scene.frame_end], animated=round(max(moved), 2), at_rest=round(min(moved), 2))
    scene.frame_set(scene.frame_start + 36)
    yield from HANDS.away()
    yield from HANDS.shot("12-animation")


def light_and_render() -> Steps:
    enter("light")
    scene = bpy.context.scene
    yield from click_until(lambda: any(o.type == "LIGHT" for o in scene.objects), "idto3d.light_rig", at=0.25)
    yield from click_until(lambda: scene.camera, "idto3d.turntable", at=0.8)
    note(lights=len([o for o in scene.objects if o.type == "LIGHT"]), camera=scene.camera is not None)
    yield from HANDS.shot("13-lit")
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 24
    # Some builds of Cycles come without the denoiser.
    scene.cycles.use_denoising = False
    scene.render.resolution_x = scene.render.resolution_y = 384
    scene.render.filepath = str(WORK / "rendered.png")
    scene.frame_set(1)
    bpy.ops.render.render(write_still=True)
    note(rendered=(WORK / "rendered.png").is_file())


def look_around() -> Steps:
    """More pictures, for a person: material preview, the folded panels, the preferences."""
    if not GIVEN["look"]:
        return
    enter("look around")
    bpy.context.scene.frame_set(37)
    HANDS.area().spaces.active.overlay.show_overlays = False
    HANDS.area().spaces.active.shading.type = "MATERIAL"
    # Its shaders are compiled at the first time.
    yield 60.0
    yield from HANDS.shot("20-material")
    HANDS.area().spaces.active.shading.type = "SOLID"
    bpy.ops.screen.userpref_show()
    bpy.context.preferences.active_section = "ADDONS"
    bpy.context.window_manager.addon_search = "ID-to"
    yield 2.0
    yield from HANDS.shot("22-preferences")


PARTS = (
    install, borrow, choose_photo, generate, kill_worker, cancel, undo, see_it_grow, pose, animate, light_and_render,
)  # fmt: skip
