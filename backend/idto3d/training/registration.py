# SPDX-License-Identifier: GPL-3.0-or-later
"""Registers the head kit's average head to the head model's neutral, which links the two topologies.

Non-rigid ICP (Allen, Curless and Popovic 2003): terms for landmarks (MediaPipe's, detected on renders of the kit's
head) and for nearest points, regularised by the graph Laplacian of the displacement with falling stiffness.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array, vstack
from scipy.sparse.linalg import splu

from ..arrays import Array
from ..headmodel import HeadModel
from ..mesh.surface import uniform_laplacian, vertex_normals
from .kit import Skin
from .surface import closest_places

_STIFFNESS = (200.0, 100.0, 50.0, 25.0, 12.0, 6.0, 3.0, 1.5, 0.8, 0.4, 0.2, 0.15)
_SURE = 0.3  # least trust of a landmark: those of the jaw and the temples are not fixed to the skin
_PULL = 6.0  # a landmark's weight beside a nearest point's
_REACH = 0.012  # metres beyond which a nearest point is none
_FACING = 0.6  # least cosine between the normals of two surfaces that belong together


@dataclass(frozen=True)
class Similarity:
    """x -> scale * x @ rotation.T + translation, rotation (3,3), translation (3,) metres."""

    scale: float
    rotation: Array
    translation: Array

    def __call__(self, points: Array) -> Array:
        return self.scale * points @ self.rotation.T + self.translation


def similarity(source: Array, target: Array, weight: Array | None = None) -> Similarity:
    """Least-squares similarity from source (N,3) to target (N,3) (Umeyama 1991), weighted by weight (N,)."""
    w = np.ones(len(source)) if weight is None else weight
    w = (w / w.sum())[:, None]
    ms, mt = (w * source).sum(0), (w * target).sum(0)
    s, t = (source - ms).astype(np.float64), (target - mt).astype(np.float64)
    u, d, vt = np.linalg.svd((w * t).T @ s)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((d * sign).sum() / (w * s**2).sum())
    return Similarity(scale, rotation, mt - scale * rotation @ ms)


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The 468 places on the kit's skin: triangle (468,) into its triangles, barycentric (468,3), weight (468,)."""

    triangle: Array
    barycentric: Array
    weight: Array


def register(skin: Skin, marks: Landmarks, model: HeadModel) -> Array:
    """(V,3) the kit's skin vertices where they lie on the model's neutral.

    Vertices outside `skin.triangles` (the mouth bag) follow their neighbours through nothing but the start.
    """
    neutral = model.neutral.astype(np.float64)
    target_triangles = model.triangles_of("face", "back_head")
    trust = model.landmark_trust[: len(marks.weight)] * marks.weight
    used = np.flatnonzero(trust > _SURE)
    goal = model.landmarks(neutral)[used]
    weight = trust[used]
    at_marks = _rows(skin.triangles[marks.triangle[used]], marks.barycentric[used], len(skin.vertices))
    start = similarity(at_marks @ skin.vertices, goal, weight)(skin.vertices)
    target_normals = vertex_normals(neutral, target_triangles)
    outer = np.unique(skin.triangles)
    edge = _open_rim(skin.triangles, len(start))
    laplacian = uniform_laplacian(skin.triangles, len(start))
    points = start.copy()
    for stiffness in _STIFFNESS:
        places = closest_places(points[outer], neutral, target_triangles)
        nearest = places.of(target_triangles, neutral)
        facing = (vertex_normals(points, skin.triangles)[outer] * places.of(target_triangles, target_normals)).sum(1)
        sure = (places.distance < _REACH) & (facing > _FACING) & ~edge[outer]
        points = _solve(
            start,
            laplacian,
            stiffness,
            (at_marks, goal, _PULL * weight),
            (outer[sure], nearest[sure], np.full(int(sure.sum()), 1.0)),
        )
    return points


def _solve(
    start: Array,
    laplacian: csr_array,
    stiffness: float,
    marks: tuple[Any, Array, Array],
    near: tuple[Array, Array, Array],
) -> Array:
    """start + u with the smallest stiffness |L u|^2 + sum of weighted squared misses."""
    count = len(start)
    pick = csr_array((np.ones(len(near[0])), (np.arange(len(near[0])), near[0])), shape=(len(near[0]), count))
    data = vstack([diags_array(np.sqrt(marks[2])) @ marks[0], diags_array(np.sqrt(near[2])) @ pick]).tocsr()
    miss = np.concatenate(
        [
            np.sqrt(marks[2])[:, None] * (marks[1] - marks[0] @ start),
            np.sqrt(near[2])[:, None] * (near[1] - pick @ start),
        ]
    )
    normal = data.T @ data + stiffness * laplacian.T @ laplacian + 1e-6 * diags_array(np.ones(count))
    return start + splu(normal.tocsc()).solve(data.T @ miss)


def _rows(corners: Array, barycentric: Array, count: int) -> csr_array:
    rows = np.repeat(np.arange(len(corners)), 3)
    return csr_array((barycentric.ravel(), (rows, corners.ravel())), shape=(len(corners), count))


def _open_rim(triangles: Array, count: int) -> Array:
    """(count,) bool: vertices on an edge that only one triangle has, where nearest points mislead."""
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    found, times = np.unique(edges, axis=0, return_counts=True)
    out = np.zeros(count, bool)
    out[found[times == 1].ravel()] = True
    return out
