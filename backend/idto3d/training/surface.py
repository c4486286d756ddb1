# SPDX-License-Identifier: GPL-3.0-or-later
"""Closest points on a triangle surface; compiled, for the hundreds of thousands of texels."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.spatial import cKDTree

from ..arrays import Array

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
    tried = min(_CANDIDATES, len(triangles))
    near = cKDTree(vertices[triangles].mean(1)).query(points, k=[*range(1, tried + 1)])[1]
    barycentric = np.empty((len(points), 3))
    triangle, distance = np.empty(len(points), np.int64), np.empty(len(points))
    _closest(points.astype(np.float64), vertices.astype(np.float64), triangles, near, triangle, barycentric, distance)
    return Places(triangle, barycentric, distance)


@njit(cache=True, nogil=True)
def _closest(points, vertices, triangles, near, triangle, barycentric, distance):  # type: ignore[no-untyped-def]
    for n in range(len(points)):
        best = np.inf
        for k in near[n]:
            w = _nearest_in(points[n], vertices[triangles[k, 0]], vertices[triangles[k, 1]], vertices[triangles[k, 2]])
            square = 0.0
            for c in range(3):
                at = (
                    w[0] * vertices[triangles[k, 0], c]
                    + w[1] * vertices[triangles[k, 1], c]
                    + w[2] * vertices[triangles[k, 2], c]
                )
                square += (points[n, c] - at) ** 2
            if square < best:
                best = square
                triangle[n] = k
                barycentric[n] = w
        distance[n] = np.sqrt(best)


@njit(cache=True, nogil=True)
def _nearest_in(p, a, b, c):  # type: ignore[no-untyped-def]
    """Barycentric coordinates of the triangle's point nearest to p (Ericson 2005, Real-Time Collision Detection,
    5.1.5)."""
    ab, ac, ap, bp, cp = b - a, c - a, p - a, p - b, p - c
    d1, d2 = np.dot(ab, ap), np.dot(ac, ap)
    if d1 <= 0.0 and d2 <= 0.0:
        return np.array([1.0, 0.0, 0.0])
    d3, d4 = np.dot(ab, bp), np.dot(ac, bp)
    if d3 >= 0.0 and d4 <= d3:
        return np.array([0.0, 1.0, 0.0])
    d5, d6 = np.dot(ab, cp), np.dot(ac, cp)
    if d6 >= 0.0 and d5 <= d6:
        return np.array([0.0, 0.0, 1.0])
    vc = d1 * d4 - d3 * d2
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        t = d1 / (d1 - d3) if d1 > d3 else 0.0
        return np.array([1.0 - t, t, 0.0])
    vb = d5 * d2 - d1 * d6
    if vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        t = d2 / (d2 - d6) if d2 > d6 else 0.0
        return np.array([1.0 - t, 0.0, t])
    va = d3 * d6 - d5 * d4
    if va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        way = (d4 - d3) + (d5 - d6)
        t = (d4 - d3) / way if way > 0.0 else 0.0
        return np.array([0.0, 1.0 - t, t])
    total = va + vb + vc
    if total <= 0.0:  # no area
        return np.array([1.0, 0.0, 0.0])
    return np.array([va / total, vb / total, vc / total])
