# SPDX-License-Identifier: GPL-3.0-or-later
"""Pores and fine lines of the skin as a normal map: from what the photographs' detail shows as darker, on a grain that
all skin has."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..mesh.solid_noise import solid_noise
from ..mesh.texels import Texels

Array = NDArray[Any]

WIDEST = 0.0025  # metres: what is wider than this is shape, not relief
DEPTH = 0.0004  # metres that a place lies deeper which is darker by a logarithm of 1
MOST = 0.12  # logarithm: hair and moles are darker than their surround, not deeper
GRAIN = ((0.0009, 4e-6), (0.0018, 7e-6))  # metres: wavelength and deviation
STEEPEST = 0.35


def skin_relief(albedo: Array, texels: Texels, vertices: Array) -> Array:
    """(S,S,3) uint8 normals in tangent space, +Y up, of a map of albedo (S,S,3) sRGB 0..1, whose texels lie on vertices
    (V,3) in metres."""
    points = texels.at(vertices)
    place = texels.padded(texels.image(points))
    across, down = _steps(place, 1), _steps(place, 0)
    texel = float(np.median(texels.of_image(0.5 * (across + down))))
    light = np.log(np.maximum(albedo.mean(2) ** 2.2, 1e-3)).astype(np.float32)
    sigma = WIDEST / 2 / texel
    detail = light - cv2.GaussianBlur(light, (0, 0), sigma)
    rough = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), sigma))
    # where all is contrast, as in brows and beards, it is no relief
    height = DEPTH * MOST * np.tanh(detail / MOST) / (1 + (rough / MOST) ** 2)
    grain = sum(depth * solid_noise(points, wide, 20 + n) for n, (wide, depth) in enumerate(GRAIN) if wide > 2 * texel)
    height = height + texels.padded(texels.image(np.broadcast_to(np.float32(grain), (len(points),))))
    right = np.clip(_slope(height, 1) / across, -STEEPEST, STEEPEST)
    below = np.clip(_slope(height, 0) / down, -STEEPEST, STEEPEST)
    normal = np.stack([-right, below, np.ones_like(right)], 2)
    normal = texels.padded(normal / np.linalg.norm(normal, axis=2, keepdims=True))
    out: Array = np.rint((normal * 0.5 + 0.5) * 255).astype(np.uint8)
    return out


def _slope(image: Array, axis: int) -> Array:
    out: Array = np.gradient(image, axis=axis)
    return out


def _steps(place: Array, axis: int) -> Array:
    """(S,S) metres from texel to texel along an axis; seams of charts are no steps."""
    length = np.linalg.norm(np.gradient(place, axis=axis), axis=2)
    usual = float(np.median(length[length > 0])) if (length > 0).any() else 1.0
    return np.clip(length, 0.3 * usual, 3 * usual).astype(np.float32)
