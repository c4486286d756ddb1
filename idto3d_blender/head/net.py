# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh as arrays, for what makes fewer faces of it: its edges, its pieces, and what becomes of faces and texture
places when vertices go to where others are. No bpy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]

_TURNED = 0.2  # cosine to its former normal that a face must keep
_BENT = 3.0  # how much more a metre off the surface costs than a metre in it


@dataclass(frozen=True, eq=False)
class Net:
    """points (V,3); faces (F,4), corners (F,4) into any numbering of texture places, -1 last in a triangle; group (F,):
    faces of different groups have a border between them."""

    points: Floats
    faces: Ints
    corners: Ints
    group: Ints


@dataclass(frozen=True, eq=False)
class Closed:
    """vertex (V,), corner (T,): where each vertex and each texture place went, itself if it is left; faces (N,4),
    corners (N,4) what is left, with their numbers of before, and origin (N,) the number of the face it was."""

    vertex: Ints
    corner: Ints
    faces: Ints
    corners: Ints
    origin: Ints


@dataclass(frozen=True, eq=False)
class Edges:
    """ends (E,2), lower number first; of_side (F,4): the edge that begins at this corner, -1 for none; sides (E,2,2):
    face and side of up to two faces, -1 for none; line (E,): on a rim, a seam or a border."""

    ends: Ints
    of_side: Ints
    sides: Ints
    line: NDArray[np.bool_]


def move_corners(faces: Ints, corners: Ints, edges: Edges, across: Ints, to: Ints, to_corner: Ints) -> None:
    """The texture places of vertices that go, to those of the other end, each in the faces beside its edge."""
    for slot in (0, 1):
        face, side = edges.sides[across, slot].T
        there = face >= 0
        face, side = face[there], side[there]
        size = np.where(faces[face, 3] >= 0, 4, 3)
        following = (side + 1) % size
        a, b = faces[face, side], faces[face, following]
        ca, cb = corners[face, side], corners[face, following]
        goes = to[a] == b
        to_corner[np.where(goes, ca, cb)] = np.where(goes, cb, ca)


def applied(faces: Ints, corners: Ints, origin: Ints, vertex: Ints, corner: Ints) -> tuple[Ints, Ints, Ints]:
    """Faces after vertices went: closed ones are gone, quads of three corners are triangles."""
    moved = np.where(faces >= 0, vertex[faces], -1)
    places = np.where(corners >= 0, corner[corners], -1)
    keep = alive(moved)
    moved, places, origin = moved[keep], places[keep], origin[keep]
    for side in range(4):
        twice = (moved[:, 3] >= 0) & (moved[:, side] == moved[:, (side + 1) % 4])
        rest = [k for k in range(4) if k != side]
        moved[twice, :3], moved[twice, 3] = moved[twice][:, rest], -1
        places[twice, :3], places[twice, 3] = places[twice][:, rest], -1
    return moved, places, origin


def alive(faces: Ints) -> NDArray[np.bool_]:
    """Faces that have three corners of their own or more."""
    ordered = np.sort(faces, axis=1)
    return np.asarray(((np.diff(ordered, axis=1) != 0) & (ordered[:, 1:] >= 0)).sum(axis=1) + (ordered[:, 0] >= 0) >= 3)


def edges_of(faces: Ints, corners: Ints, group: Ints) -> Edges:
    count = len(faces)
    size = np.where(faces[:, 3] >= 0, 4, 3)
    side = np.tile(np.arange(4), count)
    face = np.repeat(np.arange(count), 4)
    keep = side < size[face]
    side, face = side[keep], face[keep]
    following = (side + 1) % size[face]
    start, end = faces[face, side], faces[face, following]
    here, there = corners[face, side], corners[face, following]
    flip = start > end
    low, high = np.where(flip, end, start), np.where(flip, start, end)
    at_low, at_high = np.where(flip, there, here), np.where(flip, here, there)
    key = low * (faces.max() + 1) + high
    order = np.argsort(key, kind="stable")
    unique, begin, number = np.unique(key[order], return_index=True, return_counts=True)
    of_side = np.full((count, 4), -1)
    of_side[face[order], side[order]] = np.repeat(np.arange(len(unique)), number)
    one = order[begin]
    two = order[np.minimum(begin + 1, len(order) - 1)]
    pair = number == 2
    sides = np.full((len(unique), 2, 2), -1)
    sides[:, 0] = np.column_stack([face[one], side[one]])
    sides[pair, 1] = np.column_stack([face[two], side[two]])[pair]
    same = (at_low[one] == at_low[two]) & (at_high[one] == at_high[two]) & (group[face[one]] == group[face[two]])
    return Edges(np.column_stack([low[one], high[one]]), of_side, sides, ~(pair & same))


def pieces(faces: Ints, count: int) -> Ints:
    """(count,) number of the connected piece of each vertex: the lowest vertex in it."""
    number = np.arange(count)
    solid = np.where(faces >= 0, faces, faces[:, :1])
    while True:
        before = number.copy()
        np.minimum.at(number, solid.ravel(), np.repeat(number[solid].min(axis=1), 4))
        number = number[number]
        if np.array_equal(before, number):
            return number


def faces_around(faces: Ints, count: int) -> list[Ints]:
    face = np.repeat(np.arange(len(faces)), 4)
    vertex = faces.ravel()
    face, vertex = face[vertex >= 0], vertex[vertex >= 0]
    order = np.argsort(vertex, kind="stable")
    return np.split(face[order], np.cumsum(np.bincount(vertex, minlength=count))[:-1])


def normals(points: Floats, faces: Ints) -> Floats:
    """(F,3) unit normals by the diagonals; of a triangle, by two sides."""
    fourth = np.where(faces[:, 3] >= 0, faces[:, 3], faces[:, 0])
    cross = np.cross(points[faces[:, 2]] - points[faces[:, 0]], points[fourth] - points[faces[:, 1]])
    return np.asarray(cross / np.linalg.norm(cross, axis=1, keepdims=True).clip(1e-20))


def vertex_normals(points: Floats, faces: Ints) -> Floats:
    own = normals(points, faces)
    out = np.zeros_like(points, dtype=np.float64)
    for side in range(4):
        there = faces[:, side] >= 0
        np.add.at(out, faces[there, side], own[there])
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True).clip(1e-20))


def sound(points: Floats, faces: Ints, near: Ints, to: Ints, lost: NDArray[np.bool_]) -> bool:
    """No face that is left turns over, and no two become one."""
    before = faces[near]
    after = np.where(before >= 0, to[before], -1)
    ordered = np.sort(after, axis=1)
    there = ~lost[near] & alive(after)
    if not there.any() or len(np.unique(ordered[there], axis=0)) < there.sum():
        return False
    return not turned_over(points, before[there], to).any()


def removable(faces: Ints, edges: Edges, count: int) -> NDArray[np.bool_]:
    """(E,2): whether this end of an edge may go to the other: not a corner, and off a line only along it."""
    lines = np.bincount(edges.ends[edges.line].ravel(), minlength=count)
    at = np.bincount(faces[faces >= 0].ravel(), minlength=count)
    fixed = ((lines != 0) & (lines != 2)) | (at == 1)
    return np.asarray(~fixed[edges.ends] & (edges.line[:, None] | (lines[edges.ends] == 0)))


def usual_lengths(net: Net) -> Floats:
    """(V,) mean length of the edges at each vertex, metres."""
    edges = edges_of(net.faces, net.corners, net.group)
    length = np.linalg.norm(np.diff(net.points[edges.ends], axis=1)[:, 0], axis=1)
    total = np.bincount(edges.ends.ravel(), np.repeat(length, 2), len(net.points))
    count = np.bincount(edges.ends.ravel(), minlength=len(net.points))
    return np.asarray(total / count.clip(1)).clip(1e-9)


def costs(points: Floats, normal: Floats, usual: Floats, keep: Ints, gone: Ints) -> Floats:
    """What it costs that vertices ``gone`` lie where ``keep`` are: how far they go, off the surface above all, as
    compared with the edges that were there."""
    way = points[keep] - points[gone]
    off = np.abs((way * normal[gone]).sum(axis=1))
    return np.asarray((np.linalg.norm(way, axis=1) + _BENT * off) / usual[gone])


def turned_over(points: Floats, faces: Ints, to: Ints) -> NDArray[np.bool_]:
    """(F,) faces that are left and turn over when vertices go ``to``."""
    after = np.where(faces >= 0, to[faces], -1)
    turned = (normals(points, faces) * normals(points, after)).sum(axis=1)
    return np.asarray(alive(after) & (turned <= _TURNED))
