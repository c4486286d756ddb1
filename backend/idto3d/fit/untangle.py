# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes self-intersections of the skin.

A head is a warp of the mean head, which has no self-intersections. Where surfaces lie close together, as lips, lids and
the walls of nostrils do, modes that move them slightly differently make them intersect. There the warp is smoothed in
space instead of along the surface, so that both move alike, and only as much as is needed.
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.spatial import cKDTree

from ..arrays import Array
from ..headmodel import HeadModel
from ..headmodel.model import SKIN_PARTS
from ..mesh.intersections import self_intersections

SOFT = ("mouth_socket", "eye_socket", "lacrimal", "eye_blend", "eye_occlusion", "lashes")
"""Parts that move with the skin next to them."""
CLEARANCE = 2e-7  # metres by which two triangles must intersect to count; finer than the evaluation's
SPREAD = 0.004  # metres: standard deviation of the smoothing in space
REACH = 0.008  # metres from an intersection beyond which nothing changes
WIDER = 1.4  # factor on both when the fully smoothed warp is not enough
STEP = 0.35  # of the smoothed warp, added with each round
SURROUNDINGS = 0.03  # metres round the first intersections within which new ones are searched
SLACK = 0.1  # regularises the gradient of the warp where the neighbourhood is flat
ROUNDS = 16


def untangle(model: HeadModel, points: Array) -> Array:
    """(P,3) displacement that removes the self-intersections of a head's skin (P,3); zero if there are none.

    If some remain after all rounds, the round with the fewest is returned.
    """
    triangles = model.triangles_of(*SKIN_PARTS)
    pairs = self_intersections(points, triangles, CLEARANCE)
    best, fewest = np.zeros_like(points), len(pairs)
    if not fewest:
        return best
    hit = np.unique(triangles[pairs])
    mean = model.neutral.astype(np.float64)
    skin = np.flatnonzero(model.vertices_of(*SKIN_PARTS))
    soft = np.flatnonzero(model.vertices_of(*SKIN_PARTS, *SOFT))
    around = cKDTree(mean[hit]).query(mean, distance_upper_bound=SURROUNDINGS)[0]
    triangles = triangles[np.isfinite(around)[triangles].any(1)]
    warp, share, wide = points - mean, np.zeros(len(points)), 1.0
    smoothed, known = np.zeros_like(points), np.zeros(len(points), bool)  # at the present width
    for number in range(1, ROUNDS + 1):
        if np.median(share[hit]) >= 1:
            wide *= WIDER
            known[:] = False
        distance = cKDTree(mean[hit]).query(mean[soft], distance_upper_bound=wide * REACH)[0]
        near = np.clip(1 - (distance / (wide * REACH)) ** 2, 0, 1) ** 2
        share[soft] = np.maximum(share[soft], min(1.0, STEP * number) * np.minimum(1.0, 1.3 * near))
        rows = np.flatnonzero(share > 0)
        new = rows[~known[rows]]
        if len(new):
            smoothed[new] = _smooth(mean, warp, skin, new, wide * SPREAD)
            known[new] = True
        change = np.zeros_like(points)
        change[rows] = share[rows, None] * (smoothed[rows] - warp[rows])
        pairs = self_intersections(points + change, triangles, CLEARANCE)
        if len(pairs) < fewest:
            best, fewest = change, len(pairs)
        if not fewest:
            break
        hit = np.unique(triangles[pairs])
    return best


def _smooth(mean: Array, warp: Array, skin: Array, rows: Array, spread: float) -> Array:
    """(R,3) the warp (P,3) of the mean head at vertices `rows`, smoothed by moving least squares with linear functions
    of space over the skin's vertices (Lancaster and Salkauskas 1981)."""
    near = cKDTree(mean[skin]).query_ball_point(mean[rows], 2.5 * spread)
    i, j = np.repeat(np.arange(len(rows)), [len(own) for own in near]), np.concatenate(near).astype(np.int64)
    offset = np.c_[np.ones(len(i)), (mean[skin[j]] - mean[rows[i]]) / spread]
    weight = np.exp(-0.5 * (offset[:, 1:] ** 2).sum(1))

    def total(values: Array) -> Array:
        return coo_array((weight, (i, np.arange(len(i)))), shape=(len(rows), len(i))).tocsr() @ values

    normal = total((offset[:, :, None] * offset[:, None, :]).reshape(-1, 16)).reshape(-1, 4, 4)
    normal[:, 1:, 1:] += SLACK * normal[:, :1, :1] * np.eye(3)
    right = total((offset[:, :, None] * warp[skin[j]][:, None, :]).reshape(-1, 12)).reshape(-1, 4, 3)
    return np.linalg.solve(normal, right)[:, 0]
