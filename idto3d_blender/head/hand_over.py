# SPDX-License-Identifier: GPL-3.0-or-later
"""What moves the shape keys of one form of a head, given to another form of it: the active action and the strips."""

from collections.abc import Iterable
from typing import Any

import bpy
import numpy as np

_OF_STRIP = (
    "action_frame_start", "action_frame_end", "frame_start", "frame_end", "scale", "repeat", "blend_in", "blend_out",
    "blend_type", "extrapolation", "influence", "mute", "use_reverse",
)  # fmt: skip

# Of a key frame, with the numbers that each has.
_OF_POINTS = {
    "co": 2, "handle_left": 2, "handle_right": 2,
    "interpolation": 1, "easing": 1, "handle_left_type": 1, "handle_right_type": 1,
}  # fmt: skip


def curves_of(player: Any) -> Any:
    """The curves that animation data, or a strip, plays of its action."""
    if bpy.app.version < (4, 4):
        return player.action.fcurves
    strips = [strip for layer in player.action.layers for strip in layer.strips]
    bags = [bag for strip in strips if (bag := strip.channelbag(player.action_slot))]
    return bags[0].fcurves if bags else []


def part_for(owner: Any, action: Any) -> tuple[Any, Any]:
    """The curves, none so far, that an action has for a data-block, and its slot, None before Blender 4.4."""
    if bpy.app.version < (4, 4):
        return action.fcurves, None
    slot = action.slots.new(id_type=owner.id_type, name=owner.name)
    layer = action.layers[0] if action.layers else action.layers.new("Layer")
    strip = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME")
    return strip.channelbag(slot, ensure=True).fcurves, slot


def copy_curve(curve: Any, curves: Any) -> None:
    """Put a copy of a curve among those of another action."""
    made = curves.new(curve.data_path, index=curve.array_index)
    made.extrapolation = curve.extrapolation
    made.keyframe_points.add(len(curve.keyframe_points))
    for name, width in _OF_POINTS.items():
        values = np.empty(width * len(curve.keyframe_points), np.float32 if width > 1 else np.int32)
        curve.keyframe_points.foreach_get(name, values)
        made.keyframe_points.foreach_set(name, values)
    made.update()


def give_copies(curves: Iterable[Any], owner: Any, name: str) -> None:
    """Animate a data-block by copies of curves, in an action of their own."""
    action = bpy.data.actions.new(name)
    own, slot = part_for(owner, action)
    for curve in curves:
        copy_curve(curve, own)
    owner.animation_data.action = action
    if slot is not None:
        owner.animation_data.action_slot = slot


def is_moved(keys: Any) -> bool:
    """Keys have an action, strips or drivers."""
    data = keys.animation_data if keys is not None else None
    return data is not None and (data.action is not None or len(data.nla_tracks) > 0 or len(data.drivers) > 0)


def give_motion(given: Any, made: Any) -> None:
    """The keys ``made`` are moved as the keys ``given`` are; drivers stay as they are."""
    before = given.animation_data
    after = made.animation_data
    if before is None and after is None:
        return
    after = after or made.animation_data_create()
    after.action = None
    while after.nla_tracks:
        after.nla_tracks.remove(after.nla_tracks[0])
    if before is None:
        return
    for track in before.nla_tracks:
        _copy_track(track, after)
    if before.action is not None:
        after.action = before.action
        _take_slot(before, after)


def give_drivers(given: Any, made: Any) -> None:
    """The keys ``made`` get the drivers of the keys ``given``, but of those that they lack."""
    data = given.animation_data
    if data is None or not len(data.drivers):
        return
    own = {f'key_blocks["{name}"].value' for name in made.key_blocks.keys()}
    after = made.animation_data or made.animation_data_create()
    for curve in data.drivers:
        if curve.data_path in own:
            after.drivers.from_existing(src_driver=curve)


def _copy_track(track: Any, data: Any) -> None:
    made = data.nla_tracks.new()
    made.name, made.mute = track.name, track.mute
    for strip in track.strips:
        if strip.action is None:  # transitions and meta strips
            continue
        copy = made.strips.new(strip.name, int(strip.frame_start), strip.action)
        _take_slot(strip, copy)
        for name in _OF_STRIP:
            setattr(copy, name, getattr(strip, name))


def _take_slot(given: Any, made: Any) -> None:
    if hasattr(given, "action_slot"):  # from Blender 4.4 on
        made.action_slot = given.action_slot
