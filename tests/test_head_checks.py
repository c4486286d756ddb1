# SPDX-License-Identifier: GPL-3.0-or-later
"""Mesh checks on hand-made defects, and none on a ball."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from idto3d.head.checks import area_ratio, flipped_faces, keep_largest_component, mesh_topology, self_intersections
from idto3d.volume.marching_tets import marching_tetrahedra
from idto3d.volume.tetgrid import kuhn_grid

TETRA = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
TETRA_POINTS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
FLAT = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])


def ball(n: int = 16, radius: float = 0.7) -> tuple[torch.Tensor, torch.Tensor]:
    grid = kuhn_grid((n, n, n), ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)))
    surface = marching_tetrahedra(grid.points, grid.tets, grid.points.norm(dim=1) - radius)
    return surface.vertices, surface.faces


def crossing(second: np.ndarray, first: np.ndarray = FLAT) -> int:
    return len(self_intersections(np.concatenate([first, second]), np.arange(6).reshape(2, 3)))


def test_topology_of_a_tetrahedron_and_its_defects() -> None:
    whole = mesh_topology(TETRA)
    assert whole.watertight and (whole.euler, whole.components) == (2, 1)
    opened = mesh_topology(TETRA[:3])
    assert not opened.watertight and (opened.boundary_edges, opened.nonmanifold_edges, opened.euler) == (3, 0, 1)
    turned = TETRA.clone()
    turned[0] = turned[0].flip(0)
    assert (mesh_topology(turned).boundary_edges, mesh_topology(turned).nonmanifold_edges) == (0, 3)
    third_wing = torch.cat([TETRA, torch.tensor([[0, 1, 4]])])
    assert (mesh_topology(third_wing).boundary_edges, mesh_topology(third_wing).nonmanifold_edges) == (2, 1)
    two = mesh_topology(torch.cat([TETRA, TETRA + 10]))
    assert two.watertight and (two.euler, two.components) == (4, 2)
    empty = mesh_topology(torch.zeros(0, 3, dtype=torch.long))
    assert (empty.euler, empty.components) == (0, 0)


def test_ball_and_ring_topology() -> None:
    assert mesh_topology(ball()[1]).euler == 2
    grid = kuhn_grid((20, 20, 10), ((-1.0, -1.0, -0.5), (1.0, 1.0, 0.5)))
    ring = ((grid.points[:, :2].norm(dim=1) - 0.6) ** 2 + grid.points[:, 2] ** 2).sqrt() - 0.25
    report = mesh_topology(marching_tetrahedra(grid.points, grid.tets, ring).faces)
    assert report.watertight and (report.euler, report.components) == (0, 1)


def test_keep_largest_component_goes_by_area() -> None:
    """A big tetrahedron of four faces beats a small ball of many; positions stay differentiable."""
    small, small_faces = ball(8)
    vertices = torch.cat([small * 0.1, TETRA_POINTS * 5, torch.zeros(1, 3)]).requires_grad_()
    faces = torch.cat([small_faces, TETRA + len(small)])
    kept, kept_faces, index = keep_largest_component(vertices, faces)
    assert torch.equal(kept_faces, TETRA) and torch.equal(kept, TETRA_POINTS * 5)
    assert index.tolist() == list(range(len(small), len(small) + 4))
    kept.sum().backward()
    assert vertices.grad is not None and float(vertices.grad.sum()) == 12.0
    nothing = keep_largest_component(torch.zeros(2, 3), torch.zeros(0, 3, dtype=torch.long))
    assert [len(part) for part in nothing] == [0, 0, 0]


def test_flipped_face_by_hand() -> None:
    vertices, faces = ball()
    assert not flipped_faces(vertices, vertices, faces).any()
    assert not flipped_faces(vertices * torch.tensor([1.5, 0.6, 1.0]), vertices, faces).any()
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    square = torch.tensor([[0, 1, 2], [0, 2, 3]])
    folded = points.clone()
    folded[1] = torch.tensor([0.0, 0.9, 0.0])  # corner 1 goes over the diagonal onto the other half
    assert flipped_faces(folded, points, square).tolist() == [True, False]
    assert torch.allclose(area_ratio(folded, points, square), torch.tensor([-0.9, 1.0]))
    assert torch.allclose(area_ratio(points * 2, points, square), torch.tensor([4.0, 4.0]))
    angle = torch.tensor(torch.pi / 3)
    turned = points @ torch.tensor([[1, 0, 0], [0, angle.cos(), angle.sin()], [0, -angle.sin(), angle.cos()]])
    assert torch.allclose(area_ratio(torch.stack([turned, points]), points, square)[0], torch.tensor([0.5, 0.5]))
    assert area_ratio(points, points, torch.tensor([[0, 0, 1]])).tolist() == [1.0]


@pytest.mark.parametrize("n", [9, 16])
def test_a_ball_does_not_intersect_itself(n: int) -> None:
    vertices, faces = ball(n)
    assert self_intersections(vertices, faces).shape == (0, 2)
    assert self_intersections(vertices * 0.1 + 3.0, faces).shape == (0, 2)  # small and away from the origin


def test_a_mesh_with_vertices_on_each_other_does_not_intersect_itself() -> None:
    grid = kuhn_grid((8, 8, 8), ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)))
    surface = marching_tetrahedra(grid.points, grid.tets, grid.points.abs().sum(1) - 0.75)
    assert self_intersections(surface.vertices, surface.faces).shape == (0, 2)


def test_two_balls_that_cross_and_two_that_do_not() -> None:
    vertices, faces = ball()
    both = torch.cat([faces, faces + len(vertices)])
    apart = self_intersections(torch.cat([vertices, vertices + torch.tensor([1.5, 0, 0])]), both)
    assert len(apart) == 0
    pairs = self_intersections(torch.cat([vertices, vertices + torch.tensor([1.0, 0.013, 0.007])]), both)
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
    assert len(self_intersections(points, np.array([[0, 1, 2], [0, 3, 4]]))) == 1  # cuts through, from a common corner
    assert len(self_intersections(points, np.array([[0, 1, 2], [0, 4, 3]]))) == 1
    assert len(self_intersections(points, np.array([[0, 1, 2], [2, 1, 5]]))) == 0  # plain neighbours
    assert len(self_intersections(points, np.array([[0, 1, 2], [0, 1, 4]]))) == 0  # a hinge at an angle
    assert len(self_intersections(points, np.array([[0, 1, 2], [1, 0, 6]]))) == 1  # folded flat onto its neighbour
    assert len(self_intersections(points, np.array([[0, 1, 2], [1, 0, 6]]), tolerance=2.0)) == 0


def test_a_dent_through_the_far_side_is_found() -> None:
    vertices, faces = ball()
    dented = vertices.clone()
    tip = int(vertices[:, 0].argmax())
    dented[tip, 0] = -0.9
    pairs = self_intersections(dented, faces)
    at_tip = (faces == tip).any(1).nonzero()[:, 0].numpy()
    assert len(pairs) > 0 and np.isin(pairs, at_tip).any(1).all()
    assert self_intersections(vertices, faces[:0]).shape == (0, 2)
