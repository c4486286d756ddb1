# SPDX-License-Identifier: GPL-3.0-or-later
"""Ties points to the nearest place on a triangle mesh, so that fields known on the mesh move the points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

Array = NDArray[Any]
SAMPLES_PER_TRIANGLE = 16


@dataclass(frozen=True)
class Attachment:
    """face (N,) long, bary (N,3) of the nearest point on that face, gap (N,) its distance in metres."""

    face: Tensor
    bary: Tensor
    gap: Tensor

    def __getitem__(self, rows: Tensor) -> Attachment:
        """The points at the indices rows (M,)."""
        return Attachment(self.face[rows], self.bary[rows], self.gap[rows])

    def replaced(self, rows: Tensor, by: Attachment) -> Attachment:
        """The same with other places for the points of the mask rows (N,)."""
        columns = (self.face.clone(), self.bary.clone(), self.gap.clone())
        for column, new in zip(columns, (by.face, by.bary, by.gap), strict=True):
            column[rows] = new
        return Attachment(*columns)


def closest_on_triangles(p: Array, a: Array, b: Array, c: Array) -> Array:
    """Barycentric coordinates (N,3) of the point of triangle (a,b,c) closest to p, all (N,3) (Ericson 2004, 5.1.5)."""
    ab, ac, ap = b - a, c - a, p - a
    bp, cp = p - b, p - c

    def dot(x: Array, y: Array) -> Array:
        out: Array = (x * y).sum(1)
        return out

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
    finite: Array = np.nan_to_num(out, nan=1 / 3)
    return finite


class Surface:
    """Nearest-point queries on a fixed mesh: vertices (P,3), faces (T,3).

    turn: metres that a normal turned by 60 degrees counts for, so that the two sides of a thin wall (an ear, a lid) are
    told apart; 0 for nearness alone. With it, `attach` needs normals.
    """

    def __init__(self, vertices: Array, faces: Array, turn: float = 0.0) -> None:
        rng = np.random.default_rng(0)
        a, b = rng.random((2, len(faces), SAMPLES_PER_TRIANGLE, 1))
        flip = a + b > 1
        a, b = np.where(flip, 1 - a, a), np.where(flip, 1 - b, b)
        weights = np.concatenate([1 - a - b, a, b], -1)
        self.vertices, self.faces = vertices.astype(np.float64), faces
        self._turn = turn
        samples = np.einsum("tsk,tkc->tsc", weights, self.vertices[faces]).reshape(-1, 3)
        if turn > 0:
            normals = np.repeat(face_normals(self.vertices, faces), SAMPLES_PER_TRIANGLE, axis=0)
            samples = np.concatenate([samples, turn * normals], 1)
        self._tree = cKDTree(samples)

    def attach(self, points: Array, normals: Array | None = None, neighbours: int = 3) -> Attachment:
        """Nearest places of points (N,3): exact on the triangles of the nearest few surface samples. normals (N,3)
        belong to the points; only for a surface with `turn`."""
        points = np.asarray(points, np.float64)
        where = points if normals is None else np.concatenate([points, self._turn * np.asarray(normals)], 1)
        return Attachment(*self._attach(points, where, neighbours))

    def _attach(self, points: Array, where: Array, neighbours: int) -> tuple[Tensor, Tensor, Tensor]:
        _, near = self._tree.query(where, k=neighbours)
        best_face, best_bary, best_gap = None, None, np.full(len(points), np.inf)
        for k in range(neighbours):
            face = near[:, k] // SAMPLES_PER_TRIANGLE
            corners = self.vertices[self.faces[face]]
            bary = closest_on_triangles(points, *corners.transpose(1, 0, 2))
            gap = np.linalg.norm(np.einsum("nk,nkc->nc", bary, corners) - points, axis=1)
            better = gap < best_gap
            if best_face is None or best_bary is None:
                best_face, best_bary = face, bary
            else:
                best_face, best_bary = np.where(better, face, best_face), np.where(better[:, None], bary, best_bary)
            best_gap = np.minimum(gap, best_gap)
        assert best_face is not None and best_bary is not None
        return torch.from_numpy(best_face), torch.from_numpy(best_bary).float(), torch.from_numpy(best_gap).float()


def face_normals(vertices: Array, faces: Array) -> Array:
    """(T,3) unit normals; zero for a face without area."""
    a, b, c = np.asarray(vertices, np.float64)[faces].transpose(1, 0, 2)
    n = np.cross(b - a, c - a)
    out: Array = n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-30)
    return out


def carry(field: Tensor, faces: Tensor, attachment: Attachment) -> Tensor:
    """A field (...,P,C) on the mesh, read at attached points: (...,N,C)."""
    corners = field.index_select(-2, faces[attachment.face].reshape(-1))
    corners = corners.reshape(*field.shape[:-2], len(attachment.face), 3, field.shape[-1])
    return (corners * attachment.bary[..., None]).sum(-2)
