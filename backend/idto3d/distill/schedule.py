# SPDX-License-Identifier: GPL-3.0-or-later
"""The noise schedule of a latent diffusion model (Ho et al. 2020; Song et al. 2020) and choices for distillation.

z_t = sqrt(abar_t) z_0 + sqrt(1 - abar_t) eps, with t an integer in 0 .. T-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

BetaSchedule = Literal["linear", "scaled_linear"]
Weighting = Literal["sigma2", "snr_root", "inverse_sigma2", "uniform"]


@dataclass(frozen=True)
class Schedule:
    """alphas_cumprod: (T,) float32, falling with t. Index it by integer timesteps."""

    alphas_cumprod: Tensor

    def __len__(self) -> int:
        return int(self.alphas_cumprod.shape[0])

    def to(self, device: torch.device | str) -> Schedule:
        """The same schedule on another device."""
        return Schedule(self.alphas_cumprod.to(device))

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(abar_t) and sqrt(1 - abar_t) of t (B,), each (B, 1, 1, 1)."""
        a = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return a.sqrt(), (1.0 - a).sqrt()

    def add_noise(self, z0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """z_t for latents z0 (B, C, h, w), unit Gaussian noise of the same shape, and t (B,)."""
        alpha, sigma = self.alpha_sigma(t)
        return alpha * z0 + sigma * noise

    def x0_from_eps(self, z_t: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """The clean latents that (z_t, eps) stand for."""
        alpha, sigma = self.alpha_sigma(t)
        return (z_t - sigma * eps) / alpha

    def eps_from_x0(self, z_t: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The noise that (z_t, x0) stand for."""
        alpha, sigma = self.alpha_sigma(t)
        return (z_t - alpha * x0) / sigma

    def eps_from_v(self, z_t: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """The noise that a velocity v = sqrt(abar) eps - sqrt(1 - abar) z_0 stands for (Salimans and Ho 2022)."""
        alpha, sigma = self.alpha_sigma(t)
        return alpha * v + sigma * z_t

    def velocity(self, z0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """v = sqrt(abar) eps - sqrt(1 - abar) z_0: the training target of a v-prediction model."""
        alpha, sigma = self.alpha_sigma(t)
        return alpha * noise - sigma * z0

    def weight(self, t: Tensor, kind: Weighting) -> Tensor:
        """omega(t) of score distillation, (B, 1, 1, 1).

        sigma2: 1 - abar (DreamFusion). snr_root: sqrt(abar) (1 - abar) and inverse_sigma2: 1 / (1 - abar) are
        Fantasia3D's early and late choices. uniform: 1.
        """
        a = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        if kind == "sigma2":
            return 1.0 - a
        if kind == "snr_root":
            return a.sqrt() * (1.0 - a)
        if kind == "inverse_sigma2":
            return 1.0 / (1.0 - a)
        return torch.ones_like(a)


def make_schedule(
    num_train_timesteps: int = 1000,
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    beta_schedule: BetaSchedule = "scaled_linear",
) -> Schedule:
    """The schedule of the given betas; the defaults are Stable Diffusion 1.5's. Raises ValueError for another kind."""
    if beta_schedule == "scaled_linear":
        betas = torch.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps, dtype=torch.float64) ** 2
    elif beta_schedule == "linear":
        betas = torch.linspace(beta_start, beta_end, num_train_timesteps, dtype=torch.float64)
    else:
        raise ValueError(f"unknown beta schedule: {beta_schedule}")
    return Schedule(torch.cumprod(1.0 - betas, dim=0).float())


def annealed_range(
    progress: float, t_min: float = 0.02, t_max_start: float = 0.98, t_max_end: float = 0.3
) -> tuple[float, float]:
    """The range of t / T to draw from at `progress` in 0..1: the upper end falls linearly, the lower end stays."""
    s = min(max(progress, 0.0), 1.0)
    return t_min, max(t_min, t_max_start + s * (t_max_end - t_max_start))


def sample_t(
    batch: int, t_range: tuple[float, float], schedule: Schedule, generator: torch.Generator | None = None
) -> Tensor:
    """Uniform integer timesteps (B,) in t_range * T, both ends possible; on the schedule's device."""
    steps = len(schedule)
    low = min(int(t_range[0] * steps), steps - 1)
    high = max(low, min(int(t_range[1] * steps), steps - 1))
    device = schedule.alphas_cumprod.device
    source = generator.device if generator is not None else device
    return torch.randint(low, high + 1, (batch,), generator=generator, device=source).to(device)
