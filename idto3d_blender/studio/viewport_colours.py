# SPDX-License-Identifier: GPL-3.0-or-later
"""Skin colours in Solid viewports: of the vertices while a head is painted, of its picture once it is finished.

Only viewports in sight that show material colours, Blender's default, are switched. One that the user has set up
otherwise, or changes meanwhile, stays as it is; a saved file gets the user's setting, not ours; another file, and a
head that is not finished, end it. An object without a picture looks as before.
"""

from collections.abc import Iterator
from typing import Any

import bpy

PAINTING, FINISHED = "VERTEX", "TEXTURE"
_THEIRS = "MATERIAL"
# Viewports that we have switched, by address, which is compared only and never followed: what they show since, and what
# they showed before the painting began.
_switched: dict[int, str] = {}
_before: dict[int, str] = {}
# Viewports in which the user has asked for plain colours, and what those were where they were not the materials'.
_refused: set[int] = set()
_plain: dict[int, str] = {}


def show(colours: str) -> None:
    """Switch the viewports that may be switched to PAINTING or FINISHED."""
    windows = bpy.context.window_manager.windows
    in_sight = {area.spaces.active.as_pointer() for window in windows for area in window.screen.areas}
    for address, shading in _viewports():
        asked = address in in_sight and address not in _refused
        plain = asked and shading.type == "SOLID" and shading.color_type == _THEIRS
        if _ours(address, shading) or plain:
            if colours == PAINTING and shading.color_type != PAINTING:
                _before[address] = shading.color_type
            shading.color_type = _switched[address] = colours


def stop_painting() -> None:
    """The head will not be finished: what shows its colours shows again what it did before."""
    for address, shading in _viewports():
        if _ours(address, shading) and shading.color_type == PAINTING:
            shading.color_type = _switched[address] = _before.get(address, _THEIRS)


def restore() -> dict[int, str]:
    """Give all viewports back to the user, but those that are changed since; returns what ``again`` takes."""
    were = {}
    for address, shading in _viewports():
        if _ours(address, shading) and shading.color_type != _THEIRS:
            were[address] = shading.color_type
            shading.color_type = _THEIRS
    _switched.clear()
    return were


def again(were: dict[int, str]) -> None:
    """Undo a ``restore``."""
    for address, shading in _viewports():
        if address in were and shading.color_type == _THEIRS:
            shading.color_type = _switched[address] = were[address]


def choose(space: Any, pictures: bool) -> None:
    """The user asks for the pictures in a viewport's Solid mode, or for what it showed before. It is the user's own
    setting from now on, saved with the file."""
    address, shading = space.as_pointer(), space.shading
    ours = _ours(address, shading)
    own = not ours and shading.color_type != FINISHED
    _switched.pop(address, None)
    shading.type = "SOLID"
    if pictures:
        _refused.discard(address)
        if own:
            _plain[address] = shading.color_type
        shading.color_type = FINISHED
    else:
        _refused.add(address)
        plain = _plain.pop(address, _THEIRS)
        if not own:  # what we had switched by ourselves were the materials' colours
            shading.color_type = _THEIRS if ours else plain


def forget() -> None:
    """Another file was read: its viewports are others, which may well lie at the same addresses."""
    for known in (_switched, _before, _plain):
        known.clear()
    _refused.clear()


def shows_pictures(shading: Any) -> bool:
    """The viewport shows skin pictures, in Solid or otherwise."""
    return shading.type in ("MATERIAL", "RENDERED") or (shading.type == "SOLID" and shading.color_type == FINISHED)


def _ours(address: int, shading: Any) -> bool:
    return bool(_switched.get(address) == shading.color_type)


def _viewports() -> Iterator[tuple[int, Any]]:
    for screen in bpy.data.screens:
        for area in screen.areas:
            if area.type == "VIEW_3D":
                space = area.spaces.active  # which a maximised area takes over, while the area is another
                yield space.as_pointer(), space.shading
