# SPDX-License-Identifier: GPL-3.0-or-later
"""The large-steps parametrisation of a mesh's motion (Nicolet, Jacobson, Jakob 2021), and its sparse solvers."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.sparse import csc_array, csr_array, eye_array
from scipy.sparse.linalg import SuperLU, splu
from torch import Tensor
from torch.autograd.function import once_differentiable

Solver = Callable[[Tensor], Tensor]

TOLERANCE, MOST_ROUNDS = 1e-6, 1000  # of conjugate gradients: residual over right side
_CHECK = 16  # rounds between two checks of the residual, each of which synchronises with the GPU


class LargeSteps:
    """u = (I + lambda L) v and back. Optimising u with Adam moves v smoothly: a gradient of v is spread by
    (I + lambda L)^-1.

    laplacian: symmetric, (V,V); lambda_: 10 to 50 suits a head, 0 means no smoothing. On the CPU the matrix is
    factorised once, in double precision; on another device conjugate gradients solve there, without a copy to the host.
    """

    def __init__(self, laplacian: csr_array, lambda_: float, device: torch.device | str = "cpu") -> None:
        matrix = csr_array(eye_array(laplacian.shape[0]) + lambda_ * laplacian)
        cpu = torch.device(device).type == "cpu"
        self._solve = _direct(matrix) if cpu else conjugate_gradients(matrix, device)

    def from_differential(self, differential: Tensor) -> Tensor:
        """v (V,C) = (I + lambda L)^-1 u, differentiable in u (V,C)."""
        return _Solve.apply(differential, self._solve)


class _Solve(torch.autograd.Function):
    """The matrix is symmetric, so that the gradient's solve is the same."""

    @staticmethod
    def forward(ctx: Any, right: Tensor, solve: Solver) -> Tensor:
        ctx.solve = solve
        return solve(right)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.solve(grad), None


def factorise(matrix: csr_array) -> SuperLU:
    """Of a symmetric, diagonally dominant matrix: without pivoting, ordered for symmetric patterns."""
    symmetric = {"SymmetricMode": True}
    return splu(csc_array(matrix), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric)


def _direct(matrix: csr_array) -> Solver:
    factors = factorise(matrix)

    def solve(right: Tensor) -> Tensor:
        return torch.from_numpy(factors.solve(right.detach().numpy().astype(np.float64))).to(right)

    return solve


def conjugate_gradients(matrix: csr_array, device: torch.device | str) -> Solver:
    """Solves a symmetric positive definite system for several right sides (V,C) at once, Jacobi preconditioned."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        sparse = torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data.astype(np.float32)),
            size=matrix.shape,
            check_invariants=True,
        ).to(device)
    inverse = torch.from_numpy((1.0 / matrix.diagonal()).astype(np.float32))[:, None].to(device)

    def solve(right: Tensor) -> Tensor:
        bound = TOLERANCE**2 * right.square().sum(0)
        x, r = torch.zeros_like(right), right.detach().clone()
        z = inverse * r
        p, rz = z.clone(), (r * z).sum(0)
        for done in range(1, MOST_ROUNDS + 1):
            q = sparse @ p
            step = rz / (p * q).sum(0).clamp_min(1e-38)
            x, r = x + step * p, r - step * q
            if done % _CHECK == 0 and bool((r.square().sum(0) <= bound).all()):
                break
            z = inverse * r
            after = (r * z).sum(0)
            p, rz = z + after / rz.clamp_min(1e-38) * p, after
        return x

    return solve
