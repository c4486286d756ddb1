# SPDX-License-Identifier: GPL-3.0-or-later
"""Noise schedule, score distillation and DDIM against closed forms."""

import math
from dataclasses import replace

import pytest
import torch
from diffusers import DDPMScheduler

from idto3d.distill.config import Form, Score
from idto3d.distill.sds import annealed_range, ddim_sample, image_loss, sample_t, sds_loss, weight
from idto3d.prior.schedule import Schedule, make_schedule

SCHEDULE = make_schedule()
SCORE = Score("eps", "sigma2", guidance=7.5, t_min=0.02, t_max_start=0.98, t_max_end=0.3)


def mixture_eps(z_t: torch.Tensor, t: torch.Tensor, means: torch.Tensor, std: float) -> torch.Tensor:
    """The exact noise prediction -sigma grad log p_t for data from an even mixture of N(mean_k, std^2 I)."""
    alpha, sigma = SCHEDULE.alpha_sigma(t)
    variance = alpha**2 * std**2 + sigma**2
    centred = z_t[None] - alpha * means[:, None]
    logits = -(centred.square() / (2 * variance)).flatten(2).sum(-1)
    responsibility = torch.softmax(logits, dim=0)[..., None, None, None]
    return sigma * (responsibility * centred / variance).sum(0)


def test_schedule_equals_diffusers() -> None:
    for kind in ("linear", "scaled_linear"):
        reference = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule=kind).alphas_cumprod
        torch.testing.assert_close(make_schedule(beta_schedule=kind).alphas_cumprod, reference, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="beta schedule"):
        make_schedule(beta_schedule="cosine")  # type: ignore[arg-type]


def test_conversions_by_hand() -> None:
    schedule = Schedule(torch.tensor([0.64]))  # alpha 0.8, sigma 0.6
    t = torch.zeros(1, dtype=torch.long)
    z0, eps = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), -1.0)
    z_t = schedule.add_noise(z0, eps, t)
    assert z_t.item() == pytest.approx(0.8 * 2 - 0.6)
    assert schedule.x0_from_eps(z_t, eps, t).item() == pytest.approx(2.0)
    v = torch.full_like(z0, 0.8 * -1 - 0.6 * 2)
    assert schedule.eps_from_v(z_t, v, t).item() == pytest.approx(-1.0)
    assert weight(schedule, t, "sigma2").item() == pytest.approx(0.36)
    assert weight(schedule, t, "uniform").item() == 1.0


def test_annealing_and_sampling_of_t() -> None:
    score = replace(SCORE, t_max_start=0.98, t_max_end=0.3)
    assert annealed_range(0.0, score) == (0.02, 0.98)
    assert annealed_range(0.5, score)[1] == pytest.approx(0.64)
    assert annealed_range(2.0, score) == (0.02, pytest.approx(0.3))
    small = make_schedule(10)
    drawn = sample_t(2000, (0.2, 0.5), small, torch.Generator().manual_seed(0))
    assert drawn.unique().tolist() == [2, 3, 4, 5]
    assert sample_t(5, (1.0, 1.0), small, torch.Generator()).tolist() == [9] * 5


def test_gradient_is_the_stated_one_and_stays_out_of_predict() -> None:
    generator = torch.Generator().manual_seed(1)
    z0 = torch.randn(2, 4, 3, 3, generator=generator).requires_grad_()
    noise, eps_u, eps_c = (torch.randn(2, 4, 3, 3, generator=generator) for _ in range(3))
    t = torch.tensor([100, 700])
    inside: list[bool] = []

    def predict(z_t: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inside.append(torch.is_grad_enabled() or z_t.requires_grad)
        return eps_u, eps_c

    combined = eps_u + 7.5 * (eps_c - eps_u)
    sds_loss(z0, predict, SCHEDULE, t, noise, SCORE).backward()
    # half: the mean over two views
    expected = 0.5 * (1 - SCHEDULE.alphas_cumprod[t]).view(2, 1, 1, 1) * (combined - noise)
    assert z0.grad is not None
    torch.testing.assert_close(z0.grad, expected, rtol=1e-5, atol=1e-5)
    z0.grad = None
    sds_loss(z0, predict, SCHEDULE, t, noise, replace(SCORE, form="x0", weighting="uniform")).backward()
    alpha, sigma = SCHEDULE.alpha_sigma(t)
    torch.testing.assert_close(z0.grad, 0.5 * sigma / alpha * (combined - noise), rtol=1e-4, atol=1e-4)
    assert inside == [False, False]


def test_between_pictures_the_decoder_speaks_and_the_encoder_is_silent() -> None:
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(2, 6, 6, 3, generator=generator).requires_grad_()
    z0, noise, eps = (torch.randn(2, 4, 3, 3, generator=generator) for _ in range(3))
    t = torch.tensor([100, 700])

    def decode(z: torch.Tensor) -> torch.Tensor:
        return (0.1 * z[:, :3] + 0.5).repeat_interleave(2, 2).repeat_interleave(2, 3).permute(0, 2, 3, 1)

    score = replace(SCORE, form="image", weighting="uniform", guidance=1.0)
    image_loss(images, z0, decode, lambda z, t: (eps, eps), SCHEDULE, t, noise, score).backward()
    alpha, sigma = SCHEDULE.alpha_sigma(t)
    wanted = 0.5 * (decode(z0) - decode(z0 - sigma / alpha * (eps - noise)))  # half: the mean over two views
    assert images.grad is not None
    torch.testing.assert_close(images.grad, wanted, rtol=1e-4, atol=1e-5)


def test_more_views_are_not_more_weight() -> None:
    """A view shown twice weighs as if it had been shown once."""
    z0, noise = (torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(k)) for k in (1, 2))
    t = torch.tensor([500])
    losses = [
        sds_loss(
            z0.expand(n, -1, -1, -1),
            lambda z, t: (z * 0, z * 0),
            SCHEDULE,
            t.expand(n),
            noise.expand(n, -1, -1, -1),
            SCORE,
        )
        for n in (1, 2, 4)
    ]
    torch.testing.assert_close(losses[1:], [losses[0]] * 2)


def test_non_finite_predictions_do_not_reach_the_gradient() -> None:
    z0 = torch.zeros(1, 1, 1, 2, requires_grad=True)
    bad = torch.tensor([[[[float("nan"), 1.0]]]])
    sds_loss(z0, lambda z, t: (bad, bad), SCHEDULE, torch.tensor([500]), torch.zeros_like(bad), SCORE).backward()
    assert z0.grad is not None
    assert z0.grad[0, 0, 0, 0] == 0
    assert z0.grad[0, 0, 0, 1] > 0


@pytest.mark.parametrize("form", ["eps", "x0"])
@pytest.mark.parametrize("scale", [1.0, 7.5])
def test_sds_reaches_the_near_mode_of_a_mixture(form: Form, scale: float) -> None:
    """Two sharp modes; the condition names the first, the unconditional score knows both."""
    generator = torch.Generator().manual_seed(2)
    means = torch.stack([torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), -1.0)])
    z = (means[0] * 0.1 + 0.3 * torch.randn(4, 1, 2, 2, generator=generator)).requires_grad_()

    def predict(z_t: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return mixture_eps(z_t, t, means, 0.05), mixture_eps(z_t, t, means[:1], 0.05)

    # The x0 form's gradient is a distance to walk, and Adam would forget its size.
    optimiser = torch.optim.SGD([z], lr=0.4) if form == "x0" else torch.optim.Adam([z], lr=0.05, betas=(0.9, 0.99))
    score = replace(SCORE, form=form, weighting="uniform" if form == "x0" else "sigma2", guidance=scale, t_max_end=0.1)
    steps = 300
    for step in range(steps):
        t = sample_t(4, annealed_range(1.5 * step / steps, score), SCHEDULE, generator)
        noise = torch.randn(z.shape, generator=generator)
        optimiser.zero_grad()
        sds_loss(z, predict, SCHEDULE, t, noise, score).backward()
        optimiser.step()
    assert (z.detach() - means[0]).abs().max() < 0.15


def test_ddim_follows_the_gaussian_flow() -> None:
    """N(mean, std^2) data: the flow is affine, deviations shrink by std / sqrt(alpha^2 std^2 + sigma^2)."""
    mean, std, start = 0.7, 0.4, 800
    z_t = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(3))
    means = torch.full((1, 2, 4, 4), mean)
    sampled = ddim_sample(z_t, lambda z, t: mixture_eps(z, t, means, std), SCHEDULE, 400, t_start=start)
    abar = SCHEDULE.alphas_cumprod[start].item()
    expected = mean + std * (z_t - math.sqrt(abar) * mean) / math.sqrt(abar * std**2 + 1 - abar)
    torch.testing.assert_close(sampled, expected, rtol=0, atol=0.03)


def test_one_step_ddim_is_the_clean_estimate() -> None:
    z_t = torch.randn(1, 1, 2, 2, generator=torch.Generator().manual_seed(4))
    eps = torch.full_like(z_t, 0.25)
    sampled = ddim_sample(z_t, lambda z, t: eps, SCHEDULE, 1, t_start=300)
    torch.testing.assert_close(sampled, SCHEDULE.x0_from_eps(z_t, eps, torch.tensor([300])))
    with pytest.raises(ValueError, match="steps"):
        ddim_sample(z_t, lambda z, t: eps, SCHEDULE, 0)
