# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers of colour joined in a Laplacian pyramid (Burt and Adelson 1983): tone over wide seams, detail over narrow."""

import cv2
import numpy as np

from ..arrays import Array

LEVELS = 6
COARSE = 4  # side, in texels, of the blocks on which the smooth filling is computed


def lay_over(base: Array, layer: Array, weight: Array, levels: int = LEVELS) -> Array:
    """base (S,S,C) with layer (S,S,C) over it by weight (S,S) 0..1; float32, S divisible by 2^levels.

    Where the layer has no weight its colour means nothing: there it is filled with the base's colour plus the
    difference between layer and base nearby, so that its border makes no seam in the coarse levels.
    """
    filled = _filled(base, layer, weight)
    return _blend(base.astype(np.float32), filled, weight.astype(np.float32), levels)


def smooth_within(values: Array, weight: Array, sigma: float) -> tuple[Array, Array]:
    """Weighted Gaussian mean of values (S,S[,C]), and the smoothed weight (S,S)."""
    size = len(weight)
    # a wide Gaussian has no fine detail, so a small copy is enough
    factor = max(1, int(sigma / 2.5))
    small = (max(1, size // factor),) * 2
    w = cv2.resize(weight.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    shape = weight.shape if values.ndim == 2 else (*weight.shape, 1)
    v = cv2.resize(values.astype(np.float32) * weight.reshape(shape), small, interpolation=cv2.INTER_AREA)
    w = cv2.GaussianBlur(w, (0, 0), sigma / factor)
    v = cv2.GaussianBlur(v, (0, 0), sigma / factor)
    mean = v / np.maximum(w if v.ndim == 2 else w[..., None], 1e-6)
    return cv2.resize(mean, (size, size)), cv2.resize(w, (size, size))


def _filled(base: Array, layer: Array, weight: Array) -> Array:
    known = weight > 0.02
    difference = (layer - base) * known[..., None]
    # the filling is smooth, so a quarter of the resolution is enough
    size = len(weight)
    small = (max(8, size // COARSE),) * 2
    near = cv2.resize(weight.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    moved = cv2.resize(difference.astype(np.float32) * weight[..., None], small, interpolation=cv2.INTER_AREA)
    wide, done = np.zeros_like(moved), np.zeros_like(near)
    for sigma in (4 / COARSE, 16 / COARSE, 64 / COARSE):
        w, v = cv2.GaussianBlur(near, (0, 0), sigma), cv2.GaussianBlur(moved, (0, 0), sigma)
        share = np.clip(w * 4, 0, 1) * (1 - done)
        wide = wide + (share / np.maximum(w, 1e-6))[..., None] * v
        done = done + share
    own = np.clip(weight / 0.1, 0, 1)[..., None].astype(np.float32)
    beyond = cv2.resize(wide, (size, size))
    out: Array = base + own * difference.astype(np.float32) + (1 - own) * beyond
    return out.astype(np.float32)


def _blend(a: Array, b: Array, weight: Array, levels: int) -> Array:
    if levels == 0:
        return a + weight[..., None] * (b - a)
    size = (a.shape[1], a.shape[0])
    down_a, down_b, down_w = (cv2.pyrDown(x) for x in (a, b, weight))
    fine_a, fine_b = a - cv2.pyrUp(down_a, dstsize=size), b - cv2.pyrUp(down_b, dstsize=size)
    coarse = cv2.pyrUp(_blend(down_a, down_b, down_w, levels - 1), dstsize=size)
    return coarse + fine_a + weight[..., None] * (fine_b - fine_a)
