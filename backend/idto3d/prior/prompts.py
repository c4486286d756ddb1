# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera c, said in words: eight 45-degree sectors and a view from above."""

import math

OVERHEAD = "overhead"
OVERHEAD_ELEVATION = 60.0
"""Degrees above which a view is called overhead whatever its azimuth (threestudio's threshold)."""

SECTORS = ("front", "front left", "left side", "back left", "back", "back right", "right side", "front right")
"""Names of the eight sectors, by azimuth 0, 45, ... 315 degrees; left is the person's left, at azimuth +90."""

VIEWS = (*SECTORS, OVERHEAD)

_MIRROR = {"left": "right", "right": "left"}


def view_name(azimuth: float, elevation: float) -> str:
    """The name of a camera's view. Degrees; azimuth 0 looks at the face, +90 sees the person's left side.

    A sector reaches 22.5 degrees to both sides of its middle; the upper end belongs to the next one.
    """
    if elevation > OVERHEAD_ELEVATION:
        return OVERHEAD
    return SECTORS[math.floor((azimuth % 360.0) / 45.0 + 0.5) % 8]


def fill_prompt(template: str, view: str, expression: str = "", words: str = "") -> str:
    """The prompt of one view: a pack's template, parts set off by commas, with {view}, {expression} and {words} filled
    in. Parts that are then empty go.

    view: one of VIEWS. Raises ValueError for another, KeyError for another place in the template.
    """
    if view not in VIEWS:
        raise ValueError(f"unknown view: {view}")
    parts = template.format(view=view, expression=expression.strip(), words=words.strip()).split(",")
    return ", ".join(part.strip() for part in parts if part.strip())


def mirror_text(text: str) -> str:
    """`text` for the horizontally flipped image: left and right change places."""
    return " ".join(_swap(word) for word in text.split(" "))


def _swap(word: str) -> str:
    bare = word.rstrip(",.;")
    return _MIRROR.get(bare, bare) + word[len(bare) :]
