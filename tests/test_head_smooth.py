# SPDX-License-Identifier: GPL-3.0-or-later
"""Laplacians against hand values; large steps against a dense solve."""

from __future__ import annotations

import torch

from idto3d.head.smooth import large_steps, uniform_laplacian
from idto3d.volume.marching_tets import marching_tetrahedra
from idto3d.volume.tetgrid import kuhn_grid

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


def test_large_steps_of_nothing_is_the_identity_and_single_precision_stays() -> None:
    vertices, faces = small_ball()
    laplacian = uniform_laplacian(faces, len(vertices)).double()
    assert torch.allclose(large_steps(laplacian, 0.0).from_differential(vertices), vertices, atol=1e-15)
    solver = large_steps(laplacian, 10.0)
    u = vertices + 10.0 * laplacian.to_dense() @ vertices
    single = solver.from_differential(u.float())
    assert single.dtype == torch.float32 and torch.allclose(single, vertices.float(), atol=1e-5)


def test_a_gradient_step_in_u_moves_neighbours_too() -> None:
    vertices, faces = small_ball()
    solver = large_steps(uniform_laplacian(faces, len(vertices)), 10.0)
    u = vertices.clone().requires_grad_()
    solver.from_differential(u)[0, 0].backward()
    assert u.grad is not None
    moved = u.grad[:, 0]
    assert bool((moved > 0).all()) and int(moved.argmax()) == 0 and not u.grad[:, 1:].any()
    assert abs(float(moved.sum()) - 1.0) < 1e-10  # L has zero row sums: a common shift passes unchanged
