# SPDX-License-Identifier: GPL-3.0-or-later
"""Which keys an export takes along, and VRM's expressions mixed from them.

VRM 1.0's preset expressions:
https://github.com/vrm-c/vrm-specification/blob/master/specification/VRMC_vrm-1.0/expressions.md
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from ..bundle import ARKIT
from ..expressions import OTHERS, OWN, VISEMES
from ..expressions import group_of as panel_group
from .names import ascii_name

Group = Literal["ARKIT", "MOODS", "VISEMES", "OTHER"]
__all__ = ["ARKIT", "GROUPS", "VRM", "Group", "Mix", "group_of", "renamed", "vrm_mixes", "wanted"]

GROUPS: tuple[Group, ...] = ("ARKIT", "MOODS", "VISEMES", "OTHER")
Mix = Mapping[str, float]
"""Key -> value."""

_GROUPS: Mapping[str, Group] = {OWN: "MOODS", VISEMES: "VISEMES", OTHERS: "OTHER"}


def _both(**weights: float) -> dict[str, float]:
    return {f"{name}{side}": weight for name, weight in weights.items() for side in ("Left", "Right")}


VRM: Mapping[str, tuple[Mix, ...]] = {
    "happy": ({"smile": 1.0}, _both(mouthSmile=0.8, cheekSquint=0.5)),
    "angry": ({"anger": 1.0}, _both(browDown=1.0, noseSneer=0.4, mouthPress=0.4)),
    "sad": ({"sadness": 1.0}, {"browInnerUp": 0.8, **_both(mouthFrown=0.7)}),
    "relaxed": (_both(mouthSmile=0.3, eyeBlink=0.25), {"smile": 0.3, "eye_closed": 0.25}),
    "surprised": (
        {"browInnerUp": 0.8, "jawOpen": 0.3, **_both(browOuterUp=0.8, eyeWide=0.7)},
        {"brow_raiser": 1.0, "mouth_stretch": 0.3},
    ),
    "aa": ({"viseme_aa": 1.0}, {"jawOpen": 0.5}, {"mouth_stretch": 0.5}),
    "ih": ({"viseme_I": 1.0}, {"jawOpen": 0.15, **_both(mouthStretch=0.4)}),
    "ou": ({"viseme_U": 1.0}, {"jawOpen": 0.1, "mouthPucker": 0.7}, {"lip_puckerer": 0.7}),
    "ee": ({"viseme_E": 1.0}, {"jawOpen": 0.2, **_both(mouthSmile=0.3)}, {"mouth_stretch": 0.2, "smile": 0.3}),
    "oh": ({"viseme_O": 1.0}, {"jawOpen": 0.3, "mouthFunnel": 0.6}, {"lip_funneler": 0.7}),
    "blink": (_both(eyeBlink=1.0), {"eye_closed": 1.0}),
    "blinkLeft": ({"eyeBlinkLeft": 1.0},),
    "blinkRight": ({"eyeBlinkRight": 1.0},),
    "lookUp": (_both(eyeLookUp=1.0),),
    "lookDown": (_both(eyeLookDown=1.0),),
    "lookLeft": ({"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0},),
    "lookRight": ({"eyeLookInLeft": 1.0, "eyeLookOutRight": 1.0},),
}
"""VRM's name -> mixes of our keys, the best first. Left and right are the person's, as in VRM."""


def group_of(name: str) -> Group:
    """The group of a key by its name, as in the panel, whose regions are ARKit's; a user's own keys are "OTHER"."""
    return _GROUPS.get(panel_group(name), "ARKIT")


def wanted(names: Iterable[str], groups: Collection[str], vrm: bool) -> dict[str, Mix]:
    """The keys of the export in their order: name -> the mix of a head's keys ``names`` that it is."""
    given = list(names)
    mixes: dict[str, Mix] = {name: {name: 1.0} for name in given if group_of(name) in groups}
    if vrm:
        mixes = {**vrm_mixes(given), **mixes}
    return mixes


def renamed(names: Iterable[str]) -> dict[str, str]:
    """name -> the name that USD writes for it; where two would be one, the later has a number."""
    out: dict[str, str] = {}
    for name in names:
        plain, number = ascii_name(name), 1
        while plain in out.values():
            number += 1
            plain = f"{ascii_name(name)}_{number}"
        out[name] = plain
    return out


def vrm_mixes(names: Iterable[str]) -> dict[str, Mix]:
    """Those of VRM's expressions that a head with the keys ``names`` can show. A key of that name is taken as it is."""
    given = set(names)
    mixes: dict[str, Mix] = {}
    for name, choices in VRM.items():
        found = next((mix for mix in ({name: 1.0}, *choices) if given.issuperset(mix)), None)
        if found is not None:
            mixes[name] = found
    return mixes
