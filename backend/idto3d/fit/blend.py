# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers of colour joined in a Laplacian pyramid (Burt and Adelson 1983): tone over wide seams, detail over narrow."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LEVELS = 6


def lay_over(base: Array, layer: Array, weight: Array, levels: int = LEVELS) -> Array:
    """base (S,S,C) with layer (S,S,C) over it where weight (S,S) 0..1 says so; float32, S divisible by 2^levels.

    Where the layer has no weight its colour is nobody's: the base's is taken, moved by what the layer differs nearby,
    so that no seam comes out of the void.
    """
    filled = _filled(base, layer, weight)
    return _blend(base.astype(np.float32), filled, weight.astype(np.float32), levels)


def smooth_within(values: Array, weight: Array, sigma: float) -> tuple[Array, Array]:
    """Weighted Gaussian mean of values (S,S[,C]) and the smoothed weight (S,S): what lies outside has no say."""
    size = len(weight)
    # wide Gaussians on a small copy: they have nothing finer to say
    factor = max(1, int(sigma / 6))
    small = (max(1, size // factor),) * 2
    w = cv2.resize(weight.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    shape = weight.shape if values.ndim == 2 else (*weight.shape, 1)
    v = cv2.resize(values.astype(np.float32) * weight.reshape(shape), small, interpolation=cv2.INTER_AREA)
    w = cv2.GaussianBlur(w, (0, 0), sigma / factor)
    v = cv2.GaussianBlur(v, (0, 0), sigma / factor)
    mean = v / np.maximum(w if v.ndim == 2 else w[..., None], 1e-6)
    return cv2.resize(mean, (size, size)), cv2.resize(w, (size, size))


def _filled(base: Array, layer: Array, weight: Array) -> Array:
    difference = np.where(weight[..., None] > 0.02, layer - base, 0.0)
    wide = np.zeros_like(base, np.float32)
    known = np.zeros(base.shape[:2], np.float32)
    for sigma in (4, 16, 64):
        mean, w = smooth_within(difference, weight, sigma)
        share = np.clip(w * 4, 0, 1) * (1 - known)
        wide += share[..., None] * mean
        known += share
    own = np.clip(weight / 0.1, 0, 1)[..., None]
    out: Array = (own * np.where(weight[..., None] > 0.02, layer, base) + (1 - own) * (base + wide)).astype(np.float32)
    return out


def _blend(a: Array, b: Array, weight: Array, levels: int) -> Array:
    if levels == 0:
        out: Array = a + weight[..., None] * (b - a)
        return out
    size = (a.shape[1], a.shape[0])
    down_a, down_b, down_w = (cv2.pyrDown(x) for x in (a, b, weight))
    fine_a, fine_b = a - cv2.pyrUp(down_a, dstsize=size), b - cv2.pyrUp(down_b, dstsize=size)
    coarse = cv2.pyrUp(_blend(down_a, down_b, down_w, levels - 1), dstsize=size)
    return coarse + fine_a + weight[..., None] * (fine_b - fine_a)
