# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes from skin what the fitted low-order light does not explain: cast shadows, gloss, folds of an expression.

Homomorphic: log(colour / skin tone) is split into a base layer (wide, with sharp edges, as shadows have) and detail.
Skin's albedo varies little in the base layer, so most of that layer is light, except on lips and hair. Shadow keeps
skin's hue or reddens it, gloss whitens it, hair is darker and greyer than skin.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import Array
from ..ramps import smoothstep
from .blend import smooth_within

SIZE = 256  # texels a side on which the base layer is computed
REACH = 0.075  # of a side: the median window of the base layer
# Shares of the base layer that are kept as skin. Of its lightness: where both sides of the face agree (likely the
# skin's own), where they differ (likely light), where only one side is seen.
ALIKE_KEPT, ONE_SIDED_KEPT, LIGHT_KEPT = 0.9, 0.3, 0.5
NECK_KEPT = 0.25  # of the neck's: the chin's shadow has two sides, too
HUE_KEPT, ONE_SIDED_HUE = 0.8, 0.4  # of its hue
GREENEST = 0.04  # logarithm of green over the tone's hue: blood and melanin both take green
HUE_MOST = 0.14  # log: the most by which skin's hue differs from its tone; more is light reflected from elsewhere
HAIR_HUE = (-0.09, -0.24)  # log(red over green) less than skin's: where hair begins, where all is hair
HAIR_DARK = (-0.1, -0.35)  # log lightness over skin's, as well
BEARD_REACH, BEARD_DARK, BEARD_HUE = 0.012, (-0.04, -0.16), (-0.03, -0.1)  # the same for beards: skin shows through
# Hair in warm light is as red as skin, but dark (log lightness) and of strands. Of a side: a strand's width; deviation
# of log lightness at that scale; shadows have neither.
STRAND, STRANDS, STRANDS_DARK = 0.004, (0.08, 0.16), (-0.4, -0.8)
GLOSS = (0.1, 0.5)  # log lightness of the base layer over skin's, from no gloss to all gloss
FINE, SPOT = 0.012, 0.4  # of a side: a highlight's surround; log lightness over it from where on it is gloss
# Of a side: anything finer or shorter is no fold; share kept of a fold and its rims if the expression makes all of it.
CREASE, FOLD_LENGTH, FOLD_KEPT = 0.003, 0.07, 0.3
# Of a side: width and least length of lines; log darkness of a line; share kept of it.
LINE_WIDTH, LINE_LENGTH, LINE_DARK, LINE_KEPT = 0.011, 0.035, 0.06, 0.3
# Ratio of line to valley depth, in faces without and with many lines at rest; share of the lines kept for the latter.
OWN_LINES, OWN_MOST = (0.1, 0.45), 0.4
# Of a side: tolerated asymmetry of place; logs by which one side may be lighter or darker; share kept of what exceeds
# that: rims of light, edges of shadows, gloss.
DISPLACED, LIGHTER, DARKER, ONE_SIDED_DETAIL = 0.009, 0.08, 0.2, 0.2
LIP_GLOSS, GLOSS_KEPT = (0.1, 0.4), 0.4  # log lightness over the lips' own that begins to be gloss; share left of it
LIP_HUE = 0.75  # share kept of a lip texel's difference from the lips' median hue (skin beside a thin lip, teeth)
REDDENED = 0.12  # log darkness at which a fold is fully reddened by light between its walls
FEWEST = 50  # texels needed to measure the lips' colour
FARTHEST, DARKEST = 2.0, 5.0  # log differences are clipped to this; black hair on pale skin goes further down


@dataclass(frozen=True, eq=False)
class Shaded:
    """A photograph's colours on a map, as logarithms over the skin's tone. light, red (S,S): lightness, and red over
    green; hue (S,S,3); wide (S,S): base layer of light; hair, beard, spared (S,S) 0..1: what is not skin; skin (S,S):
    how well skin was seen."""

    light: Array
    red: Array
    hue: Array
    wide: Array
    hair: Array
    beard: Array
    spared: Array
    skin: Array

    @property
    def bare(self) -> Array:
        """(S,S) 0..1: neither hair nor spared."""
        return (1 - np.maximum(self.hair, self.beard)) * (1 - self.spared)


def shaded(colour: Array, weight: Array, tone: Array, spared: Array, beard: Array) -> Shaded:
    """Split colours (S,S,3), already divided by the fitted light and seen with weight (S,S).

    tone (3,): the skin's; spared and beard (S,S) 0..1: what is not skin, such as lips.
    """
    away = np.clip(np.log(np.maximum(colour, 1e-4) / tone.astype(np.float32)), -DARKEST, FARTHEST)
    light = (away[..., 0] + away[..., 1] + away[..., 2]) * np.float32(1 / 3)
    hue = away - light[..., None]
    red = hue[..., 0] - hue[..., 1]
    hair = hairiness(light, red, len(colour) / 700, HAIR_DARK, HAIR_HUE)
    skin = (weight * (1 - np.maximum(hair, beard)) * (1 - spared)).astype(np.float32)
    return Shaded(light, red, hue, wide_part(light, skin), hair, beard, spared, skin)


def without_light(own: Shaded, other: Shaded, tone: Array, folded: Array, neck: Array) -> tuple[Array, Array]:
    """Linear albedo (S,S,3) of skin, and by how much log lightness (S,S) an expression's folds are less than that of
    skin at rest. other: the same photograph at the mirrored places; folded (S,S) 0..1: how strongly the expression
    creases the skin; neck (S,S) 0..1: below the chin."""
    beard = hairiness(own.light, own.red, BEARD_REACH * len(own.light), BEARD_DARK, BEARD_HUE)
    beard = np.maximum(beard, (1 - folded) * _strands(own.light))  # folds are dark and uneven, too
    beard = np.maximum(beard, own.beard)
    fold = folded * own.bare
    both = _both(own, other)
    detail = _matched(own, other, both * (1 - beard) * (1 - own.spared))
    creased = _unspotted(detail, own.skin, beard)
    detail, crease = _unfolded(creased, own.skin, fold * (1 - beard))
    folds = np.maximum(detail - creased, 0)
    hue, around = _skin_hue(own, other, beard)
    detail, hue = _matte_lips(own, detail, hue)
    # light reflected between the walls of a fold reddens it: it gets the hue of the skin around it
    hue = hue + (fold * smoothstep(-crease, 0.0, REDDENED))[..., None] * (around - hue)
    alike = _alike(own.wide, other.wide)
    known = ALIKE_KEPT * alike + ONE_SIDED_KEPT * (own.wide - alike)
    kept = both * known + (1 - both) * LIGHT_KEPT * own.wide
    kept = (1 - neck * (1 - NECK_KEPT)) * kept
    kept = kept - (1 - FOLD_KEPT) * fold * np.minimum(kept, 0)  # a wide fold is on both sides, too
    kept = (1 - beard) * kept + beard * own.wide
    out: Array = tone.astype(np.float32) * np.exp((kept + detail)[..., None] + hue)
    return np.clip(out, 0.0, 1.0), folds


def _matched(own: Shaded, other: Shaded, where: Array) -> Array:
    """(S,S) own detail, clamped to the range that the other side shows nearby, where (S,S) 0..1 both were seen."""
    size = len(own.light)
    small = min(SIZE, size)
    middles = []
    for each in (own, other):
        seen = cv2.resize(each.skin, (small, small), interpolation=cv2.INTER_AREA)
        detail = cv2.resize((each.light - each.wide) * each.skin, (small, small), interpolation=cv2.INTER_AREA)
        middles.append(smooth_within(detail / np.maximum(seen, 1e-4), seen, DISPLACED * small)[0])
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(DISPLACED * small) + 1,) * 2)
    most = np.maximum(cv2.dilate(middles[1], window), 0) + LIGHTER
    least = np.minimum(cv2.erode(middles[1], window), 0) - DARKER
    beyond = cv2.resize(middles[0] - np.clip(middles[0], least, most), (size, size))
    return own.light - own.wide - (1 - ONE_SIDED_DETAIL) * where * beyond


def _matte_lips(own: Shaded, detail: Array, hue: Array) -> tuple[Array, Array]:
    """Detail and hue with the whitish gloss of the lips removed, since the material adds it when rendered. The lips'
    hue is taken to be nearly uniform."""
    lips = own.spared > 0.5
    if lips.sum() < FEWEST:
        return detail, hue
    usual = float(np.median(own.light[lips]))
    gloss = np.clip(own.light - usual - LIP_GLOSS[0], 0, None) * own.spared
    tint = np.median(hue[lips & (own.light <= usual)], 0)
    whitened = np.maximum((1 - GLOSS_KEPT) * smoothstep(own.light - usual, *LIP_GLOSS), 1 - LIP_HUE)
    return detail - (1 - GLOSS_KEPT) * gloss, hue + (own.spared * whitened)[..., None] * (tint - hue)


def _skin_hue(own: Shaded, other: Shaded, beard: Array) -> tuple[Array, Array]:
    """(S,S,3) the corrected hue where skin was seen, and its base layer; beard (S,S) and lips keep theirs."""
    size = len(own.light)
    tint, seen = smooth_within(own.hue, own.skin, 0.02 * size)
    others, _ = smooth_within(other.hue, other.skin, 0.02 * size)
    one_sided = _both(own, other)[..., None] * (tint - _alike(tint, others))
    kept = HUE_KEPT * tint - (HUE_KEPT - ONE_SIDED_HUE) * one_sided
    kept = HUE_MOST * np.tanh(kept / HUE_MOST) * (1 - smoothstep(own.wide, *GLOSS))[..., None]
    known = np.clip(seen * 8, 0, 1) * (1 - beard) * (1 - own.spared)
    hue = own.hue + known[..., None] * (kept - tint)
    green = np.maximum(hue[..., 1] - GREENEST, 0) * known * own.bare
    return hue + green[..., None] * np.array([0.5, -1, 0.5], np.float32), kept


def _unfolded(detail: Array, skin: Array, fold: Array) -> tuple[Array, Array]:
    """Detail without the creases that an expression makes, and those creases; fold (S,S) 0..1: where it makes them.

    An expression alone makes a wide, soft valley. A line that the face has at rest is a sharp one in the middle of the
    valley: the larger the share of such lines, the more is kept.
    """
    size = len(detail)
    line = lines(detail)
    # freckles and moles are finer than folds or shorter, and stay
    crease, _ = smooth_within(detail, skin, CREASE * size)
    valley, rim = (long_parts(side * crease > LINE_DARK, FOLD_LENGTH * size) for side in (-1, 1))
    deep = skin * fold * valley
    sharp = float((deep * line).sum() / max(float((deep * np.maximum(-crease, 0)).sum()), 1e-6))
    own = OWN_MOST * float(smoothstep(np.array(sharp), *OWN_LINES))
    line = line * fold * (1 - LINE_KEPT) * (1 - own)
    return detail + line - (1 - FOLD_KEPT) * (1 - own) * fold * (valley + rim) * (crease + line), crease


def _both(own: Shaded, other: Shaded) -> Array:
    """(S,S) 0..1: where both sides were seen."""
    share, _ = smooth_within(np.minimum(own.skin, other.skin), np.ones_like(own.skin), 0.02 * len(own.light))
    return np.clip(8 * share, 0, 1)


def _alike(own: Array, other: Array) -> Array:
    """own clamped between 0 and other: what two sides have in common, 0 where their signs differ."""
    return np.clip(own, np.minimum(other, 0), np.maximum(other, 0))


def hairiness(light: Array, red: Array, blur: float, darkness: tuple[float, float], hue: tuple[float, float]) -> Array:
    """(S,S) 0..1: share of hair. light, red (S,S): logs of lightness and of red over green, relative to the skin's;
    blur: texels; darkness, hue: the values where hair begins and where all is hair."""
    dark, grey = (cv2.GaussianBlur(x.astype(np.float32), (0, 0), max(blur, 0.4)) for x in (light, red))
    return smoothstep(dark, *darkness) * smoothstep(grey, *hue)


def _strands(light: Array) -> Array:
    """(S,S) 0..1: how much log lightness (S,S) is dark and varies as strands of hair do."""
    size = len(light)
    fine = light - cv2.GaussianBlur(light, (0, 0), STRAND * size)
    dark, squared = (cv2.GaussianBlur(x, (0, 0), BEARD_REACH * size) for x in (light, fine * fine))
    return smoothstep(dark, *STRANDS_DARK) * smoothstep(np.sqrt(squared), *STRANDS)


def wide_part(light: Array, weight: Array) -> Array:
    """The base layer (S,S) of log lightness (S,S) known by weight (S,S): median filtered, so that wide edges stay."""
    size = len(light)
    small = min(SIZE, size)
    w = cv2.resize(weight, (small, small), interpolation=cv2.INTER_AREA)
    v = cv2.resize(light * weight, (small, small), interpolation=cv2.INTER_AREA) / np.maximum(w, 1e-4)
    around, near = smooth_within(v, w, 0.03 * small)
    own = np.clip(w * 3, 0, 1)
    filled = own * v + (1 - own) * np.clip(near * 20, 0, 1) * around
    # OpenCV's median of a large window takes bytes only
    levels = np.rint((np.clip(filled, -FARTHEST, FARTHEST) / FARTHEST + 1) * 127.5).astype(np.uint8)
    median = cv2.medianBlur(levels, 2 * int(REACH * small / 2) + 1).astype(np.float32) / 127.5 - 1
    smooth = cv2.GaussianBlur(FARTHEST * median, (0, 0), 0.15 * REACH * small)
    return cv2.resize(smooth, (size, size), interpolation=cv2.INTER_LINEAR)


def lines(detail: Array) -> Array:
    """(S,S) >= 0: how much darker long, narrow lines are than the skin on both sides of them (a bottom-hat filter)."""
    size = len(detail)
    width = max(3, int(LINE_WIDTH * size) | 1)
    filled = cv2.morphologyEx(detail, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    depth = filled - detail
    return depth * long_parts(depth > LINE_DARK, LINE_LENGTH * size)


def long_parts(found: Array, length: float) -> Array:
    """(S,S) 0..1: connected parts of found (S,S) bool longer than length, in texels, with a soft rim."""
    joined = cv2.dilate(found.astype(np.uint8), np.ones((3, 3), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined)
    long = np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]) > length
    long[0] = False
    return cv2.GaussianBlur(long[labels].astype(np.float32), (0, 0), 1.0)


def _unspotted(detail: Array, weight: Array, beard: Array) -> Array:
    """Detail without bright spots, other than a beard's."""
    mean, _ = smooth_within(detail, weight, FINE * len(detail))
    excess = np.clip(detail - mean - SPOT, 0, None)
    return detail - 0.8 * excess * (1 - beard)
