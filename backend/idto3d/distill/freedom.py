# SPDX-License-Identifier: GPL-3.0-or-later
"""How freely a place may leave its evidence.

A place moves by freedom times its variable, so that what is held costs no more to hold than the rest: the quadratic
penalty (motion / deviation)^2 with deviations a hundred times apart would set the pace of every step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Array = NDArray[Any]


def freedom(seen: Tensor, held: float, trust: float) -> Tensor:
    """The deviation of places `seen` 0..1 over that of one unseen: from held / trust to 1, geometric between."""
    return (held / trust) ** seen


def feathered(seen: Array, vertices: Array, edges: Array, reach: float) -> Array:
    """seen (V,) on a mesh, vertices (V,3) and edges (E,2), and fading to 0 linearly within `reach` metres around what
    was seen, along the edges: motion that begins there leaves no seam."""
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
