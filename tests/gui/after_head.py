# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist does with a finished head: look for a key, take a pose, pin it to its photo, rig it, act with a take,
render, export. Played by drive.py after first_head.py."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np
from mathutils import Vector

if TYPE_CHECKING:
    from tests.gui.common import GIVEN, HANDS, WORK, choose_file, click_until, enter, ext, note, until
    from tests.gui.first_head import heads, reset
    from tests.gui.hands import Steps
else:
    from common import GIVEN, HANDS, WORK, choose_file, click_until, enter, ext, note, until
    from first_head import heads, reset
    from hands import Steps

_SECONDS = 2.0  # of the take
_RATE = 60.0


def the_head() -> Any:
    return heads()[0]


def select(obj: Any) -> None:
    for other in bpy.context.selected_objects:
        other.select_set(False)
    obj.select_set(True)
    bpy.context.view_layer.objects.active = obj


def to_the_end() -> Steps:
    """Turn the wheel to the sidebar's last box: with all boxes open, the way there is long."""
    yield from HANDS.scroll(*_sidebar_middle(), 80)


def key_value(name: str) -> float:
    keys = the_head().data.shape_keys
    return float(keys.evaluated_get(bpy.context.evaluated_depsgraph_get()).key_blocks[name].value)


def boxes() -> Steps:
    """Every box once, for a person to look at."""
    enter("boxes")
    select(the_head())
    with HANDS.override("WINDOW"):
        for take_away in (bpy.ops.idto3d.clear_animation, bpy.ops.idto3d.remove_turntable):
            if take_away.poll():
                take_away()
    x, y = _sidebar_middle()
    yield from HANDS.scroll(x, y, -80)
    for number in range(6 if GIVEN["look"] else 0):
        yield from HANDS.away()
        yield from HANDS.shot(f"40-boxes-{number}")
        yield from HANDS.scroll(x, y, 9)


def search() -> Steps:
    """Look for a key by a part of its name, move it, and take the words out again."""
    enter("search")
    if "jawOpen" not in the_head().data.shape_keys.key_blocks:
        note(searched=None)  # the head of the worker that computes nothing has the paper's keys only
        return
    yield from HANDS.click_on("key_search")
    yield from HANDS.write("jaw open")
    note(search_words=ext.properties.settings().key_search)
    x, y = yield from HANDS.find('key_blocks["jawOpen"].value', at=0.2)
    region = HANDS.region()
    yield from HANDS.drag(x, y, region.x + region.width * 0.9, y)
    yield from HANDS.away()
    note(searched=key_value("jawOpen"))
    yield from HANDS.shot("41-search")
    ext.properties.settings().key_search = ""
    yield from reset(the_head())


def take_pose() -> Steps:
    """Click on one of the poses that are shown as pictures."""
    enter("take a pose")
    pictured = ext.poses.pictured(the_head())
    note(pictured=len(pictured))
    if not pictured:
        return
    keys = the_head().data.shape_keys.key_blocks[1:]
    yield from click_until(lambda: any(key.value for key in keys), "idto3d.pose(", at=0.2)
    values = {key.name: key.value for key in keys if key.value}
    note(posed=values)
    yield from HANDS.away()
    yield from HANDS.shot("42-pose")
    yield from reset(the_head())


def match() -> Steps:
    """Lay the head over its photo, and drag the skin in the middle of the face by a few pixels."""
    if GIVEN["backend"] == "fake":
        return
    enter("match")
    select(the_head())
    matched = ext.of("match", "session")
    yield from click_until(matched.get, "idto3d.match(")
    began = time.monotonic()
    yield from until(lambda: matched.get().skin is not None, 90, "the matched head")
    note(seconds_to_match=round(time.monotonic() - began, 1))
    yield 1.0
    yield from HANDS.away()
    yield from HANDS.shot("43-match")
    window, space = HANDS.region("WINDOW"), HANDS.area().spaces.active
    frame = ext.overlay.Frame(window, space, bpy.context.scene)
    photo = matched.get().fit.photos[0]
    middle = frame.to_region(photo.landmarks.mean(0)[None])[0]
    x, y = window.x + float(middle[0]), window.y + float(middle[1])
    began = time.monotonic()
    yield from HANDS.drag(x, y, x + 14, y - 8)
    pins = the_head().idto3d_match.pins
    yield from until(lambda: len(pins) == 1, 20, "a pin")
    note(seconds_to_pin=round(time.monotonic() - began, 1), pins=len(pins))
    yield 0.5
    yield from HANDS.shot("44-pinned")
    yield from click_until(lambda: not len(pins), "idto3d.pins_clear", at=0.25)
    note(pins_after_clear=len(pins))
    yield from click_until(lambda: matched.get() is None, "idto3d.match_leave")
    note(match_left=True)
    # The box shrinks: all below it moves.
    yield 2.0


def rig() -> Steps:
    """Add the rig, and turn the jaw's bone."""
    enter("rig")
    select(the_head())
    yield from click_until(lambda: ext.rig.rig_of(the_head()), "idto3d.add_rig")
    yield 0.5
    made = ext.rig.rig_of(the_head())
    note(rig_bones=[bone.name for bone in made.data.bones])
    yield from HANDS.shot("45-rig")
    bone = made.pose.bones["jaw"]
    bone.rotation_mode = "XYZ"
    before = _chin()
    bone.rotation_euler.x = 0.2
    bpy.context.view_layer.update()
    opened = float(np.abs(_chin() - before).max())
    yield 0.5
    yield from HANDS.away()
    yield from HANDS.shot("46-jaw")
    bone.rotation_euler.x = 0.0
    note(jaw_moves_mm=round(1000 * opened, 1))


def _chin() -> Any:
    """Evaluated vertices (V,3) in metres."""
    mesh = the_head().evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    points = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", points)
    return points.reshape(-1, 3)


def capture() -> Steps:
    """A take as Live Link Face saves it, opened and baked."""
    if GIVEN["backend"] == "fake":
        return  # that head has none of the keys that a take moves
    enter("capture")
    select(the_head())
    _write_take()
    yield from to_the_end()
    yield from choose_file("idto3d.capture_open", WORK / "take.csv")
    takes = ext.takes
    yield from until(lambda: takes.state.take is not None, 20, "the take")
    yield 0.5
    yield from HANDS.away()
    yield from to_the_end()
    yield from HANDS.shot("47-take")
    actions = len(bpy.data.actions)
    yield from click_until(lambda: len(bpy.data.actions) > actions, "idto3d.capture_bake")
    scene = bpy.context.scene
    scene.frame_set((scene.frame_start + scene.frame_end) // 2)
    note(take_frames=[scene.frame_start, scene.frame_end], take_jaw=round(key_value("jawOpen"), 2))
    note(fps=scene.render.fps)
    yield from HANDS.away()
    yield from HANDS.shot("48-baked")


def film() -> Steps:
    """The baked take, filmed from the front, is read again as a video of the same person."""
    if GIVEN["backend"] == "fake":
        return
    enter("film")
    scene, head = bpy.context.scene, the_head()
    camera = bpy.data.objects.new("film", bpy.data.cameras.new("film"))
    scene.collection.objects.link(camera)
    camera.location = head.matrix_world.translation + Vector((0.0, -0.9, 0.13))
    camera.rotation_euler = (np.pi / 2, 0.0, 0.0)
    camera.data.lens = 70.0
    before, scene.camera = scene.camera, camera
    render = scene.render
    render.resolution_x = render.resolution_y = 384
    render.filepath = str(WORK / "film.mp4")
    if bpy.app.version >= (5, 0, 0):
        render.image_settings.media_type = "VIDEO"
    render.image_settings.file_format = "FFMPEG"
    render.ffmpeg.format, render.ffmpeg.codec = "MPEG4", "H264"
    scene.display.shading.color_type = "TEXTURE"
    with HANDS.override("WINDOW"):
        bpy.ops.render.opengl(animation=True, view_context=False)
    if bpy.app.version >= (5, 0, 0):
        render.image_settings.media_type = "IMAGE"
    render.image_settings.file_format = "PNG"
    scene.camera = before
    bpy.data.objects.remove(camera)
    enter("capture from video")
    yield from to_the_end()
    yield from choose_file("idto3d.capture_open", WORK / "film.mp4")
    began = time.monotonic()
    takes = ext.takes
    yield from until(lambda: takes.running() is None or takes.running().picture, 120, "the first frames")
    yield 0.5
    yield from HANDS.shot("47-film")
    yield from until(lambda: takes.running() is None, 300, "the video's take")
    problem = takes.state.problem
    note(film_problem=problem.code if problem else "", seconds_to_read_film=round(time.monotonic() - began, 1))
    take = takes.state.take
    assert take is not None, problem
    channels = {name: take.channels[:, number] for number, name in enumerate(ext.table.SHAPES)}
    note(film_seconds=round(take.duration, 2), film_jaw=round(float(np.ptp(channels["jawOpen"])), 2))
    note(film_smile=round(float(np.ptp(channels["mouthSmileLeft"])), 2))
    yield from to_the_end()
    # This film has no second of rest at its beginning.
    ext.of("capture", "properties").settings().rest = "NONE"
    actions = len(bpy.data.actions)
    yield from click_until(lambda: len(bpy.data.actions) > actions, "idto3d.capture_bake")
    note(film_actions=len(bpy.data.actions) - actions)
    scene.frame_set((scene.frame_start + scene.frame_end) // 2)
    yield from HANDS.away()
    yield from HANDS.shot("48-film-baked")


def _write_take() -> None:
    """Two seconds: the jaw opens and closes, and the head turns to the person's left."""
    table = ext.table
    times = np.arange(int(_SECONDS * _RATE)) / _RATE
    channels = np.zeros((len(times), len(table.SHAPES) + len(table.ANGLES)))
    swell = np.sin(np.pi * times / _SECONDS) ** 2
    channels[:, table.SHAPES.index("jawOpen")] = 0.6 * swell
    channels[:, table.SHAPES.index("mouthSmileLeft")] = 0.8 * swell
    channels[:, len(table.SHAPES)] = 0.4 * swell
    take = table.take_of(times, channels, np.ones(len(times), bool))
    table.write_take(take, WORK / "take.csv")


def frames() -> Steps:
    """The middle of the take by both engines."""
    enter("frames")
    scene = bpy.context.scene
    with HANDS.override("WINDOW"):
        bpy.ops.idto3d.turntable()  # for its camera; the frames stay the take's
    scene.frame_set(24)
    scene.render.resolution_x = scene.render.resolution_y = 256
    names = {"CYCLES", "BLENDER_EEVEE_NEXT", "BLENDER_EEVEE"}
    known = {item.identifier for item in scene.render.bl_rna.properties["engine"].enum_items}
    eevee = "BLENDER_EEVEE_NEXT" if bpy.app.version < (5, 0, 0) else "BLENDER_EEVEE"
    note(engines=sorted(names & known))
    for engine, name in ((eevee, "eevee"), ("CYCLES", "cycles")):
        scene.render.engine = engine
        if engine == "CYCLES":
            scene.cycles.samples, scene.cycles.use_denoising = 16, False
        else:
            scene.eevee.taa_render_samples = 8
        scene.render.filepath = str(WORK / f"frame-{name}.png")
        began = time.monotonic()
        bpy.ops.render.render(write_still=True)
        note(**{f"{name}_seconds": round(time.monotonic() - began, 1)})
        yield 0.2


def export() -> Steps:
    """For three.js, with its button and the file browser."""
    enter("export")
    select(the_head())
    folder = WORK / "out"
    folder.mkdir()
    yield from to_the_end()
    yield from choose_file("'THREE'", folder, at=0.75)
    enter("export goes on beside")
    yield 2.0
    yield from HANDS.shot("49-exporting")
    yield from until(lambda: list(folder.glob("*_three/*.glb")), 240, "the exported file")
    yield 1.0
    files = {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    note(exported=files)
    yield from HANDS.away()
    yield from HANDS.shot("49-exported")


def import_again() -> Steps:
    """A second time, from the file browser: beside the window, and one step of undo."""
    enter("import")
    before = len(heads())
    yield from HANDS.scroll(*_sidebar_middle(), -80)
    with HANDS.override("WINDOW"):
        bpy.ops.ed.undo_push(message="What the story has done by itself")
    file = Path(ext.folders.folder_of(the_head())) / "head.json"
    yield from choose_file("idto3d.choose_head", file)
    enter("import goes on beside")
    yield from until(lambda: len(heads()) > before, 60, "the imported head")
    yield 1.0
    yield from HANDS.shot("49-imported")
    with HANDS.override("WINDOW"):
        bpy.ops.ed.undo()
        note(import_undone=len(heads()) == before)


def density() -> Steps:
    """Half of the quads: given up with Escape, and made."""
    enter("density")
    head = the_head()
    select(head)
    yield from HANDS.scroll(*_sidebar_middle(), -80)
    x, y = yield from HANDS.find("density='HALF'", at=0.5)
    with HANDS.override("WINDOW"):
        bpy.ops.ed.undo_push(message="What the story has done by itself")
    objects = len(bpy.data.objects)
    enter("density goes on beside")
    yield from HANDS.click(x, y)
    yield from HANDS.key("Escape")
    yield 1.0
    note(density_given_up=bpy.context.object == head and len(bpy.data.objects) == objects)
    began = time.monotonic()
    yield from HANDS.click(x, y)
    yield 1.0
    yield from HANDS.shot("50-density")
    yield from until(lambda: bpy.context.object != head, 240, "the thinner head")
    note(seconds_to_half=round(time.monotonic() - began, 1), half=bpy.context.object.name)
    yield 0.5
    with HANDS.override("WINDOW"):
        bpy.ops.ed.undo()
    note(density_undone=len(bpy.data.objects) == objects)


def _sidebar_middle() -> tuple[float, float]:
    region = HANDS.region()
    return region.x + region.width / 2, region.y + region.height / 2


PARTS = (boxes, search, take_pose, match, rig, capture, film, frames, export, import_again, density)
