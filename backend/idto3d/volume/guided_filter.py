# SPDX-License-Identifier: GPL-3.0-or-later
"""Edge-preserving smoothing of masks along the colours of a photograph."""

import cv2
import numpy as np

from ..arrays import Array


def guided_upsample(guide: Array, fine: Array, values: Array, radius: int, epsilon: float) -> Array:
    """Values (h,w) smoothed along the edges of guide (h,w,3) and brought to the size of fine (H,W,3), 0..1 colours.

    Fast guided filter (He and Sun 2015): in windows of 2 radius + 1 pixels the values are a linear function of the
    colour, with epsilon (colours squared) against noise; that function is found on the small picture and applied to
    the large one.
    """

    def mean(x: Array) -> Array:
        return cv2.boxFilter(x, -1, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)

    values = values.astype(np.float32)
    colour, value = mean(guide), mean(values)
    squares = np.empty((*guide.shape[:2], 3, 3), np.float32)
    for i in range(3):
        for j in range(i, 3):
            squares[..., i, j] = mean(guide[..., i] * guide[..., j]) - colour[..., i] * colour[..., j]
            squares[..., j, i] = squares[..., i, j]
        squares[..., i, i] += epsilon
    shared = mean(guide * values[..., None]) - colour * value[..., None]
    slope = np.linalg.solve(squares, shared[..., None])[..., 0]
    offset = value - (slope * colour).sum(-1)
    linear = mean(np.concatenate([slope, offset[..., None]], -1).astype(np.float32))
    if fine.shape[:2] != guide.shape[:2]:
        linear = cv2.resize(linear, fine.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    out: Array = (linear[..., :3] * fine).sum(-1) + linear[..., 3]
    return np.clip(out, 0.0, 1.0)
