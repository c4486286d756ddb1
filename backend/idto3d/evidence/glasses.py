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
ARMS = (0.032, 0.044)  # metres above and below the eyes within which a frame goes on, over brows and to the ears
DARK = (-0.2, -0.36)  # logarithm of lightness over its surround
LENGTH, WIDTH, SOLID = 0.09, 0.018, 1 / 450  # of a map's side; blur that makes a brow's hairs one
DEEP, ALIKE = 0.2, 0.5  # log lightness less than on both sides of a frame; log by which its colours differ
BRIDGE, STRIP = 0.006, 0.002  # metres to both sides of the nose's middle; a frame is in all strips so wide
EDGE, BLACK = 0.006, 0.25  # of a map's side: how far a frame's edges reach; log lightness that frames may have more
BROW, MERGED = -0.7, 0.85  # log lightness of brows; share of one that would be frame
DIRECTIONS, ROUND = 12, 0.65  # from an eye; share of them in which a frame lies


def frame_zones(model: HeadModel) -> Array:
    """(P,3): where frames lie around the eyes, and where they may go on, 0..1; metres from the middle to the left."""
    points = model.neutral.astype(np.float64)
    marks = model.landmarks(points)
    lids = np.stack([marks[list(outline)] for outline in EYES])
    away = np.linalg.norm(points[:, None] - lids.mean(1), axis=2).min(1)
    clear = ramp(np.linalg.norm(points[:, None] - lids.reshape(-1, 3), axis=2).min(1), *GAP)
    arms = clear * ramp(np.abs(points[:, 1:2] - lids.mean(1)[:, 1]).min(1), *ARMS[::-1])
    return np.stack([arms * ramp(away, *REACH[::-1]), arms, points[:, 0]], 1)


def directions(model: HeadModel, points: Array) -> Array:
    """(N,) in which of DIRECTIONS, from 0 on, points (N,3) lie from the nearer eye; those of the second eye follow."""
    middles = np.stack([model.landmarks(model.neutral)[list(outline)].mean(0) for outline in EYES])
    eye = np.abs(points[:, :1] - middles[:, 0]).argmin(1)
    across, up, _ = (points - middles[eye]).T
    turn = np.arctan2(up, across) / (2 * np.pi) + 0.5
    return eye * DIRECTIONS + np.minimum((turn * DIRECTIONS).astype(int), DIRECTIONS - 1)


def frames(detail: Array, away: Array, zones: Array, brows: Array) -> Array:
    """(S,S) 0..1: where glasses' frames hide the skin, if there are any: something dark and long around an eye that
    crosses the nose, the narrow lines by which it goes on to the ears, those of its colour over the brows, which are
    wider, and the edges of all these.

    detail (S,S): log lightness less that of its surround; away (S,S,3): log colours over the skin's tone; zones
    (S,S,4): `frame_zones` and `directions`; brows (S,S) 0..1.
    """
    size = len(detail)
    near, reach, across, direction = np.moveaxis(zones, -1, 0)
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
    narrow = narrow & alike & (reach > 0)
    ring = _reached(narrow, sure) & (near > 0)
    met = np.unique(direction[ring & narrow].astype(int))
    bridge = np.unique(np.floor(across[ring & (np.abs(across) < BRIDGE)] / STRIP))
    if np.bincount(met // DIRECTIONS, minlength=2).max() < ROUND * DIRECTIONS or len(bridge) < 2 * BRIDGE / STRIP:
        return np.zeros_like(rims)
    light = away.mean(2)
    black = (light < np.median(light[sure]) + BLACK) & (reach > 0)
    found = _reached(narrow | black, sure)
    for eye in (direction < DIRECTIONS, direction >= DIRECTIONS):
        brow = eye & (brows > 0.5) & (light < BROW)
        if brow.any() and found[brow].mean() > MERGED:  # the frame cannot be told from a brow as black
            black = black & ~brow
            found = _reached(narrow | black, sure)
    out = np.maximum(rims, np.maximum(dark, black) * reach * found)
    # Beside it lie its inner side, which may be bright, and its blurred edges; over a brow less of them is left out.
    edges = np.maximum(_wider(out, EDGE * size) * (1 - brows), _wider(out, 0.5 * EDGE * size))
    return np.maximum(out, edges * (reach > 0))


def _reached(candidates: Array, start: Array) -> Array:
    """(S,S) bool: the connected parts of candidates and start, both (S,S) bool, that hold some of start."""
    _, parts = cv2.connectedComponents((candidates | start).astype(np.uint8))
    return np.isin(parts, np.unique(parts[start]))


def _wider(found: Array, radius: float) -> Array:
    """(S,S) 0 or 1: within so many texels of found (S,S)."""
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(radius) + 1,) * 2)
    return cv2.dilate((found > 0.4).astype(np.float32), disk)
