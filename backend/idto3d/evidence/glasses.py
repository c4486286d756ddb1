# SPDX-License-Identifier: GPL-3.0-or-later
"""Glasses: where their frames hide the skin in a photograph laid on the head's map."""

import cv2
import numpy as np

from ..arrays import Array
from ..fit.projection import EYES
from ..headmodel import HeadModel
from ..ramps import ramp, smoothstep
from .delight import long_parts

REACH, GAP = (0.03, 0.045), (0.004, 0.006)  # metres around an eye; from its lids
ARMS = (0.022, 0.032)  # metres above and below the eyes within which a frame goes on, over brows and to the ears
DARK = (-0.2, -0.36)  # logarithm of lightness over its surround
LENGTH, WIDTH, SOLID = 0.09, 0.018, 1 / 450  # of a map's side; blur that makes a brow's hairs one
DEEP, ALIKE = 0.2, 0.5  # log lightness less than on both sides of a frame; log by which its colours differ
DIRECTIONS, ROUND = 12, 0.65  # from an eye; share of them in which a frame lies: wrinkles and shadows lie in fewer


def frame_zones(model: HeadModel) -> Array:
    """(P,2) 0..1: where frames lie around the eyes, and where they may go on."""
    points = model.neutral.astype(np.float64)
    marks = model.landmarks(points)
    lids = np.stack([marks[list(outline)] for outline in EYES])
    away = np.linalg.norm(points[:, None] - lids.mean(1), axis=2).min(1)
    clear = ramp(np.linalg.norm(points[:, None] - lids.reshape(-1, 3), axis=2).min(1), *GAP)
    arms = clear * ramp(np.abs(points[:, 1:2] - lids.mean(1)[:, 1]).min(1), *ARMS[::-1])
    return np.stack([arms * ramp(away, *REACH[::-1]), arms], 1)


def directions(model: HeadModel, points: Array) -> Array:
    """(N,) in which of DIRECTIONS, from 0 on, points (N,3) lie from the nearer eye; those of the second eye follow."""
    middles = np.stack([model.landmarks(model.neutral)[list(outline)].mean(0) for outline in EYES])
    eye = np.abs(points[:, :1] - middles[:, 0]).argmin(1)
    across, up, _ = (points - middles[eye]).T
    turn = np.arctan2(up, across) / (2 * np.pi) + 0.5
    return eye * DIRECTIONS + np.minimum((turn * DIRECTIONS).astype(int), DIRECTIONS - 1)


def frames(detail: Array, away: Array, zones: Array, brows: Array) -> Array:
    """(S,S) 0..1: where glasses' frames hide the skin, if there are any: something dark and long around an eye, the
    narrow lines by which it goes on to the ears, and those of its colour over the brows, which are wider.

    detail (S,S): log lightness less that of its surround; away (S,S,3): log colours over the skin's tone; zones
    (S,S,3): `frame_zones` and `directions`; brows (S,S) 0..1.
    """
    size = len(detail)
    near, reach, direction = np.moveaxis(zones, -1, 0)
    dark = smoothstep(detail, *DARK)
    rims = dark * near * (1 - brows)
    rims = rims * long_parts(rims > 0.4, LENGTH * size)  # freckles and most wrinkles are shorter
    sure = rims > 0.4
    if not sure.any():
        return rims
    solid, colours = (cv2.GaussianBlur(x, (0, 0), SOLID * size) for x in (detail, away))
    alike = (np.abs(colours - np.median(colours[sure], 0)).max(2) < ALIKE) | (brows < 0.5)
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(WIDTH * size) | 1,) * 2)
    narrow = cv2.morphologyEx(solid, cv2.MORPH_BLACKHAT, window) > DEEP
    _, parts = cv2.connectedComponents((narrow & alike & (reach > 0) | sure).astype(np.uint8))
    found = np.isin(parts, np.unique(parts[sure]))
    met = np.unique(direction[found & narrow & (near > 0)].astype(int))
    if np.bincount(met // DIRECTIONS, minlength=2).max() < ROUND * DIRECTIONS:
        return np.zeros_like(rims)
    return np.maximum(rims, dark * reach * found)
