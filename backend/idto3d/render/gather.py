# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and summing rows by index, each the other's gradient.

On a CPU PyTorch's own accumulation by row takes tens of milliseconds at the sizes met here; a compiled loop, under one.
"""

from typing import Any

import torch
from torch import Tensor

from idto3d.render.zbuffer import add_blended, add_rows, blended


def _accumulate(rows: Tensor, index: Tensor, count: int) -> Tensor:
    out = rows.new_zeros(count, rows.shape[1])
    if rows.device.type == "cpu":
        add_rows(out.numpy(), index.contiguous().numpy(), rows.detach().contiguous().numpy())
    else:
        out.index_add_(0, index, rows)
    return out


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.count = values.shape[0]
        return values.index_select(0, index)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return _accumulate(grad, index, ctx.count), None


class _ScatterAddRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(index)
        return _accumulate(rows, index, count)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (index,) = ctx.saved_tensors
        return grad.index_select(0, index), None, None


class _BlendRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(index, weights)
        ctx.count = values.shape[0]
        if values.device.type != "cpu":
            return (values[index] * weights[..., None]).sum(1)
        out = values.new_zeros(index.shape[0], values.shape[1])
        blended(out.numpy(), values.detach().contiguous().numpy(), index.contiguous().numpy(), weights.numpy())
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        index, weights = ctx.saved_tensors
        out = grad.new_zeros(ctx.count, grad.shape[1])
        if grad.device.type != "cpu":
            out.index_add_(0, index.reshape(-1), (grad[:, None] * weights[..., None]).reshape(-1, grad.shape[1]))
        else:
            add_blended(out.numpy(), grad.contiguous().numpy(), index.contiguous().numpy(), weights.numpy())
        return out, None, None


def gather_rows(values: Tensor, index: Tensor) -> Tensor:
    """values (N,C)[index (K,)] -> (K,C); differentiable once in values."""
    return _GatherRows.apply(values, index)


def blend_rows(values: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Sums of weights (N,K) times values (M,C)[index (N,K)], as (N,C); differentiable once in values."""
    return _BlendRows.apply(values, index, weights)


def scatter_add_rows(rows: Tensor, index: Tensor, count: int) -> Tensor:
    """Sum rows (K,C) into (count,C) at index (K,); differentiable once in rows."""
    return _ScatterAddRows.apply(rows, index, count)
