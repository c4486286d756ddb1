# SPDX-License-Identifier: GPL-3.0-or-later
"""A bust that stands: the scans end high on the back and low on the chest, and from behind one saw into them."""

from collections import Counter

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
    border = _longest_border(points, triangles)
    level = points[border, 1].min()
    along = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).T
    length = np.linalg.norm(points[along[0]] - points[along[1]], axis=1)
    # An edge of two triangles is there twice, which would be twice as long: only the first of each is taken.
    along, first = np.unique(np.sort(along, 0), axis=1, return_index=True)
    graph = coo_array((length[first], along), shape=(len(points),) * 2).tocsr()
    away = dijkstra(graph, directed=False, indices=border, min_only=True, limit=REACH)
    near = np.flatnonzero(np.isfinite(away))
    distance, at = cKDTree(points[border]).query(points[near], k=NEAREST)
    weight = 1.0 / (distance + BLUR) ** 2
    drop = ((points[border, 1] - level)[at] * weight).sum(1) / weight.sum(1)
    out[near, 1] -= drop * (1.0 - away[near] / REACH) ** BEND
    out[border, 1] = level
    return out


def _longest_border(points: Array, triangles: Array) -> Array:
    """(B,) vertices."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    count = Counter(map(tuple, np.sort(edges, 1).tolist()))
    open_edges = np.array([edge for edge, faces in count.items() if faces == 1])
    graph = coo_array((np.ones(len(open_edges)), open_edges.T), shape=(len(points),) * 2)
    loop = connected_components(graph, directed=False)[1][open_edges[:, 0]]
    length = np.linalg.norm(points[open_edges[:, 0]] - points[open_edges[:, 1]], axis=1)
    return np.unique(open_edges[loop == np.bincount(loop, length).argmax()])
