# SPDX-License-Identifier: GPL-3.0-or-later
"""Score distillation sampling (Poole et al. 2022) and deterministic sampling (Song et al. 2020), as plain functions."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..prior.schedule import Schedule
from .config import Score, Weighting

PredictPair = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(z_t (B, C, h, w), t (B,)) to the unconditional and the conditional noise, as `prior.model.cfg_pair` gives."""

Predict = Callable[[Tensor, Tensor], Tensor]
"""(z_t (B, C, h, w), t (B,)) to the noise, guidance included."""


def guide(eps_u: Tensor, eps_c: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022): eps_u + scale (eps_c - eps_u)."""
    return eps_u + scale * (eps_c - eps_u)


def weight(schedule: Schedule, t: Tensor, kind: Weighting) -> Tensor:
    """omega(t), (B, 1, 1, 1). sigma2: 1 - abar (DreamFusion); uniform: 1."""
    _, sigma = schedule.alpha_sigma(t)
    return sigma.square() if kind == "sigma2" else torch.ones_like(sigma)


def annealed_range(progress: float, score: Score) -> tuple[float, float]:
    """The range of t / T to draw from at `progress` in 0..1: the upper end falls linearly, the lower end stays."""
    s = min(max(progress, 0.0), 1.0)
    return score.t_min, score.t_max_start + s * (score.t_max_end - score.t_max_start)


def sample_t(batch: int, t_range: tuple[float, float], schedule: Schedule, generator: torch.Generator) -> Tensor:
    """Uniform integer timesteps (B,) in t_range * T, both ends possible; drawn where the generator lives, then on the
    schedule's device."""
    steps = len(schedule)
    low = min(int(t_range[0] * steps), steps - 1)
    high = max(low, min(int(t_range[1] * steps), steps - 1))
    drawn = torch.randint(low, high + 1, (batch,), generator=generator, device=generator.device)
    return drawn.to(schedule.alphas_cumprod.device)


def sds_loss(z0: Tensor, predict: PredictPair, schedule: Schedule, t: Tensor, noise: Tensor, score: Score) -> Tensor:
    """A scalar whose gradient with respect to each sample of z0 (B, C, h, w) is that of score distillation over B.

    form "eps": omega(t) (eps_hat - eps). form "x0": omega(t) (z0 - x0_hat), a reconstruction towards the prior's clean
    estimate; it is the former times sqrt(1 - abar) / sqrt(abar). eps_hat has guidance included; z_t is made from z0,
    t (B,) and noise (like z0). The mean over the batch: how many views a step has does not change what they count
    beside other losses. No gradient goes through `predict`.
    """
    with torch.no_grad():
        clean = z0.float()
        eps, x0 = clean_estimate(clean, predict, schedule, t, noise, score)
        difference = eps - noise if score.form == "eps" else clean - x0
    return _towards(z0, weight(schedule, t, score.weighting) * difference)


def image_loss(
    images: Tensor,
    z0: Tensor,
    decode: Callable[[Tensor], Tensor],
    predict: PredictPair,
    schedule: Schedule,
    t: Tensor,
    noise: Tensor,
    score: Score,
) -> Tensor:
    """The form "x0" between pictures: images (B,H,W,3), encoded as z0, are pulled by omega(t) (D(z0) - D(x0_hat)), D
    the decoder (after HiFA, Zhu et al. 2023, which adds a term in image space).

    No gradient goes through the encoder, whose own puts colours into textures that no picture of the prior has; and
    what the autoencoder loses of a picture, being lost on both sides, is not taken from it.
    """
    with torch.no_grad():
        clean = z0.float()
        _, x0 = clean_estimate(clean, predict, schedule, t, noise, score)
        before, after = decode(torch.cat([clean, x0])).float().chunk(2)
    return _towards(images, (weight(schedule, t, score.weighting) * (before - after)).to(images.device))


def clean_estimate(
    z0: Tensor, predict: PredictPair, schedule: Schedule, t: Tensor, noise: Tensor, score: Score
) -> tuple[Tensor, Tensor]:
    """eps_hat with guidance, and the clean latents that it stands for."""
    z_t = schedule.add_noise(z0, noise, t)
    eps_u, eps_c = predict(z_t, t)
    eps = guide(eps_u.float(), eps_c.float(), score.guidance)
    return eps, schedule.x0_from_eps(z_t, eps, t)


def _towards(values: Tensor, gradient: Tensor) -> Tensor:
    """Half a mean of squares whose gradient in each sample of values is `gradient` over B; entries that are not finite
    become 0. They are those of a picture that has some: `Prior.predict` refuses a prior that answers so."""
    target = values.detach().float() - torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
    return 0.5 * (values.float() - target).square().sum() / len(values)


@torch.no_grad()
def ddim_sample(
    z_t: Tensor,
    predict: Predict,
    schedule: Schedule,
    steps: int,
    t_start: int | None = None,
) -> Tensor:
    """Deterministic sampling (DDIM, eta 0) from latents z_t (B, C, h, w) at t_start (default T - 1) to clean latents.

    Raises ValueError if steps is not in 1 .. t_start.
    """
    start = len(schedule) - 1 if t_start is None else t_start
    if not 1 <= steps <= start < len(schedule):
        raise ValueError(f"cannot take {steps} steps from t = {start} of {len(schedule)}")
    taus = torch.linspace(start, 0, steps + 1).round().long().tolist()
    x0 = z_t
    for now, after in zip(taus[:-1], taus[1:], strict=True):
        t = torch.full((z_t.shape[0],), now, dtype=torch.long, device=z_t.device)
        eps = predict(z_t, t)
        x0 = schedule.x0_from_eps(z_t, eps, t)
        z_t = schedule.add_noise(x0, eps, torch.full_like(t, after))
    return x0
