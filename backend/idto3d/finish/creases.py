# SPDX-License-Identifier: GPL-3.0-or-later
"""Height maps of the creases of compressed skin.

Compressed skin buckles into lines across the direction of greatest shortening. Their places come from solid noise and
from dark lines in the photographs, both averaged along the lines (line integral convolution: Cabral and Leedom,
SIGGRAPH 1993).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from ..arrays import Array
from ..mesh.texels import Texels

STEP = 1e-3  # metres of a step along a line
VALLEY = (0.1, 1.3)  # standard deviations below the mean at which a crease begins, and is deep
FLANK = 0.35  # of a crease's depth: height of the bulge beside it


@dataclass(frozen=True)
class Pattern:
    """Metres: apart, between two creases; length, over which a crease is averaged; width of a crease; depth of the
    deepest."""

    apart: float
    length: float
    width: float
    depth: float


@dataclass(frozen=True, eq=False)
class Chart:
    """A piece of a map as a picture (H,W): points (H,W,3) metres; axes (H,W,2,3) unit vectors of the surface to the
    right and up; step (H,W,3): metres along the first of a texel to the right, and along both of one down."""

    points: Array
    axes: Array
    step: Array

    def __getitem__(self, window: tuple[slice, slice]) -> "Chart":
        return Chart(self.points[window], self.axes[window], self.step[window])

    def slope(self, image: Array) -> Array:
        """(H,W,2) of an image (H,W), by metres along the axes."""
        right = np.gradient(image, axis=1) / self.step[..., 0]
        up = (np.gradient(image, axis=0) - self.step[..., 1] * right) / self.step[..., 2]
        return np.stack([right, up], 2)

    def texels_along(self, direction: Array) -> Array:
        """(H,W,2) float32 texels to the right and down of a metre along directions (H,W,2) in the axes."""
        down = direction[..., 1] / self.step[..., 2]
        right = (direction[..., 0] - self.step[..., 1] * down) / self.step[..., 0]
        return np.stack([right, down], 2).astype(np.float32)


def chart_of(texels: Texels, vertices: Array) -> Chart:
    """The whole map of texels on vertices (V,3)."""
    points = texels.spread(texels.at(vertices))
    right, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
    along = _unit(right)
    aside = _dot(down, along)
    up = _unit(along * aside[..., None] - down)
    step = np.stack([_dot(right, along), aside, _dot(down, up)], 2)
    # steps over the seams of charts, and in degenerate parts, are clamped
    usual = float(np.median(texels.of_image(step[..., 0])))
    step[..., 0] = np.clip(step[..., 0], 0.3 * usual, 3 * usual)
    step[..., 1] = np.clip(step[..., 1], -usual, usual)
    step[..., 2] = np.clip(step[..., 2], -3 * usual, -0.3 * usual)
    return Chart(points, np.stack([along, up], 2), step.astype(np.float32))


def folding(chart: Chart, strain: Array) -> tuple[Array, Array]:
    """The greatest shortening (H,W), 0 where there is none, and the direction (H,W,2) of the folds, across it; strain
    (H,W,6): xx, yy, zz, xy, yz, xz of the tensor, see `mesh.strain`."""
    x, y = chart.axes[..., 0, :], chart.axes[..., 1, :]
    a, b, c = _times(strain, x, x), _times(strain, x, y), _times(strain, y, y)
    spread = np.hypot((a - c) / 2, b)
    angle = 0.5 * np.arctan2(b, (a - c) / 2)  # of the eigenvector that is shortened least
    return np.maximum(spread - (a + c) / 2, 0), np.stack([np.cos(angle), np.sin(angle)], 2)


def _times(strain: Array, p: Array, q: Array) -> Array:
    out = sum(strain[..., k] * p[..., k] * q[..., k] for k in range(3))
    for k, (i, j) in enumerate(((0, 1), (1, 2), (0, 2)), 3):
        out = out + strain[..., k] * (p[..., i] * q[..., j] + p[..., j] * q[..., i])
    return np.asarray(out)


def creases(chart: Chart, seed: Array, lines: Array, inside: Array, pattern: Pattern) -> Array:
    """(H,W) heights with the deepest crease at -1: along lines (H,W,2), inside (H,W) bool, in the valleys of a seed
    (H,W)."""
    texel = float(np.median(chart.step[..., 0]))
    steps = max(1, round(pattern.length / 2 / STEP))
    drawn = _drawn_out(seed.astype(np.float32), chart.texels_along(lines) * np.float32(STEP), inside, steps)
    weight = inside.astype(np.float32)
    level = drawn - _mean(drawn, weight, pattern.apart / texel)
    level = level / np.sqrt(np.maximum(_mean(level * level, weight, 2 * pattern.apart / texel), 1e-12))
    level = cv2.GaussianBlur(level, (0, 0), 0.15 * pattern.apart / texel)
    across = np.stack([-lines[..., 1], lines[..., 0]], 2)
    slope = chart.slope(level)
    bend = np.stack([chart.slope(slope[..., k]) for k in range(2)], 2)
    steep = _dot(slope, across)
    hollow = _dot(_dot(bend, across[..., None, :]), across)
    away = steep / np.where(hollow > 0, hollow, np.inf) / pattern.width  # Newton's step to the valley's bottom
    low, deep = VALLEY
    share = np.clip((-level - low) / (deep - low), 0, 1)
    cut = np.where(hollow > 0, np.exp(-(away**2)), 0) * np.sqrt(share)
    return cv2.GaussianBlur((FLANK * np.tanh(level) - cut).astype(np.float32), (0, 0), 0.6)


def anisotropy(chart: Chart, image: Array, lines: Array, inside: Array) -> float:
    """Root mean square slope of an image (H,W) across lines (H,W,2) over that along them, inside (H,W) bool."""
    slope = chart.slope(image)[inside]
    along, across = _dot(slope, lines[inside]), slope[:, 0] * -lines[inside][:, 1] + slope[:, 1] * lines[inside][:, 0]
    return float(np.sqrt((across**2).sum() / max(float((along**2).sum()), 1e-12))) if len(slope) else 1.0


def _mean(image: Array, weight: Array, sigma: float) -> Array:
    return blurred(image * weight, sigma) / np.maximum(blurred(weight, sigma), 1e-6)


def blurred(image: Array, sigma: float) -> Array:
    """Approximately a wide Gaussian: two box filters of half its variance each, whose cost does not depend on sigma."""
    side = 2 * round((np.sqrt(6 * sigma**2 + 1) - 1) / 2) + 1
    return cv2.blur(cv2.blur(image, (side, side)), (side, side))


@njit(cache=True, nogil=True)
def _drawn_out(seed, step, inside, count):  # type: ignore[no-untyped-def]
    """Weighted means of the seed along the lines, `count` steps to either side."""
    height, width = seed.shape
    out = np.zeros_like(seed)
    for row in range(height):
        for column in range(width):
            if not inside[row, column]:
                continue
            total, weight = seed[row, column], np.float32(1.0)
            for side in (-1.0, 1.0):
                x, y = np.float32(column), np.float32(row)
                dx, dy = side * step[row, column, 0], side * step[row, column, 1]
                for n in range(1, count + 1):
                    x += dx
                    y += dy
                    i, j = int(y + 0.5), int(x + 0.5)
                    if i < 0 or j < 0 or i >= height or j >= width or not inside[i, j]:
                        break
                    share = np.float32(0.5) + np.float32(0.5) * np.cos(np.float32(np.pi) * n / (count + 1))
                    total += share * seed[i, j]
                    weight += share
                    turn = dx * step[i, j, 0] + dy * step[i, j, 1]
                    way = 1.0 if turn >= 0 else -1.0
                    dx, dy = way * step[i, j, 0], way * step[i, j, 1]
            out[row, column] = total / weight
    return out


def _dot(p: Array, q: Array) -> Array:
    """Dot product over the last axis; NumPy's own sum is slow over so few numbers."""
    out: Array = p[..., 0] * q[..., 0]
    for k in range(1, p.shape[-1]):
        out = out + p[..., k] * q[..., k]
    return out


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.sqrt(_dot(vectors, vectors)), 1e-12)[..., None]
