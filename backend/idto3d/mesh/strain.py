# SPDX-License-Identifier: GPL-3.0-or-later
"""Strain of a surface whose vertices move: how much, and in which directions, it is stretched and compressed."""

import numpy as np

from ..arrays import Array
from .surface import unit


def triangle_frames(vertices: Array, triangles: Array) -> Array:
    """(F,2,3) two perpendicular unit vectors in the plane of each triangle, the first along its first edge."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    first = unit(b - a)
    normal = unit(np.cross(b - a, c - a))
    return np.stack([first, np.cross(normal, first)], 1)


def strain(vertices: Array, moved: Array, triangles: Array) -> Array:
    """(F,3,3) each triangle's right stretch tensor U less the identity, in the plane that it has before it moves:
    along an eigenvector the surface becomes longer by the eigenvalue's share, shorter where that is negative.

    vertices, moved (V,3). U² = FᵀF of the deformation gradient F (Bonet and Wood, Nonlinear Continuum Mechanics, 2008,
    section 4.6). A triangle without area has no strain.
    """
    frame = triangle_frames(vertices, triangles)
    inverse = _inverse_edges(vertices, triangles, frame)
    gradient = _edges(moved, triangles).transpose(0, 2, 1) @ inverse
    square = gradient.transpose(0, 2, 1) @ gradient
    # of a 2x2 matrix: sqrt(C) = (C + sqrt(det C)) / sqrt(trace C + 2 sqrt(det C))
    root = np.sqrt(np.maximum(np.linalg.det(square), 0))
    trace = np.sqrt(np.maximum(square[:, 0, 0] + square[:, 1, 1] + 2 * root, 1e-20))
    stretch = (square + root[:, None, None] * np.eye(2)) / trace[:, None, None] - np.eye(2)
    stretch[~inverse.any((1, 2))] = 0
    return np.einsum("fai,fab,fbj->fij", frame, stretch, frame, optimize=True)


def lengths(vertices: Array, offsets: Array, triangles: Array, directions: Array) -> Array:
    """(K,F) lengths that unit vectors directions (F,3), in the triangles' planes, have after the vertices moved by each
    of offsets (K,V,3)."""
    frame = triangle_frames(vertices, triangles)
    local = np.einsum("fai,fi->fa", frame, directions)
    share = np.einsum("fab,fb->fa", _inverse_edges(vertices, triangles, frame), local)  # of the two edges
    first, second, third = (offsets[:, triangles[:, k]] for k in range(3))
    gone = directions + share[:, :1] * (second - first) + share[:, 1:] * (third - first)
    return np.linalg.norm(gone, axis=2)


def _edges(vertices: Array, triangles: Array) -> Array:
    """(F,2,3) from the first corner to the others."""
    first, second, third = (vertices[triangles[:, k]] for k in range(3))
    return np.stack([second - first, third - first], 1)


def _inverse_edges(vertices: Array, triangles: Array, frame: Array) -> Array:
    """(F,2,2) from coordinates in the frame to multiples of the two edges; zero for a triangle without area."""
    columns = np.einsum("fij,fkj->fik", frame, _edges(vertices, triangles), optimize=True)
    area = columns[:, 0, 0] * columns[:, 1, 1] - columns[:, 0, 1] * columns[:, 1, 0]
    flat = np.abs(area) < 1e-12
    columns[flat] = np.eye(2)
    out: Array = np.linalg.inv(columns)
    out[flat] = 0
    return out


def at_vertices(values: Array, vertices: Array, triangles: Array) -> Array:
    """(V,...) area-weighted means of triangles' values (F,...); zero for a vertex in no triangle."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    flat = values.reshape(len(values), -1) * area[:, None]
    total = np.zeros((len(vertices), flat.shape[1]))
    weight = np.zeros(len(vertices))
    for k in range(3):
        weight += np.bincount(triangles[:, k], area, len(vertices))
        for n in range(flat.shape[1]):
            total[:, n] += np.bincount(triangles[:, k], flat[:, n], len(vertices))
    return (total / np.maximum(weight, 1e-20)[:, None]).reshape(-1, *values.shape[1:])
