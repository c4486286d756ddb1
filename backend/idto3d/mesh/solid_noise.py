# SPDX-License-Identifier: GPL-3.0-or-later
"""Noise in 3D space, which has no seams on a surface, whatever its UV charts."""

import numpy as np
from numba import njit

from ..arrays import Array


def solid_noise(points: Array, wavelength: float, seed: int) -> Array:
    """(N,) float32 of mean 0 and about unit variance at points (N,3): random values on a grid of half the wavelength,
    smoothly between them (value noise, Perlin's fade)."""
    return _noise(np.asarray(points, np.float32), np.float32(2.0 / wavelength), np.uint32(seed))


@njit(cache=True, nogil=True)
def _lattice(x, y, z, seed):  # type: ignore[no-untyped-def]
    h = np.uint32(x) * np.uint32(374761393) + np.uint32(y) * np.uint32(668265263) + np.uint32(z) * np.uint32(2147483647)
    h = np.uint32(h + seed * np.uint32(3266489917))
    h = np.uint32((h ^ (h >> np.uint32(15))) * np.uint32(2246822519))
    h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(3266489917))
    h = np.uint32(h ^ (h >> np.uint32(16)))
    return np.float32(h) / np.float32(4294967295.0) * np.float32(2.0) - np.float32(1.0)


@njit(cache=True, nogil=True)
def _noise(points, frequency, seed):  # type: ignore[no-untyped-def]
    out = np.empty(len(points), np.float32)
    for n in range(len(points)):
        x, y, z = points[n, 0] * frequency, points[n, 1] * frequency, points[n, 2] * frequency
        i, j, k = np.int32(np.floor(x)), np.int32(np.floor(y)), np.int32(np.floor(z))
        u, v, w = x - i, y - j, z - k
        u = u * u * u * (u * (u * 6 - 15) + 10)
        v = v * v * v * (v * (v * 6 - 15) + 10)
        w = w * w * w * (w * (w * 6 - 15) + 10)
        total = np.float32(0.0)
        for a in range(2):
            for b in range(2):
                for c in range(2):
                    weight = (u if a else 1 - u) * (v if b else 1 - v) * (w if c else 1 - w)
                    total += weight * _lattice(i + a, j + b, k + c, seed)
        # interpolation reduces the variance of the uniform values: 2.6 makes it about 1
        out[n] = total * np.float32(2.6)
    return out
