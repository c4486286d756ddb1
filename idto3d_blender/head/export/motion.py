# SPDX-License-Identifier: GPL-3.0-or-later
"""A head's animation for an exporter: the active actions of its keys and of its rig, or their only strips, within the
scene's frames."""

from dataclasses import dataclass
from typing import Any

import bpy

from .. import hand_over
from ..rig_keys import is_twin

_LOOKS = 200  # frames at which a curve is looked at, beside its keyframes
_STILL = 1e-6


@dataclass(frozen=True)
class Frames:
    """The scene's: first and last, how many a second."""

    first: int
    last: int
    fps: int
    base: float


def frames_of(scene: Any) -> Frames:
    """The frames of a scene."""
    return Frames(scene.frame_start, scene.frame_end, scene.render.fps, scene.render.fps_base)


def set_frames(scene: Any, frames: Frames, base: float) -> None:
    """Give a scene the frames of another, and another base of their rate."""
    scene.frame_start, scene.frame_end = frames.first, frames.last
    scene.render.fps, scene.render.fps_base = frames.fps, base


def is_animated(owner: Any) -> bool:
    """Shape keys or an armature have an action or a strip."""
    data = owner.animation_data if owner is not None else None
    return data is not None and (data.action is not None or any(track.strips for track in data.nla_tracks))


def moves(owner: Any, frames: Frames) -> bool:
    """What is `played` changes something of shape keys or of an armature's bones within the frames."""
    one = played(owner)
    if one is None:
        return False
    curves = [curve for curve in hand_over.curves_of(one.source) if _goes_along(owner, curve)]
    return any(_varies(curve, frames, one.begin) for curve in curves)


def _goes_along(owner: Any, curve: Any) -> bool:
    if curve.mute or not curve.data_path.startswith(("pose.bones", "key_blocks")):
        return False
    try:
        owner.path_resolve(curve.data_path)
    except ValueError:  # of a bone or a key that there is no more
        return False
    return True


def _varies(curve: Any, frames: Frames, begin: float) -> bool:
    even = range(frames.first, frames.last, max(1, (frames.last - frames.first) // _LOOKS))
    own = (point.co.x + begin for point in curve.keyframe_points)
    within = [frame for frame in own if frames.first <= frame <= frames.last]
    start = curve.evaluate(frames.first - begin)
    return any(abs(curve.evaluate(frame - begin) - start) > _STILL for frame in (*within, *even, frames.last))


@dataclass(frozen=True)
class Played:
    """source: the animation data or the strip whose action plays; begin: frames by which it plays later."""

    source: Any
    begin: float = 0.0


def played(owner: Any) -> Played | None:
    """What an exporter gets of shape keys or an armature: the active action, or a strip that is alone and unchanged.
    None where nothing moves them, or several strips do."""
    data = owner.animation_data if owner is not None else None
    if data is None:
        return None
    if data.action is not None:
        return Played(data)
    strips = _strips(data)
    if len(strips) != 1 or strips[0].action is None:
        return None
    (strip,) = strips
    return Played(strip, strip.frame_start - strip.action_frame_start) if _is_unchanged(strip) else None


def _is_unchanged(strip: Any) -> bool:
    """A strip plays its whole action, as it is."""
    if strip.use_animated_influence or strip.use_animated_time or len(strip.modifiers):
        return False
    if (strip.scale, strip.repeat, strip.use_reverse, strip.blend_type) != (1.0, 1.0, False, "REPLACE"):
        return False
    ends = [end for curve in hand_over.curves_of(strip) for end in curve.range()]
    whole = not ends or (strip.action_frame_start <= min(ends) and max(ends) <= strip.action_frame_end)
    return whole and strip.blend_in == strip.blend_out == 0.0


def left_strips(owner: Any) -> bool:
    """Strips move shape keys or an armature, and not all that they do is `played`."""
    data = owner.animation_data if owner is not None else None
    return data is not None and bool(_strips(data)) and (data.action is not None or played(owner) is None)


def _strips(data: Any) -> list[Any]:
    """Those that play an action, or have strips in them that do."""
    strips = [strip for track in data.nla_tracks if not track.mute for strip in track.strips]
    return [one for one in strips if not all(muted for _, muted in hand_over.clips([one]))]


def driven(keys: Any) -> list[str]:
    """The shape keys that drivers move, but for those that bones of our rig do."""
    data = keys.animation_data if keys is not None else None
    if data is None:
        return []
    moved = {curve.data_path for curve in data.drivers if not curve.mute}
    return [key.name for key in keys.key_blocks if not is_twin(key.name) and key.path_from_id("value") in moved]


def held(armature: Any) -> list[str]:
    """The bones that constraints move."""
    bones = armature.pose.bones if armature is not None else ()
    return [bone.name for bone in bones if any(not one.mute and one.influence > 0 for one in bone.constraints)]


def name_of(*owners: Any) -> str:
    """What the animation of keys and armature is called: as the first action of them that is `played`."""
    return next((one.source.action.name for owner in owners if (one := played(owner)) is not None), "Animation")


def hand_on(given: Any, made: Any, frames: Frames, scale: float = 1.0) -> None:
    """Give ``made`` a copy of the action of ``given`` that is `played`, so that names in it can be changed, where it
    moves anything of ``made`` within the frames. scale: of the copy's bones. What moves an armature as a whole stays
    behind."""
    before = played(given)
    if before is None:
        return
    after = made.animation_data_create()
    after.action = before.source.action.copy()
    if bpy.app.version >= (4, 4):
        slot = before.source.action_slot
        after.action_slot = slot and after.action.slots[slot.identifier]
    curves = hand_over.curves_of(after)
    for curve in list(curves):
        if not _goes_along(made, curve):
            curves.remove(curve)
            continue
        up = scale if curve.data_path.endswith(".location") else 1.0
        for point in curve.keyframe_points if (up, before.begin) != (1.0, 0.0) else ():
            for place in (point.co, point.handle_left, point.handle_right):
                place.x, place.y = place.x + before.begin, place.y * up
    if not moves(made, frames):  # exporters write none, or one that stands still
        made.animation_data_clear()
