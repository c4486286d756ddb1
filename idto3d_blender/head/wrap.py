# SPDX-License-Identifier: GPL-3.0-or-later
"""Lays one mesh on the surface of another: similarity by landmarks, then step by step softer (Amberg, Romdhani, Vetter,
Optimal step nonrigid ICP algorithms for surface registration, CVPR 2007; here with a displacement a vertex in place of
an affine map, which half as many numbers need). No bpy: how the nearest place on the surface is found is given.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

# Stiffness of an edge as compared with the pull of the surface; what is bent late is bent little.
_STIFFNESS = (60.0, 30.0, 15.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.12, 0.06, 0.03)
_ROUNDS = 3  # with each stiffness
_MARK_PULL = 0.1  # of all marks together, as compared with the whole surface
_FACING = 0.5  # cosine between the normals of a vertex and of its nearest place
_FAR = (0.03, 0.008)  # metres: farther than this is no counterpart, in the first and in the last step
_SOLVED = 1e-4
_TURNS = 200


@dataclass(frozen=True, eq=False)
class Found:
    """Of each of N places the nearest on a surface: place (N,3), normal (N,3), triangle (N,)."""

    place: Floats
    normal: Floats
    triangle: Ints


Nearest = Callable[[Floats], Found]


def similarity(start: Floats, end: Floats) -> Floats:
    """4x4 of scale, rotation and translation that brings ``start`` (N,3) closest to ``end`` (Umeyama, IEEE TPAMI 13(4),
    1991)."""
    middle, goal = start.mean(axis=0), end.mean(axis=0)
    u, stretch, vt = np.linalg.svd((end - goal).T @ (start - middle))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (stretch * sign).sum() / ((start - middle) ** 2).sum()
    out = np.eye(4)
    out[:3, :3] = scale * (u * sign) @ vt
    out[:3, 3] = goal - out[:3, :3] @ middle
    return out


def fit(
    points: Floats, triangles: Ints, marks: tuple[Ints, Floats], nearest: Nearest
) -> Generator[float, None, tuple[Floats, NDArray[np.bool_]]]:
    """Steps of some tenths of a second, each yielding how much is done, 0..1; returns where the points (N,3) lie, and
    which of them have a counterpart. marks: numbers of vertices and where they belong. The points are near already."""
    graph = Graph(edges_of(triangles), len(points))
    now = points.astype(float)
    valid = np.zeros(len(points), bool)
    total = len(_STIFFNESS) * _ROUNDS
    for step in range(total):
        stiffness = _STIFFNESS[step // _ROUNDS]
        share = step / (total - 1)
        found = nearest(now)
        far = _FAR[0] * (1 - share) + _FAR[1] * share
        facing = (vertex_normals(now, triangles) * found.normal).sum(axis=1) > _FACING
        valid = facing & (np.linalg.norm(found.place - now, axis=1) < far)
        pull = valid.astype(float)
        goal = found.place - now
        # Marks lead while it is stiff and let go when the surface knows better.
        pull[marks[0]] = _MARK_PULL * len(points) / len(marks[0]) * (1 - share)
        goal[marks[0]] = marks[1] - now[marks[0]]
        # The displacement from the start is smooth, not each step's: else what is stiff would creep.
        moved = now - points
        now = points + graph.smooth(moved + goal, pull, stiffness, moved)
        yield (step + 1) / total
    return now, valid


class Graph:
    """The edges of a mesh, for solving on them."""

    def __init__(self, edges: Ints, count: int) -> None:
        both = np.concatenate([edges, edges[:, ::-1]])
        both = both[np.argsort(both[:, 0], kind="stable")]
        self.count = count
        self._to = both[:, 1]
        self._degree = np.bincount(both[:, 0], minlength=count).astype(float)
        self._own = np.flatnonzero(self._degree)
        self._begin = (np.cumsum(self._degree) - self._degree).astype(int)[self._own]

    def smooth(self, wanted: Floats, pull: Floats, stiffness: float, start: Floats) -> Floats:
        """Values (N,K) that minimise pull |x - wanted|² + stiffness (sum over edges |x - x'|²): conjugate gradients,
        preconditioned by the diagonal. A piece without pull stays as it began."""
        pull = pull[:, None] + 1e-6
        inverse = 1.0 / (pull + stiffness * self._degree[:, None])
        x = start.astype(float)
        rest = (pull - 1e-6) * wanted + 1e-6 * start - self._applied(x, pull, stiffness)
        z = inverse * rest
        way = z.copy()
        size = (rest * z).sum(axis=0)
        first = size.max()
        for _ in range(_TURNS):
            if size.max() <= _SOLVED**2 * max(first, 1e-30):
                break
            image = self._applied(way, pull, stiffness)
            step = size / (way * image).sum(axis=0).clip(1e-30)
            x += step * way
            rest -= step * image
            z = inverse * rest
            before, size = size, (rest * z).sum(axis=0)
            way = z + (size / before.clip(1e-30)) * way
        return x

    def _applied(self, x: Floats, pull: Floats, stiffness: float) -> Floats:
        around = np.zeros_like(x)
        around[self._own] = np.add.reduceat(x[self._to], self._begin, axis=0)
        return np.asarray(pull * x + stiffness * (self._degree[:, None] * x - around))


def edges_of(triangles: Ints) -> Ints:
    """(E,2) each edge once."""
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def vertex_normals(points: Floats, triangles: Ints) -> Floats:
    """(N,3) unit normals, weighted by area."""
    a, b, c = points[triangles].transpose(1, 0, 2)
    cross = np.cross(b - a, c - a)
    out = np.zeros_like(points, dtype=float)
    for axis in range(3):
        out[:, axis] = np.bincount(triangles.ravel(), np.repeat(cross[:, axis], 3), len(points))
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True).clip(1e-20))


def barycentric(places: Floats, corners: Floats) -> Floats:
    """(N,3) weights of the corners (N,3,3) of triangles at places (N,3) in them (Ericson, Real-Time Collision
    Detection, 2005, 3.4)."""
    a, b, c = corners.transpose(1, 0, 2)
    u, v, w = b - a, c - a, places - a
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    wu, wv = (w * u).sum(1), (w * v).sum(1)
    area = np.maximum(uu * vv - uv * uv, 1e-30)
    s, t = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
    weights = np.column_stack([1 - s - t, s, t]).clip(0.0, 1.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
