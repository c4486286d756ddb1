# SPDX-License-Identifier: GPL-3.0-or-later
"""Score distillation sampling (Poole et al. 2022) and deterministic sampling (Song et al. 2020), as plain functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from idto3d.distill.schedule import Schedule, Weighting

PredictPair = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(z_t (B, C, h, w), t (B,)) to the unconditional and the conditional noise, as `prior.model.cfg_pair` gives."""

Predict = Callable[[Tensor, Tensor], Tensor]
"""(z_t (B, C, h, w), t (B,)) to the noise, guidance included."""

Form = Literal["eps", "x0"]


def guide(eps_u: Tensor, eps_c: Tensor, scale: float, rescale: float = 0.0) -> Tensor:
    """Classifier-free guidance: eps_u + scale (eps_c - eps_u).

    rescale in 0..1 blends towards the same with the standard deviation of eps_c, sample by sample (Lin et al. 2023,
    equation 16), which tames the saturation of scales above about 30.
    """
    eps = eps_u + scale * (eps_c - eps_u)
    if rescale == 0.0:
        return eps
    dims = tuple(range(1, eps.ndim))
    matched = eps * (eps_c.std(dim=dims, keepdim=True) / eps.std(dim=dims, keepdim=True).clamp_min(1e-8))
    return rescale * matched + (1.0 - rescale) * eps


def sds_loss(
    z0: Tensor,
    predict: PredictPair,
    schedule: Schedule,
    t: Tensor,
    noise: Tensor,
    guidance_scale: float,
    weighting: Weighting = "sigma2",
    form: Form = "eps",
    rescale: float = 0.0,
) -> Tensor:
    """A scalar whose gradient with respect to z0 (B, C, h, w) is that of score distillation.

    form "eps": omega(t) (eps_hat - eps). form "x0": omega(t) (z0 - x0_hat), a reconstruction towards the prior's clean
    estimate; it is the former times sqrt(1 - abar) / sqrt(abar). eps_hat has guidance included; z_t is made from z0,
    t (B,) and noise (like z0). The sum over the batch, so that no sample's gradient depends on the batch's size. No
    gradient goes through `predict`. Gradient entries that half precision made non-finite become 0.
    """
    with torch.no_grad():
        clean = z0.float()
        z_t = schedule.add_noise(clean, noise, t)
        eps_u, eps_c = predict(z_t, t)
        eps = guide(eps_u.float(), eps_c.float(), guidance_scale, rescale)
        difference = eps - noise if form == "eps" else clean - schedule.x0_from_eps(z_t, eps, t)
        gradient = torch.nan_to_num(schedule.weight(t, weighting) * difference, nan=0.0, posinf=0.0, neginf=0.0)
        target = clean - gradient
    return 0.5 * (z0.float() - target).square().sum()


@torch.no_grad()
def ddim_sample(
    z_t: Tensor,
    predict: Predict,
    schedule: Schedule,
    steps: int,
    t_start: int | None = None,
    callback: Callable[[int, int, Tensor], None] | None = None,
) -> Tensor:
    """Deterministic sampling (DDIM, eta 0) from latents z_t (B, C, h, w) at t_start (default T - 1) to clean latents.

    callback(step, steps, x0), step from 1, sees each step's clean estimate and may raise to stop.
    Raises ValueError if steps is not in 1 .. t_start.
    """
    start = len(schedule) - 1 if t_start is None else t_start
    if not 1 <= steps <= start < len(schedule):
        raise ValueError(f"cannot take {steps} steps from t = {start} of {len(schedule)}")
    taus = torch.linspace(start, 0, steps + 1).round().long().tolist()
    x0 = z_t
    for step, (now, after) in enumerate(zip(taus[:-1], taus[1:], strict=True), start=1):
        t = torch.full((z_t.shape[0],), now, dtype=torch.long, device=z_t.device)
        eps = predict(z_t, t)
        x0 = schedule.x0_from_eps(z_t, eps, t)
        z_t = schedule.add_noise(x0, eps, torch.full_like(t, after))
        if callback is not None:
            callback(step, steps, x0)
    return x0
