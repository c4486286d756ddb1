# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an expression creases the skin: dark lines that a photograph shows there are not on the face at rest."""

import numpy as np

from ..arrays import Array
from ..headmodel import HeadModel
from ..mesh.surface import edges_of, vertex_normals
from ..ramps import ramp

SQUEEZE = (0.05, 0.2)  # log of an edge's shortening at which skin begins to fold, and surely folds
TURN = (6.0, 20.0)  # the same of degrees between the normals at rest and posed
ROUNDS = 6  # of smoothing: folds lie beside the places of most compression


def crease_mask(model: HeadModel, rest: Array, posed: Array) -> Array:
    """(P,) 0..1 for a face at rest (P,3) and as on a photograph (P,3)."""
    triangles = model.triangles_of("face")
    edges = edges_of(triangles)
    a, b = edges.T
    before, after = (np.linalg.norm(p[a] - p[b], axis=1) for p in (rest, posed))
    squeeze = -np.log(np.maximum(after, 1e-6) / np.maximum(before, 1e-6))
    worst = np.zeros(len(rest))
    np.maximum.at(worst, a, squeeze)
    np.maximum.at(worst, b, squeeze)
    cosine = (vertex_normals(rest, triangles) * vertex_normals(posed, triangles)).sum(1)
    turned = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    field = np.maximum(ramp(worst, *SQUEEZE), ramp(turned, *TURN)) * model.vertices_of("face")
    count = np.bincount(edges.ravel(), minlength=len(rest)).astype(np.float64)
    for _ in range(ROUNDS):
        total = np.bincount(a, field[b], len(rest)) + np.bincount(b, field[a], len(rest))
        field = 0.5 * field + 0.5 * total / np.maximum(count, 1)
    return field
