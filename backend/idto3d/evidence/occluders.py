# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds things that cover skin in a photograph, by colour and place, so that they are left out: strands over the
forehead, frames of glasses, cloth, objects held before the face."""

import cv2
import numpy as np
from scipy.ndimage import convolve1d

from ..arrays import Array
from ..fit.projection import BROWS, OVAL, polygon_mask
from ..headmodel import HeadModel
from ..photos.faces import Face
from ..photos.landmarks import LIPS
from ..ramps import ramp, smoothstep
from .delight import Shaded, hairiness, wide_part
from .glasses import frames

SKIN_CHROMA, SKIN_LIGHTNESS = 0.28, 0.7  # logs by which skin outside the face may differ from the face's tone
# The neck is divided into bands (metres high) and sectors (parts of a turn); share of skin in a collar and in a neck.
BAND, BANDS, SECTORS, SKIN_SHARE = 0.0025, 120, 36, (0.35, 0.6)
RIM = (0.6, 0.35)  # cosine to the camera from where on a place may lie beyond the face's outline, and where it does
# Logs of lightness, and of red over green, by which the rim differs from the other half of the face: skin, and no skin
# any more. Of a side: how wide that is asked.
OTHER_LIGHT, OTHER_RED, RIM_BLUR = (0.45, 0.8), (0.15, 0.3), 0.004
# Cosine to the camera from where skin mirrors what is beside it, and where it does; log blue over red, over skin's, of
# skin and of what it mirrors: a white wall, a window.
GRAZING, WHITENED = (0.75, 0.5), (0.25, 0.5)
FEWEST = 2.0  # seen texels (sum of weights) needed for a decision
STRAND_DARK, STRAND_HUE = (-0.15, -0.4), (-0.06, -0.2)
COLLAR = 8  # bands without skin that make a collar; fewer are the chin's shadow or a chain
# Of the neck: log of lightness a texel at which skin ends, in a map of EDGE_SIZE; the share of it that is blurred.
EDGE, EDGE_SIZE, EDGE_BLUR = 0.08, 1024, 1 / 700
GLARE = (0.7, 1.1)  # log of lightness over the tone: lighter than skin can be, except for reflections
BLUE = (0.03, 0.15)  # log blue over red and over green: neither skin nor hair is blue
GREY, BLUE_SHARE = -0.45, 0.05  # log red over blue, less skin's; share of a grey thing that is blue, if it is no hair


def features_of(face: Face) -> Array:
    """(S,S,3) float32 0..1: the picture's pixels inside the face's outline, on the lips, on and around the brows."""
    size = len(face.picture)
    unit = max(1.0, float(np.ptp(face.landmarks[:468, 1])) / 150)
    oval, lips = (polygon_mask(size, face.landmarks, outline).astype(np.float32) for outline in (OVAL, LIPS))
    brows: Array = np.zeros((size, size), np.float32)
    for outline in BROWS:
        brows = np.maximum(brows, polygon_mask(size, face.landmarks, outline).astype(np.float32))
    brows = cv2.dilate(brows, np.ones((3, 3), np.uint8), iterations=int(round(5 * unit)))
    blurred = [cv2.GaussianBlur(x, (0, 0), s) for x, s in ((oval, size / 200), (lips, max(0.7, unit)), (brows, unit))]
    return np.dstack(blurred)


def zones_of(model: HeadModel) -> Array:
    """(P,4): where strands of a fringe may lie, 0..1; position by the neck, see `above_collar`."""
    points = model.neutral.astype(np.float64)
    marks = model.landmarks(points)
    top = max(marks[list(outline), 1].max() for outline in BROWS)
    forehead = np.clip((points[:, 1] - top) / 0.004, 0, 1) * model.vertices_of("face")
    below = marks[152, 1] - points[:, 1]
    depth = points[below > 0, 2] if (below > 0).any() else points[:, 2]
    axis = (depth.min() + depth.max()) / 2
    return np.stack([forehead, below, points[:, 0], points[:, 2] - axis], 1)


def beyond_rim(own: Shaded, other: Shaded, other_seen: Array, facing: Array) -> Array:
    """(S,S) 0..1: where the face's rim shows what stands behind it: unlike the mirrored place, which is seen better.

    other_seen (S,S): how well that is seen; facing (S,S): own cosine to the camera.
    """
    blur = RIM_BLUR * len(facing)
    light, red = (cv2.GaussianBlur(a - b, (0, 0), blur) for a, b in ((own.light, other.light), (own.red, other.red)))
    unlike = np.maximum(ramp(abs(light), *OTHER_LIGHT), ramp(abs(red), *OTHER_RED))
    return np.asarray(unlike * other_seen * ramp(facing, *RIM), np.float32)


def mirroring(skin: Shaded, facing: Array) -> Array:
    """(S,S) 0..1: where the face's rim, as all surfaces at a grazing angle, mirrors a bright room: it is whiter than
    skin. facing (S,S): cosine to the camera."""
    blue = cv2.GaussianBlur(skin.hue[..., 2] - skin.hue[..., 0], (0, 0), RIM_BLUR * len(facing))
    return np.asarray(ramp(blue, *WHITENED) * ramp(facing, *GRAZING), np.float32)


def skin_like(colour: Array, tone: Array) -> Array:
    """(N,) 0..1: likeness of colours (N,3) to skin of a tone (3,)."""
    # channel by channel: NumPy is slow over so short an axis
    red, green, blue = (np.log(np.maximum(colour[:, c], 1e-3) / np.float32(tone[c])) for c in range(3))
    lightness = (red + green + blue) / 3
    chroma = np.maximum(np.maximum(abs(red - lightness), abs(green - lightness)), abs(blue - lightness))
    squared = lightness * lightness * (1 / SKIN_LIGHTNESS**2)
    return np.exp(-chroma * chroma * (1 / SKIN_CHROMA**2) - squared * squared)


def above_collar(like: Array, weight: Array, neck: Array) -> Array:
    """(N,) 0..1: 0 from the height downwards, in each sector of the neck, at which most of what is seen is not skin.
    neck (N,3): metres below the chin, and to the left and to the front of the neck's axis."""
    below, around = neck[:, 0], np.arctan2(neck[:, 1], neck[:, 2]) / (2 * np.pi)
    shape = SECTORS, BANDS
    band = np.clip((below / BAND).astype(int), 0, BANDS - 1)
    sector = np.clip(((around + 0.5) * SECTORS).astype(int), 0, SECTORS - 1)
    place = sector * BANDS + band
    own = (below > 0) * weight**2  # colours seen at grazing angles, as under the chin, are unreliable
    total, skin = (np.bincount(place, w, SECTORS * BANDS).reshape(shape) for w in (own, own * like))
    window = np.r_[np.zeros(COLLAR - 1), np.ones(COLLAR)]  # of a band and those below it
    total, skin = (convolve1d(x, window[::-1], 1, mode="constant") for x in (total, skin))
    total, skin = (x + np.roll(x, 1, 0) + np.roll(x, -1, 0) for x in (total, skin))
    share = np.where(total > FEWEST, skin / np.maximum(total, 1e-6), 1.0)
    share = np.minimum.accumulate(share, 1)
    bare = ramp(share, *SKIN_SHARE)
    bare = (bare + np.roll(bare, 1, 0) + np.roll(bare, -1, 0)) / 3
    return np.where(below > 0, bare.ravel()[place], 1.0).astype(np.float32)


def neck_piece(colour: Array, seen: Array, neck: Array) -> Array:
    """(S,S) 0..1: 0 on what is seen (S,S) of the neck (S,S) 0..1 apart from its largest piece that has no sharp edge in
    the linear colours (S,S,3): clothes may have skin's colour, and lie behind a collar or a chain."""
    size = len(colour)
    light = np.log(np.maximum(colour, 1e-3)).mean(2).astype(np.float32)
    down, right = np.gradient(cv2.GaussianBlur(light, (0, 0), EDGE_BLUR * size))
    place = (seen > 0.1) & (neck > 0.5)
    smooth = (place & (np.hypot(down, right) < EDGE * EDGE_SIZE / size)).astype(np.uint8)
    rim, bridge = np.ones((3, 3), np.uint8), max(1, size // 340)  # edges have gaps
    _, pieces = cv2.connectedComponents(cv2.erode(smooth, rim, iterations=bridge))
    count = np.bincount(pieces.ravel())
    count[0] = 0
    whole = ((pieces == count.argmax()) & (pieces > 0)).astype(np.float32)
    whole = cv2.erode(cv2.dilate(whole, rim, iterations=2 * bridge), rim, iterations=bridge)  # with its moles
    return cv2.GaussianBlur(np.where(neck > 0.5, whole, np.float32(1.0)), (0, 0), size / 350)


def occluders(colour: Array, weight: Array, tone: Array, zones: Array, glasses: Array) -> Array:
    """(S,S) 0..1: where colours (S,S,3) linear, seen with weight (S,S), belong to something in front of the skin.

    zones (S,S,3): where strands of a fringe may lie, brows, and beards, which may be white, 0..1; glasses (S,S,4): as
    `glasses.frames` wants it.
    """
    size = len(colour)
    away = np.clip(np.log(np.maximum(colour, 1e-4) / tone.astype(np.float32)), -2, 2)
    light = (away[..., 0] + away[..., 1] + away[..., 2]) * np.float32(1 / 3)
    detail = cv2.GaussianBlur(light - wide_part(light, weight.astype(np.float32)), (0, 0), size / 900)
    rims = frames(detail, away, glasses, zones[..., 1])
    red = away[..., 0] - away[..., 1]
    strands = hairiness(light, red, size / 600, STRAND_DARK, STRAND_HUE) * zones[..., 0] * (1 - zones[..., 1])
    soft = np.maximum(cv2.GaussianBlur(colour, (0, 0), size / 350), 1e-4)
    blue = smoothstep(np.log(soft[..., 2] / np.maximum(soft[..., 0], soft[..., 1])), *BLUE)
    blue = np.maximum(blue, _grey_and_blue(away, blue, weight > 0.1))
    over = np.log(soft / tone.astype(np.float32))
    glare = smoothstep((over[..., 0] + over[..., 1] + over[..., 2]) / 3, *GLARE) * (1 - zones[..., 2])
    found = np.maximum.reduce([rims, strands, blue, glare]).astype(np.float32)
    wider = cv2.dilate(found, np.ones((3, 3), np.uint8), iterations=max(1, size // 340))
    return cv2.GaussianBlur(wider, (0, 0), size / 700)


def _grey_and_blue(away: Array, blue: Array, seen: Array) -> Array:
    """(S,S) 0..1: whole objects, such as microphones, that are grey and partly blue (S,S) 0..1. away (S,S,3): log
    colours over the tone; seen (S,S) bool."""
    grey = cv2.GaussianBlur(away[..., 0] - away[..., 2], (0, 0), len(away) / 350) < GREY
    _, labels = cv2.connectedComponents(((grey | (blue > 0.5)) & seen).astype(np.uint8))
    count = np.bincount(labels.ravel())
    share = np.bincount(labels.ravel(), blue.ravel()) / np.maximum(count, 1)
    share[0] = 0.0
    rim = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * (len(away) // 100) + 1,) * 2)  # edges mix with skin
    return cv2.dilate((share > BLUE_SHARE)[labels].astype(np.float32), rim)
