# SPDX-License-Identifier: GPL-3.0-or-later
"""Ties points to the nearest place on a triangle mesh, so that fields known on the mesh move the points."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from ..arrays import Array

SAMPLES_PER_TRIANGLE, NEIGHBOURS = 16, 3


@dataclass(frozen=True, eq=False)
class Attachment:
    """corners (N,3): the vertices of the face with the nearest place of each point, bary (N,3): that place on it, gap
    (N,): its distance in metres."""

    corners: Array
    bary: Array
    gap: Array

    def reader(self, count: int) -> csr_array:
        """(N,count): times a field (count,C) on the mesh's vertices it is that field at the attached points (N,C)."""
        ends = np.arange(0, self.corners.size + 1, 3)
        shares = self.bary.ravel().astype(np.float64)
        return csr_array((shares, self.corners.ravel(), ends), shape=(len(self.corners), count))


def closest_on_triangles(p: Array, a: Array, b: Array, c: Array) -> Array:
    """Barycentric coordinates (N,3) of the point of triangle (a,b,c) closest to p, all (N,3) (Ericson 2004, 5.1.5)."""
    ab, ac, ap = b - a, c - a, p - a
    bp, cp = p - b, p - c

    def dot(x: Array, y: Array) -> Array:
        return (x * y).sum(1)

    d1, d2, d3, d4, d5, d6 = dot(ab, ap), dot(ac, ap), dot(ab, bp), dot(ac, bp), dot(ab, cp), dot(ac, cp)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    inner = va + vb + vc
    with np.errstate(divide="ignore", invalid="ignore"):
        v, w = vb / inner, vc / inner
        out = np.stack([1 - v - w, v, w], 1)
        t_ab, t_ac = d1 / (d1 - d3), d2 / (d2 - d6)
        t_bc = (d4 - d3) / ((d4 - d3) + (d5 - d6))
    zero = np.zeros_like(d1)
    # later cases win: edges first, then corners
    for case, value in (
        ((vc <= 0) & (d1 >= 0) & (d3 <= 0), np.stack([1 - t_ab, t_ab, zero], 1)),
        ((vb <= 0) & (d2 >= 0) & (d6 <= 0), np.stack([1 - t_ac, zero, t_ac], 1)),
        ((va <= 0) & (d4 - d3 >= 0) & (d5 - d6 >= 0), np.stack([zero, 1 - t_bc, t_bc], 1)),
        ((d1 <= 0) & (d2 <= 0), np.stack([zero + 1, zero, zero], 1)),
        ((d3 >= 0) & (d4 <= d3), np.stack([zero, zero + 1, zero], 1)),
        ((d6 >= 0) & (d5 <= d6), np.stack([zero, zero, zero + 1], 1)),
    ):
        out[case] = value[case]
    return np.nan_to_num(out, nan=1 / 3)


class ProximityQuery:
    """Nearest-point queries on a fixed mesh: vertices (P,3), faces (T,3)."""

    def __init__(self, vertices: Array, faces: Array) -> None:
        rng = np.random.default_rng(0)
        a, b = rng.random((2, len(faces), SAMPLES_PER_TRIANGLE, 1))
        flip = a + b > 1
        a, b = np.where(flip, 1 - a, a), np.where(flip, 1 - b, b)
        weights = np.concatenate([1 - a - b, a, b], -1)
        self.vertices, self.faces = vertices.astype(np.float64), faces
        self._tree = cKDTree(np.einsum("tsk,tkc->tsc", weights, self.vertices[faces]).reshape(-1, 3))

    def attach(self, points: Array) -> Attachment:
        """Nearest places of points (N,3): exact on the triangles of the nearest few surface samples."""
        points = np.asarray(points, np.float64)
        _, near = self._tree.query(points, k=NEIGHBOURS)
        face = near // SAMPLES_PER_TRIANGLE
        corners = self.vertices[self.faces[face.ravel()]]
        bary = closest_on_triangles(np.repeat(points, NEIGHBOURS, 0), *corners.transpose(1, 0, 2))
        gap = np.linalg.norm(np.einsum("nk,nkc->nc", bary, corners) - np.repeat(points, NEIGHBOURS, 0), axis=1)
        rows, best = np.arange(len(points)), gap.reshape(face.shape).argmin(1)
        return Attachment(
            self.faces[face[rows, best]],
            bary.reshape(*face.shape, 3)[rows, best].astype(np.float32),
            gap.reshape(face.shape)[rows, best].astype(np.float32),
        )
