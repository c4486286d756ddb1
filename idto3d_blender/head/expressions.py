# SPDX-License-Identifier: GPL-3.0-or-later
"""What the extension knows of expressions before a head is there: names, labels, groups, sides. No bpy.

The names are a copy of backend/idto3d/expressions.py, which the extension must not import; a test holds both together.
"""

from __future__ import annotations

from collections.abc import Iterable

# In the backend's order. Neutral is the Basis, always made, and thus no choice.
NEUTRAL = "neutral"
EXPRESSIONS = (
    "smile",
    "grin",
    "mouth_stretch",
    "anger",
    "sadness",
    "brow_raiser",
    "lip_puckerer",
    "lip_funneler",
    "cheek_blowing",
    "eye_closed",
    "mouth_left",
    "jaw_right",
)

# Where an animator looks for a slider. Names that are not here (another pack, own keys) go to the last group.
GROUPS: dict[str, tuple[str, ...]] = {
    "Mouth": (
        "smile",
        "grin",
        "mouth_stretch",
        "lip_puckerer",
        "lip_funneler",
        "cheek_blowing",
        "mouth_left",
        "mouth_right",
    ),
    "Jaw": ("jaw_left", "jaw_right"),
    "Brows and eyes": ("brow_raiser", "eye_closed"),
    "Moods": ("anger", "sadness"),
}
OTHERS = "Other"
_SIDES = {"left": "right", "right": "left"}


def label(name: str) -> str:
    """ "mouth_left" -> "Mouth left"."""
    return name.replace("_", " ").capitalize()


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Group's label -> those of ``names`` in it, in the order of the group; no empty groups."""
    given = list(names)
    groups = {title: [name for name in members if name in given] for title, members in GROUPS.items()}
    known = {name for members in GROUPS.values() for name in members}
    groups[OTHERS] = [name for name in given if name not in known]
    return {title: members for title, members in groups.items() if members}


def other_side(name: str) -> str | None:
    """ "mouth_left" -> "mouth_right", "jaw_right" -> "jaw_left"; None for a name without a side."""
    stem, _, side = name.rpartition("_")
    return f"{stem}_{_SIDES[side]}" if stem and side in _SIDES else None


def missing_sides(names: Iterable[str]) -> dict[str, str]:
    """Sided names whose other side is not there -> the name of that other side."""
    given = set(names)
    sides = {name: other_side(name) for name in given}
    return {name: side for name, side in sorted(sides.items()) if side is not None and side not in given}
