# SPDX-License-Identifier: GPL-3.0-or-later
"""A head's mesh without its keys, and the keys again, one a step: BMesh takes seven times as long with eighty keys, and
Blender's window waits."""

from typing import Any

import bpy
import numpy as np

from . import hand_over, mesh_data
from .stepwise import Steps

_ROW = "idto3d_row"
# The range's ends limit each other, and the value.
OF_SLIDER = ("slider_max", "slider_min", "slider_max", "mute", "value")
_OF_KEY = ("interpolation", "lock_shape", "vertex_group", *OF_SLIDER)


def copy_of(mesh: Any) -> Any:
    """A copy of a mesh with the neutral shape alone, whose vertices know which ones they were. What moves its keys
    stays."""
    made = mesh.copy()
    shell = bpy.data.objects.new("shell", made)
    for block in list(made.shape_keys.key_blocks[1:]):
        shell.shape_key_remove(block)
    bpy.data.objects.remove(shell)
    rows = made.attributes.new(_ROW, "INT", "POINT")
    rows.data.foreach_set("value", np.arange(len(made.vertices), dtype=np.int32))
    return made


def give_keys(made: Any, mesh: Any) -> Steps[None]:
    """Steps that give what a `copy_of` a mesh has become, of whose vertices some have gone, that mesh's other keys."""
    row = np.empty(len(made.vertices), np.int32)
    made.attributes[_ROW].data.foreach_get("value", row)
    made.attributes.remove(made.attributes[_ROW])
    keys, own = mesh.shape_keys, made.shape_keys
    shell = bpy.data.objects.new("shell", made)
    try:
        for number, block in enumerate(keys.key_blocks[1:]):
            yield number / len(keys.key_blocks)
            new = shell.shape_key_add(name=block.name, from_mix=False)
            new.points.foreach_set("co", mesh_data.places(block)[row].ravel())
            for name in _OF_KEY:
                setattr(new, name, getattr(block, name))
    finally:
        bpy.data.objects.remove(shell)
    for block in keys.key_blocks[1:]:
        own.key_blocks[block.name].relative_key = own.key_blocks[block.relative_key.name]
    # Up to 4.2 Blender keeps the drivers of keys that go.
    for curve in keys.animation_data.drivers if keys.animation_data is not None else ():
        if own.animation_data.drivers.find(curve.data_path, index=curve.array_index) is None:
            hand_over.copy_driver(curve, keys, own)
