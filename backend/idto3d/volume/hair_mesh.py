# SPDX-License-Identifier: GPL-3.0-or-later
"""The surface of a volume of hair as a mesh with a map, attached to the scalp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import fast_simplification
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, diags_array

from ..headmodel import HeadModel
from ..mesh.attach import Attachment, Surface
from .hair import HairVolume
from .marching_tets import marching_tetrahedra

Array = NDArray[Any]

TRIANGLES = 25_000
TAUBIN = (0.5, -0.53, 8)  # two factors and rounds (Taubin 1995)
INNER_DISK = (0.93, 0.07)  # middle and radius, of the map's side, of the inner wall's place in the corner
DISK = 0.495


@dataclass(frozen=True, eq=False)
class HairMesh:
    """vertices (V,3) with the neutral head; triangles (F,3) wound outwards; uv (T,2) 0..1, v up; triangles_uv (F,3).

    The outer side fills a disk with the crown in its middle and the face's side below; what faces the head, or lies
    under what hangs over, is small in a corner. Each texel of the disk belongs to one place.
    """

    vertices: Array
    triangles: Array
    uv: Array
    triangles_uv: Array


def extract(volume: HairVolume) -> HairMesh | None:
    """None of an empty volume."""
    if not len(volume.sdf):
        return None
    surface = marching_tetrahedra(*(torch.from_numpy(a) for a in (volume.points, volume.tets, volume.sdf)))
    vertices, triangles = surface.vertices.numpy().astype(np.float64), surface.faces.numpy()
    if not len(triangles):
        return None
    vertices = _taubin(vertices, triangles)
    if len(triangles) > TRIANGLES:
        reduced = fast_simplification.simplify(
            vertices.astype(np.float32), triangles.astype(np.int32), target_count=TRIANGLES, agg=4
        )
        vertices, triangles = without_fins(reduced[0].astype(np.float64), reduced[1].astype(np.int64))
    uv, triangles_uv = _unwrap(volume, vertices, triangles)
    return HairMesh(vertices, triangles, uv, triangles_uv)


def without_fins(vertices: Array, triangles: Array) -> tuple[Array, Array]:
    """A mesh without the pairs of triangles of the same three corners, back to back, that collapsing edges leaves, and
    without vertices that nothing uses."""
    _, same, count = np.unique(np.sort(triangles, 1), axis=0, return_inverse=True, return_counts=True)
    used, kept = np.unique(triangles[count[same.ravel()] == 1], return_inverse=True)
    return vertices[used], kept.reshape(-1, 3)


def attach_to_scalp(model: HeadModel, neutral: Array, points: Array) -> tuple[Array, Attachment]:
    """Triangles (F',3) of the scalp, and where on them points (N,3) hang: what moves the scalp carries them, what moves
    jaw and brows does not."""
    triangles = model.triangles[(model.scalp[model.triangles] > 0.5).all(1)]
    return triangles, Surface(neutral, triangles).attach(points)


def _taubin(vertices: Array, triangles: Array) -> Array:
    """Smoothed without shrinking."""
    i, j = triangles.ravel(), triangles[:, [1, 2, 0]].ravel()
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(len(vertices),) * 2).tocsr()
    mean = diags_array(1.0 / np.maximum(np.asarray(graph.sum(1)).ravel(), 1.0)) @ graph
    first, second, rounds = TAUBIN
    for _ in range(rounds):
        for factor in (first, second):
            vertices = vertices + factor * (mean @ vertices - vertices)
    return vertices


def _unwrap(volume: HairVolume, vertices: Array, triangles: Array) -> tuple[Array, Array]:
    hood = volume.hood
    turn, down, _ = hood.coordinates(vertices)
    away = np.minimum(down / hood.reach, 1.0)
    disk = np.stack([away * np.sin(turn), -away * np.cos(turn)], 1)
    middle, small = INNER_DISK
    uv = np.concatenate([0.5 + DISK * disk, middle + small * disk])
    a, b, c = disk[triangles].transpose(1, 0, 2)
    inner = (b - a)[:, 0] * (c - a)[:, 1] < (b - a)[:, 1] * (c - a)[:, 0]
    return uv, triangles + len(vertices) * inner[:, None]
