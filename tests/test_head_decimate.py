# SPDX-License-Identifier: GPL-3.0-or-later
"""Edge collapse that keeps topology."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from idto3d.head.checks import mesh_topology, self_intersections
from idto3d.head.decimate import decimate
from idto3d.mesh.attach import Surface
from idto3d.volume.marching_tets import marching_tetrahedra
from idto3d.volume.tetgrid import kuhn_grid


@pytest.fixture(scope="module")
def cup() -> tuple[np.ndarray, np.ndarray]:
    """A thin bowl with a handle, as a grid gives it: two sides close to each other, and a hole."""
    grid = kuhn_grid((36, 30, 30), ((-0.1, -0.08, -0.08), (0.14, 0.08, 0.08)))
    p = grid.points
    bowl = (p.norm(dim=1) - 0.06).abs() - 0.007
    bowl = bowl.maximum(p[:, 2] - 0.02)
    ring = (((p[:, 0] - 0.07) ** 2 + p[:, 2] ** 2).sqrt() - 0.03) ** 2 + p[:, 1] ** 2
    surface = marching_tetrahedra(grid.points, grid.tets, bowl.minimum(ring.sqrt() - 0.009))
    return surface.vertices.numpy(), surface.faces.numpy()


def test_topology_stays(cup: tuple[np.ndarray, np.ndarray]) -> None:
    v, f = cup
    before = mesh_topology(f)
    assert before.watertight
    for target in (len(f) // 4, 700, 300):
        new_v, new_f = decimate(v, f, target)
        assert len(new_f) <= target and len(new_v) == len(np.unique(new_f))
        assert mesh_topology(new_f) == before
        assert len(np.unique(np.sort(new_f, axis=1), axis=0)) == len(new_f)


def test_it_stays_near_the_surface_on_the_right_side_and_apart(cup: tuple[np.ndarray, np.ndarray]) -> None:
    v, f = cup
    new_v, new_f = decimate(v, f, len(f) // 4)
    assert Surface(new_v, new_f).attach(v).gap.quantile(0.99) < 0.0015  # a quarter of the grid's cells
    a, b, c = new_v.astype(np.float64)[new_f].transpose(1, 0, 2)
    p, q, r = v.astype(np.float64)[f].transpose(1, 0, 2)
    volumes = [(np.cross(x, y) * z).sum() / 6 for x, y, z in ((a, b, c), (p, q, r))]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.01)
    assert len(self_intersections(new_v, new_f)) <= 2


def test_weight_keeps_detail_and_held_vertices_stay(cup: tuple[np.ndarray, np.ndarray]) -> None:
    v, f = cup
    right = v[:, 0] > 0
    plain = decimate(v, f, 1500)[0]
    weighted = decimate(v, f, 1500, np.where(right, 50.0, 1.0))[0]
    assert (weighted[:, 0] > 0).sum() > 1.3 * (plain[:, 0] > 0).sum()
    held = np.zeros(len(v), bool)
    held[::97] = True
    kept = decimate(v, f, 1500, held=held)[0]
    assert cKDTree(kept).query(v[held])[0].max() == 0


def test_boundaries_and_small_pieces_stay() -> None:
    tetrahedron = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
    assert len(decimate(corners, tetrahedron, 2)[1]) == 4
    n = 8
    x, y = np.meshgrid(np.arange(n), np.arange(n), indexing="xy")
    v = np.stack([x.ravel(), y.ravel(), np.zeros(n * n)], 1)
    f = np.array(
        [
            t
            for j in range(n - 1)
            for i in range(n - 1)
            for a in [i + n * j]
            for t in ((a, a + 1, a + n + 1), (a, a + n + 1, a + n))
        ]
    )
    new_v, new_f = decimate(v, f, 1)
    assert mesh_topology(new_f).boundary_edges == 4 * (n - 1) and mesh_topology(new_f).euler == 1
    a, b, c = new_v[new_f].transpose(1, 0, 2)
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()


def test_what_is_small_enough_is_left_alone(cup: tuple[np.ndarray, np.ndarray]) -> None:
    v, f = cup
    new_v, new_f = decimate(v, f, len(f))
    np.testing.assert_array_equal(new_v[new_f], v[f])
