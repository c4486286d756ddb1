# SPDX-License-Identifier: GPL-3.0-or-later
"""What the prior is asked in a step of distillation, field by field, and what its answer costs, by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from idto3d.distill.guidance import Conditioning, check_prompts, conditions, prior_loss
from idto3d.distill.views import View
from idto3d.errors import UserError
from idto3d.prior.schedule import make_schedule
from idto3d.render.cameras import make_camera
from tests.known_prior import quick_config as config_of
from tests.known_prior import someone

AZIMUTHS = (0.0, 67.5, 180.0)
SIZE = 8


class AskedPrior:
    """Latents are pictures at half the size; noise is predicted as a constant, the same with the empty prompt and
    another with any other. Notes what it is asked."""

    def __init__(self, unconditional: float = 0.0, conditional: float = 0.0) -> None:
        self.schedule, self.device, self.lambda_ref = make_schedule(), torch.device("cpu"), 0.0
        self.room = 100
        self.said: list[str] = []
        self.steps: list[int] = []
        self.answers = unconditional, conditional

    def has_room(self, text: str) -> bool:
        return len(text.split()) <= self.room

    def encode_text(self, texts: list[str]) -> Tensor:
        self.said = list(texts)
        return torch.ones(len(texts), 2, 4)

    def empty_text(self) -> Tensor:
        return torch.zeros(1, 2, 4)

    def encode(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images.permute(0, 3, 1, 2), 2)

    def decode(self, latents: Tensor) -> Tensor:
        return 3.0 * F.interpolate(latents, scale_factor=2).permute(0, 2, 3, 1)

    def predict(self, z_t: Tensor, t: Tensor, condition: Any) -> Tensor:
        self.steps += t.tolist()
        conditioned = condition.text.mean((1, 2)) > 0.5
        return torch.where(conditioned, self.answers[1], self.answers[0]).view(-1, 1, 1, 1).expand_as(z_t)


def views(close: bool = False) -> list[View]:
    return [View(make_camera(azimuth, 0.0, 20.0, 0.35, [0.0, 0.0, 0.0]), close) for azimuth in AZIMUTHS]


def who(words: str = "") -> Conditioning:
    return replace(someone(), texts=("a calm face", "a smile", "an open mouth"), words=words)


@pytest.mark.parametrize("domain", ["normal", "albedo"])
@pytest.mark.parametrize("expression", [0, 2])
def test_each_field_is_the_domains_the_expressions_and_the_views(domain: Any, expression: int) -> None:
    prior: Any = AskedPrior()
    config = config_of(1)
    prompts = replace(
        config.prompts, normal="shape, {view}, {expression}, {words}", albedo="paint, {view}, {expression}"
    )
    given = conditions(prior, who(), replace(config, prompts=prompts), expression, views(), domain)
    kind, text = {"normal": "shape", "albedo": "paint"}[domain], who().texts[expression]
    assert prior.said == [f"{kind}, {view}, {text}" for view in ("front", "left side", "back")]
    torch.testing.assert_close(given.y_exp, torch.eye(3, 4)[expression].expand(3, 4))
    torch.testing.assert_close(given.y_id, F.normalize(torch.ones(512), dim=0).expand(3, 512))
    # open to 45 degrees from the front, closed from 90 on
    assert config.views.gate == (45, 90)
    for gates in (given.lambda_id, given.lambda_exp):
        torch.testing.assert_close(gates, torch.tensor([1.0, 0.5, 0.0]))


def test_words_and_close_ups_are_said() -> None:
    prior: Any = AskedPrior()
    config = config_of(1)
    prompts = replace(config.prompts, normal="{view}, {words}", close_up="close-up")
    conditions(prior, who("white hair"), replace(config, prompts=prompts), 0, views(close=True), "normal")
    assert prior.said == [f"{view}, white hair, close-up" for view in ("front", "left side", "back")]


def test_words_that_find_no_room_are_told_and_left_out() -> None:
    """The longest prompt decides: "front left", "an open mouth" and the close-up."""
    prior: Any = AskedPrior()
    config = config_of(1)
    template = "{view}, {words}, {expression}"
    prompts = replace(config.prompts, normal=template, albedo=template, close_up="near")
    config = replace(config, prompts=prompts)
    prior.room = 9
    assert check_prompts(prior, who("white hair freckles"), config) == []
    prior.room = 8
    (notice,) = check_prompts(prior, who("white hair freckles"), config)
    assert notice.code == "W_PROMPT_CUT" and 'from word 3, "freckles", on' in notice.message
    conditions(prior, who("white hair freckles"), config, 2, views(close=True), "albedo")
    assert prior.said[1] == "left side, white hair, near, an open mouth"


def test_a_pack_whose_own_prompt_finds_no_room_is_refused() -> None:
    """Its end, the expression or what kind of picture it is, would be cut in silence."""
    prior: Any = AskedPrior()
    config = config_of(1)
    prompts = replace(config.prompts, normal="{view}, {expression}", albedo="{view}", close_up="")
    config = replace(config, prompts=prompts)
    prior.room = 5
    assert check_prompts(prior, who(), config) == []
    prior.room = 4
    with pytest.raises(UserError, match='E_PACK_FORMAT.*no room for .*"front left, a calm face"'):
        check_prompts(prior, who("old"), config)


@pytest.mark.parametrize("form", ["eps", "image"])
def test_the_loss_by_hand(form: Any) -> None:
    """eps: half the mean over views and latent entries of (guided noise - noise)^2. image: of D(z0) - D(x0) over the
    entries of a picture, where D is three times as large."""
    config = config_of(1)
    score = replace(config.geometry.score, form=form, weighting="uniform", guidance=3.0)
    prior: Any = AskedPrior(unconditional=0.1, conditional=0.3)
    images = torch.rand((3, SIZE, SIZE, 3), generator=torch.Generator().manual_seed(1))
    condition = conditions(prior, who(), config, 0, views(), "normal")
    found = prior_loss(prior, images, condition, score, 0.5, torch.Generator().manual_seed(7))
    again = torch.Generator().manual_seed(7)
    bound = 0.5 * (score.t_max_start + score.t_max_end)  # half-way
    t = torch.randint(int(score.t_min * 1000), int(bound * 1000) + 1, (3,), generator=again)
    assert prior.steps[:3] == t.tolist()
    noise = torch.randn((3, 3, SIZE // 2, SIZE // 2), generator=again)
    guided = 0.1 + 3.0 * (0.3 - 0.1)
    if form == "eps":
        expected = 0.5 * (guided - noise).square().mean()
    else:
        alpha, sigma = prior.schedule.alpha_sigma(t)
        away = sigma / alpha * (guided - noise)  # z0 - x0
        expected = 0.5 * (3.0 * away).square().mean()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
