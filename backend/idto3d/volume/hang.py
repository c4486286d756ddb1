# SPDX-License-Identifier: GPL-3.0-or-later
"""How hair goes with an expression: short hair as its scalp does; a fringe, and hair that stands off, hang where they
are, for the skin glides under them. Where skin rises into hair it lifts it."""

import numpy as np
import torch

from ..arrays import Array
from ..mesh.attach import Surface, carry
from ..mesh.surface import vertex_normals
from ..ramps import ramp

ROOTED = (0.006, 0.014)  # metres from the scalp up to which hair goes with it, and from which it does not
CLEAR = 0.003  # metres that skin keeps from hair, where it kept as many
NEAR = 0.02  # metres from the skin: farther off nothing is lifted
MOVES = 3e-4  # metres: less is no motion


def hung(hair: Array, away: Array, carried: Array, skin: tuple[Array, Array], offset: Array) -> Array:
    """(N,3) motion of hair (N,3), whose vertices lie away (N,) metres from the scalp that would carry them (N,3).

    skin: vertices (P,3) of the head at rest and triangles (F,3) of its skin; offset (P,3): what the expression adds.
    """
    moved = carried * ramp(away, ROOTED[1], ROOTED[0])[:, None]
    rest, triangles = skin
    moving = triangles[np.linalg.norm(offset, axis=1)[triangles].max(1) > MOVES]
    low, high = rest[moving].reshape(-1, 3).min(0, initial=np.inf), rest[moving].reshape(-1, 3).max(0, initial=-np.inf)
    near = np.flatnonzero(((hair > low - NEAR) & (hair < high + NEAR)).all(1))
    if not len(near):
        return moved
    before, _ = _clearance(hair[near], rest, moving)
    after, outwards = _clearance(hair[near] + moved[near], rest + offset, moving)
    lift = np.where(np.abs(before) < NEAR, np.maximum(np.minimum(before, CLEAR) - after, 0.0), 0.0)
    moved[near] += lift[:, None] * outwards
    return moved


def _clearance(points: Array, vertices: Array, triangles: Array) -> tuple[Array, Array]:
    """(N,) metres of points (N,3) over a surface, negative under it, and its normals there (N,3)."""
    at = Surface(vertices, triangles).attach(points)
    fields = torch.from_numpy(np.concatenate([vertices, vertex_normals(vertices, triangles)], 1))
    foot, normal = np.split(carry(fields, torch.from_numpy(triangles), at).numpy(), 2, axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    return ((points - foot) * normal).sum(1), normal
