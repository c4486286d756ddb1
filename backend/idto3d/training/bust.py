# SPDX-License-Identifier: GPL-3.0-or-later
"""A bust that stands: the scans end high on the back and low on the chest, and from behind one saw into them."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from ..arrays import Array

REACH = 0.03  # metres along the skin from its border over which it is let down
BEND = 1.5  # how much more of that is at the border: shoulders stay where they are
NEAREST, BLUR = 8, 0.004  # places of the border that a vertex goes with, and metres over which they are averaged


def level_bust(points: Array, triangles: Array) -> Array:
    """Points (P,3) of which the skin's, triangles (F,3), is let down where it ends, to the lowest of its longest
    border; y is up."""
    out = points.copy()
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges, faces = np.unique(np.sort(sides, 1), axis=0, return_counts=True)
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    border = _longest(edges[faces == 1], length[faces == 1], len(points))
    level = points[border, 1].min()
    graph = coo_array((length, edges.T), shape=(len(points),) * 2).tocsr()
    away = dijkstra(graph, directed=False, indices=border, min_only=True, limit=REACH)
    near = np.flatnonzero(np.isfinite(away))
    distance, at = cKDTree(points[border]).query(points[near], k=NEAREST)
    weight = 1.0 / (distance + BLUR) ** 2
    drop = ((points[border, 1] - level)[at] * weight).sum(1) / weight.sum(1)
    out[near, 1] -= drop * (1.0 - away[near] / REACH) ** BEND
    out[border, 1] = level
    return out


def _longest(edges: Array, length: Array, count: int) -> Array:
    """(B,) vertices, of `count`, of the longest loop of edges (E,2) of some length (E,)."""
    graph = coo_array((np.ones(len(edges)), edges.T), shape=(count, count))
    loop = connected_components(graph, directed=False)[1][edges[:, 0]]
    return np.unique(edges[loop == np.bincount(loop, length).argmax()])
