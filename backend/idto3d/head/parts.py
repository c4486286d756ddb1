# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyeballs, teeth and tongue as closed pieces of their own, taken from the control surface, where they are thin sheets
that no grid of millimetres can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import connected_pieces
from .decimate import decimate
from .progress import Progress, between, ignored

Array = NDArray[Any]

SKIN, EYES, TEETH, TONGUE = range(4)
GUMS = 1000  # faces of the sheet that is no single tooth, before it gets a back; of a mesh of FULL faces
CROWN = 76  # of one tooth
TONGUE_FACES, BALL = 400, 400
FULL = 30_000
THICKNESS = 0.0004  # metres of a sheet that got a back
LARGEST_LID = 24  # edges: holes up to here are closed by a fan


@dataclass(frozen=True)
class Piece:
    """A closed mesh, vertices (V,3) canonical and faces (F,3), of control part `part`; source (T,3): the control faces
    that it stands for."""

    vertices: Array
    faces: Array
    part: int
    source: Array


def inside_mouth(uv: Array) -> Array:
    """(T,) which triangles of the skin, by their corners' uv (T,3,2), are the mouth's inside: an island of the control
    surface's own UV layout."""
    u, v = uv.mean(1).T
    out: Array = (v <= 0.463) & (u > 0.503) & (u < 0.771)
    return out


def pieces(faces: Array) -> list[Array]:
    """The connected pieces of faces (T,3): a list of face lists, in the order of their first face."""
    of_face = connected_pieces(faces)
    _, first = np.unique(of_face, return_index=True)
    return [faces[of_face == of_face[i]] for i in sorted(first)]


def eyeballs(vertices: Array, faces: Array, part: Array) -> list[Array]:
    """Faces of the outer layer of each eyeball (the cornea's; the iris behind it is painted on)."""
    layers = pieces(faces[part == EYES])
    outer: list[Array] = []
    for left in (True, False):
        side = [p for p in layers if (vertices[p, 0].mean() > 0) == left]
        if side:
            outer.append(max(side, key=lambda p: float(vertices[p, 2].max())))
    return outer


def inner_pieces(
    vertices: Array, faces: Array, part: Array, balls: list[Array], target: int, progress: Progress = ignored
) -> list[Piece]:
    """The given eyeballs, the teeth, gums and tongue, decimated for a mesh of `target` faces and closed."""
    size = min(1.0, target / FULL)
    todo = [(ball, EYES, max(120, round(BALL * size))) for ball in balls]
    for sheet in pieces(faces[part == TEETH]):
        crown = len(sheet) < 500
        todo.append((sheet, TEETH, max(24, round(CROWN * size)) if crown else round(GUMS * size)))
    todo += [(body, TONGUE, max(100, round(TONGUE_FACES * size))) for body in pieces(faces[part == TONGUE])]
    out = []
    for n, (source, kind, count) in enumerate(todo):
        share = between(progress, n / len(todo), (n + 1) / len(todo))
        out.append(_piece(vertices, source, kind, count, share))
    return out


def _piece(vertices: Array, source: Array, part: int, target: int, progress: Progress) -> Piece:
    used, local = np.unique(source, return_inverse=True)
    v, f = vertices[used].astype(np.float64), local.reshape(-1, 3)
    holes = boundary_loops(f)
    if all(len(hole) <= LARGEST_LID for hole in holes):
        v, f = with_lids(v, f, holes)
        v, f = decimate(v, f, target, progress=progress)
    else:
        v, f = decimate(v, f, target, progress=progress)
        v, f = with_back(v.astype(np.float64), f, THICKNESS)
    return Piece(v.astype(np.float32), f, part, source)


def boundary_loops(faces: Array) -> list[list[int]]:
    """Vertices around each hole of faces (F,3), against the winding of the mesh: a fan over them is wound like it."""
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    base = int(faces.max()) + 1
    forth, back = directed @ [base, 1], directed @ [1, base]
    following = {int(b): int(a) for a, b in directed[~np.isin(forth, back)]}
    loops = []
    while following:
        start = min(following)
        loop, at = [start], following.pop(start)
        while at != start:
            loop.append(at)
            at = following.pop(at)
        loops.append(loop)
    return loops


def with_lids(vertices: Array, faces: Array, holes: list[list[int]]) -> tuple[Array, Array]:
    """Each hole closed by a fan around its middle."""
    points, extra = [vertices], []
    for k, hole in enumerate(holes):
        points.append(vertices[hole].mean(0, keepdims=True))
        extra += [(a, b, len(vertices) + k) for a, b in zip(hole, [*hole[1:], hole[0]], strict=True)]
    return np.concatenate(points), np.concatenate([faces, np.array(extra, dtype=faces.dtype).reshape(-1, 3)])


def with_back(vertices: Array, faces: Array, thickness: float) -> tuple[Array, Array]:
    """A sheet made solid: a copy behind it, facing away, and walls along its boundary."""
    a, b, c = vertices[faces].transpose(1, 0, 2)
    normals = np.zeros_like(vertices)
    np.add.at(normals, faces.reshape(-1), np.repeat(np.cross(b - a, c - a), 3, axis=0))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    n = len(vertices)
    walls = [
        triangle
        for hole in boundary_loops(faces)
        for p, q in zip(hole, [*hole[1:], hole[0]], strict=True)
        for triangle in ((p, q, q + n), (p, q + n, p + n))
    ]
    return (
        np.concatenate([vertices, vertices - thickness * normals]),
        np.concatenate([faces, faces[:, ::-1] + n, np.array(walls, dtype=faces.dtype).reshape(-1, 3)]),
    )
