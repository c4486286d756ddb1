# SPDX-License-Identifier: GPL-3.0-or-later
"""How hair goes with an expression: short hair as its scalp does; a fringe, and hair that stands off, hang where they
are, for the skin glides under them. Where skin rises into hair it lifts it."""

from collections.abc import Iterable, Iterator

import numpy as np

from ..arrays import Array
from ..mesh.attach import ProximityQuery
from ..mesh.surface import vertex_normals
from ..ramps import ramp

ROOTED = (0.006, 0.014)  # metres from the scalp up to which hair goes with it, and from which it does not
CLEAR = 0.003  # metres that skin keeps from hair, where it kept as many
NEAR = 0.02  # metres from the skin: farther off nothing is lifted


def hung(
    hair: Array, away: Array, skin: tuple[Array, Array], motions: Iterable[tuple[Array, Array]]
) -> Iterator[Array]:
    """Motion (N,3) of hair (N,3), whose vertices lie away (N,) metres from the scalp, in each of several expressions.

    skin: vertices (P,3) of the head at rest and triangles (F,3) of the skin that may lift hair. motions: of each
    expression what it adds to the head (P,3), and what the scalp alone would give to hair (N,3).
    """
    vertices, triangles = skin
    at = ProximityQuery(vertices, triangles).attach(hair)
    below, rooted = at.reader(len(vertices)), ramp(away, ROOTED[1], ROOTED[0])[:, None]
    outwards = below @ vertex_normals(vertices, triangles)
    outwards /= np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-9)
    room = np.maximum(((hair - below @ vertices) * outwards).sum(1) - CLEAR, 0.0)
    near = at.gap < NEAR
    for offset, carried in motions:
        moved = carried * rooted
        # By no more than the skin moves: where it ends, and hair does not, nearest places tell nothing else.
        rise = ((below @ offset - moved) * outwards).sum(1)
        yield moved + (near * np.maximum(rise - room, 0.0))[:, None] * outwards
