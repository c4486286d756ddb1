# SPDX-License-Identifier: GPL-3.0-or-later
"""Closest points on a triangle surface, for the hundreds of thousands of texels."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..mesh.attach import closest_on_triangles

_CANDIDATES = 24  # triangles tried for each point, nearest middle first


@dataclass(frozen=True, eq=False)
class Places:
    """Points on a surface: triangle (N,), barycentric (N,3), distance (N,) from the points that were asked for."""

    triangle: Array
    barycentric: Array
    distance: Array

    def of(self, corners: Array, values: Array) -> Array:
        """(N,C) values (K,C) at the places; corners (F,3) are the surface's triangles in the rows of values."""
        return np.einsum("nk,nkc->nc", self.barycentric, values[corners[self.triangle]])


def closest_places(points: Array, vertices: Array, triangles: Array) -> Places:
    """The nearest places to points (N,3) on vertices (V,3), triangles (F,3); exact among the _CANDIDATES triangles
    with the nearest middles, which errs only beside triangles many times larger than their neighbours."""
    corners = vertices[triangles].astype(np.float64)
    middle = corners.mean(1)
    reach = np.linalg.norm(corners - middle[:, None], axis=2).max(1)
    tried = min(_CANDIDATES, len(triangles))
    away, near = cKDTree(middle).query(points, k=[*range(1, tried + 1)])
    triangle, barycentric = near[:, 0].copy(), np.zeros((len(points), 3))
    distance = np.full(len(points), np.inf)
    for k in range(tried):
        rows = np.flatnonzero(away[:, k] - reach[near[:, k]] < distance)  # those that may be nearer
        own = corners[near[rows, k]]
        weights = closest_on_triangles(points[rows], *own.transpose(1, 0, 2))
        gap = np.linalg.norm(np.einsum("nk,nkc->nc", weights, own) - points[rows], axis=1)
        better = gap < distance[rows]
        rows = rows[better]
        triangle[rows], barycentric[rows], distance[rows] = near[rows, k], weights[better], gap[better]
    return Places(triangle, barycentric, distance)
