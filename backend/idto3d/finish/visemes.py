# SPDX-License-Identifier: GPL-3.0-or-later
"""The 15 mouth shapes of speech that Oculus' lip sync drives, as weights of Apple's 52.

Names and order: https://developers.meta.com/horizon/documentation/unity/audio-ovrlipsync-viseme-reference, with the
prefix that avatars give them. The weights are our own, set by eye on the starter pack's head by that page's pictures of
a mild production and by what phonetics says of jaw, lips and tongue in each sound.
"""

from collections.abc import Mapping


def _both(**weights: float) -> dict[str, float]:
    return {f"{name}{side}": weight for name, weight in weights.items() for side in ("Left", "Right")}


VISEMES: Mapping[str, Mapping[str, float]] = {
    "viseme_sil": {},
    # p b m: lips closed and pressed
    "viseme_PP": {"mouthRollUpper": 0.25, "mouthRollLower": 0.3, "mouthPucker": 0.1, **_both(mouthPress=0.55)},
    # f v: the lower lip at the upper teeth
    "viseme_FF": {"jawOpen": 0.04, "mouthRollLower": 0.5, "mouthShrugLower": 0.2, **_both(mouthUpperUp=0.35)},
    # th: the tongue's tip between the teeth, which tongueOut opens the mouth for
    "viseme_TH": {"tongueOut": 0.5},
    # t d: the tongue behind the upper teeth, lips apart
    "viseme_DD": {"jawOpen": 0.14, **_both(mouthLowerDown=0.3, mouthUpperUp=0.15)},
    # k g: the same, further back and wider
    "viseme_kk": {"jawOpen": 0.2, **_both(mouthLowerDown=0.2, mouthStretch=0.15, mouthUpperUp=0.2)},
    # tsh dzh sh: teeth together, lips forward
    "viseme_CH": {"jawOpen": 0.05, "mouthFunnel": 0.55, "mouthPucker": 0.2},
    # s z: teeth together, lips wide
    "viseme_SS": {"jawOpen": 0.03, **_both(mouthLowerDown=0.3, mouthSmile=0.2, mouthStretch=0.3, mouthUpperUp=0.15)},
    # n l
    "viseme_nn": {"jawOpen": 0.12, **_both(mouthLowerDown=0.25, mouthUpperUp=0.2)},
    # r
    "viseme_RR": {"jawOpen": 0.1, "mouthFunnel": 0.3, "mouthPucker": 0.35},
    # a in car
    "viseme_aa": {"jawOpen": 0.5, **_both(mouthLowerDown=0.2, mouthUpperUp=0.15)},
    # e in bed
    "viseme_E": {"jawOpen": 0.25, **_both(mouthLowerDown=0.3, mouthSmile=0.2, mouthStretch=0.25, mouthUpperUp=0.2)},
    # i in tip
    "viseme_I": {"jawOpen": 0.12, **_both(mouthLowerDown=0.25, mouthSmile=0.4, mouthStretch=0.2, mouthUpperUp=0.15)},
    # o in toe
    "viseme_O": {"jawOpen": 0.35, "mouthFunnel": 0.45, "mouthPucker": 0.4},
    # u in book
    "viseme_U": {"jawOpen": 0.07, "mouthFunnel": 0.2, "mouthPucker": 0.8},
}
