# SPDX-License-Identifier: GPL-3.0-or-later
"""Light that the fitted light leaves on skin, told from the skin: cast shadows, glosses, folds of an expression.

A homomorphic split: the logarithm of the colour over the skin's tone is a wide part with sharp edges, as shadows have
them, and detail. Skin is alike in the wide part; what is not is light, but for lips and hair. Shadow keeps skin's hue
or reddens it, gloss whitens it, hair is dark and greyer than skin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .blend import smooth_within

Array = NDArray[Any]

SIZE = 256  # texels of a side that hold the wide part
REACH = 0.075  # of a side: the window of it
# Shares of the wide part that are taken for skin. Of its lightness: what both sides of the face have, which is the
# face's own and what people are known by; what one side alone has, which is the lamp's; where one side is not seen.
ALIKE_KEPT, ONE_SIDED_KEPT, LIGHT_KEPT = 0.9, 0.3, 0.5
HUE_KEPT = 0.8  # of its hue
HAIR_HUE = (-0.09, -0.24)  # log(red over green) less than skin's: where hair begins, where all is hair
HAIR_DARK = (-0.1, -0.35)  # log lightness over skin's, as well
BEARD_REACH, BEARD_DARK, BEARD_HUE = 0.012, (-0.04, -0.16), (-0.03, -0.1)  # the same of beards, that skin shows through
GLOSS = (0.1, 0.5)  # log lightness of the wide part over skin's, from none to all gloss
FINE, SPOT = 0.012, 0.4  # of a side: a highlight's surround; log lightness over it from where on it is gloss
# Of a side: a fold's width; share left of its darkness, if all of it is the expression's.
CREASE, FOLD_KEPT = 0.003, 0.7
REDDENED = 0.12  # darkness (logarithm) of a fold that is all reddened
FARTHEST = 2.0  # logarithm: what differs more is not looked at


@dataclass(frozen=True, eq=False)
class Shaded:
    """Colours of skin over its tone, as a photograph has them on a map, in logarithms. light, red (S,S): lightness, and
    red over green; hue (S,S,3); wide (S,S): of light; hair, spared (S,S) 0..1: what is not skin; skin (S,S): how well
    skin was seen."""

    light: Array
    red: Array
    hue: Array
    wide: Array
    hair: Array
    spared: Array
    skin: Array


def shaded(colour: Array, weight: Array, tone: Array, spared: Array) -> Shaded:
    """Of colours (S,S,3) freed of the fitted light, seen with weight (S,S).

    tone (3,): the skin's; spared (S,S) 0..1: what is not skin, such as lips.
    """
    away = np.clip(np.log(np.maximum(colour, 1e-4) / tone.astype(np.float32)), -FARTHEST, FARTHEST)
    light = (away[..., 0] + away[..., 1] + away[..., 2]) * np.float32(1 / 3)
    hue = away - light[..., None]
    red = hue[..., 0] - hue[..., 1]
    hair = hairiness(light, red, len(colour) / 700, HAIR_DARK, HAIR_HUE)
    skin = (weight * (1 - hair) * (1 - spared)).astype(np.float32)
    return Shaded(light, red, hue, wide_part(light, skin), hair, spared, skin)


def without_light(own: Shaded, other: Shaded, tone: Array, folded: Array) -> Array:
    """Linear albedo (S,S,3) of skin. other: what the photograph shows of the mirrored places; folded (S,S) 0..1: how
    strongly an expression creases the skin."""
    light, red, hue, wide, skin = own.light, own.red, own.hue, own.wide, own.skin
    size, bare = len(light), (1 - own.hair) * (1 - own.spared)
    beard = hairiness(light, red, BEARD_REACH * size, BEARD_DARK, BEARD_HUE)
    detail = _unspotted(light - wide, skin)
    # freckles and moles are finer than folds, and stay
    crease, _ = smooth_within(detail, skin, CREASE * size)
    fold = folded * bare
    detail = detail - (1 - FOLD_KEPT) * fold * np.minimum(crease, 0)
    tint, seen = smooth_within(hue, skin, 0.02 * size)
    gloss = _step(wide, *GLOSS)
    taken = ((1 - HUE_KEPT) + HUE_KEPT * gloss) * np.clip(seen * 8, 0, 1) * (1 - beard)
    hue = hue - taken[..., None] * tint
    # skin reflects into a fold what has been through skin before, redder
    hue = hue * (1 - fold * _step(-crease, 0.0, REDDENED))[..., None]
    both, _ = smooth_within(np.minimum(skin, other.skin), np.ones_like(skin), 0.02 * size)
    both = np.clip(8 * both, 0, 1)
    # what both sides have: nothing, where one is lighter than skin usually is and the other one darker
    alike = np.clip(wide, np.minimum(other.wide, 0), np.maximum(other.wide, 0))
    known = ALIKE_KEPT * alike + ONE_SIDED_KEPT * (wide - alike)
    kept = both * known + (1 - both) * LIGHT_KEPT * wide
    kept = (1 - beard) * kept + beard * wide
    out: Array = tone.astype(np.float32) * np.exp((kept + detail)[..., None] + hue)
    return np.clip(out, 0.0, 1.0)


def hairiness(light: Array, red: Array, blur: float, darkness: tuple[float, float], hue: tuple[float, float]) -> Array:
    """(S,S) 0..1: how much of a place is hair. light, red (S,S): logarithms of lightness and of red over green, over
    the skin's; blur: texels; darkness, hue: where hair begins, where all is hair."""
    dark, grey = (cv2.GaussianBlur(x.astype(np.float32), (0, 0), max(blur, 0.4)) for x in (light, red))
    return _step(-dark, -darkness[0], -darkness[1]) * _step(-grey, -hue[0], -hue[1])


def wide_part(light: Array, weight: Array) -> Array:
    """Logarithms (S,S) without what is narrower than REACH, edges of what is wider kept; known by weight (S,S)."""
    size = len(light)
    small = min(SIZE, size)
    w = cv2.resize(weight, (small, small), interpolation=cv2.INTER_AREA)
    v = cv2.resize(light * weight, (small, small), interpolation=cv2.INTER_AREA) / np.maximum(w, 1e-4)
    around, near = smooth_within(v, w, 0.03 * small)
    own = np.clip(w * 3, 0, 1)
    filled = own * v + (1 - own) * np.clip(near * 20, 0, 1) * around
    # a median keeps edges and loses what fills less than half of its window; OpenCV's takes bytes alone
    levels = np.rint((np.clip(filled, -FARTHEST, FARTHEST) / FARTHEST + 1) * 127.5).astype(np.uint8)
    median = cv2.medianBlur(levels, 2 * int(REACH * small / 2) + 1).astype(np.float32) / 127.5 - 1
    smooth = cv2.GaussianBlur(FARTHEST * median, (0, 0), 0.15 * REACH * small)
    return cv2.resize(smooth, (size, size), interpolation=cv2.INTER_LINEAR)


def _unspotted(detail: Array, weight: Array) -> Array:
    """Detail without bright spots."""
    mean, _ = smooth_within(detail, weight, FINE * len(detail))
    excess = np.clip(detail - mean - SPOT, 0, None)
    return detail - 0.8 * excess


def _step(values: Array, low: float, high: float) -> Array:
    t = np.clip((values - low) / (high - low), 0, 1)
    out: Array = t * t * (3 - 2 * t)
    return out
