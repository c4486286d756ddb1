# SPDX-License-Identifier: GPL-3.0-or-later
"""Upper lashes that curve up. The kit's point straight ahead: from the front they hide the eye's white and leave the
lid bare. In photographs they darken the lid for some millimetres above its rim."""

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from ..arrays import Array
from ..finish.lashes import sheets_of
from ..headmodel import HeadModel
from ..headmodel.model import SKIN_PARTS

LIFT = (20.0, 52.0)  # degrees by which a lash is turned up at its root and at its tip
INNER = (0.4, 0.35)  # length kept at the inner corner of an eye, and the share of the lid over which it grows
STILL = 1e-7  # metres of motion that are none


def curl_lashes(model: HeadModel) -> HeadModel:
    """The model with its upper lashes curled, in rest and as its expressions turn them."""
    neutral, expression = model.neutral.astype(np.float64), model.expression.copy()
    skin = cKDTree(model.neutral[model.vertices_of(*SKIN_PARTS)])
    for sheet in sheets_of(model):
        if sheet.lower:
            continue
        grid = _columns(model, sheet.quads, skin)
        old = model.neutral[grid].astype(np.float64)
        new = _curled(old)
        neutral[grid] = new
        for key in expression:
            moved = key[grid].astype(np.float64)
            if np.abs(moved).max() > STILL:
                key[grid] = _turned_along(old, new, moved)
    return replace(model, neutral=neutral.astype(np.float32), expression=expression)


def _columns(model: HeadModel, faces: Array, skin: cKDTree) -> Array:
    """(C,R) vertices of a sheet of lash cards: C across the lid, R from root to tip."""
    corner = np.full(len(model.neutral), -1)
    corner[model.quads[faces]] = model.quads_uv[faces]
    vertices = np.flatnonzero(corner >= 0)
    across, along = model.uv[corner[vertices]].T
    count = len(np.unique(across.round(3)))
    grid = vertices[np.lexsort((along, across.round(3)))].reshape(count, -1)
    rooted = skin.query(model.neutral[grid[:, 0]])[0].sum() < skin.query(model.neutral[grid[:, -1]])[0].sum()
    return grid if rooted else grid[:, ::-1]


def _curled(points: Array) -> Array:
    """(C,R,3) points of a sheet, its pieces turned up about the lid's rim, the more the nearer to the tip."""
    rim = np.gradient(points[:, 0], axis=0)
    rim /= np.linalg.norm(rim, axis=1, keepdims=True)
    chord = points[:, -1] - points[:, 0]
    upwards = np.sign(np.cross(rim, chord)[:, 1:2])
    from_nose = np.abs(points[:, 0, 0])
    share = (from_nose - from_nose.min()) / np.ptp(from_nose)
    pieces = np.diff(points, axis=1) * np.interp(share, (0, INNER[1]), (INNER[0], 1.0))[:, None, None]
    for r, angle in enumerate(np.radians(np.linspace(*LIFT, pieces.shape[1]))):
        pieces[:, r] = Rotation.from_rotvec(angle * upwards * rim).apply(pieces[:, r])
    return points[:, :1] + np.concatenate([np.zeros_like(points[:, :1]), np.cumsum(pieces, 1)], 1)


def _turned_along(old: Array, new: Array, moved: Array) -> Array:
    """(C,R,3) motion of the curled sheet (C,R,3) for that of the old one: each column's root moves as it did, and the
    rest turns about it as the sheet did there."""
    out = np.empty_like(moved)
    for c in range(len(old)):
        near = np.s_[max(0, c - 1) : c + 2]
        root, shift = old[c, 0], moved[c, 0]
        before, after = (old[near] - root).reshape(-1, 3), (old[near] + moved[near] - root - shift).reshape(-1, 3)
        turn, _ = Rotation.align_vectors(after, before)
        arm = new[c] - new[c, 0]
        out[c] = shift + turn.apply(arm) - arm
    return out
