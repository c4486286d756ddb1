# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera that goes once round a head."""

from __future__ import annotations

import math
from typing import Any

import bpy

from . import own_collection, stage

KIND = "turntable"
# EEVEE's name was another one while the old and the new EEVEE were both there.
EEVEE = "BLENDER_EEVEE_NEXT" if bpy.app.version < (5, 0) else "BLENDER_EEVEE"
CYCLES = "CYCLES"


def add_turntable(scene: Any, head: Any, start: int, frames: int, engine: str | None) -> Any:
    """Make a camera the scene's own that goes round ``head`` in ``frames`` frames from ``start`` on, and set the
    scene's frame range to one round. engine: EEVEE, CYCLES, or None to leave the scene's. Returns the camera.

    The camera hangs on an empty that turns: move or scale that to change the path. Replaces an earlier turntable.
    """
    framing = stage.frame_head(head)
    collection = own_collection.renew(scene, KIND, "ID-to-3D turntable")
    pivot = own_collection.add(collection, bpy.data.objects.new("Turntable", None))
    pivot.location = framing.target
    pivot.empty_display_size = framing.height / 2
    data = bpy.data.cameras.new("Turntable camera")
    data.lens = stage.LENS
    data.clip_start = 0.01
    # The framing is for the shorter side of the picture.
    wide = scene.render.resolution_x >= scene.render.resolution_y
    data.sensor_fit = "VERTICAL" if wide else "HORIZONTAL"
    data.sensor_width = data.sensor_height = stage.SENSOR
    camera = own_collection.add(collection, bpy.data.objects.new("Turntable camera", data))
    camera.parent = pivot
    camera.location = (0.0, -framing.distance, 0.0)
    camera.rotation_euler = (math.pi / 2, 0.0, 0.0)
    turned = head.matrix_world.to_euler().z
    for frame, angle in ((start, turned), (start + frames, turned + 2 * math.pi)):
        pivot.rotation_euler.z = angle
        pivot.keyframe_insert("rotation_euler", index=2, frame=frame)
    action = pivot.animation_data.action
    action.name = "Turntable"
    for curve in _curves(action):
        for point in curve.keyframe_points:
            point.interpolation = "LINEAR"
    scene.camera = camera
    # The last frame would show the first one again.
    scene.frame_start, scene.frame_end = start, start + frames - 1
    if engine is not None:
        scene.render.engine = engine
    return camera


def _curves(action: Any) -> list[Any]:
    """The curves of an action: directly in it before Blender 5.0, in layers since."""
    if hasattr(action, "fcurves"):
        return list(action.fcurves)
    bags = [bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags]
    return [curve for bag in bags for curve in bag.fcurves]
