# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain facts of a triangle mesh, in numpy and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array

Array = NDArray[Any]


def vertex_normals(vertices: Array, triangles: Array) -> Array:
    """Unit normals (V,3), area-weighted; zero for a vertex in no triangle. triangles (F,3), counter-clockwise."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    area = np.cross(b - a, c - a)
    out = np.zeros((len(vertices), 3))
    for axis in range(3):
        for k in range(3):
            out[:, axis] += np.bincount(triangles[:, k], area[:, axis], len(vertices))
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-20)


def edges_of(triangles: Array) -> Array:
    """(E,2) every edge once, lower vertex first."""
    directed = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return np.unique(np.sort(directed, 1), axis=0)


def uniform_laplacian(triangles: Array, count: int) -> csr_array:
    """Combinatorial Laplacian (count, count): degree on the diagonal, -1 for each neighbour."""
    i, j = edges_of(triangles).T
    rows, columns = np.concatenate([i, j]), np.concatenate([j, i])
    adjacency = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count)).tocsr()
    degree = diags_array(np.asarray(adjacency.sum(1)).ravel())
    return csr_array(degree - adjacency)
