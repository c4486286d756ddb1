# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a surface out of itself: where faces cross or lie folded on each other, their vertices go towards the middle of
their neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mesh.attach import face_normals
from .checks import self_intersections
from .fit import neighbour_means
from .flatten import face_neighbours
from .progress import Progress, ignored

Array = NDArray[Any]
ROUNDS = 8
WIDER = 4  # rounds after which neighbours move along
FOLDED = -0.5  # cosine between the normals of neighbouring faces: no skin is as sharp as that


def untangled(vertices: Array, faces: Array, held: Array, farthest: float, progress: Progress = ignored) -> Array:
    """Positions (V,3) of the surface, vertices (V,3) and faces (F,3), with next to no faces that cross or are folded
    over their neighbour.

    held (V,) bool: do not move; farthest: that a vertex moves, in the unit of the vertices. Where the surface is so
    already, nothing moves. A third of a second a round.
    """
    points = vertices.astype(np.float64)
    average, neighbours = neighbour_means(faces, len(points)), face_neighbours(faces)
    for turn in range(ROUNDS):
        progress(turn / ROUNDS)
        normals = face_normals(points, faces)
        folded = neighbours[(normals[neighbours[:, 0]] * normals[neighbours[:, 1]]).sum(1) < FOLDED]
        folded = folded[~held[faces[folded]].any((1, 2))]
        pairs = np.concatenate([self_intersections(points, faces), folded])
        if not len(pairs):
            break
        moving = np.zeros(len(points))
        moving[faces[pairs.reshape(-1)]] = 1.0
        if turn >= WIDER:
            moving = np.maximum(moving, average @ moving > 0)
        moving[held] = 0.0
        points += 0.5 * moving[:, None] * (average @ points - points)
        way = points - vertices
        points = vertices + way * np.minimum(1.0, farthest / np.maximum(np.linalg.norm(way, axis=1), 1e-12))[:, None]
    return points
