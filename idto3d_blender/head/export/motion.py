# SPDX-License-Identifier: GPL-3.0-or-later
"""A head's animation for an exporter: the active actions of its keys and of its rig, within the scene's frames."""

from dataclasses import dataclass
from typing import Any

import bpy


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


def set_frames(scene: Any, frames: Frames) -> None:
    """Give a scene the frames of another."""
    scene.frame_start, scene.frame_end = frames.first, frames.last
    scene.render.fps, scene.render.fps_base = frames.fps, frames.base


def is_moving(owner: Any) -> bool:
    """Shape keys or an armature have an action."""
    data = owner.animation_data if owner is not None else None
    return data is not None and (data.action is not None or any(track.strips for track in data.nla_tracks))


def name_of(*owners: Any) -> str:
    """What the animation of keys and armature is called: as the first active action of them."""
    moved = (owner.animation_data for owner in owners if owner is not None)
    return next((data.action.name for data in moved if data is not None and data.action is not None), "Animation")


def hand_on(given: Any, made: Any, scale: float = 1.0) -> None:
    """Give ``made`` a copy of the active action of ``given``, so that names in it can be changed. scale: of the copy's
    bones. What moves an armature as a whole stays behind."""
    before = given.animation_data
    if before is None or before.action is None:
        return
    after = made.animation_data_create()
    after.action = before.action.copy()
    slot = getattr(before, "action_slot", None)  # from 4.4 on
    if slot is not None:
        after.action_slot = after.action.slots[slot.identifier]
    curves = _curves(after)
    for curve in list(curves):
        if not curve.data_path.startswith(("pose.bones", "key_blocks")):
            curves.remove(curve)
        elif curve.data_path.endswith(".location"):
            for point in curve.keyframe_points:
                for place in (point.co, point.handle_left, point.handle_right):
                    place.y *= scale


def _curves(data: Any) -> Any:
    if bpy.app.version < (4, 4):
        return data.action.fcurves
    bags = [
        bag for layer in data.action.layers for strip in layer.strips if (bag := strip.channelbag(data.action_slot))
    ]
    return bags[0].fcurves if bags else []
