# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole boxes of tetrahedra for tests; the product makes bands of them only."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from idto3d.volume.tetgrid import lattice_band


@dataclass(frozen=True)
class TetGrid:
    """points (N,3) float; tets (M,4) long."""

    points: Tensor
    tets: Tensor


def kuhn_grid(
    shape: tuple[int, int, int], bounds: tuple[tuple[float, ...], tuple[float, ...]], dtype: torch.dtype = torch.float32
) -> TetGrid:
    """A box between two corners (3,) in shape = (nx,ny,nz) cells; point (i,j,k) is number (i*(ny+1) + j)*(nz+1) + k."""
    axes = [np.linspace(low, high, n + 1) for low, high, n in zip(bounds[0], bounds[1], shape, strict=True)]
    points = torch.cartesian_prod(*(torch.from_numpy(axis) for axis in axes))
    _, tets = lattice_band(np.zeros([n + 1 for n in shape]), np.inf)
    return TetGrid(points.to(dtype), torch.from_numpy(tets))
