# SPDX-License-Identifier: GPL-3.0-or-later
"""Mesh Laplacians and the large-steps parametrisation (Nicolet, Jacobson, Jakob 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, eye_array
from scipy.sparse.linalg import SuperLU, splu
from torch import Tensor
from torch.autograd.function import once_differentiable


def _laplacian(edges: Tensor, weight: Tensor, n: int) -> Tensor:
    """Sparse (n,n): L_ii = sum of the weights at i, L_ij = -weight of edge ij; edges (E,2) may repeat (weights add)."""
    i, j = edges.unbind(1)
    rows, columns = torch.cat([i, j, i, j]), torch.cat([j, i, i, j])
    values = torch.cat([-weight, -weight, weight, weight])
    return torch.sparse_coo_tensor(torch.stack([rows, columns]), values, (n, n), check_invariants=True).coalesce()


def uniform_laplacian(faces: Tensor, n_vertices: int) -> Tensor:
    """Combinatorial Laplacian, sparse float32 (V,V): degree on the diagonal, -1 for each neighbour."""
    directed = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = torch.unique(directed.sort(1).values, dim=0)
    return _laplacian(edges, torch.ones(len(edges), device=faces.device), n_vertices)


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rhs: Tensor, factors: SuperLU) -> Tensor:
        ctx.factors = factors
        return _back_substitute(factors, rhs, "N")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _back_substitute(ctx.factors, grad, "T"), None


def _back_substitute(factors: SuperLU, rhs: Tensor, trans: str) -> Tensor:
    b = rhs.detach().cpu().numpy().astype(np.float64)
    columns = b.reshape(b.shape[0], -1)
    return torch.from_numpy(factors.solve(columns, trans=trans).reshape(b.shape)).to(rhs)


class LargeSteps:
    """u = (I + lambda L) v and back. Optimising u with Adam moves v smoothly: a gradient of v is spread by (I+lambda
    L)^-1.

    The matrix is factorised once, on the CPU in double precision; each solve and each backward is two substitutions.
    """

    def __init__(self, laplacian: Tensor, lambda_: float) -> None:
        matrix = _scipy_csc(laplacian, lambda_)
        # The matrix is symmetric and diagonally dominant: no pivoting, and an ordering for symmetric patterns.
        self._factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def from_differential(self, differential: Tensor) -> Tensor:
        """v (V,C) = (I + lambda L)^-1 u, differentiable in u (V,C)."""
        solved: Tensor = _Solve.apply(differential, self._factors)
        return solved


def _scipy_csc(laplacian: Tensor, lambda_: float) -> csc_array:
    coo = laplacian.detach().coalesce().cpu()
    index: NDArray[np.int64] = coo.indices().numpy()
    sparse = coo_array((coo.values().double().numpy(), (index[0], index[1])), shape=tuple(coo.shape))
    return csc_array(eye_array(coo.shape[0]) + lambda_ * sparse)


def large_steps(laplacian: Tensor, lambda_: float) -> LargeSteps:
    """Factorise I + lambda L for a symmetric Laplacian, sparse (V,V). lambda 10-20 suits a head mesh; 0 = no
    smoothing."""
    return LargeSteps(laplacian, lambda_)
