# SPDX-License-Identifier: GPL-3.0-or-later
"""Normals, edges, pieces and the Laplacian of a triangle mesh, in NumPy and SciPy."""

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import connected_components

from ..arrays import Array


def unit(vectors: Array) -> Array:
    """Vectors (...,C) of length 1; those of no length stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def vertex_normals(vertices: Array, triangles: Array) -> Array:
    """Unit normals (V,3), area-weighted; zero for a vertex in no triangle. triangles (F,3), counter-clockwise."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    area = np.cross(b - a, c - a)
    out = np.zeros((len(vertices), 3))
    for axis in range(3):
        for k in range(3):
            out[:, axis] += np.bincount(triangles[:, k], area[:, axis], len(vertices))
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-20)


def split_quads(corners: Array, quads: Array) -> Array:
    """(F,3) int64: corners (T,4) of quads (T,4), -1 last in a triangle, as triangles: the first half of each, then the
    second halves."""
    whole = quads[:, 3] >= 0
    return np.concatenate([corners[:, :3], corners[whole][:, [0, 2, 3]]]).astype(np.int64)


def pieces_of(triangles: Array, count: int) -> Array:
    """(count,) number of the connected piece that each vertex belongs to."""
    ends = triangles[:, [0, 1, 1, 2]].reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


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
