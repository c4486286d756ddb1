# SPDX-License-Identifier: GPL-3.0-or-later
"""How hair lies: whether strands run alike or curl, as a photograph shows, and the relief of such hair."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .hood import PIXEL, Hood

Array = NDArray[Any]

GRAIN = 0.0012  # metres a pixel at which strands are looked at, or as fine as the picture is
LIKE = 0.006  # metres over which directions are compared
FAINT = 25.0  # squared contrast a pixel below which nothing is told
COHERENCE = (0.55, 0.3)  # of straight hair, of curls
LOCKS = (28, 64)  # of straight hair around the head: broad ones, and finer ones on them
ALONG = (7.0, 12.0)  # changes a metre of these on their way down
CURL = 0.018  # metres from lump to lump of curls
TIPS = 0.012  # metres by which locks end higher or lower than the rest
HEIGHT = (0.003, 0.0045)  # metres of locks, of curls
CROWN = 0.05  # metres from the crown over which relief begins


def curliness(picture: Array, mask: Array, scale: float) -> float:
    """0 where strands in hair run alike, 1 where they curl; picture (S,S,3) uint8, mask (S,S) of hair, scale: pixels a
    metre.

    The coherence of the structure tensor (Bigun and Granlund 1987), weighted by contrast.
    """
    factor = min(1.0, 1.0 / (GRAIN * scale))
    size = round(len(picture) * factor)
    light = cv2.cvtColor(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)[..., 0]
    hair = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA) > 0.9
    inside = cv2.erode(hair.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(np.float32)
    dx, dy = (cv2.Sobel(light, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    xx, yy, xy = (cv2.GaussianBlur(p * inside, (0, 0), LIKE * scale * factor) for p in (dx * dx, dy * dy, dx * dy))
    alike = np.sqrt((xx - yy) ** 2 + 4 * xy**2) * inside
    contrast = float(((xx + yy) * inside).sum())
    if contrast <= FAINT * float(inside.sum()):
        return 0.0
    coherence = float(alike.sum()) / contrast
    return float(np.clip((COHERENCE[0] - coherence) / (COHERENCE[0] - COHERENCE[1]), 0.0, 1.0))


def relief(hood: Hood, curl: float) -> Array:
    """(side,side) metres, mean 0: locks that run down from the crown, or lumps of curls."""
    turn, down = hood.map_coordinates()
    around = turn / (2 * np.pi)
    # Locks that run straight down look combed by a machine.
    around = around + 0.02 * _noise(around * 9, down * 14.0, 9, 5)
    locks = sum(_noise(around * n, down * f, n, n) * w for n, f, w in zip(LOCKS, ALONG, (1.0, 0.6), strict=True))
    rows, columns = (np.mgrid[: hood.side, : hood.side] * PIXEL / CURL).astype(np.float32)
    lumps = _noise(columns, rows, 64, 7) + 0.6 * _noise(columns * 1.9, rows * 1.9, 128, 8)
    out: Array = (1 - curl) * HEIGHT[0] * locks + curl * HEIGHT[1] * lumps
    return out * np.clip(down / CROWN, 0.0, 1.0)


def uneven_tips(hood: Hood) -> Array:
    """(side,side) metres by which locks are longer than their neighbours."""
    turn, _ = hood.map_coordinates()
    around = turn / (2 * np.pi)
    still = np.zeros_like(around)
    out: Array = TIPS * (_noise(around * 12, still, 12, 3) + 0.7 * _noise(around * LOCKS[0], still, LOCKS[0], 4))
    return out


def _noise(u: Array, v: Array, period: int, seed: int) -> Array:
    """Smooth noise of about -1..1, one value for each whole u and v, periodic in u."""
    values = np.random.default_rng(seed).uniform(-1.0, 1.0, (64, period)).astype(np.float32)
    wrapped = np.pad(values, ((2, 2), (2, 2)), mode="wrap")
    columns = (np.mod(u, period) + 2).astype(np.float32)
    rows = (np.mod(v, 64.0) + 2).astype(np.float32)
    out: Array = cv2.remap(wrapped, columns, rows, cv2.INTER_CUBIC)
    return out
