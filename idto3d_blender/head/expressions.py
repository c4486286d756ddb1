# SPDX-License-Identifier: GPL-3.0-or-later
"""What the extension knows of expressions before a head is there: names, labels, groups, sides. No bpy.

The names are a copy of backend/idto3d/expressions.py, which the extension must not import; a test holds both together.
"""

from collections.abc import Iterable

from .bundle import ARKIT

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

OWN, VISEMES, OTHERS = "Whole Face", "Visemes", "Other"
REGIONS = {
    "brow": "Brows", "eye": "Eyes", "jaw": "Jaw", "mouth": "Mouth", "cheek": "Cheeks", "nose": "Nose",
    "tongue": "Tongue",
}  # fmt: skip
"""How the names of ARKit's shapes begin -> where an animator looks for them."""
VISEME = "viseme_"
_SIDES = {"left": "right", "right": "left"}


def label(name: str) -> str:
    """ "mouth_left" -> "Mouth Left". ARKit's shapes and visemes keep their names, by which other programs know them,
    and so do the user's keys."""
    return name if group_of(name) != OWN else name.replace("_", " ").title()


def group_of(name: str) -> str:
    """The group's label of a key: one of the head's own, a region of ARKit's shapes, visemes, or others."""
    if name in ARKIT:
        return next(title for start, title in REGIONS.items() if name.startswith(start))
    if name.startswith(VISEME):
        return VISEMES
    return OWN if name in EXPRESSIONS or other_side(name) in EXPRESSIONS else OTHERS


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Group's label -> those of ``names`` in it, in their order; no empty groups."""
    groups: dict[str, list[str]] = {title: [] for title in (OWN, *REGIONS.values(), VISEMES, OTHERS)}
    for name in names:
        groups[group_of(name)].append(name)
    return {title: members for title, members in groups.items() if members}


def found(names: Iterable[str], words: str) -> list[str]:
    """Those of ``names`` that have all of the words somewhere in their name, label or group, whatever the case."""
    wanted = words.casefold().split()
    return [name for name in names if all(w in f"{name} {label(name)} {group_of(name)}".casefold() for w in wanted)]


def other_side(name: str) -> str | None:
    """ "mouth_left" -> "mouth_right", "jaw_right" -> "jaw_left"; None for a name without a side."""
    stem, _, side = name.rpartition("_")
    return f"{stem}_{_SIDES[side]}" if stem and side in _SIDES else None


def missing_sides(names: Iterable[str]) -> dict[str, str]:
    """Sided names whose other side is not there -> the name of that other side."""
    given = set(names)
    sides = {name: other_side(name) for name in given}
    return {name: side for name, side in sorted(sides.items()) if side is not None and side not in given}
