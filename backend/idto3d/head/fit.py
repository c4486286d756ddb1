# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the grid's surface onto the control surface's skin: split where the skin has finer detail than the grid, and
laid on the side of the skin that it faces, so that thin walls (ears, nostrils, lids) keep their two sides."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from ..mesh.attach import Surface
from .progress import Progress, between, ignored

Array = NDArray[Any]

TURN = 0.004  # metres, see Surface
SKIN = 0.0015, 0.003  # metres off the skin up to which the surface is skin, and from which on it is hair
DEEPEST = 0.006  # metres under the skin up to which it is: hair is never there
FINEST = 0.0012  # metres: edges are not split below twice this
ROUNDS = 3


def skin_surface(vertices: Array, faces: Array) -> Surface:
    """The skin of the control surface, with its sides told apart."""
    return Surface(vertices, faces, TURN)


def normals_of(vertices: Array, faces: Array, rounds: int = 3) -> Array:
    """(V,3) unit normals, averaged `rounds` times with the neighbours': the grid's noise is as large as its cells."""
    normals = np.zeros((len(vertices), 3))
    a, b, c = vertices.astype(np.float64)[faces].transpose(1, 0, 2)
    n = np.cross(b - a, c - a)
    for k in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(faces[:, k], n[:, axis], minlength=len(vertices))
    if rounds:
        average = neighbour_means(faces, len(vertices))
        for _ in range(rounds):
            normals += average @ normals
    out: Array = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    return out


def place_on(
    skin: Surface, points: Array, normals: Array, progress: Progress = ignored
) -> tuple[Array, Array, Array, Array]:
    """Nearest places (N,3) on the skin, the share (N,) to which points are skin rather than hair, the size (N,) of the
    skin's triangles there, metres, and which they are (N,)."""
    at = skin.attach(points, normals, progress=progress)
    corners = skin.vertices[skin.faces[at.face.numpy()]]
    place = np.einsum("nk,nkc->nc", at.bary.numpy(), corners)
    plane = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(plane, axis=1)
    height = np.einsum("nc,nc->n", points - place, plane)
    gap = np.linalg.norm(points - place, axis=1)
    share = np.where(
        height < 0,
        np.clip((1.5 * DEEPEST - gap) / (0.5 * DEEPEST), 0, 1),
        np.clip((SKIN[1] - gap) / (SKIN[1] - SKIN[0]), 0, 1),
    )
    return place, share, np.sqrt(area), at.face.numpy()


def fit_to_skin(
    vertices: Array, faces: Array, skin: Surface, held: Array, loose: Array, progress: Progress = ignored
) -> Array:
    """Positions (V,3) on the skin where the surface is skin. held (V,) bool: do not move; loose (T,) bool: triangles of
    the skin on which nothing is laid.

    Between the rounds vertices slide along the surface to the middle of their neighbours, which unfolds what the
    nearest point alone would fold.
    """
    average = neighbour_means(faces, len(vertices))
    points = vertices.astype(np.float64)
    for turn in range(ROUNDS):
        part = between(progress, turn / ROUNDS, (turn + 1) / ROUNDS)
        normals = normals_of(points, faces)
        step = average @ points - points
        along = points + 0.5 * (step - (step * normals).sum(1, keepdims=True) * normals)
        place, share, _, on = place_on(skin, along, normals, part)
        share = np.where(loose[on], 0.0, share)
        share = np.where(held, 0.0, share)[:, None]
        points = points * (1 - share) + place * share
    return points


def neighbour_means(faces: Array, n: int) -> csr_array:
    """(V,V) rows that give the mean of a vertex's neighbours."""
    i, j = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
    links = csr_array(coo_array((np.ones(2 * len(i)), (np.r_[i, j], np.r_[j, i])), shape=(n, n)))
    links.data[:] = 1.0
    count = np.maximum(np.asarray(links.sum(1)).reshape(-1, 1), 1.0)
    return csr_array(links.multiply(1.0 / count))


def refine(vertices: Array, faces: Array, longest: Array) -> tuple[Array, Array]:
    """Edges longer than `longest` (V,) at both ends are halved once, and faces split along: vertices (V',3), faces."""
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges, of_face = np.unique(np.sort(directed, axis=1), axis=0, return_inverse=True)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    split = length > longest[edges].max(1)
    middle = np.full(len(edges), -1)
    middle[split] = len(vertices) + np.arange(split.sum())
    added = vertices[edges[split]].mean(1)
    m = middle[of_face.reshape(3, -1).T]  # of the edges 01, 12, 20
    count = (m >= 0).sum(1)
    out = [faces[count == 0]]
    for turn in range(3):  # roll each face until its split edges come first
        f, e = np.roll(faces, -turn, axis=1), np.roll(m, -turn, axis=1)
        one = (count == 1) & (e[:, 0] >= 0)
        a, b, c, ab = f[one, 0], f[one, 1], f[one, 2], e[one, 0]
        out += [np.stack([a, ab, c], 1), np.stack([ab, b, c], 1)]
        two = (count == 2) & (e[:, 2] < 0)
        a, b, c, ab, bc = f[two, 0], f[two, 1], f[two, 2], e[two, 0], e[two, 1]
        out += [np.stack([ab, b, bc], 1), np.stack([a, ab, bc], 1), np.stack([a, bc, c], 1)]
    a, b, c = faces[count == 3].T
    ab, bc, ca = m[count == 3].T
    out += [np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return np.concatenate([vertices, added]), np.concatenate(out)
