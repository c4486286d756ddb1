# SPDX-License-Identifier: GPL-3.0-or-later
"""Tetrahedral grids: Kuhn's subdivision of a box and narrow bands of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

Bounds = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class TetGrid:
    """points (N,3) float; tets (M,4) long, each positively oriented: det[p1-p0, p2-p0, p3-p0] > 0."""

    points: Tensor
    tets: Tensor

    def to(self, device: torch.device | str) -> TetGrid:
        return TetGrid(self.points.to(device), self.tets.to(device))


def _kuhn_corners() -> np.ndarray:
    """(6,4) corner numbers of a cube (corner = 4x+2y+z), one path from corner 0 to corner 7 a tetrahedron."""
    unit = (4, 2, 1)
    tets = []
    for order in permutations(range(3)):
        path = np.concatenate([[0], np.cumsum([unit[axis] for axis in order])])
        inversions = sum(order[i] > order[j] for i in range(3) for j in range(i + 1, 3))
        if inversions % 2:  # an odd path is a mirror image: swap two corners, or its faces would wind inwards
            path[[2, 3]] = path[[3, 2]]
        tets.append(path)
    return np.array(tets, dtype=np.int64)


def graded_axis(low: float, high: float, cells: int, fine: tuple[float, float], ratio: float) -> np.ndarray:
    """Coordinates (cells+1,) from low to high whose cells are about `ratio` times denser within `fine`.

    The cell boundaries are equally spaced in the integral of a density that is `ratio` inside `fine` and 1 outside.
    Raises ValueError unless low <= fine[0] < fine[1] <= high, cells >= 1 and ratio > 0.
    """
    if not (low <= fine[0] < fine[1] <= high and cells >= 1 and ratio > 0):
        raise ValueError(f"graded_axis: fine {fine} not in ({low}, {high}), or cells {cells}, ratio {ratio} not > 0")
    knots = np.array([low, fine[0], fine[1], high])
    cumulative = np.concatenate([[0.0], np.cumsum(np.diff(knots) * np.array([1.0, ratio, 1.0]))])
    keep = np.concatenate([[True], np.diff(cumulative) > 0])
    axis = np.interp(np.linspace(0.0, cumulative[-1], cells + 1), cumulative[keep], knots[keep])
    axis[[0, -1]] = low, high
    return axis


def kuhn_grid(
    shape: tuple[int, int, int],
    bounds: Bounds,
    axes: Sequence[np.ndarray] | None = None,
    dtype: torch.dtype = torch.float32,
) -> TetGrid:
    """A box cut into shape = (nx,ny,nz) cells of six tetrahedra each (Kuhn 1960; Freudenthal's triangulation).

    bounds: the (x,y,z) of the low and of the high corner, metres. axes: instead of equal cells, three increasing 1-D
    arrays of nx+1, ny+1, nz+1 coordinates; bounds are then unused. Neighbouring cells share their face diagonals, so
    the mesh is conforming. Point (i,j,k) has the index (i*(ny+1) + j)*(nz+1) + k. Raises ValueError where an axis
    does not increase strictly or has the wrong length.
    """
    if axes is None:
        axes = [np.linspace(lo, hi, n + 1) for lo, hi, n in zip(bounds[0], bounds[1], shape, strict=True)]
    for name, axis, n in zip("xyz", axes, shape, strict=True):
        if n < 1 or np.shape(axis) != (n + 1,) or not (np.diff(axis) > 0).all():
            raise ValueError(f"kuhn_grid: axis {name} needs {n + 1} strictly increasing coordinates")
    points = torch.cartesian_prod(*(torch.as_tensor(np.asarray(axis), dtype=torch.float64) for axis in axes))
    nx, ny, nz = shape
    step = np.array([(ny + 1) * (nz + 1), nz + 1, 1])
    base = (np.indices((nx, ny, nz)).reshape(3, -1).T * step).sum(1)
    corners = np.array([[c >> 2 & 1, c >> 1 & 1, c & 1] for c in range(8)]) @ step
    tets = base[:, None, None] + corners[_kuhn_corners()][None]
    return TetGrid(points.to(dtype), torch.from_numpy(tets.reshape(-1, 4)))


def narrow_band(grid: TetGrid, sdf: Tensor, width: float) -> tuple[TetGrid, Tensor]:
    """The tetrahedra that touch |sdf| <= width or that the surface crosses.

    sdf (N,). Returns the smaller grid and index (N',) long, increasing: band point i is grid point index[i], so
    `values[index]` brings values of the grid to the band. Points and tetrahedra keep their relative order, therefore
    the band gives the same surface, in the same order, as the whole grid.
    """
    inside = sdf < 0
    corner_inside = inside[grid.tets].sum(1)
    near = (sdf.detach().abs() <= width)[grid.tets].any(1)
    tets = grid.tets[near | ((corner_inside > 0) & (corner_inside < 4))]
    used = torch.zeros(len(grid.points), dtype=torch.bool, device=tets.device)
    used[tets.reshape(-1)] = True
    index = used.nonzero()[:, 0]
    local = torch.cumsum(used, 0) - 1
    return TetGrid(grid.points[index], local[tets]), index


def lattice_band(sdf: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Kuhn's tetrahedra of those cells of a regular lattice that touch |sdf| <= width or that the surface crosses.

    sdf (nx,ny,nz) at the lattice's points. Returns where (N,) int64, increasing: flat indices of the points used; and
    tets (M,4) int64 into them, positively oriented where the axes increase.
    """
    corner = [slice(0, -1), slice(1, None)]
    cells = [sdf[corner[c >> 2 & 1], corner[c >> 1 & 1], corner[c & 1]] for c in range(8)]
    low, high = np.minimum.reduce(cells), np.maximum.reduce(cells)
    near = np.minimum.reduce([np.abs(c) for c in cells]) <= width
    steps = np.array([sdf.shape[1] * sdf.shape[2], sdf.shape[2], 1])
    base = np.argwhere(near | ((low < 0) & (high >= 0))) @ steps
    corners = np.array([[c >> 2 & 1, c >> 1 & 1, c & 1] for c in range(8)]) @ steps
    tets = (base[:, None, None] + corners[_kuhn_corners()][None]).reshape(-1, 4)
    used = np.zeros(sdf.size, bool)
    used[tets.ravel()] = True
    where = np.flatnonzero(used)
    local = np.cumsum(used) - 1
    return where, local[tets]
