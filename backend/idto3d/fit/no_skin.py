# SPDX-License-Identifier: GPL-3.0-or-later
"""What a photograph shows where skin should be, and is none: strands over the forehead, frames of glasses, cloth, what
somebody holds before the face. It is told by colour and place, and left out."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..headmodel import HeadModel
from ..photos.faces import Face
from ..ramps import smoothstep
from .delight import hairiness, long_parts, wide_part
from .projection import BROWS, EYES, LIPS, OVAL, polygon_mask

Array = NDArray[Any]

SKIN_CHROMA, SKIN_LIGHTNESS = 0.28, 0.7  # logarithms by which skin outside the face may differ from the tone of it
BAND, SKIN_SHARE = 0.005, (0.35, 0.6)  # metres; share of skin in a band of the neck from a collar's to the neck's
FRAME_REACH, FRAME_GAP = (0.03, 0.045), (0.004, 0.006)  # metres around an eye; from its lids
FRAME_DARK = (-0.2, -0.36)  # logarithm of lightness over its surround
FRAME_LENGTH = 0.09  # of a map's side
STRAND_DARK, STRAND_HUE = (-0.15, -0.4), (-0.06, -0.2)
COLLAR = 2  # bands that a collar's shadow and its edge, drawn higher by a turned head, reach up
GLARE = (0.7, 1.1)  # logarithm of lightness over the tone: no skin is lighter, but what it mirrors
BLUE = (0.03, 0.15)  # log blue over red and over green: neither skin nor hair is blue


def features_of(face: Face) -> Array:
    """(S,S,3) float32 0..1 in the picture: inside the face's outline, lips, brows with a rim."""
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
    """(P,3): where frames may lie, where strands may, 0..1; metres below the chin."""
    points = model.neutral.astype(np.float64)
    marks = np.einsum("kjc,kj->kc", points[model.landmark_triangle], model.landmark_barycentric)
    frames = np.zeros(len(points))
    for outline in EYES:
        lids = marks[list(outline)]
        away = np.linalg.norm(points - lids.mean(0), axis=1)
        gap = np.linalg.norm(points[:, None] - lids[None], axis=2).min(1)
        here = np.clip((FRAME_REACH[1] - away) / (FRAME_REACH[1] - FRAME_REACH[0]), 0, 1)
        frames = np.maximum(frames, here * np.clip((gap - FRAME_GAP[0]) / (FRAME_GAP[1] - FRAME_GAP[0]), 0, 1))
    top = max(marks[list(outline), 1].max() for outline in BROWS)
    forehead = np.clip((points[:, 1] - top) / 0.004, 0, 1) * model.vertices_of("face")
    return np.stack([frames, forehead, marks[152, 1] - points[:, 1]], 1)


def skin_like(colour: Array, tone: Array) -> Array:
    """(N,) 0..1: whether colours (N,3) look like skin of a tone (3,)."""
    # channel by channel: NumPy is slow over so short an axis
    red, green, blue = (np.log(np.maximum(colour[:, c], 1e-3) / np.float32(tone[c])) for c in range(3))
    lightness = (red + green + blue) / 3
    chroma = np.maximum(np.maximum(abs(red - lightness), abs(green - lightness)), abs(blue - lightness))
    squared = lightness * lightness * (1 / SKIN_LIGHTNESS**2)
    out: Array = np.exp(-chroma * chroma * (1 / SKIN_CHROMA**2) - squared * squared)
    return out


def above_collar(like: Array, weight: Array, below: Array) -> Array:
    """(N,) 0..1: 0 from where, going down from the chin, most of what is seen is no skin. below (N,): metres."""
    band = np.clip((below / BAND).astype(int), 0, 60)
    own = (below > 0) * weight
    total = np.bincount(band, own, 61)
    share = np.bincount(band, own * like, 61) / np.maximum(total, 1e-6)
    share = np.minimum.accumulate(np.where(total > 5, share, 1.0))
    share = np.r_[share[COLLAR:], np.full(COLLAR, share[-1])]
    bare = np.clip((share - SKIN_SHARE[0]) / (SKIN_SHARE[1] - SKIN_SHARE[0]), 0, 1)
    out: Array = np.where(below > 0, bare[band], 1.0).astype(np.float32)
    return out


def no_skin(colour: Array, weight: Array, tone: Array, zones: Array) -> Array:
    """(S,S) 0..1: where colours (S,S,3) linear, seen with weight (S,S), are something before the skin.

    zones (S,S,2): where frames of glasses and strands of hair may lie.
    """
    size = len(colour)
    away = np.clip(np.log(np.maximum(colour, 1e-4) / tone.astype(np.float32)), -2, 2)
    light = (away[..., 0] + away[..., 1] + away[..., 2]) * np.float32(1 / 3)
    detail = cv2.GaussianBlur(light - wide_part(light, weight.astype(np.float32)), (0, 0), size / 900)
    dark = smoothstep(-detail, -FRAME_DARK[0], -FRAME_DARK[1]) * zones[..., 0]
    frames = dark * long_parts(dark > 0.4, FRAME_LENGTH * size)  # wrinkles and freckles are shorter
    red = away[..., 0] - away[..., 1]
    strands = hairiness(light, red, size / 600, STRAND_DARK, STRAND_HUE) * zones[..., 1]
    soft = np.maximum(cv2.GaussianBlur(colour, (0, 0), size / 350), 1e-4)
    blue = smoothstep(np.log(soft[..., 2] / np.maximum(soft[..., 0], soft[..., 1])), *BLUE)
    glare = smoothstep((np.log(soft / tone.astype(np.float32))).mean(2), *GLARE)
    found = np.maximum.reduce([frames, strands, blue, glare]).astype(np.float32)
    wider = cv2.dilate(found, np.ones((3, 3), np.uint8), iterations=max(1, size // 340))
    return cv2.GaussianBlur(wider, (0, 0), size / 700)
