# SPDX-License-Identifier: GPL-3.0-or-later
"""The targets of a captured head's and eyes' rotations: bones of its rig, or an empty that is its parent."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Quaternion
from numpy.typing import NDArray

from ..head import applied, carrier, hand_over, naming, separate
from ..head.import_head import is_head
from ..head.rig import hang, hang_beside
from .treat import Treated, matrices

Array = NDArray[Any]

NECK, HEAD = "neck", "head"
EYES = ("eye.L", "eye.R")
TURNS = "rotation_"
"""What the paths of channels begin with that a take writes."""
NECK_SHARE = 0.4
"""Of the head's turn that the neck takes, where the rig has one."""
# Of the head's height and depth, from below and from behind: where the skull sits on the neck.
_PIVOT = (0.42, 0.45)
# The table's axes (x to the person's left, y up, z out of the face) in a head's of Blender (Z up, facing -Y).
_TO_BLENDER = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True, eq=False)
class Curve:
    """A channel's values (F,); index: in an array, or -1."""

    path: str
    index: int
    values: Array


def rig_of(obj: Any) -> Any:
    """The armature of the head's Armature modifier that has a bone for the head, or None."""
    for modifier in obj.modifiers:
        if modifier.type == "ARMATURE" and modifier.object is not None and HEAD in modifier.object.pose.bones:
            return modifier.object
    return None


def has_eyes(rig: Any) -> bool:
    """The rig turns both eyes."""
    return rig is not None and all(name in rig.pose.bones for name in EYES)


def rig_curves(obj: Any, rig: Any, take: Treated, eyes: bool) -> Iterator[Curve]:
    """Rotations of the rig's bones."""
    turns = {HEAD: _axes(take.head)}
    if NECK in rig.pose.bones:
        share = np.array([NECK_SHARE, 1 - NECK_SHARE])
        both = [[_part(turn, float(s)) for turn in turns[HEAD]] for s in share]
        turns = {NECK: np.array(both[0]), HEAD: np.array(both[1])}
    if eyes:
        turns |= {name: _axes(take.eyes[:, n]) for n, name in enumerate(EYES)}
    # The armature may stand otherwise than the head.
    between = np.array((rig.matrix_world.inverted() @ obj.matrix_world).to_quaternion().to_matrix())
    for name, turn in turns.items():
        bone = rig.pose.bones[name]
        rest = between.T @ np.array(bone.bone.matrix_local.to_quaternion().to_matrix())
        path = f'pose.bones["{bpy.utils.escape_identifier(name)}"]'
        yield from _rotation(bone, path, np.swapaxes(rest, 0, 1) @ turn @ rest)


def held_curves(rig: Any, bones: Iterable[str]) -> Iterator[Curve]:
    """Bones that a rig has, as it was made."""
    for name in bones:
        if name in rig.pose.bones:
            path = f'pose.bones["{bpy.utils.escape_identifier(name)}"]'
            yield from _rotation(rig.pose.bones[name], path, np.eye(3)[None])


def rest(rig: Any, bones: Iterable[str]) -> None:
    """Turn bones that a rig has back to where it was made."""
    for bone in [rig.pose.bones[name] for name in bones if name in rig.pose.bones]:
        place, _, scale = bone.matrix_basis.decompose()
        bone.matrix_basis = Matrix.LocRotScale(place, None, scale)


def empty_of(context: Any, obj: Any) -> Any:
    """The empty that the head hangs on; made, and the head with all its parts hung on it, if there is none. They stay
    where they are."""
    hung = obj.parent is not None and carrier.CARRIES in obj.parent
    if hung and not carrier.is_moved(obj) and not turns_another(obj.parent, obj):
        _rest(obj.parent)
        return obj.parent
    context.view_layer.update()
    parts = separate.parts_of(obj)
    others: list[Any] = []
    if hung and turns_another(obj.parent, obj):
        _leave(context, obj.parent, parts)
    elif hung:  # animated since it hangs there, it would be swung round as well
        others = [one for one in _taken_off(context, obj) if one not in parts]
    carrier.lift(context, parts)
    applied.take_back(obj)
    box = np.array(obj.bound_box)
    low, high = box.min(0), box.max(0)
    up, back = (low + (high - low) * share for share in _PIVOT)
    world = obj.matrix_world
    pivot = world @ Matrix.Translation(((low[0] + high[0]) / 2, float(low[1] + high[1] - back[1]), float(up[2])))
    empty = bpy.data.objects.new(f"{obj.name} motion", None)
    empty[carrier.CARRIES] = True
    empty.empty_display_type, empty.empty_display_size = "ARROWS", 0.1 * world.median_scale
    naming.collection_of(obj).objects.link(empty)
    empty.rotation_mode = "QUATERNION"
    if obj.parent is None:
        empty.matrix_world = pivot.normalized()
    else:
        hang_beside(empty, obj, pivot.normalized())
    _rest(empty)
    context.view_layer.update()
    for one in (*parts, *others):
        hang(one, empty, "OBJECT", "", one.matrix_world.copy())
    return empty


def turns_another(carried: Any, obj: Any) -> bool:
    """Another head than ``obj`` hangs on an empty or an armature, too: one of them is a copy that Blender made."""
    heads = [child for child in carried.children if child != obj and is_head(child) and child.visible_get()]
    if not heads:
        return False
    *_, full = separate.origins(obj)
    forms = separate.own_forms(full)
    own = [full, *forms] if obj == full or obj in forms else separate.parts_of(obj)
    return any(head not in own for head in heads)


def _leave(context: Any, empty: Any, parts: Sequence[Any]) -> None:
    """Hang a head on what its empty hangs on, where it stands while that is at rest; another one keeps the empty."""
    place, _, scale = empty.matrix_basis.decompose()
    rest = Matrix.LocRotScale(place, empty.delta_rotation_quaternion, scale)
    still = empty.matrix_world @ empty.matrix_basis.inverted() @ rest
    for one in [one for one in parts if one.parent == empty]:
        world = still @ one.matrix_parent_inverse @ one.matrix_basis
        hang_beside(one, empty, world)
    context.view_layer.update()


def _rest(empty: Any) -> None:
    """How an empty of ours is turned that no take turns is its rest, and put aside, so that what is animated is the
    head's turn alone."""
    data = empty.animation_data
    if data is not None and (data.action is not None or any(not track.mute for track in data.nla_tracks)):
        return
    rest = empty.matrix_basis.to_quaternion()
    empty.rotation_mode = "QUATERNION"
    empty.delta_rotation_quaternion, empty.rotation_quaternion = rest, Quaternion()


def _taken_off(context: Any, obj: Any) -> list[Any]:
    """All that hangs on a head's empty, on what that one hung on; the empty goes, its takes stay in the file."""
    empty = obj.parent
    still(obj)
    for holder in hand_over.holders(empty.animation_data):
        holder.action.use_fake_user = True
    context.view_layer.update()
    hanging = list(empty.children)
    for one in hanging:
        hang_beside(one, empty, one.matrix_world.copy())
    bpy.data.objects.remove(empty)
    context.view_layer.update()
    return hanging


def still(obj: Any) -> None:
    """Whatever empty of ours an object hangs on is turned by takes no more: these stay in the file, and it goes its
    way, and turns as somebody has it turn."""
    while (obj := obj.parent) is not None:
        data = obj.animation_data
        if carrier.CARRIES not in obj or data is None:
            continue
        moving = [data] if data.action is not None else []
        was_turned = any(any(_turns(player)) for player in hand_over.playing(data))
        for track in data.nla_tracks:
            strips = [strip for strip, _ in hand_over.clips(track.strips)]
            if strips and all(all(_turns(strip)) for strip in strips):
                track.mute = True
            else:
                moving += strips
        for holder in moving:
            turns = _turns(holder)
            if any(turns) and not all(turns):
                holder.action.use_fake_user = True
                hand_over.keep(holder, lambda curve: not curve.data_path.startswith(TURNS))
                holder.action.name = f"{obj.name} way"
            elif any(turns) and holder == data:
                data.action = None
            elif any(turns):
                holder.mute = True
        if was_turned:  # in whichever mode somebody has put it
            obj.rotation_quaternion, obj.rotation_euler = Quaternion(), (0.0, 0.0, 0.0)
            obj.rotation_axis_angle = (0.0, 0.0, 1.0, 0.0)


def _turns(holder: Any) -> list[bool]:
    """Which curves of an action that is played are a take's turns."""
    ours = hand_over.TAKE in holder.action
    return [ours and curve.data_path.startswith(TURNS) for curve in hand_over.curves_of(holder)]


def empty_curves(empty: Any, take: Treated) -> Iterator[Curve]:
    """Rotation of the empty."""
    yield from _rotation(empty, "", _axes(take.head))


def _axes(turns: Array) -> Array:
    """(F,3,3) in Blender's axes, of (F,3) yaw, pitch, roll."""
    return _TO_BLENDER @ matrices(turns) @ _TO_BLENDER.T


def _part(turn: Array, share: float) -> Array:
    """A share of a rotation (3,3), about the same axis."""
    axis, angle = Matrix(turn.tolist()).to_quaternion().to_axis_angle()
    return np.array(Quaternion(axis, angle * share).to_matrix())


def _rotation(owner: Any, path: str, turns: Array) -> Iterator[Curve]:
    """The channels in which a bone or an object is turned."""
    mode = owner.rotation_mode
    before: Any = None
    rows = []
    for turn in turns:
        value = Matrix(turn.tolist()).to_quaternion()
        if mode == "QUATERNION":
            if before is not None and before.dot(value) < 0:
                value.negate()
            before = value
            rows.append(tuple(value))
        elif mode == "AXIS_ANGLE":
            axis, angle = value.to_axis_angle()
            rows.append((angle, *axis))
        else:
            before = value.to_euler(mode, before) if before is not None else value.to_euler(mode)
            rows.append(tuple(before))
    name = {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}.get(mode, "rotation_euler")
    for index, values in enumerate(np.array(rows).T):
        yield Curve(f"{path}.{name}" if path else name, index, values)
