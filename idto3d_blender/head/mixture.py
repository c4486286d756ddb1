# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of mixing people: shares, shapes, hair carried to another head, pictures. No bpy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_REACH = 0.04  # metres over which the motion of the skin carries hair


def shares(others: Sequence[float]) -> list[float]:
    """Sliders 0..1 of the second person, the third, ... -> the share of each, the first's before them; 1 together."""
    total = sum(others)
    if total > 1.0:
        return [0.0, *(other / total for other in others)]
    return [1.0 - total, *others]


def mixed(arrays: Sequence[Array], weights: Sequence[float]) -> Array:
    """Sum of weight times array; arrays whose weight is 0 are not read."""
    wanted = [(array, np.float32(weight)) for array, weight in zip(arrays, weights, strict=True) if weight]
    out = np.multiply(wanted[0][0], wanted[0][1], dtype=np.float32)
    for array, weight in wanted[1:]:
        out += weight * array
    return out


def carried(hair: Array, before: Array, after: Array) -> Array:
    """Hair (H,3) metres on a skin whose places (A,3) went from ``before`` to ``after``: each vertex moves as the skin
    around it does, weighted by a Gaussian of the distance."""
    if not len(hair) or not len(before):
        return hair
    away = (hair**2).sum(axis=1)[:, None] + (before**2).sum(axis=1)[None] - 2.0 * (hair @ before.T)
    # Relative to the nearest: far from all skin, the nearest still carries.
    away -= away.min(axis=1, keepdims=True)
    weight = np.exp(away * np.float32(-0.5 / _REACH**2))
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray(hair + weight @ (after - before), np.float32)


def mixed_picture(pictures: Sequence[Array], weights: Sequence[float], normals: bool) -> Array:
    """(H,W,4) 0..1 of pictures of one size, as they are stored: even steps of sRGB look even. normals: tangent space
    normals, which are made as long as normals are again."""
    out = mixed(pictures, weights)
    if normals:
        ways = 2.0 * out[..., :3] - 1.0
        length = np.maximum(np.linalg.norm(ways, axis=-1, keepdims=True), 1e-6)
        out[..., :3] = 0.5 + 0.5 * ways / length
    return out
