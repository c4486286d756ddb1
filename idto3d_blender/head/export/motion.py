# SPDX-License-Identifier: GPL-3.0-or-later
"""A head's animation for an exporter: what its keys and the bones of its rig show in the scene's frames, whatever moves
them. Exporters look at each frame, too, but only at what has an action of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from .. import hand_over

_STILL = 1e-6
_Path = tuple[str, int]
_CHANNELS = [
    (name, n) for name, count in (("location", 3), ("rotation_quaternion", 4), ("scale", 3)) for n in range(count)
]
_PLACE = ("location", "rotation_euler", "rotation_quaternion", "rotation_axis_angle", "scale")
_REST = np.array([0, 0, 0, 1, 0, 0, 0, 1, 1, 1], np.float32)


@dataclass(frozen=True)
class Frames:
    """The scene's: first and last, the one that it shows, how many a second."""

    first: int
    last: int
    now: int
    fps: int
    base: float

    @property
    def numbers(self) -> range:
        return range(self.first, self.last + 1)


def frames_of(scene: Any) -> Frames:
    """The frames of a scene."""
    render = scene.render
    return Frames(scene.frame_start, scene.frame_end, scene.frame_current, render.fps, render.fps_base)


def set_frames(scene: Any, frames: Frames, base: float) -> None:
    """Give a scene the frames of another, and another base of their rate."""
    scene.frame_start, scene.frame_end = frames.first, frames.last
    scene.render.fps, scene.render.fps_base = frames.fps, base


def is_animated(owner: Any) -> bool:
    """Shape keys or an armature have an action or a strip."""
    data = owner.animation_data if owner is not None else None
    return data is not None and (data.action is not None or any(track.strips for track in data.nla_tracks))


def standing(keys: Any) -> list[str]:
    """Names of keys that show something, and that nothing animates."""
    if keys is None:
        return []
    data = keys.animation_data
    curves = [curve for player in hand_over.playing(data) for curve in hand_over.curves_of(player)]
    moved = {curve.data_path for curve in (*curves, *(data.drivers if data is not None else ()))}
    shown = [key for key in keys.key_blocks[1:] if abs(key.value) > _STILL and not key.mute]
    return [key.name for key in shown if key.path_from_id("value") not in moved]


def turned_by(obj: Any) -> Any:
    """What a head hangs on that has an animation, or None: an exporter takes the head alone."""
    above = obj.parent
    while above is not None and (above.type == "ARMATURE" or not is_animated(above)):
        above = above.parent
    return above


def lies_outside(owners: Sequence[Any], frames: Frames) -> bool:
    """Shape keys and an armature, either may be None, have actions or strips, none of them within the frames."""
    players = [player for owner in owners if owner is not None for player in hand_over.playing(owner.animation_data)]
    spans = [hand_over.span(player) for player in players]
    return bool(spans) and all(end < frames.first or begin > frames.last for begin, end in spans)


def runs_python(*owners: Any) -> bool:
    """A driver of one of the owners, None among them, is an expression that may ask this very Blender."""
    datas = [owner.animation_data for owner in owners if owner is not None]
    drivers = [curve.driver for data in datas if data is not None for curve in data.drivers]
    return any(driver.type == "SCRIPTED" and not driver.is_simple_expression for driver in drivers)


def name_of(*owners: Any) -> str:
    """What the animation of keys and armature is called: as the first action that moves them."""
    datas = [owner.animation_data for owner in owners if owner is not None]
    return next((player.action.name for data in datas for player in hand_over.playing(data)), "Animation")


@dataclass(frozen=True, eq=False)
class Sampled:
    """What is shown at each of F frames. keys: name -> (F,); bones: name -> (F,10) location, quaternion and scale off
    their rest."""

    keys: dict[str, NDArray[np.float32]]
    bones: dict[str, NDArray[np.float32]]


def hand_on(scene: Any, frames: Frames, heads: tuple[Any, Any], rigs: tuple[Any, Any], scale: float) -> frozenset[str]:
    """Give copies the animation of a head and of its armature, where either moves within the frames; of both the given
    one and its copy, None without an armature. scene: one of our own; scale: of the copied bones. What moves an
    armature as a whole stays behind. Returns what moves of "keys" and "bones"."""
    (obj, head), (armature, bones) = heads, rigs
    sampled = _sample(scene, obj, armature, frames)
    curves = {}
    if head.data.shape_keys is not None:
        curves["keys"] = head.data.shape_keys, dict(_curves_of_keys(sampled, head.data.shape_keys))
    if bones is not None:
        curves["bones"] = bones, dict(_curves_of_bones(sampled, bones, scale))
    moving = {name for name, (_, own) in curves.items() if any(np.ptp(values) > _STILL for values in own.values())}
    for made, own in curves.values() if moving else ():
        _write(own, made, frames)
    return frozenset(moving)


def _sample(scene: Any, obj: Any, armature: Any, frames: Frames) -> Sampled:
    """Play the frames in a scene of our own; afterwards all that is animated is at the frame of before."""
    keys, bones = obj.data.shape_keys, armature.pose.bones if armature is not None else ()
    blocks = keys.key_blocks if keys is not None else ()
    values = [key.value for key in blocks]
    moved = [one for one in (obj, armature, *bones) if one is not None]
    places = [{name: tuple(getattr(one, name)) for name in _PLACE} for one in moved]
    # One has the keys, and the other wants the armature posed, whether somebody has hidden them or not.
    keyed, posed = bpy.data.objects.new("keyed", obj.data), bpy.data.objects.new("posed", bpy.data.meshes.new("posed"))
    keyed.show_only_shape_key = True  # the first: no mesh is made of all of them at each frame
    wanting = posed.modifiers.new("Armature", "ARMATURE")
    wanting.object, wanting.use_bone_envelopes = armature, True  # with weights alone it wants the weighted bones alone
    for shell in (keyed, posed):
        scene.collection.objects.link(shell)
    shown: dict[str, list[float]] = {key.name: [] for key in blocks}
    turned: dict[str, list[Any]] = {bone.name: [] for bone in bones}
    for frame in frames.numbers:
        scene.frame_set(frame)
        graph = scene.view_layers[0].depsgraph
        for key in keys.evaluated_get(graph).key_blocks if keys is not None else ():
            shown[key.name].append(0.0 if key.mute else key.value)
        for bone in armature.evaluated_get(graph).pose.bones if armature is not None else ():
            turned[bone.name].append(_off_rest(bone))
    scene.frame_set(frames.now)
    bpy.data.batch_remove([keyed, posed, posed.data])
    for key, value in zip(blocks, values, strict=True):
        key.value = value
    for one, place in zip(moved, places, strict=True):
        for name, value in place.items():
            setattr(one, name, value)
    turns = {name: _channels(matrices) for name, matrices in turned.items()}
    return Sampled({name: np.array(own, np.float32) for name, own in shown.items()}, turns)


def _off_rest(bone: Any) -> Matrix:
    rest, parent = bone.bone.matrix_local, bone.parent
    if parent is None:
        return bone.bone.convert_local_to_pose(bone.matrix, rest, invert=True)
    hung = {"parent_matrix": parent.matrix, "parent_matrix_local": parent.bone.matrix_local}
    return bone.bone.convert_local_to_pose(bone.matrix, rest, **hung, invert=True)


def _channels(matrices: list[Any]) -> NDArray[np.float32]:
    """(F,10); turns go the short way from frame to frame."""
    rows, before = [], None
    for matrix in matrices:
        place, turn, scale = matrix.decompose()
        if before is not None:
            turn.make_compatible(before)
        before = turn
        rows.append((*place, *turn, *scale))
    return np.array(rows, np.float32).reshape(len(rows), 10)


def _write(curves: dict[_Path, NDArray[np.float32]], made: Any, frames: Frames) -> None:
    """An action of these values at each frame."""
    if not curves:
        return
    action = bpy.data.actions.new("sampled")
    own, slot = hand_over.part_for(made, action)
    data = made.animation_data_create()
    data.action = action
    if slot is not None:
        data.action_slot = slot
    numbers = np.array(frames.numbers)
    for path, values in curves.items():
        hand_over.linear_curve(own, path, numbers, values)


def _curves_of_keys(sampled: Sampled, keys: Any) -> Iterator[tuple[_Path, NDArray[np.float32]]]:
    for key in keys.key_blocks[1:]:
        if key.name in sampled.keys and np.abs(sampled.keys[key.name]).max() > _STILL:
            yield (key.path_from_id("value"), -1), sampled.keys[key.name]


def _curves_of_bones(sampled: Sampled, armature: Any, scale: float) -> Iterator[tuple[_Path, NDArray[np.float32]]]:
    for bone in armature.pose.bones:
        bone.rotation_mode = "QUATERNION"
        rows = sampled.bones[bone.name].copy()
        rows[:, :3] *= scale
        if np.abs(rows - _REST).max() < _STILL:
            continue
        for column, (channel, index) in enumerate(_CHANNELS):
            yield (bone.path_from_id(channel), index), rows[:, column]
