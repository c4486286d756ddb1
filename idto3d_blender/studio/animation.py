# SPDX-License-Identifier: GPL-3.0-or-later
"""A loop through all expressions of a head, as keyframes on its shape keys."""

import uuid
from typing import Any

import bpy

from ..head import expressions, hand_over, rig_keys
from . import frame_range

# Marks an action as ours, so that making it again replaces no work of the user's.
_MARK = frame_range.OF_ACTION
_POSE = "idto3d_pose"  # of our action: the values that the keys had before, by name


def own_animation(obj: Any) -> bool:
    """The head's shape keys have an action, or strips that play, which are not ours."""
    players = hand_over.playing(obj.data.shape_keys.animation_data)
    return any(_MARK not in player.action for player in players)


def is_animated(obj: Any) -> bool:
    """The head has our test animation."""
    action = _action(obj)
    return action is not None and _MARK in action


def animate(obj: Any, start: int, frames: int) -> int:
    """Key each expression of the head's own in turn: up within a third of ``frames``, held for a third, down again.
    Replaces an earlier test animation of this head. Returns the frame after the loop, where it is as at ``start``."""
    clear(obj)
    pose = {key.name: key.value for key in _expressions(obj)}
    reset(obj)
    keys = obj.data.shape_keys
    data = keys.animation_data or keys.animation_data_create()
    # From 4.4 on keys would go into the action that moves the object, the user's.
    action = data.action = bpy.data.actions.new(f"{obj.name} expressions")
    action[_MARK], action[_POSE] = uuid.uuid4().hex, pose
    frame = start
    for key in _shown(obj):
        for share, value in ((0, 0.0), (1, 1.0), (2, 1.0), (3, 0.0)):
            key.value = value
            key.keyframe_insert("value", frame=frame + share * frames / 3)
        frame += frames
    return frame


def show_all(scene: Any, obj: Any, start: int, after: int) -> None:
    """Make the scene's frame range long enough for the test animation of ``obj``, until that is cleared."""
    frame_range.borrow(scene, str(_action(obj)[_MARK]), start, after - 1)


def clear(obj: Any) -> None:
    """Take our test animation off the head, and give back its frames and the pose before it. Drivers and other
    animation stay."""
    action = _action(obj)
    if action is None or _MARK not in action:
        return
    for scene in obj.users_scene:
        frame_range.give_back(scene, str(action[_MARK]))
    obj.data.shape_keys.animation_data.action = None
    pose = action.get(_POSE, {})
    for key in _expressions(obj):
        key.value = pose.get(key.name, 0.0)
    if action.users == 0:
        bpy.data.actions.remove(action)


def reset(obj: Any) -> None:
    """All expressions to 0: the neutral head."""
    for key in _expressions(obj):
        key.value = 0.0


def _expressions(obj: Any) -> list[Any]:
    return [key for key in obj.data.shape_keys.key_blocks[1:] if not rig_keys.is_twin(key.name)]


def _shown(obj: Any) -> list[Any]:
    """The head's own expressions and the user's keys; all of them where it has ARKit's shapes and visemes only."""
    keys = _expressions(obj)
    own = [key for key in keys if expressions.group_of(key.name) in (expressions.OWN, expressions.OTHERS)]
    return own or keys


def _action(obj: Any) -> Any:
    data = obj.data.shape_keys.animation_data
    return data.action if data else None
