# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how deep skin penetrates eyeballs and teeth in a pose.

It works on named parts and their triangles, and shares no code with the correction of the keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..mesh.attach import closest_on_triangles
from ..mesh.surface import pieces_of

SKIN, EYEBALLS, TEETH = "face", "sclera", "teeth"
LIDS_WITHIN, LIPS_WITHIN = 0.012, 0.03  # metres from an eyeball, from the teeth, within which skin is tested
NEAREST = 12  # triangles that are tried for the closest point


@dataclass(frozen=True, eq=False)
class Crossings:
    """The surfaces of one head. corners (S,3) and barycentric weights (S,3): samples of the skin at vertices, middles
    of edges and of faces; lids: for each eyeball its triangles and the samples near it; lips: the samples near the
    teeth; teeth (T,3): triangles."""

    corners: Array
    weights: Array
    lids: tuple[tuple[Array, Array], ...]
    lips: Array
    teeth: Array

    def lid_depth(self, posed: Array) -> float:
        """Greatest depth in metres of lids in an eyeball, for posed vertices (V,3); 0 for none."""
        points = self._samples(posed)
        return max((depth_inside(points[near], posed, ball) for ball, near in self.lids), default=0.0)

    def lip_depth(self, posed: Array) -> float:
        """Greatest depth in metres of skin in the teeth."""
        return depth_inside(self._samples(posed)[self.lips], posed, self.teeth)

    def _samples(self, posed: Array) -> Array:
        return np.einsum("sk,skc->sc", self.weights, posed[self.corners])


def find_crossings(vertices: Array, triangles: Array, part: Array, names: Sequence[str]) -> Crossings:
    """The surfaces of a head: vertices (V,3) at rest; triangles (F,3), outward; part (F,) into names. Missing parts are
    skipped."""
    corners, weights = _sampled(triangles[part == _number(names, SKIN)])
    points = np.einsum("sk,skc->sc", weights, vertices[corners])
    teeth = triangles[part == _number(names, TEETH)]
    lids = []
    for ball in pieces(triangles[part == _number(names, EYEBALLS)], len(vertices)):
        lids.append((ball, _near(points, vertices[np.unique(ball)], LIDS_WITHIN)))
    return Crossings(corners, weights, tuple(lids), _near(points, vertices[np.unique(teeth)], LIPS_WITHIN), teeth)


def depth_inside(points: Array, vertices: Array, triangles: Array) -> float:
    """The depth of the deepest of points (N,3) inside closed surfaces, metres; 0 where none is inside."""
    if not len(points) or not len(triangles):
        return 0.0
    corners = np.ascontiguousarray(vertices[triangles], np.float64)
    low, high = corners.min((0, 1)), corners.max((0, 1))
    points = points[((points > low) & (points < high)).all(1)]
    inside = points[_windings(np.ascontiguousarray(points, np.float64), corners) > 0]
    if not len(inside):
        return 0.0
    _, near = cKDTree(corners.mean(1)).query(inside, k=[*range(1, min(NEAREST, len(corners)) + 1)])
    tried = corners[near.ravel()]
    many = np.repeat(inside, near.shape[1], 0)
    bary = closest_on_triangles(many, *tried.transpose(1, 0, 2))
    away = np.linalg.norm(np.einsum("nk,nkc->nc", bary, tried) - many, axis=1)
    return float(away.reshape(near.shape).min(1).max())


def pieces(triangles: Array, count: int) -> list[Array]:
    """The triangles (F,3) of count vertices, split into connected pieces."""
    own = pieces_of(triangles, count)[triangles[:, 0]]
    return [triangles[own == n] for n in np.unique(own)]


def _number(names: Sequence[str], name: str) -> int:
    return list(names).index(name) if name in names else -1


def _sampled(triangles: Array) -> tuple[Array, Array]:
    shares = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [1 / 3] * 3])
    return np.repeat(triangles, len(shares), 0), np.tile(shares, (len(triangles), 1))


def _near(points: Array, others: Array, reach: float) -> Array:
    if not len(others):
        return np.zeros(0, np.int64)
    _, first = np.unique(np.round(points, 8), axis=0, return_index=True)  # shared corners and edges once
    distance, _ = cKDTree(others).query(points[first], distance_upper_bound=reach)
    return first[np.isfinite(distance)]


@numba.njit(cache=True, nogil=True)
def _windings(points, corners):  # type: ignore[no-untyped-def]
    """(N,) winding numbers: surfaces of corners (F,3,3) that a ray from each point along +z leaves, less those that it
    enters; positive inside, also where several overlap."""
    count = np.zeros(len(points), np.int64)
    low = np.empty((len(corners), 2))
    high = np.empty((len(corners), 2))
    top = np.empty(len(corners))
    for f in range(len(corners)):
        for axis in range(2):
            low[f, axis] = min(corners[f, 0, axis], corners[f, 1, axis], corners[f, 2, axis])
            high[f, axis] = max(corners[f, 0, axis], corners[f, 1, axis], corners[f, 2, axis])
        top[f] = max(corners[f, 0, 2], corners[f, 1, 2], corners[f, 2, 2])
    for n in range(len(points)):
        # a tiny offset, so that no ray runs through an edge
        x, y, z = points[n, 0] + 1.13e-8, points[n, 1] + 0.71e-8, points[n, 2]
        for f in range(len(corners)):
            if x < low[f, 0] or x > high[f, 0] or y < low[f, 1] or y > high[f, 1] or z > top[f]:
                continue
            ax, ay, az = corners[f, 0, 0] - x, corners[f, 0, 1] - y, corners[f, 0, 2]
            bx, by, bz = corners[f, 1, 0] - x, corners[f, 1, 1] - y, corners[f, 1, 2]
            cx, cy, cz = corners[f, 2, 0] - x, corners[f, 2, 1] - y, corners[f, 2, 2]
            u, v, w = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
            if (u >= 0 and v >= 0 and w >= 0) or (u <= 0 and v <= 0 and w <= 0):
                total = u + v + w
                if total != 0 and (u * az + v * bz + w * cz) / total > z:
                    count[n] += 1 if total > 0 else -1
    return count
