# SPDX-License-Identifier: GPL-3.0-or-later
"""Kuhn's subdivision of a lattice into tetrahedra, around a surface only."""

from itertools import permutations

import numpy as np


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


def _cell_tets(base: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(6 K,4) corners of the tetrahedra in cells with the lowest points base (K,); shape: points of the lattice."""
    steps = np.array([shape[1] * shape[2], shape[2], 1])
    corners = np.array([[c >> 2 & 1, c >> 1 & 1, c & 1] for c in range(8)]) @ steps
    return (base[:, None, None] + corners[_kuhn_corners()][None]).reshape(-1, 4)


def lattice_band(sdf: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """The tetrahedra of cells that touch |sdf| <= width or that the surface crosses, six a cell (Kuhn 1960;
    Freudenthal's triangulation). Neighbouring cells share their face diagonals, so the mesh is conforming.

    sdf (nx,ny,nz) at the lattice's points. Returns where (N,) int64, increasing: flat indices of the points used; and
    tets (M,4) int64 into them, positively oriented: det[p1-p0, p2-p0, p3-p0] > 0. Points and tetrahedra keep their
    order, so that the band gives the surface of the whole lattice.
    """
    corner = [slice(0, -1), slice(1, None)]
    cells = [sdf[corner[c >> 2 & 1], corner[c >> 1 & 1], corner[c & 1]] for c in range(8)]
    low, high = np.minimum.reduce(cells), np.maximum.reduce(cells)
    near = np.minimum.reduce([np.abs(c) for c in cells]) <= width
    base = np.asarray(np.ravel_multi_index(np.nonzero(near | ((low < 0) & (high >= 0))), sdf.shape))
    tets = _cell_tets(base, sdf.shape)
    used = np.zeros(sdf.size, bool)
    used[tets.ravel()] = True
    local = np.cumsum(used) - 1
    return np.flatnonzero(used), local[tets]
