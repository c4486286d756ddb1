# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera that goes round a head. While it is there, what stands between the two is hidden, and the scene's frame
range is one round or what else of ours is longer; all is given back with its removal."""

import math
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from ..head import room, separate
from . import frame_range, own_collection, stage

KIND = frame_range.TURNTABLE
# EEVEE's name was another one while the old and the new EEVEE were both there.
EEVEE = "BLENDER_EEVEE_NEXT" if bpy.app.version < (5, 0) else "BLENDER_EEVEE"
CYCLES = "CYCLES"
_BEFORE = "idto3d_camera"  # on the scene, as somebody may delete our collection: its camera before
_HIDDEN = "idto3d_hidden"  # on an object that is hidden meanwhile: where
_LAYER = "idto3d_hidden_in"  # and in which view layer
_RENDER, _VIEW = 1, 2
_LOOKS = 24
# A box that holds head and camera both and is no larger, metres, is a box and not a room.
_BOX = 4.0
_DEEPEST = 20


def add_turntable(context: Any, head: Any, start: int, frames: int, engine: str | None) -> list[str]:
    """Make a camera the scene's own that goes round ``head``, once in ``frames`` frames from ``start`` on. engine:
    EEVEE, CYCLES, or None to leave the scene's. Returns the names of the objects that are hidden for it.

    The camera hangs on an empty that turns: move or scale that to change the path. Replaces an earlier turntable.
    """
    scene = context.scene
    remove_turntable(context)
    framing = stage.frame_head(head)
    before = scene.camera
    hidden = _hide(context, head, framing)
    collection = own_collection.renew(scene, KIND, "ID-to-3D turntable")
    if before is not None:
        scene[_BEFORE] = before
    pivot = own_collection.add(collection, bpy.data.objects.new("Turntable", None))
    pivot.location = framing.target
    pivot.empty_display_size = framing.height / 2
    data = bpy.data.cameras.new("Turntable camera")
    data.lens = stage.LENS
    data.clip_start, data.clip_end = 0.01 * framing.height, max(data.clip_end, 100.0 * framing.height)
    # The framing is for the shorter side of the picture.
    wide = scene.render.resolution_x >= scene.render.resolution_y
    data.sensor_fit = "VERTICAL" if wide else "HORIZONTAL"
    data.sensor_width = data.sensor_height = stage.SENSOR
    camera = own_collection.add(collection, bpy.data.objects.new("Turntable camera", data))
    camera.parent = pivot
    camera.location = (0.0, -framing.distance, 0.0)
    camera.rotation_euler = (math.pi / 2, 0.0, 0.0)
    _turn(pivot, head.matrix_world.to_euler().z, start, frames)
    scene.camera = camera
    # The last frame would show the first one again.
    frame_range.borrow(scene, KIND, start, start + frames - 1)
    if engine is not None:
        scene.render.engine = engine
    return hidden


def is_there(scene: Any) -> bool:
    """The scene has a turntable of ours, or what one that somebody has deleted changed."""
    return own_collection.is_there(scene, KIND) or frame_range.is_borrowed(scene, KIND)


def remove_turntable(context: Any) -> bool:
    """Take the turntable out of the scene and give back its camera, its frames and what was hidden. True if there was
    one."""
    scene = context.scene
    removed = own_collection.remove(scene, KIND)
    before = scene.pop(_BEFORE, None)
    if scene.camera is None:
        scene.camera = before
    for obj in scene.objects:
        if _HIDDEN in obj:
            _show(scene, obj)
    frame_range.give_back(scene, KIND)
    return removed


def _turn(pivot: Any, angle: float, start: int, frames: int) -> None:
    for frame, turned in ((start, angle), (start + frames, angle + 2 * math.pi)):
        pivot.rotation_euler.z = turned
        pivot.keyframe_insert("rotation_euler", index=2, frame=frame)
    action = pivot.animation_data.action
    action.name = "Turntable"
    for curve in _curves(action):
        # It goes on turning where the scene is longer than a round.
        curve.extrapolation = "LINEAR"
        for point in curve.keyframe_points:
            point.interpolation = "LINEAR"


def _hide(context: Any, head: Any, framing: stage.Framing) -> list[str]:
    """Hide what stands between ``head`` and a camera going round it; returns the names. Rays find it, so that a wall
    behind or a ground below stays."""
    scene, layer = context.scene, context.view_layer
    whole = separate.parts_of(head)
    whole += [part.parent for part in whole if part.parent is not None]
    own = {obj.name for part in whole for obj in (part, *part.children_recursive)}
    target = Vector(framing.target)
    hidden = []
    for name in sorted({*_around(scene, target, framing), *_between(context, own, target, framing)} - own):
        obj = scene.objects.get(name)
        if obj is not None and obj.library is None and obj.name in layer.objects:
            obj[_HIDDEN] = (0 if obj.hide_render else _RENDER) | (0 if obj.hide_get(view_layer=layer) else _VIEW)
            obj[_LAYER] = layer.name
            obj.hide_render = True
            obj.hide_set(True, view_layer=layer)
            hidden.append(name)
    return hidden


def _around(scene: Any, target: Vector, framing: stage.Framing) -> list[str]:
    """Meshes the size of a box or a piece of furniture that the head stands in, and the camera with it."""
    found = []
    largest = _BOX * room.metre(scene)
    for obj in scene.objects:
        if obj.type == "MESH" and not obj.hide_render:
            low, high = room.box(obj)
            size = float(np.max(high - low))
            inside = bool(((low < np.array(target)) & (np.array(target) < high)).all())
            if inside and framing.height < size < largest and float(np.min(high - low)) > framing.height:
                found.append(obj.name)
    return found


def _between(context: Any, own: set[str], target: Vector, framing: stage.Framing) -> list[str]:
    graph = context.evaluated_depsgraph_get()
    found: list[str] = []
    for number in range(_LOOKS):
        eye = target + stage.direction(360.0 * number / _LOOKS, 0.0) * framing.distance
        for height in (-0.4, 0.0, 0.4):
            end = target + Vector((0.0, 0.0, height * framing.height))
            way = end - eye
            begin, left = eye, way.length
            for _ in range(_DEEPEST):
                hit, place, _, _, obj, _ = context.scene.ray_cast(graph, begin, way.normalized(), distance=left)
                if not hit or obj.name in own:
                    break
                found.append(obj.name)
                begin = place + way.normalized() * 1e-4
                left = (end - begin).length
    return found


def bound(scene: Any) -> list[str]:
    """Names of the markers whose cameras take over from the scene's."""
    return [marker.name for marker in scene.timeline_markers if marker.camera is not None]


def _show(scene: Any, obj: Any) -> None:
    how, layer = obj[_HIDDEN], scene.view_layers.get(obj.pop(_LAYER, "")) or scene.view_layers[0]
    del obj[_HIDDEN]
    if how & _RENDER:
        obj.hide_render = False
    if how & _VIEW and obj.name in layer.objects:
        obj.hide_set(False, view_layer=layer)


def _curves(action: Any) -> list[Any]:
    """The curves of an action: directly in it before Blender 5.0, in layers since."""
    if hasattr(action, "fcurves"):
        return list(action.fcurves)
    bags = [bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags]
    return [curve for bag in bags for curve in bag.fcurves]
