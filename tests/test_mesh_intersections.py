# SPDX-License-Identifier: GPL-3.0-or-later
"""Self-intersections: on hand-made triangles, and none on a ball."""

from typing import Any

import numpy as np
import pytest
import torch

from idto3d.mesh.intersections import self_intersections
from idto3d.volume.marching_tets import marching_tetrahedra
from tests.grids import kuhn_grid

FLAT = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])


def ball(n: int = 16, radius: float = 0.7) -> tuple[torch.Tensor, torch.Tensor]:
    grid = kuhn_grid((n, n, n), ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)))
    surface = marching_tetrahedra(grid.points, grid.tets, grid.points.norm(dim=1) - radius)
    return surface.vertices, surface.faces


def crossings(vertices: Any, faces: Any, tolerance: float | None = None) -> np.ndarray:
    return self_intersections(np.asarray(vertices), np.asarray(faces), tolerance)


def crossing(second: np.ndarray, first: np.ndarray = FLAT) -> int:
    return len(crossings(np.concatenate([first, second]), np.arange(6).reshape(2, 3)))


@pytest.mark.parametrize("n", [9, 16])
def test_a_ball_does_not_intersect_itself(n: int) -> None:
    vertices, faces = ball(n)
    assert crossings(vertices, faces).shape == (0, 2)
    assert crossings(vertices * 0.1 + 3.0, faces).shape == (0, 2)  # small and away from the origin


def test_a_mesh_with_vertices_on_each_other_does_not_intersect_itself() -> None:
    grid = kuhn_grid((8, 8, 8), ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)))
    surface = marching_tetrahedra(grid.points, grid.tets, grid.points.abs().sum(1) - 0.75)
    assert crossings(surface.vertices, surface.faces).shape == (0, 2)


def test_two_balls_that_cross_and_two_that_do_not() -> None:
    vertices, faces = ball()
    both = torch.cat([faces, faces + len(vertices)])
    apart = crossings(torch.cat([vertices, vertices + torch.tensor([1.5, 0, 0])]), both)
    assert len(apart) == 0
    pairs = crossings(torch.cat([vertices, vertices + torch.tensor([1.0, 0.013, 0.007])]), both)
    assert len(pairs) > 20 and (pairs[:, 0] < len(faces)).all() and (pairs[:, 1] >= len(faces)).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    centre = torch.cat([vertices, vertices + torch.tensor([1.0, 0.013, 0.007])]).numpy()[both[pairs[:, 0]]].mean(1)
    assert np.abs(centre[:, 0] - 0.5).max() < 0.15  # the circle where they meet lies in the plane x = 0.5


def test_two_triangles_by_hand() -> None:
    through = np.array([[0.2, 0.2, -1.0], [0.2, 0.2, 1.0], [2.0, 2.0, 1.0]])
    assert crossing(through) == 1
    assert crossing(through + [2.0, 0, 0]) == 0
    assert crossing(through + [0, 0, 1.5]) == 0  # its plane cuts the first, itself it stays above
    assert crossing(FLAT + [0, 0, 0.01]) == 0
    assert crossing(FLAT) == 1  # one upon the other
    assert crossing(FLAT + [0.3, 0.3, 0]) == 1
    assert crossing(FLAT + [1.0, 0, 0]) == 0  # in one plane, touching in a corner
    assert crossing(np.array([[0.2, 0.2, 0], [0.2, 0.2, 1], [0.5, 0.2, 1]])) == 0  # stands on the first
    through_rim = np.array([[0.5, 0.0, -1.0], [0.5, 0.0, 1.0], [0.5, -1.0, 0.0]])
    assert crossing(through_rim) == 1


def test_faces_that_share_vertices() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0.1, -0.5], [0.1, 0.5, 0.5], [1, 1, 0], [0.4, 0.4, 0]])
    assert len(crossings(points, np.array([[0, 1, 2], [0, 3, 4]]))) == 1  # cuts through, from a common corner
    assert len(crossings(points, np.array([[0, 1, 2], [0, 4, 3]]))) == 1
    assert len(crossings(points, np.array([[0, 1, 2], [2, 1, 5]]))) == 0  # plain neighbours
    assert len(crossings(points, np.array([[0, 1, 2], [0, 1, 4]]))) == 0  # a hinge at an angle
    assert len(crossings(points, np.array([[0, 1, 2], [1, 0, 6]]))) == 1  # folded flat onto its neighbour
    assert len(crossings(points, np.array([[0, 1, 2], [1, 0, 6]]), tolerance=2.0)) == 0


def test_a_dent_through_the_far_side_is_found() -> None:
    vertices, faces = ball()
    dented = vertices.clone()
    tip = int(vertices[:, 0].argmax())
    dented[tip, 0] = -0.9
    pairs = crossings(dented, faces)
    at_tip = (faces == tip).any(1).nonzero()[:, 0].numpy()
    assert len(pairs) > 0 and np.isin(pairs, at_tip).any(1).all()
    assert crossings(vertices, faces[:0]).shape == (0, 2)
