# SPDX-License-Identifier: GPL-3.0-or-later
"""The missing side of one-sided expressions: mouth_right from mouth_left, jaw_left from jaw_right.

The mesh is not symmetric, so Blender's own mirroring, which looks for a twin vertex at the mirrored place, finds none.
Here each vertex takes the mirrored motion of the surface at its mirrored place: of the nearest vertices there that are
of the same part, so that no lip follows the teeth behind it.
"""

import functools
from typing import Any

import numpy as np
from mathutils.kdtree import KDTree
from numpy.typing import NDArray

from . import expressions, mesh_data
from .stepwise import Steps, aside, scaled

_NEAREST = 3
_MOVES = 1e-6
_FLIP = np.array([-1.0, 1.0, 1.0], dtype=np.float32)


def missing(obj: Any) -> dict[str, str]:
    """Keys of the head that lack their other side -> that side's name."""
    return expressions.missing_sides(key.name for key in obj.data.shape_keys.key_blocks[1:])


def add_missing(obj: Any) -> Steps[list[str]]:
    """Steps that make the keys that are missing; returns their names. Closed early, none is left."""
    made: list[str] = []
    parts = _parts(obj.data)
    wanted = missing(obj)
    moved = yield from scaled(mesh_data.offsets(obj, wanted), 0.0, 0.1)
    try:
        for name, other in wanted.items():
            blocks = obj.data.shape_keys.key_blocks
            basis = mesh_data.places(blocks[0])
            work = aside(functools.partial(mirrored, basis, moved[name], parts))
            done, step = 0.1 + 0.9 * len(made) / len(wanted), 0.9 / len(wanted)
            offsets = yield from scaled(work, done, done + step)
            made.append(other)
            key = obj.shape_key_add(name=other, from_mix=False)
            key.points.foreach_set("co", (basis + offsets).ravel())
            blocks = obj.data.shape_keys.key_blocks
            key.slider_min, key.slider_max = blocks[name].slider_min, blocks[name].slider_max
            # A new key has the value 1.0 from Blender 5.0 on.
            key.value = 0.0
    except BaseException:
        for other in made:
            if (left := obj.data.shape_keys.key_blocks.get(other)) is not None:
                obj.shape_key_remove(left)
        raise
    return made


def mirrored(
    vertices: NDArray[np.float32], offsets: NDArray[np.float32], parts: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Offsets (V,3) of the expression that is ``offsets`` (V,3) seen in a mirror at x = 0; both in metres. parts (V,)
    int32: vertices of one number have their twins among themselves."""
    out = np.zeros_like(offsets)
    for part in np.unique(parts):
        own = np.flatnonzero(parts == part)
        out[own] = _mirrored(vertices[own], offsets[own])
    return out


def _mirrored(vertices: NDArray[np.float32], offsets: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.zeros_like(offsets)
    moving = np.flatnonzero(np.abs(offsets).max(axis=1) > _MOVES)
    if not len(moving):
        return out
    # Only near what moves does anything move; the border keeps the motion's fall-off to zero.
    flipped = vertices * _FLIP
    margin = 0.01
    low, high = vertices[moving].min(axis=0) - margin, vertices[moving].max(axis=0) + margin
    source = np.flatnonzero(((vertices >= low) & (vertices <= high)).all(axis=1))
    target = np.flatnonzero(((flipped >= low) & (flipped <= high)).all(axis=1))
    tree = KDTree(len(source))
    for index, place in zip(source.tolist(), vertices[source].tolist(), strict=True):
        tree.insert(place, index)
    tree.balance()
    found = [[(index, distance) for _, index, distance in tree.find_n(p, _NEAREST)] for p in flipped[target].tolist()]
    if found:
        near, distance = np.moveaxis(np.array(found), 2, 0)
        weights = 1.0 / (distance + 1e-6)
        weights /= weights.sum(axis=1, keepdims=True)
        out[target] = (weights[..., None] * offsets[near.astype(int)]).sum(axis=1) * _FLIP
    return out


def _parts(mesh: Any) -> NDArray[np.int32]:
    """(V,) the part of each vertex: of any face that it belongs to."""
    out = np.zeros(len(mesh.vertices), dtype=np.int32)
    vertex, count = mesh_data.corners(mesh)
    out[vertex] = np.repeat(mesh_data.parts(mesh), count)
    return out
