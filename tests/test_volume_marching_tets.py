# SPDX-License-Identifier: GPL-3.0-or-later
"""Tetrahedral grids and marching tetrahedra: orientation, closedness, winding, gradients, stable order."""

import math

import pytest
import torch

from idto3d.volume.marching_tets import marching_tetrahedra, surface_vertices, topology
from idto3d.volume.tetgrid import lattice_band
from tests.grids import TetGrid, kuhn_grid

BOX = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def tet_volumes(points: torch.Tensor, tets: torch.Tensor) -> torch.Tensor:
    """Signed volumes (M,) of tetrahedra; negative = turned inside out."""
    a, b, c, d = (points[tets[:, i]] for i in range(4))
    return ((b - a) * torch.linalg.cross(c - a, d - a)).sum(-1) / 6.0


def ball(grid: TetGrid, radius: float = 0.7) -> torch.Tensor:
    return grid.points.norm(dim=1) - radius


def signed_volume(vertices: torch.Tensor, faces: torch.Tensor) -> float:
    a, b, c = vertices[faces].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


def directed_edges(faces: torch.Tensor) -> list[tuple[int, int]]:
    return [(int(f[i]), int(f[(i + 1) % 3])) for f in faces for i in range(3)]


def test_kuhn_grid_fills_the_box_with_positive_tetrahedra() -> None:
    grid = kuhn_grid((2, 3, 4), ((0.0, 0.0, 0.0), (1.0, 2.0, 3.0)))
    volumes = tet_volumes(grid.points, grid.tets)
    assert grid.points.shape == (60, 3) and grid.tets.shape == (144, 4)
    assert torch.allclose(volumes, torch.full((144,), 6.0 / 144))
    assert grid.points[(1 * 4 + 2) * 5 + 3].tolist() == pytest.approx([0.5, 4 / 3, 2.25])


def test_kuhn_grid_is_conforming() -> None:
    """Every triangle belongs to two tetrahedra, or to one and lies on the box: 2 x 2 per side of each square here."""
    grid = kuhn_grid((2, 2, 2), BOX)
    triangles = torch.cat([grid.tets[:, [j for j in range(4) if j != i]] for i in range(4)]).sort(1).values
    count = torch.unique(triangles, dim=0, return_counts=True)[1]
    assert set(count.tolist()) == {1, 2} and int((count == 1).sum()) == 6 * 4 * 2


@pytest.mark.parametrize("case", range(1, 15))
def test_each_case_of_one_tetrahedron_faces_outwards(case: int) -> None:
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    inside = torch.tensor([bool(case >> i & 1) for i in range(4)])
    surface = marching_tetrahedra(points, torch.tensor([[0, 1, 2, 3]]), torch.where(inside, -1.0, 1.0))
    assert len(surface.faces) == (2 if inside.sum() == 2 else 1)
    direction = points[~inside].mean(0) - points[inside].mean(0)
    a, b, c = surface.vertices[surface.faces].unbind(1)
    assert (torch.linalg.cross(b - a, c - a) @ direction > 0).all()
    assert torch.allclose(surface.weight, torch.full_like(surface.weight, 0.5))


def test_ball_is_closed_and_wound_outwards() -> None:
    grid = kuhn_grid((20, 20, 20), BOX)
    surface = marching_tetrahedra(grid.points, grid.tets, ball(grid))
    edges = directed_edges(surface.faces)
    assert len(set(edges)) == len(edges)
    assert {(b, a) for a, b in edges} == set(edges)
    assert len(surface.vertices) - len(edges) // 2 + len(surface.faces) == 2
    assert signed_volume(surface.vertices, surface.faces) == pytest.approx(4 / 3 * math.pi * 0.7**3, rel=0.015)
    lower, upper = surface.edges.unbind(1)
    assert (lower < upper).all() and ((surface.weight >= 0) & (surface.weight <= 1)).all()
    rebuilt = grid.points[lower].lerp(grid.points[upper], surface.weight[:, None])
    assert torch.allclose(rebuilt, surface.vertices, atol=1e-6)


def test_vertices_on_grid_points_stay_closed_and_finite() -> None:
    grid = kuhn_grid((8, 8, 8), BOX)
    sdf = grid.points.abs().sum(1) - 0.75  # an octahedron through grid points: sdf is exactly 0 there
    assert bool((sdf == 0).any())
    surface = marching_tetrahedra(grid.points, grid.tets, sdf)
    edges = directed_edges(surface.faces)
    assert {(b, a) for a, b in edges} == set(edges) and bool(surface.vertices.isfinite().all())
    assert signed_volume(surface.vertices, surface.faces) == pytest.approx(4 / 3 * 0.75**3, rel=1e-5)


def test_gradients_agree_with_finite_differences() -> None:
    grid = kuhn_grid((3, 3, 3), BOX, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    points = grid.points + 0.05 * torch.randn(grid.points.shape, generator=generator, dtype=torch.float64)
    sdf = (grid.points.norm(dim=1) - 0.6).requires_grad_()
    points.requires_grad_()
    faces, edges = topology(grid.tets, sdf < 0)
    assert torch.autograd.gradcheck(lambda p, s: surface_vertices(p, s, edges), (points, sdf))
    surface = marching_tetrahedra(points, grid.tets, sdf)
    assert torch.equal(surface.faces, faces)
    assert torch.autograd.gradcheck(lambda s: marching_tetrahedra(points, grid.tets, s).weight, (sdf,))


def test_same_signs_give_the_same_faces() -> None:
    grid = kuhn_grid((12, 12, 12), BOX)
    generator = torch.Generator().manual_seed(1)
    sdf = ball(grid)
    base = marching_tetrahedra(grid.points, grid.tets, sdf)
    warped = grid.points + 0.3 * torch.sin(2 * grid.points.flip(1))
    other = marching_tetrahedra(warped, grid.tets, sdf * (0.1 + torch.rand(sdf.shape, generator=generator)))
    assert torch.equal(base.faces, other.faces) and torch.equal(base.edges, other.edges)
    assert float((base.vertices - other.vertices).abs().max()) > 0.1
    changed = marching_tetrahedra(grid.points, grid.tets, ball(grid, 0.72))
    assert changed.faces.shape != base.faces.shape


def test_a_batch_of_expressions_shares_one_topology() -> None:
    grid = kuhn_grid((6, 6, 6), BOX)
    sdf = ball(grid)
    _, edges = topology(grid.tets, sdf < 0)
    batch_points = torch.stack([grid.points, grid.points * 1.1, grid.points + 0.2])
    batch_sdf = torch.stack([sdf, sdf * 2, sdf * sdf.abs()])
    batch = surface_vertices(batch_points, batch_sdf, edges)
    for i in range(3):
        assert torch.equal(batch[i], surface_vertices(batch_points[i], batch_sdf[i], edges))


@pytest.mark.parametrize("width", [0.0, 0.15])
def test_a_band_gives_the_surface_of_the_whole_grid(width: float) -> None:
    grid = kuhn_grid((14, 12, 13), BOX)
    sdf = ball(grid)
    whole = marching_tetrahedra(grid.points, grid.tets, sdf)
    where, tets = (torch.from_numpy(a) for a in lattice_band(sdf.numpy().reshape(15, 13, 14), width))
    assert len(tets) < 0.6 * len(grid.tets) and torch.equal(torch.unique(tets), torch.arange(len(where)))
    part = marching_tetrahedra(grid.points[where], tets, sdf[where])
    assert torch.equal(part.vertices, whole.vertices) and torch.equal(part.faces, whole.faces)
    assert torch.equal(where[part.edges], whole.edges)


def test_a_band_keeps_the_surface_while_it_moves_within_its_width() -> None:
    grid = kuhn_grid((14, 14, 14), BOX)
    where, tets = (torch.from_numpy(a) for a in lattice_band(ball(grid).numpy().reshape(15, 15, 15), 0.15))
    whole = marching_tetrahedra(grid.points, grid.tets, ball(grid, 0.8))
    part = marching_tetrahedra(grid.points[where], tets, ball(grid, 0.8)[where])
    assert torch.equal(part.vertices, whole.vertices) and torch.equal(part.faces, whole.faces)


def test_a_grid_without_surface_gives_empty_tensors() -> None:
    grid = kuhn_grid((2, 2, 2), BOX)
    surface = marching_tetrahedra(grid.points, grid.tets, torch.ones(len(grid.points)))
    assert surface.vertices.shape == (0, 3) and surface.faces.shape == (0, 3) and surface.edges.shape == (0, 2)
