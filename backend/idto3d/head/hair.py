# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks and strands of carved hair: drawn, not recovered, for a photograph does not tell where they run behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .fit import neighbour_means, normals_of

Array = NDArray[Any]
Octave = tuple[int, float, float]
"""How many lie around the head, changes per metre along them, weight."""

LOCKS: Sequence[Octave] = ((24, 8.0, 0.8), (70, 14.0, 1.0))
STRANDS: Sequence[Octave] = ((180, 26.0, 1.0), (420, 45.0, 0.9))
CROWN = (0.0, 0.02, -0.01)  # metres, head frame: hair falls from above this point
RELIEF = 0.0018  # metres from a lock's groove to its ridge, half of it into the carved surface
HAIRLINE = 6  # rounds of averaging over neighbours within which locks begin


def strand_noise(points: Tensor, octaves: Sequence[Octave]) -> Tensor:
    """(N,) 0..1 noise at points (N,3) metres, drawn out along the fall of hair: fast around the head, slow from crown
    to tips."""
    x, y, z = (points - torch.tensor(CROWN).to(points)).unbind(-1)
    around = torch.atan2(x, z)
    down = torch.sqrt(x * x + z * z) - y
    # Locks wander: strands that run straight down look combed by a machine.
    bend = 0.12 * (lattice_noise(around * 9 / (2 * torch.pi), down * 14.0, period=9, seed=5) - 0.5)
    total = torch.zeros_like(x)
    for count, along, weight in octaves:
        u, v = (around + bend) * count / (2 * torch.pi), down * along
        total = total + weight * lattice_noise(u, v, period=count, seed=count)
    mean = total / sum(weight for _, _, weight in octaves)
    # The mean of several noises crowds around the middle.
    return (0.5 + 1.7 * (mean - 0.5)).clamp(0, 1)


def carve_locks(vertices: Array, faces: Array, share: Array) -> Array:
    """Vertices (V,3) with locks in the hair; share (V,): 0..1 to which each is hair. They fade out at the hairline."""
    average = neighbour_means(faces, len(vertices))
    hair = share
    for _ in range(HAIRLINE):
        hair = np.minimum(hair, average @ hair)
    noise = strand_noise(torch.from_numpy(vertices), LOCKS).numpy()
    height = hair * RELIEF * (noise - 0.5)
    out: Array = vertices + height[:, None] * normals_of(vertices, faces)
    return out


def lattice_noise(u: Tensor, v: Tensor, period: int, seed: int) -> Tensor:
    """(N,) 0..1 smooth noise between random values at whole u and v; periodic in u."""
    table = torch.rand((period, 64), generator=torch.Generator().manual_seed(seed)).to(u)
    i, j = u.floor().long(), v.floor().long()
    fu, fv = u - i, v - j
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    i0, i1, j0, j1 = i % period, (i + 1) % period, j % 64, (j + 1) % 64
    a = table[i0, j0] * (1 - fu) + table[i1, j0] * fu
    b = table[i0, j1] * (1 - fu) + table[i1, j1] * fu
    return a * (1 - fv) + b * fv
