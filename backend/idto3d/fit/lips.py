# SPDX-License-Identifier: GPL-3.0-or-later
"""Closes the lips at rest: the gap is measured on the mesh and closed by the head model's own closing expression."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from ..arrays import Array
from ..headmodel import HeadModel
from ..mesh.surface import edges_of

CLOSING = "mouthClose"
UPPER = (185, 40, 39, 37, 0, 267, 269, 270, 409)
LOWER = (146, 91, 181, 84, 17, 314, 405, 321, 375)
"""Landmarks on the outer rims of the upper and the lower lip."""
CORNERS = (61, 291)
SOFT = ("face", "back_head", "mouth_socket")
APART = -0.0003  # metres of gap that are wanted in each column: a slight overlap in height
LIP = 0.02  # metres of geodesic distance from a lip's outer rim that belong to the lip
COLUMNS = 9
MIDDLE = 0.6  # of the mouth's width, where both rims are distinct
MOST = 0.3  # of the closing expression; a mouth that needs more is open
OPENED = 0.05  # of it, backwards, at most: lips that overlap by more are the fold of a corner
ROUNDS = 12


def close_lips(model: HeadModel, points: Array) -> Array:
    """(P,3) displacement that makes the lips of a head at rest, points (P,3), touch along the whole mouth without
    intersecting."""
    lips = _find_lips(model)
    if CLOSING not in model.expression_names or lips is None:
        return np.zeros_like(points)
    motion = model.expression[model.expression_names.index(CLOSING)].astype(np.float64)
    motion[~model.vertices_of(*SOFT)] = 0.0
    place = model.landmarks(points)
    right, left = sorted(float(place[k, 0]) for k in CORNERS)
    margin = (1 - MIDDLE) / 2 * (left - right)
    edges = np.linspace(right + margin, left - margin, COLUMNS + 1)
    widest = _gaps(lips, points - OPENED * motion, edges)
    known = np.isfinite(widest) & (widest > APART)
    if not known.any():
        return np.zeros_like(points)
    middles = ((edges[1:] + edges[:-1]) / 2)[known]
    low, high = np.full(len(middles), -OPENED), np.full(len(middles), MOST)
    for _ in range(ROUNDS):
        share = (low + high) / 2
        moved = points + np.interp(points[:, 0], middles, share)[:, None] * motion
        apart = _gaps(lips, moved, edges)[known] > APART
        low, high = np.where(apart, share, low), np.where(apart, high, share)
    return np.interp(points[:, 0], middles, high)[:, None] * motion


def _gaps(lips: tuple[Array, Array], points: Array, edges: Array) -> Array:
    """(C,) metres between the lips in columns of the mouth between edges (C+1,); not finite where one has no point."""
    limits = []
    for rows, limit, empty in zip(lips, (np.minimum, np.maximum), (np.inf, -np.inf), strict=True):
        own = points[rows]
        column = np.searchsorted(edges, own[:, 0]) - 1
        inside = (column >= 0) & (column < len(edges) - 1)
        out = np.full(len(edges) - 1, empty)
        limit.at(out, column[inside], own[inside, 1])
        limits.append(out)
    return limits[0] - limits[1]


def _find_lips(model: HeadModel) -> tuple[Array, Array] | None:
    """(P,) bool each: vertices of the upper and the lower lip, by geodesic distance to their landmarks."""
    triangles = model.triangles_of("face")
    edges = edges_of(triangles)
    length = np.linalg.norm(model.neutral[edges[:, 0]] - model.neutral[edges[:, 1]], axis=1) + 1e-9
    count = len(model.neutral)
    graph = coo_array((length, (edges[:, 0], edges[:, 1])), shape=(count, count)).tocsr()
    ways = []
    for names in (UPPER, LOWER):
        known = [k for k in names if model.landmark_trust[k] > 0]
        if not known:
            return None
        start = np.unique(model.landmark_triangle[known])
        ways.append(dijkstra(graph, directed=False, indices=start, min_only=True, limit=LIP))
    upper, lower = ways
    return np.isfinite(upper) & (upper < lower), np.isfinite(lower) & (lower < upper)
