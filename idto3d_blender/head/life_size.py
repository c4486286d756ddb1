# SPDX-License-Identifier: GPL-3.0-or-later
"""How large a head is in a scene. Blender leaves an object's scale as it is where another file, into which it is
appended or dropped as an asset, counts in another unit."""

from typing import Any

import bpy

from . import material, room, separate

# Times larger or smaller than heads are made: less is somebody's wish.
_FAR = 5.0


def factor(scene: Any, obj: Any) -> float:
    """What makes a head, as it was last evaluated, as large as heads are made in ``scene``; 1.0 where it is about so
    large already."""
    times = room.metre(scene) / max(obj.matrix_world.median_scale, 1e-9)
    return 1.0 if 1 / _FAR < times < _FAR else times


def told(scene: Any, obj: Any) -> str:
    """ "3 mm" of a head that is as tall there."""
    tall = obj.dimensions.z / room.metre(scene)
    return str(bpy.utils.units.to_string("METRIC", "LENGTH", tall, precision=2))


def top_of(obj: Any) -> Any:
    """What a head hangs on in the end, its rig or a body; itself where it hangs on nothing."""
    while obj.parent is not None:
        obj = obj.parent
    return obj


def restore(scene: Any, obj: Any) -> None:
    """Scale a head in all its parts, and what they hang on, by `factor`; light goes as far into its skin as it does
    into skin, also in its other densities."""
    times, metre = factor(scene, obj), room.metre(scene)
    for top in {top_of(part) for part in separate.parts_of(obj)}:
        top.scale = [times * axis for axis in top.scale]
    for own in {own for form in separate.forms(obj) for own in form.data.materials}:
        if own is not None and own.library is None and own.node_tree is not None:
            material.count_in(own, metre, metre / times)
