# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera c and the domain, said in words.

The form is HumanNorm's ("... view, normal map, black background", Huang et al. 2024) with eight 45-degree sectors
instead of four, on which our priors are trained.
"""

from __future__ import annotations

import math
from typing import Literal

Domain = Literal["normal", "albedo"]

OVERHEAD = "overhead"
OVERHEAD_ELEVATION = 60.0
"""Degrees above which a view is called overhead whatever its azimuth (threestudio's threshold)."""

SECTORS = ("front", "front left", "left side", "back left", "back", "back right", "right side", "front right")
"""Names of the eight sectors, by azimuth 0, 45, ... 315 degrees; left is the person's left, at azimuth +90."""

VIEWS = (*SECTORS, OVERHEAD)

_DOMAIN_TEXT: dict[Domain, str] = {
    "normal": "normal map, black background",
    "albedo": "flat albedo texture, no shadows, black background",
}
_MIRROR = {"left": "right", "right": "left"}


def view_name(azimuth: float, elevation: float) -> str:
    """The name of a camera's view. Degrees; azimuth 0 looks at the face, +90 sees the person's left side.

    A sector reaches 22.5 degrees to both sides of its middle; the upper end belongs to the next one.
    """
    if elevation > OVERHEAD_ELEVATION:
        return OVERHEAD
    return SECTORS[math.floor((azimuth % 360.0) / 45.0 + 0.5) % 8]


def prompt(domain: Domain, view: str, expression_text: str = "", user_text: str = "") -> str:
    """The prompt of one view, such as "a front view of the head of a person, smiling, normal map, black background".

    view: one of VIEWS. Raises ValueError for another.
    """
    if view not in VIEWS:
        raise ValueError(f"unknown view: {view}")
    middle = [text.strip() for text in (user_text, expression_text) if text.strip()]
    return ", ".join([f"a {view} view of the head of a person", *middle, _DOMAIN_TEXT[domain]])


def mirror_text(text: str) -> str:
    """`text` for the horizontally flipped image: left and right change places."""
    return " ".join(_swap(word) for word in text.split(" "))


def _swap(word: str) -> str:
    bare = word.rstrip(",.;")
    return _MIRROR.get(bare, bare) + word[len(bare) :]
