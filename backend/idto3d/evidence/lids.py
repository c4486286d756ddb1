# SPDX-License-Identifier: GPL-3.0-or-later
"""Upper lids as they are when they close. A photo of an open eye shows them folded, through lashes, in the brow's
shadow, and so briefly that a pixel covers millimetres: of that tone little is the skin's."""

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..fit.projection import BROWS, EYES
from ..fit.rims import along
from ..headmodel import HeadModel
from ..mesh.texels import Texels
from ..ramps import ramp
from .blend import smooth_within

NEAR = 0.08  # metres from between the eyes
REACH = 0.01  # metres from a place of the outline to the map's nearest texel, at most
UNDER_BROW = 0.5  # of the way from the lashes to the brow: what is above may be brow
WIDER = 1.2  # times the eye's outline: lashes' shadows
SOFT = 0.004  # of the map's side: blur of the border
BROAD, AROUND = 0.004, 0.02  # of the side: what of a lid is tone, not detail; where the skin around is looked at
DETAIL = 0.6  # share kept of what is finer: strokes of lashes are drawn out over a closed lid
BLINK = "eyeBlink"
FOLDED = (0.03, 0.15)  # of the lashes' way, by which a closing eye draws skin out that was in its fold
LIGHTER, DARKER = 0.03, 0.16  # logarithms by which a lid's tone may differ from that of the skin around it


def even_lids(model: HeadModel, at: Texels, albedo: Array, seen: Array) -> Array:
    """Linear albedo (S,S,3) whose upper lids have about the tone of the skin beside and below them, and their own
    detail."""
    size, points, marks = at.size, at.at(model.neutral), model.landmarks(model.neutral)
    around = np.flatnonzero(np.linalg.norm(points - marks[[*EYES[0], *EYES[1]]].mean(0), axis=1) < NEAR)
    if not len(around):
        return albedo
    away, nearest = cKDTree(points[around]).query([_outline(marks, *both) for both in zip(EYES, BROWS, strict=True)])
    if away.max() > REACH:
        return albedo
    folded = np.maximum(at.image(at.at(_folded(model)[:, None])[:, 0]), 1 - seen)
    out = np.log(np.maximum(albedo, 1e-3)).astype(np.float32)
    own, _ = smooth_within(out, np.ones((size, size), np.float32), BROAD * size)
    for eye, outline in zip(EYES, nearest, strict=True):
        rows, columns = np.divmod(at.index[around[outline]], size)
        lid: Array = np.zeros((size, size), np.float32)
        cv2.fillPoly(lid, [np.stack([columns, rows], 1).astype(np.int32)], 1.0)
        ring = cv2.dilate(lid, np.ones((2 * round(AROUND * size) + 1,) * 2)) - lid
        beside = at.of_image(ring) * (points[:, 1] < marks[list(eye), 1].max())
        tone = np.median(at.of_image(out)[beside > 0.5], 0)
        grey = (own - tone).mean(2, keepdims=True)
        most = np.where(grey > 0, LIGHTER, DARKER)
        even = tone + most * np.tanh(grey / most) + DETAIL * (out - own)
        out += (cv2.GaussianBlur(lid, (0, 0), SOFT * size) * folded)[..., None] * (even - out)
    return np.exp(out)


def _folded(model: HeadModel) -> Array:
    """(P,) 0..1: skin that the upper lid folds away while the eye is open."""
    if not {BLINK, f"{BLINK}_L"} & {*model.expression_names}:
        return np.zeros(len(model.neutral))
    down = -model.motion(model.expression_vector({BLINK: 1.0}))[:, 1]
    return ramp(down / down.max(), *FOLDED)


def _outline(marks: Array, eye: tuple[int, ...], brow: tuple[int, ...]) -> Array:
    """(K,3) around an upper lid, and what closes under it, of landmarks (478,3)."""
    lower, upper = marks[[*eye[:9]]], marks[[eye[0], *eye[:7:-1]]]  # from the outer corner to the inner
    edge = marks[[*brow[9:4:-1]]]
    above = along(edge, len(upper))
    middle = marks[list(eye)].mean(0)
    lower, upper = (middle + WIDER * (line - middle) for line in (lower, upper))
    return np.concatenate([lower, (upper + UNDER_BROW * (above - upper))[::-1]])
