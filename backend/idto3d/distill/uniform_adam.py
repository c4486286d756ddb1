# SPDX-License-Identifier: GPL-3.0-or-later
"""Adam with one step size for all entries of a tensor, which keeps a gradient's direction."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class UniformAdam(torch.optim.Optimizer):
    """Adam with one second moment a tensor, that of its largest entry (Nicolet, Jacobson, Jakob 2021, "UniformAdam").

    Adam's own scaling gives every entry the same step, also those whose gradient is noise: displacements become rough,
    and identity drifts along unlikely modes. No entry moves by more than about lr a step.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.95), eps: float = 1e-12
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step along the gradients; parameters without one stay."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["mean"], state["square"] = torch.zeros_like(p), p.new_zeros(())
                mean: Tensor = state["mean"]
                square: Tensor = state["square"]
                state["step"] += 1
                steps = float(state["step"])
                mean.lerp_(p.grad, 1 - beta1)
                square.mul_(beta2).add_((1 - beta2) * p.grad.square().max())
                scale = (square / (1 - beta2**steps)).sqrt() + group["eps"]
                p.sub_(group["lr"] / (1 - beta1**steps) * mean / scale)
