# SPDX-License-Identifier: GPL-3.0-or-later
"""Pores and fine lines of the skin as a normal map: dark detail of the photographs is taken as depth, over a fine
grain."""

import cv2
import numpy as np
from numba import njit

from ..arrays import Array
from ..mesh.solid_noise import solid_noise
from ..mesh.texels import Texels

WIDEST = 0.0025  # metres: wider detail is shape, not relief
DEPTH = 0.0004  # metres of depth per unit of log darkness
MOST = 0.12  # log darkness at which depth saturates: hair and moles are darker, not deeper
GRAIN = ((0.0009, 4e-6), (0.0018, 7e-6))  # metres: wavelength and deviation
STEEPEST = 0.35


def skin_relief(albedo: Array, texels: Texels, vertices: Array) -> Array:
    """(S,S,3) uint8 normals in tangent space, +Y up, for an albedo map (S,S,3) sRGB 0..1 with texels of vertices (V,3),
    metres."""
    across, down = _steps(texels.spread(texels.at(vertices)))
    texel = float(np.median(texels.of_image(0.5 * (across + down))))
    height = _relief(albedo, texel)
    height += texels.spread(_grain(texels.at(vertices), texel))
    return texels.padded(_normals(height, across, down))


def _grain(points: Array, texel: float) -> Array:
    """(N,) metres at points (N,3)."""
    out = np.zeros(len(points), np.float32)
    for n, (wide, depth) in enumerate(GRAIN):
        if wide > 2 * texel:
            out += depth * solid_noise(points, wide, 20 + n)
    return out


def _relief(albedo: Array, texel: float) -> Array:
    """(S,S) height in metres, from albedo (S,S,3); texel: its width in metres."""
    light = np.log(np.maximum(albedo.mean(2) ** 2.2, 1e-3)).astype(np.float32)
    sigma = WIDEST / 2 / texel
    detail = light - cv2.GaussianBlur(light, (0, 0), sigma)
    rough = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), sigma))
    # strong contrast all around, as in brows and beards, is not relief
    return DEPTH * MOST * np.tanh(detail / MOST) / (1 + (rough / MOST) ** 2)


def _steps(place: Array) -> tuple[Array, Array]:
    """(S,S) metres from texel to texel along rows and columns of places (S,S,3), clamped at the seams of charts."""
    out = _lengths(place)
    for length in out:
        usual = float(np.median(length[length > 0])) if (length > 0).any() else 1.0
        np.clip(length, 0.3 * usual, 3 * usual, out=length)
    return out


# Compiled, as NumPy's temporaries for a map of 2048 x 2048 texels would need half a gigabyte.


@njit(cache=True, nogil=True)
def _lengths(place):  # type: ignore[no-untyped-def]
    rows, columns, _ = place.shape
    across, down = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
    for i in range(rows):
        above, below = max(i - 1, 0), min(i + 1, rows - 1)
        for j in range(columns):
            left, right = max(j - 1, 0), min(j + 1, columns - 1)
            x = y = np.float32(0)
            for k in range(3):
                x += ((place[i, right, k] - place[i, left, k]) / np.float32(right - left)) ** 2
                y += ((place[below, j, k] - place[above, j, k]) / np.float32(below - above)) ** 2
            across[i, j], down[i, j] = np.sqrt(x), np.sqrt(y)
    return across, down


@njit(cache=True, nogil=True)
def _normals(height, across, down):  # type: ignore[no-untyped-def]
    rows, columns = height.shape
    out = np.empty((rows, columns, 3), np.uint8)
    for i in range(rows):
        above, below = max(i - 1, 0), min(i + 1, rows - 1)
        for j in range(columns):
            left, right = max(j - 1, 0), min(j + 1, columns - 1)
            x = (height[i, right] - height[i, left]) / np.float32(right - left) / across[i, j]
            y = (height[below, j] - height[above, j]) / np.float32(below - above) / down[i, j]
            x, y = -min(max(x, -STEEPEST), STEEPEST), min(max(y, -STEEPEST), STEEPEST)
            scale = 127.5 / np.sqrt(x * x + y * y + 1.0)
            out[i, j, 0] = np.uint8(np.rint(x * scale + 127.5))
            out[i, j, 1] = np.uint8(np.rint(y * scale + 127.5))
            out[i, j, 2] = np.uint8(np.rint(scale + 127.5))
    return out
