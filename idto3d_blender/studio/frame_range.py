# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's frame range, borrowed: each helper says which frames it needs, the scene shows all that are needed, and
gets its own range back with the last of them. A range that the user sets meanwhile is the user's, and stays."""

from typing import Any

_PROPERTY = "idto3d_frames"
_OWN, _SET = "own", "set"


def borrow(scene: Any, who: str, start: int, end: int) -> None:
    """``who`` needs the frames from ``start`` to ``end``; what it needed before does not count any more."""
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
    kept = {name: tuple(frames) for name, frames in scene[_PROPERTY].to_dict().items()}
    now = (scene.frame_start, scene.frame_end)
    if kept.pop(_SET) != now:
        kept[_OWN] = now
    return kept


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
