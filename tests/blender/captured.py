# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks of takes share: heads with ARKit's keys, CSVs, and where a head looks."""

import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from idto3d_blender.capture import properties
from idto3d_blender.capture.table import SHAPES, take_of, write_take
from tests.blender import synthetic_bundle as synthetic

WORK = Path(sys.argv[-1])


def csv_of(name: str, seconds: float = 2.0, rate: float = 60.0, **columns: Any) -> Path:
    times = np.arange(int(seconds * rate) + 1) / rate
    channels = np.zeros((len(times), 61))
    angles = {"yaw": 52, "pitch": 53, "roll": 54, "left": 55, "right": 58}
    for channel, values in columns.items():
        place = angles[channel] if channel in angles else SHAPES.index(channel)
        channels[:, place] = values(times)
    path = WORK / f"{name}.csv"
    write_take(take_of(times, channels, np.ones(len(times), bool)), path)
    return path


def plain() -> Any:
    """The panel's settings without treatment."""
    given = properties.settings()
    given.rest, given.smooth, given.blinks, given.as_strip, given.start = "NONE", False, False, False, 1
    given.trim_in = given.trim_out = 0.0
    return given


def ramp(to: float) -> Any:
    return lambda times: to * np.minimum(times, 1.0)


def front(obj: Any) -> Vector:
    """Where the head looks, in the world."""
    deps = bpy.context.evaluated_depsgraph_get()
    return (obj.evaluated_get(deps).matrix_world.to_3x3() @ Vector((0, -1, 0))).normalized()


def new_head(name: str, expressions: tuple[str, ...] = (*synthetic.EXPRESSIONS, *SHAPES)) -> Any:
    synthetic.write(WORK / name, expressions=expressions)
    assert bpy.ops.idto3d.import_head(filepath=str(WORK / name)) == {"FINISHED"}
    return bpy.context.object


def at_frame(frame: int) -> None:
    bpy.context.scene.frame_set(frame)
    bpy.context.view_layer.update()


def turned(rig: Any, name: str, way: tuple[float, float, float]) -> Vector:
    bone = rig.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones[name]
    turn = bone.matrix.to_3x3() @ bone.bone.matrix_local.to_3x3().inverted()
    return turn @ Vector(way)
