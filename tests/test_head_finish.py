# SPDX-License-Identifier: GPL-3.0-or-later
"""Lids, inner parts and the fit to the skin, on small shapes."""

from __future__ import annotations

import numpy as np
import pytest

from idto3d.head.checks import mesh_topology, self_intersections
from idto3d.head.eyes import BINS, Eye, cut, part_lids
from idto3d.head.finish import closed
from idto3d.head.fit import normals_of, refine, skin_surface
from idto3d.head.parts import boundary_loops, with_back, with_lids
from idto3d.mesh.attach import Surface
from idto3d.volume.marching_tets import marching_tetrahedra
from idto3d.volume.tetgrid import kuhn_grid


@pytest.fixture(scope="module")
def ball() -> tuple[np.ndarray, np.ndarray]:
    """A sphere of radius 15 mm, as a grid gives it."""
    grid = kuhn_grid((20, 20, 20), ((-0.02,) * 3, (0.02,) * 3))
    surface = marching_tetrahedra(grid.points, grid.tets, grid.points.norm(dim=1) - 0.015)
    return surface.vertices.double().numpy(), surface.faces.numpy()


def sheet(n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """A curved square without its middle, seen from +z: two boundary loops."""
    x, y = np.meshgrid(np.arange(n), np.arange(n), indexing="xy")
    v = np.stack([x.ravel(), y.ravel(), 0.1 * x.ravel() ** 2], 1) * 1e-3
    quads = [
        (i + n * j, i + 1 + n * j, i + 1 + n * (j + 1), i + n * (j + 1)) for j in range(n - 1) for i in range(n - 1)
    ]
    quads = [q for q in quads if q[0] != 2 + 2 * n]
    return v, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


def test_cutting_a_closed_surface_keeps_it_closed(ball: tuple[np.ndarray, np.ndarray]) -> None:
    v, f = ball
    values = v[:, 0] + 0.3 * v[:, 1] - 0.002
    values[np.abs(values) < 1e-4] = 0.0
    cut_v, cut_f, cut_values = cut(v, f, values)
    assert mesh_topology(cut_f).watertight and mesh_topology(cut_f).euler == 2
    signs = np.sign(cut_values)[cut_f]
    assert not ((signs.min(1) < 0) & (signs.max(1) > 0)).any()
    new = cut_v[len(v) :]
    assert np.abs(new[:, 0] + 0.3 * new[:, 1] - 0.002).max() < 1e-12


def test_lids_get_a_sharp_rim_and_a_socket_behind_it(ball: tuple[np.ndarray, np.ndarray]) -> None:
    v, f = ball
    angle = 2 * np.pi * np.arange(BINS) / BINS
    x, y = 0.009 * np.cos(angle), 0.005 * np.sin(angle)
    rim = np.stack([x, y, np.sqrt(0.015**2 - x**2 - y**2)], 1)
    eye = Eye(f, np.zeros(3), 0.015, np.zeros(2), np.hypot(x, y), rim)
    # the rim is kept by direction, so look an ellipse up by its true angles
    true = np.arctan2(y, x) % (2 * np.pi)
    eye = Eye(
        f,
        np.zeros(3),
        0.015,
        np.zeros(2),
        np.interp(angle, true, np.hypot(x, y), period=2 * np.pi),
        np.stack([np.interp(angle, true, rim[:, k], period=2 * np.pi) for k in range(3)], 1),
    )
    parted = part_lids(v, f, eye)
    assert parted is not None
    new_v, new_f, side = parted
    assert mesh_topology(new_f).watertight and mesh_topology(new_f).euler == 2
    on_rim = new_v[side == 0]
    assert len(on_rim) > 12
    np.testing.assert_allclose((on_rim[:, 0] / 0.009) ** 2 + (on_rim[:, 1] / 0.005) ** 2, 1, atol=0.02)
    radius = np.linalg.norm(new_v[side < 0], axis=1)
    assert (radius < 0.0145).all()  # behind the ball's surface
    assert new_v[side < 0, 2].min() < -0.005  # and around to the back
    assert len(self_intersections(new_v, new_f)) < 0.02 * len(new_f)


def test_an_eye_under_hair_is_left_alone(ball: tuple[np.ndarray, np.ndarray]) -> None:
    v, f = ball
    angle = 2 * np.pi * np.arange(BINS) / BINS
    rim = np.stack([0.008 * np.cos(angle), 0.008 * np.sin(angle), np.full(BINS, 0.01)], 1)
    assert part_lids(v, f, Eye(f, np.zeros(3), 0.011, np.zeros(2), np.full(BINS, 0.008), rim)) is None


def test_sheets_become_solids() -> None:
    v, f = sheet()
    assert sorted(len(loop) for loop in boundary_loops(f)) == [4, 20]
    closed_v, closed_f = with_lids(v, f, boundary_loops(f))
    assert mesh_topology(closed_f).watertight and len(closed_v) == len(v) + 2
    thick_v, thick_f = with_back(v, f, 2e-4)
    assert mesh_topology(thick_f).watertight and mesh_topology(thick_f).euler == 0  # a frame has a hole
    a, b, c = thick_v[thick_f].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(*(v[f][:, k] - v[f][:, 0] for k in (1, 2))), axis=1).sum() / 2
    assert (np.cross(a, b) * c).sum() / 6 == pytest.approx(area * 2e-4, rel=0.05)  # wound outwards


def test_refined_surfaces_stay_closed_and_where_they_were(ball: tuple[np.ndarray, np.ndarray]) -> None:
    v, f = ball
    longest = np.where(v[:, 0] > 0, 0.0015, np.inf)
    new_v, new_f = refine(v, f, longest)
    assert mesh_topology(new_f).watertight and mesh_topology(new_f).euler == 2
    assert 1.3 * len(f) < len(new_f) < 4 * len(f)

    def volume(p: np.ndarray, t: np.ndarray) -> float:
        a, b, c = p[t].transpose(1, 0, 2)
        return float((np.cross(a, b) * c).sum() / 6)

    assert volume(new_v, new_f) == pytest.approx(volume(v, f), rel=1e-9)


def test_the_two_sides_of_a_thin_wall_are_told_apart() -> None:
    v, f = with_back(*sheet(), 5e-4)
    front = np.array([[0.001, 0.001, -0.0003]])  # nearer to the back, but facing the front
    up = np.array([[0.0, 0.0, 1.0]])
    near = Surface(v, f).attach(front).face.item()
    facing = skin_surface(v, f).attach(front, up).face.item()
    n = len(sheet()[1])
    assert near >= n and facing < n


def test_normals_point_outwards(ball: tuple[np.ndarray, np.ndarray]) -> None:
    v, f = ball
    for rounds in (0, 3):
        n = normals_of(v, f, rounds)
        assert ((n * v).sum(1) / np.linalg.norm(v, axis=1)).min() > 0.97


def test_holes_that_touch_in_a_point_are_closed_apart() -> None:
    """Two open cones whose rims share a vertex, as a cut leaves them where long hair touches the neck."""

    def cone(centre: float) -> tuple[np.ndarray, np.ndarray]:
        angle = 2 * np.pi * np.arange(6) / 6
        rim = np.stack([centre + np.cos(angle), np.zeros(6), np.sin(angle)], 1)
        faces = [(6, (i + 1) % 6, i) for i in range(6)]
        return np.concatenate([rim, [[centre, 1.0, 0.0]]]), np.array(faces)

    (v, f), (w, g) = cone(0.0), cone(2.0)
    # vertex 0 of the first, (1, 0, 0), is vertex 3 of the second
    vertices = np.concatenate([v, w])
    faces = np.concatenate([f, np.where(g == 3, 0, g + 7)])
    origin, points, filled = closed(vertices, faces)
    topology = mesh_topology(filled)
    assert topology.watertight and topology.components == 2
    np.testing.assert_array_equal(points[: len(origin)], vertices[origin])
    assert (origin == 0).sum() == 2
