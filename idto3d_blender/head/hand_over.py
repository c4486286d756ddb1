# SPDX-License-Identifier: GPL-3.0-or-later
"""What moves the shape keys of one form of a head, given to another form of it: the active action and the strips."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import bpy
import numpy as np

TAKE = "idto3d_take"
"""Property of the actions that bakes make: the name of the take."""
TWEAKED = "Leave the strip's tweak mode first: Tab in the NLA editor"

# Where a strip ends comes after what Blender reckons that from; its action's end first, as no start may lie behind it.
_OF_STRIP = (
    "use_sync_length", "action_frame_end", "action_frame_start", "scale", "repeat", "frame_start", "frame_end",
    "blend_in", "blend_out", "blend_type", "extrapolation", "use_reverse", "use_animated_influence",
    "use_animated_time", "use_animated_time_cyclic", "influence", "strip_time",
)  # fmt: skip

# Of a key frame: points in the plane, single numbers, choices.
_OF_POINTS = {
    **dict.fromkeys(("co", "handle_left", "handle_right"), (2, np.float32)),
    **dict.fromkeys(("back", "amplitude", "period"), (1, np.float32)),
    **dict.fromkeys(("interpolation", "easing", "type", "handle_left_type", "handle_right_type"), (1, np.int32)),
}

# Of where an object stands.
_OF_PLACE = (
    "rotation_mode", "location", "rotation_euler", "rotation_quaternion", "rotation_axis_angle", "scale",
    "delta_location", "delta_rotation_euler", "delta_rotation_quaternion", "delta_scale",
    "parent", "parent_type", "parent_bone", "parent_vertices", "matrix_parent_inverse",
)  # fmt: skip


def is_tweaked(*owners: Any) -> bool:
    """A strip of one of the owners, None among them, is in tweak mode, and its action held."""
    moved = [owner.animation_data for owner in owners if owner is not None]
    return any(data is not None and data.use_tweak_mode for data in moved)


def curves_of(player: Any) -> Any:
    """The curves that animation data, or a strip, plays of its action."""
    if bpy.app.version < (4, 4):
        return player.action.fcurves
    if player.action_slot is None:
        return []
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


def linear_curve(curves: Any, path: tuple[str, int], frames: Any, values: Any) -> None:
    """Put a curve among those of an action that goes straight from value to value (F,); path: of the property, and its
    index, -1 where it has none."""
    made = curves.new(path[0]) if path[1] < 0 else curves.new(path[0], index=path[1])
    points = made.keyframe_points
    points.add(len(frames))
    points.foreach_set("co", np.stack([frames, values], 1).astype(np.float32).ravel())
    linear = bpy.types.Keyframe.bl_rna.properties["interpolation"].enum_items["LINEAR"].value
    points.foreach_set("interpolation", np.full(len(frames), linear, np.int32))
    made.update()


def copy_curve(curve: Any, curves: Any) -> None:
    """Put a copy of a curve among those of another action."""
    _fill(curve, curves.new(curve.data_path, index=curve.array_index))


def _fill(curve: Any, made: Any) -> None:
    """Give a new curve what another one has."""
    made.extrapolation, made.mute = curve.extrapolation, curve.mute
    made.keyframe_points.clear()
    made.keyframe_points.add(len(curve.keyframe_points))
    for name, (width, kind) in _OF_POINTS.items():
        values = np.empty(width * len(curve.keyframe_points), kind)
        curve.keyframe_points.foreach_get(name, values)
        made.keyframe_points.foreach_set(name, values)
    _copy_modifiers(curve, made)
    made.update()


def _copy_modifiers(given: Any, made: Any) -> None:
    """Of a curve or a strip."""
    for modifier in given.modifiers:
        copy = made.modifiers.new(modifier.type)
        for one in modifier.bl_rna.properties:
            if not one.is_readonly and one.identifier not in ("name", "active"):
                setattr(copy, one.identifier, getattr(modifier, one.identifier))
        if modifier.type == "ENVELOPE":
            _copy_points(modifier.control_points, copy.control_points)


def _copy_points(given: Any, made: Any) -> None:
    """Of an envelope. All at once: Blender takes the one point whose property is set for a modifier and reads beyond
    its memory, up to 5.0 at least, and sometimes crashes."""
    values = np.empty(len(given), np.float32)
    for point in given:
        made.add(point.frame)
    for name in ("min", "max"):
        given.foreach_get(name, values)
        made.foreach_set(name, values)


def holders(data: Any) -> Iterator[Any]:
    """What plays an action: animation data, and the strips in it; none for None."""
    if data is not None:
        if data.action is not None:
            yield data
        for track in data.nla_tracks:
            yield from (strip for strip, _ in clips(track.strips))


def keep(holder: Any, wanted: Callable[[Any], bool]) -> None:
    """Let a holder play only the curves that are wanted: in an action of its own, where that leaves some out."""
    left_out = [number for number, curve in enumerate(curves_of(holder)) if not wanted(curve)]
    if not left_out:
        return
    slot = getattr(holder, "action_slot", None)  # from 4.4 on
    holder.action = holder.action.copy()
    if slot is not None:
        holder.action_slot = holder.action.slots[slot.identifier]
    own = curves_of(holder)
    for curve in [list(own)[number] for number in left_out]:
        own.remove(curve)


def playing(data: Any) -> Iterator[Any]:
    """As `holders`, but without what is muted."""
    if data is not None:
        if data.action is not None:
            yield data
        for track in data.nla_tracks:
            if not track.mute:
                yield from (strip for strip, muted in clips(track.strips) if not muted)


def span(player: Any) -> tuple[float, float]:
    """First and last frame of what animation data's action, or a strip, plays."""
    if hasattr(player, "frame_start"):
        return player.frame_start, player.frame_end
    first, last = player.action.frame_range
    return first, last


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
    """The keys ``made`` get the drivers of the keys ``given``, but those of keys that they lack or that are driven."""
    data = given.animation_data
    if data is None or not len(data.drivers):
        return
    after = made.animation_data or made.animation_data_create()
    there = tuple(f'key_blocks["{bpy.utils.escape_identifier(name)}"].' for name in made.key_blocks.keys())
    driven = {curve.data_path for curve in after.drivers}
    for curve in [one for one in data.drivers if one.data_path.startswith(there) and one.data_path not in driven]:
        copy_driver(curve, given, made)


def copy_driver(curve: Any, given: Any, made: Any) -> None:
    """Give the keys ``made``, which have animation data, a driver of the keys ``given``. Where it reads
    those, it reads these."""
    driver = made.animation_data.drivers.from_existing(src_driver=curve).driver
    for target in (target for variable in driver.variables for target in variable.targets):
        if target.id == given:
            target.id = made


def driven_keys(keys: Any) -> list[str]:
    """The names of keys that drivers move."""
    data = keys.animation_data
    paths = {curve.data_path for curve in data.drivers} if data is not None else set[str]()
    own = {name: f'key_blocks["{bpy.utils.escape_identifier(name)}"].' for name in keys.key_blocks.keys()}
    return [name for name, start in own.items() if any(path.startswith(start) for path in paths)]


def aim_drivers(before: Any, after: Any) -> None:
    """Drivers of anything else in the file that read the keys ``before`` read the keys ``after``."""
    for _, target in list(readers(before)):
        target.id = after


def readers(keys: Any) -> Iterator[tuple[Any, Any]]:
    """The other data-blocks whose drivers read the keys, and the drivers' targets that are these keys."""
    for user in bpy.data.user_map(subset={keys})[keys]:
        for owner in (user, getattr(user, "node_tree", None), getattr(user, "shape_keys", None)):
            data = getattr(owner, "animation_data", None) if owner != keys else None
            variables = [variable for curve in (data.drivers if data else ()) for variable in curve.driver.variables]
            targets = (target for variable in variables for target in variable.targets)
            yield from ((user, target) for target in targets if target.id == keys)


def give_place(given: Any, made: Any) -> None:
    """An object stands where another one does, hangs on the same, and is animated and constrained as that one is;
    drivers of its place stay as they are."""
    for name in _OF_PLACE:
        setattr(made, name, getattr(given, name))
    made.constraints.clear()
    for constraint in given.constraints:
        made.constraints.copy(constraint)
    give_motion(given, made)


def give_children(given: Any, made: Any) -> None:
    """What hangs on an object hangs on another one afterwards, and stays where it is."""
    children = [child for child in given.children if child.parent_type == "OBJECT"]
    if children:
        bpy.context.view_layer.update()
    moved = made.matrix_world.inverted_safe() @ given.matrix_world
    for child in children:
        inverse = moved @ child.matrix_parent_inverse
        child.parent = made
        child.matrix_parent_inverse = inverse


def clips(strips: Any, muted: bool = False) -> Iterator[tuple[Any, bool]]:
    """The strips that play actions, those in meta strips, too, and whether they are muted."""
    for strip in strips:
        if strip.action is not None:
            yield strip, muted or strip.mute
        yield from clips(strip.strips, muted or strip.mute)


def _copy_track(track: Any, data: Any) -> None:
    """Transitions stay behind: scripts cannot make any."""
    made = data.nla_tracks.new()
    made.name, made.mute = track.name, track.mute
    for strip, muted in clips(track.strips):
        # Behind all others, where there is room; then where the other one is.
        far = max((one.frame_end for one in made.strips), default=strip.frame_start)
        copy = made.strips.new(strip.name, math.ceil(max(far, strip.frame_start)), strip.action)
        _take_slot(strip, copy)
        for name in _OF_STRIP:
            setattr(copy, name, getattr(strip, name))
        copy.mute = muted
        for curve in strip.fcurves:
            if own := copy.fcurves.find(curve.data_path):
                _fill(curve, own)
        _copy_modifiers(strip, copy)


def _take_slot(given: Any, made: Any) -> None:
    if hasattr(given, "action_slot"):  # from Blender 4.4 on
        made.action_slot = given.action_slot
