# SPDX-License-Identifier: GPL-3.0-or-later
"""A head whose place is animated, and which is to be turned by something that it hangs on: the turn has to come after
the place, or the head is swung round the point where it stood. So an empty takes over what moves the head as a whole,
and all else hangs on that.
"""

from collections.abc import Callable, Sequence
from typing import Any

import bpy

from . import hand_over, naming
from .rig import hang

CARRIES = "idto3d_head_motion"
"""Property of the empty that the turns of a take are on, where a head has no rig."""
TOLD = "What moves {} as a whole is on the empty now that it hangs on"
_PLACE = ("location", "rotation_", "scale", "delta_", "constraints[")


def is_moved(obj: Any) -> bool:
    """Curves, drivers or constraints of an object's own place it."""
    data = obj.animation_data
    curves = [curve for holder in hand_over.holders(data) for curve in hand_over.curves_of(holder)]
    drivers = data.drivers if data is not None else ()
    return any(map(_places, (*curves, *drivers))) or any(not one.mute for one in obj.constraints)


def lift(context: Any, objects: Sequence[Any]) -> None:
    """If the first object is moved, an empty is, and the objects, which stand where that one does and are moved as it
    is, hang on it and stay where they are at each frame."""
    first = objects[0]
    if not is_moved(first):
        return
    empty = bpy.data.objects.new(f"{first.name} place", None)
    empty.empty_display_type, empty.empty_display_size = "PLAIN_AXES", 0.1
    naming.collection_of(first).objects.link(empty)
    hand_over.give_place(first, empty)
    _keep(empty, _places)
    for curve in list(first.animation_data.drivers) if first.animation_data else ():
        if _places(curve):
            (empty.animation_data or empty.animation_data_create()).drivers.from_existing(src_driver=curve)
    context.view_layer.update()
    for obj in objects:
        world = obj.matrix_world.copy()
        _keep(obj, lambda curve: not _places(curve))
        for curve in list(obj.animation_data.drivers) if obj.animation_data else ():
            if _places(curve):
                obj.animation_data.drivers.remove(curve)
        obj.constraints.clear()
        hang(obj, empty, "OBJECT", "", world)
    context.view_layer.update()


def _places(curve: Any) -> bool:
    return bool(curve.data_path.startswith(_PLACE))


def _keep(owner: Any, wanted: Callable[[Any], bool]) -> None:
    for holder in hand_over.holders(owner.animation_data):
        hand_over.keep(holder, wanted)
