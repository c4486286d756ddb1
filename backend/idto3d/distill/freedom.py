# SPDX-License-Identifier: GPL-3.0-or-later
"""How freely a vertex or texel may leave its evidence.

Motion = freedom * variable, a change of variables: with a quadratic penalty (motion / deviation)^2 instead, deviations
a hundred times apart would make the optimisation badly conditioned.
"""

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from ..arrays import Array


def freedom(seen: Tensor, held: float, trust: float) -> Tensor:
    """Standard deviation relative to an unseen place's, by `seen` 0..1: from held / trust to 1, geometric between."""
    return (held / trust) ** seen


def feathered(seen: Array, vertices: Array, edges: Array, reach: float) -> Array:
    """seen (V,) on a mesh of vertices (V,3) and edges (E,2), extended to fade to 0 linearly within `reach` metres along
    the edges, so that motion begins without a seam."""
    out = seen.astype(np.float64)
    if reach <= 0:
        return out
    loss = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1) / reach
    while True:
        before = out.copy()
        for a, b in (edges.T, edges.T[::-1]):
            np.maximum.at(out, b, before[a] - loss)
        if np.array_equal(out, before):
            return out


def feathered_map(seen: Tensor, reach: float) -> Tensor:
    """The same for a map (1,1,S,S); reach: a share of its side."""
    rounds = round(reach * seen.shape[-1])
    for _ in range(rounds):  # a texel a round, each a little less
        seen = seen.maximum(F.max_pool2d(seen, 3, 1, 1) - 1 / (rounds + 1))
    return seen
