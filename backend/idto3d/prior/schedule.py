# SPDX-License-Identifier: GPL-3.0-or-later
"""The noise schedule of a latent diffusion model (Ho et al. 2020; Song et al. 2020).

z_t = sqrt(abar_t) z_0 + sqrt(1 - abar_t) eps, with t an integer in 0 .. T-1.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

BetaSchedule = Literal["linear", "scaled_linear"]


@dataclass(frozen=True)
class Schedule:
    """alphas_cumprod: (T,) float32, falling with t. Index it by integer timesteps."""

    alphas_cumprod: Tensor

    def __len__(self) -> int:
        return int(self.alphas_cumprod.shape[0])

    def to(self, device: torch.device | str) -> "Schedule":
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

    def eps_from_v(self, z_t: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """The noise that a velocity v = sqrt(abar) eps - sqrt(1 - abar) z_0 stands for (Salimans and Ho 2022)."""
        alpha, sigma = self.alpha_sigma(t)
        return alpha * v + sigma * z_t


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
