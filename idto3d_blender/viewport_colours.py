# SPDX-License-Identifier: GPL-3.0-or-later
"""Vertex colours in Solid viewports while a head is made, and everything as it was afterwards.

Only viewports that show material colours, Blender's default, are switched; one that the user has set up otherwise, or
changes meanwhile, stays as it is. A saved file gets the user's setting, not ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy

_OURS, _THEIRS = "VERTEX", "MATERIAL"
# Addresses of the areas that we have switched: compared only, never followed.
_switched: set[int] = set()


def show() -> None:
    """Switch the viewports that may be switched."""
    for address, shading in _viewports():
        if shading.type == "SOLID" and shading.color_type == _THEIRS:
            shading.color_type = _OURS
            _switched.add(address)


def restore() -> None:
    """Switch back those that still are as we have left them."""
    for address, shading in _viewports():
        if address in _switched and shading.color_type == _OURS:
            shading.color_type = _THEIRS
    _switched.clear()


def _viewports() -> Iterator[tuple[int, Any]]:
    for screen in bpy.data.screens:
        for area in screen.areas:
            if area.type == "VIEW_3D":
                yield area.as_pointer(), area.spaces.active.shading
