# SPDX-License-Identifier: GPL-3.0-or-later
"""Rulers for heads whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab

from ..head.attach import Surface

Array = NDArray[Any]


def align(points: Array, surface: Surface, rounds: int = 20) -> Array:
    """points (N,3) brought to a surface by the similarity that iterated closest points find (Besl and McKay 1992)."""
    moved = points.astype(np.float64)
    for _ in range(rounds):
        moved = _similarity(moved, closest(moved, surface))
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


def _similarity(source: Array, target: Array) -> Array:
    """source moved onto target, row by row, by the least-squares similarity (Umeyama 1991)."""
    ms, mt = source.mean(0), target.mean(0)
    s, t = source - ms, target - mt
    u, d, vt = np.linalg.svd(t.T @ s)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = (d * sign).sum() / (s**2).sum()
    out: Array = scale * s @ rotation.T + mt
    return out


def correlation(a: Array, b: Array) -> float:
    """Pearson correlation of two displacement fields (N,3), all components together."""
    x, y = a.reshape(-1) - a.mean(), b.reshape(-1) - b.mean()
    return float((x * y).sum() / max(np.sqrt((x**2).sum() * (y**2).sum()), 1e-12))


def colour_difference(a: Array, b: Array, mask: Array) -> float:
    """Mean CIE 1976 difference of two sRGB pictures (H,W,3) 0..1 over a mask."""
    return float(np.linalg.norm(rgb2lab(a) - rgb2lab(b), axis=-1)[mask].mean())
