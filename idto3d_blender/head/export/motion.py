# SPDX-License-Identifier: GPL-3.0-or-later
"""A head's animation for an exporter: the active actions of its keys and of its rig, within the scene's frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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


def hand_on(given: Any, made: Any) -> None:
    """Give ``made`` a copy of the active action of ``given``, so that names in it can be changed."""
    before = given.animation_data if given is not None else None
    if before is None or before.action is None:
        return
    after = made.animation_data_create()
    after.action = before.action.copy()
    slot = getattr(before, "action_slot", None)  # from 4.4 on
    if slot is not None:
        after.action_slot = after.action.slots[slot.identifier]
