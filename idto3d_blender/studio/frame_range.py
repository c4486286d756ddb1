# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's frame range, borrowed: each helper says which frames it needs, the scene shows all that are needed, and
gets its own range back with the last of them. A range that the user sets meanwhile is the user's, and stays."""

from typing import Any

from ..head import hand_over

OF_ACTION = "idto3d_test"
"""Property of an action that needs frames: by which name it needs them. It does while an object of the scene has it."""
TURNTABLE = "turntable"
_PROPERTY = "idto3d_frames"
_OWN, _SET = "own", "set"


def borrow(scene: Any, who: str, start: int, end: int) -> None:
    """``who``, the turntable or an action by its name, needs the frames from ``start`` to ``end``; what it needed
    before does not count any more."""
    kept = _kept(scene)
    kept[who] = (start, end)
    _show(scene, kept)


def is_borrowed(scene: Any, who: str) -> bool:
    """``who`` needs frames."""
    return _PROPERTY in scene and who in scene[_PROPERTY]


def give_back(scene: Any, who: str) -> None:
    """``who`` needs no frames any more."""
    kept = _kept(scene)
    if kept.pop(who, None) is not None:
        _show(scene, kept)


def _kept(scene: Any) -> dict[str, tuple[int, int]]:
    """Who needs which frames; beside them the scene's own range, and the one that we set last."""
    if _PROPERTY not in scene:
        return {_OWN: (scene.frame_start, scene.frame_end)}
    there = {_OWN, _SET, TURNTABLE, *_playing(scene)}
    kept = {name: tuple(frames) for name, frames in scene[_PROPERTY].to_dict().items() if name in there}
    now = (scene.frame_start, scene.frame_end)
    if kept.pop(_SET) != now:
        kept[_OWN] = now
    return kept


def _playing(scene: Any) -> set[str]:
    """The names of actions by `OF_ACTION`: heads are deleted, and actions unlinked."""
    keys = filter(None, (getattr(obj.data, "shape_keys", None) for obj in scene.objects))
    holders = (holder for key in keys for holder in hand_over.holders(key.animation_data))
    return {str(holder.action[OF_ACTION]) for holder in holders if OF_ACTION in holder.action}


def _show(scene: Any, kept: dict[str, tuple[int, int]]) -> None:
    needed = [frames for name, frames in kept.items() if name != _OWN]
    if not needed:
        scene.frame_start, scene.frame_end = kept[_OWN]
        del scene[_PROPERTY]
        return
    # The end after the start, and again: Blender keeps one on the right side of the other.
    start, end = min(frames[0] for frames in needed), max(frames[1] for frames in needed)
    scene.frame_start, scene.frame_end = start, end
    scene.frame_start = start
    scene[_PROPERTY] = {**kept, _SET: (start, end)}
