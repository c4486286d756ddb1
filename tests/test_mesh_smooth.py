# SPDX-License-Identifier: GPL-3.0-or-later
"""Large steps against a dense solve, by factors and by conjugate gradients."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, eye_array

from idto3d.mesh.smooth import LargeSteps, conjugate_gradients
from idto3d.mesh.surface import uniform_laplacian
from tests.tiny_head import tiny_head_model

MODEL = tiny_head_model(16, 8, eyes=False)
COUNT = len(MODEL.neutral)
LAPLACIAN = uniform_laplacian(MODEL.triangles, COUNT)


def test_large_steps_equals_a_dense_solve_and_its_gradient() -> None:
    dense = torch.eye(COUNT, dtype=torch.float64) + 15.0 * torch.from_numpy(LAPLACIAN.toarray()).double()
    solver = LargeSteps(LAPLACIAN, 15.0)
    u = torch.randn(COUNT, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.linalg.solve(dense, u)
    ours = solver.from_differential(u)
    assert torch.allclose(ours, target, atol=1e-12)
    weight = torch.sin(torch.arange(target.numel(), dtype=torch.float64)).reshape(target.shape)
    (expected,) = torch.autograd.grad((target * weight).sum(), u)
    (gradient,) = torch.autograd.grad((ours * weight).sum(), u)
    assert torch.allclose(gradient, expected, atol=1e-12)


def test_no_smoothing_is_the_identity_and_single_precision_stays() -> None:
    u = torch.from_numpy(MODEL.neutral)
    assert torch.equal(LargeSteps(LAPLACIAN, 0.0).from_differential(u), u)
    v = LargeSteps(LAPLACIAN, 10.0).from_differential(u)
    assert v.dtype == torch.float32


def test_a_gradient_step_in_u_moves_neighbours_too() -> None:
    u = torch.zeros(COUNT, 3, dtype=torch.float64, requires_grad=True)
    LargeSteps(LAPLACIAN, 10.0).from_differential(u)[0, 0].backward()
    assert u.grad is not None
    moved = u.grad[:, 0]
    assert bool((moved > 0).all()) and int(moved.argmax()) == 0 and not u.grad[:, 1:].any()
    assert abs(float(moved.sum()) - 1.0) < 1e-10  # L has zero row sums: a common shift passes unchanged


@pytest.mark.parametrize("lambda_", [0.0, 3.0, 100.0])
def test_conjugate_gradients_find_the_same(lambda_: float) -> None:
    matrix = csr_array(eye_array(COUNT) + lambda_ * LAPLACIAN)
    right = torch.randn(COUNT, 3, generator=torch.Generator().manual_seed(1))
    right[:, 2] = 0  # nothing to do must not become 0 / 0
    wanted = np.linalg.solve(matrix.toarray(), right.numpy().astype(np.float64))
    np.testing.assert_allclose(conjugate_gradients(matrix, "cpu")(right).numpy(), wanted, atol=2e-5)
