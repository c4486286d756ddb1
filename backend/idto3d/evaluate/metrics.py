# SPDX-License-Identifier: GPL-3.0-or-later
"""Rulers for heads whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab

from ..mesh.attach import Surface
from ..training.population import similarity

Array = NDArray[Any]


def align(points: Array, surface: Surface, rounds: int = 20) -> Array:
    """points (N,3) brought to a surface by the similarity that iterated closest points find (Besl and McKay 1992)."""
    moved = points.astype(np.float64)
    for _ in range(rounds):
        moved = similarity(moved, closest(moved, surface))(moved).astype(np.float64)
    return moved


def closest(points: Array, surface: Surface) -> Array:
    """(N,3) nearest surface points."""
    at = surface.attach(points)
    corners = surface.vertices[surface.faces[at.face.numpy()]]
    nearest: Array = np.einsum("nk,nkc->nc", at.bary.numpy(), corners)
    return nearest


def surface_error(points: Array, surface: Surface) -> float:
    """Mean distance (mm) of true face points (N,3) to a head's surface after similarity alignment."""
    aligned = align(points, surface)
    return float(np.linalg.norm(aligned - closest(aligned, surface), axis=1).mean() * 1000)


def correlation(a: Array, b: Array) -> float:
    """Pearson correlation of two displacement fields (N,3), all components together."""
    x, y = a.reshape(-1) - a.mean(), b.reshape(-1) - b.mean()
    return float((x * y).sum() / max(np.sqrt((x**2).sum() * (y**2).sum()), 1e-12))


def colour_difference(a: Array, b: Array, mask: Array) -> float:
    """Mean CIE 1976 difference of two sRGB pictures (H,W,3) 0..1 over a mask."""
    return float(np.linalg.norm(rgb2lab(a) - rgb2lab(b), axis=-1)[mask].mean())
