# SPDX-License-Identifier: GPL-3.0-or-later
"""Laplacians against hand values; large steps against a dense solve."""

from __future__ import annotations

import math

import torch

from idto3d.head.marching_tets import marching_tetrahedra
from idto3d.head.smooth import cotan_laplacian, large_steps, uniform_laplacian
from idto3d.head.tetgrid import kuhn_grid

SQUARE = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
SQUARE_FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def small_ball() -> tuple[torch.Tensor, torch.Tensor]:
    grid = kuhn_grid((6, 6, 6), ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)), dtype=torch.float64)
    surface = marching_tetrahedra(grid.points, grid.tets, grid.points.norm(dim=1) - 0.7)
    return surface.vertices, surface.faces


def test_uniform_laplacian_of_a_square() -> None:
    expected = torch.tensor([[3.0, -1, -1, -1], [-1, 2, -1, 0], [-1, -1, 3, -1], [-1, 0, -1, 2]])
    assert torch.equal(uniform_laplacian(SQUARE_FACES, 4).to_dense(), expected)
    wider = uniform_laplacian(SQUARE_FACES, 5).to_dense()  # an unused vertex has an empty row
    assert torch.equal(wider[:4, :4], expected) and not wider[4].any()


def test_cotan_laplacian_of_a_square() -> None:
    """Sides see one angle of 45 degrees (cot 1, halved); the diagonal sees two right angles (cot 0)."""
    dense = cotan_laplacian(SQUARE, SQUARE_FACES).to_dense()
    expected = torch.tensor([[1.0, -0.5, 0, -0.5], [-0.5, 1, -0.5, 0], [0, -0.5, 1, -0.5], [-0.5, 0, -0.5, 1]])
    assert torch.allclose(dense, expected, atol=1e-6)


def test_cotan_laplacian_is_bounded_for_slivers_and_zero_on_flat_coordinates() -> None:
    sliver = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0.5, 0, 0]])
    dense = cotan_laplacian(sliver, torch.tensor([[0, 1, 2]])).to_dense()
    assert bool(dense.isfinite().all()) and float(dense.abs().max()) <= 20.0
    # An equilateral fan round a centre: linear functions are harmonic, so L x vanishes at the centre.
    ring = torch.tensor([[math.cos(k * math.pi / 3), math.sin(k * math.pi / 3), 0.0] for k in range(6)])
    fan = torch.tensor([[6, k, (k + 1) % 6] for k in range(6)])
    points = torch.cat([ring, torch.zeros(1, 3)])
    assert torch.allclose(cotan_laplacian(points, fan).to_dense()[6] @ points, torch.zeros(3), atol=1e-5)


def test_large_steps_equals_a_dense_solve_and_its_gradient() -> None:
    vertices, faces = small_ball()
    laplacian = uniform_laplacian(faces, len(vertices)).double()
    dense = torch.eye(len(vertices), dtype=torch.float64) + 15.0 * laplacian.to_dense()
    solver = large_steps(laplacian, 15.0)
    u = torch.randn(len(vertices), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.linalg.solve(dense, u)
    ours = solver.from_differential(u)
    assert torch.allclose(ours, target, atol=1e-12)
    weight = torch.sin(torch.arange(target.numel(), dtype=torch.float64)).reshape(target.shape)
    (expected,) = torch.autograd.grad((target * weight).sum(), u)
    (gradient,) = torch.autograd.grad((ours * weight).sum(), u)
    assert torch.allclose(gradient, expected, atol=1e-12)


def test_large_steps_round_trip_and_identity() -> None:
    vertices, faces = small_ball()
    laplacian = cotan_laplacian(vertices, faces)
    solver = large_steps(laplacian, 10.0)
    assert torch.allclose(solver.from_differential(solver.to_differential(vertices)), vertices, atol=1e-10)
    assert torch.allclose(large_steps(laplacian, 0.0).from_differential(vertices), vertices, atol=1e-15)
    single = solver.from_differential(solver.to_differential(vertices.float()))
    assert single.dtype == torch.float32 and torch.allclose(single, vertices.float(), atol=1e-5)


def test_a_gradient_step_in_u_moves_neighbours_too() -> None:
    vertices, faces = small_ball()
    solver = large_steps(uniform_laplacian(faces, len(vertices)), 10.0)
    u = solver.to_differential(vertices).requires_grad_()
    solver.from_differential(u)[0, 0].backward()
    assert u.grad is not None
    moved = u.grad[:, 0]
    assert bool((moved > 0).all()) and int(moved.argmax()) == 0 and not u.grad[:, 1:].any()
    assert abs(float(moved.sum()) - 1.0) < 1e-10  # L has zero row sums: a common shift passes unchanged
