# SPDX-License-Identifier: GPL-3.0-or-later
"""The prior's conditioning and loss for a stage."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch
from torch import Tensor

from ..errors import PACK_AGAIN, UserError
from ..notices import Notice
from ..prior.adapters import Condition
from ..prior.manifest import Pack
from ..prior.model import Domain, Prior, cfg_pair
from ..prior.pack import read_expressions
from ..prior.prompts import VIEWS, fill_prompt, view_name
from ..prior.reference import Reference
from .config import DistillationConfig, Score
from .sds import annealed_range, image_loss, sample_t, sds_loss
from .views import View, gate


@dataclass(frozen=True, eq=False)
class Conditioning:
    """y_id (512,) of norm one, y_exp (E,D), names and texts of E expressions (neutral first), the user's words;
    reference: of the person's picture in one domain, for priors with a reference network (`distill.reference`)."""

    y_id: Tensor
    y_exp: Tensor
    names: tuple[str, ...]
    texts: tuple[str, ...]
    words: str
    reference: Reference | None = None


def condition_on(pack: Pack, y_id: Tensor, names: Sequence[str], words: str) -> Conditioning:
    """The conditioning of a subject y_id (512,) in some of the pack's expressions. Raises what `read_expressions`
    does."""
    vectors = read_expressions(pack)
    y_exp = torch.from_numpy(np.stack([vectors[name] for name in names]))
    return Conditioning(y_id, y_exp, tuple(names), tuple(pack.expressions[n].text for n in names), words)


def check_prompts(prior: Prior, who: Conditioning, config: DistillationConfig) -> list[Notice]:
    """What the stages' prompts have no room for: W_PROMPT_CUT says from which of the user's words on.

    Raises UserError E_PACK_FORMAT where a prompt has no room for what the pack itself says, which would be cut.
    """
    prompts, said = config.prompts, who.words.split()
    taken = len(said)
    for template, view, expression, close_up in product(
        (prompts.normal, prompts.albedo), VIEWS, who.texts, ("", prompts.close_up)
    ):
        text, count = _prompt(prior, partial(fill_prompt, template, view, expression), who.words, close_up)
        if not prior.has_room(text):
            message = f'The pack has no room for the whole of its own prompt "{text}".'
            raise UserError("E_PACK_FORMAT", message, PACK_AGAIN)
        taken = min(taken, count)
    if taken == len(said):
        return []
    first = f'from word {taken + 1}, "{said[taken]}", on'
    return [Notice("W_PROMPT_CUT", f"Too many words about the person: {first} they are left out in some views.")]


def conditions(
    prior: Prior, who: Conditioning, config: DistillationConfig, expression: int, views: Sequence[View], domain: Domain
) -> Condition:
    """The prior's inputs for a step's views of one expression. Text depends on view name and expression alone, so that
    the prior encodes each once."""
    template = getattr(config.prompts, domain)
    texts = []
    for view in views:
        name = view_name(view.camera.azimuth, view.camera.elevation)
        fill = partial(fill_prompt, template, name, who.texts[expression])
        texts.append(_prompt(prior, fill, who.words, config.prompts.close_up if view.close else "")[0])
    gates = torch.tensor([gate(view.camera.azimuth, config.views.gate) for view in views], device=prior.device)
    y_id, y_exp = (y.to(prior.device).expand(len(views), -1) for y in (who.y_id, who.y_exp[expression]))
    reference = None if who.reference is None else who.reference.for_batch(len(views))
    return Condition(prior.encode_text(texts), y_id, y_exp, gates, gates, reference)


def _prompt(prior: Prior, fill: Callable[[str], str], words: str, close_up: str) -> tuple[str, int]:
    """A prompt with as many of the user's words as there is room for, and how many: cut at its end instead, it would
    lose the expression and what kind of picture it is."""
    said = words.split()

    def text(count: int) -> str:
        return fill(", ".join(part for part in (" ".join(said[:count]), close_up) if part))

    taken = bisect_left(range(1, len(said) + 1), True, key=lambda count: not prior.has_room(text(count)))
    return text(taken), taken


def prior_loss(
    prior: Prior, images: Tensor, condition: Condition, score: Score, progress: float, generator: torch.Generator
) -> Tensor:
    """Score distillation of images (B,H,W,3) 0..1: the mean over views and entries of a latent, or of a picture in the
    form "image", on the images' device. progress: how far the stage is, 0..1. All draws come from the generator, on the
    CPU, so that devices differ by rounding only."""
    on_images = score.form == "image"
    z0 = prior.encode((images.detach() if on_images else images).to(prior.device))
    t = sample_t(len(images), annealed_range(progress, score), prior.schedule, generator)
    noise = torch.randn(z0.shape, generator=generator).to(z0)
    predict = partial(cfg_pair, prior, cond=condition)
    if on_images:
        return image_loss(images, z0, prior.decode, predict, prior.schedule, t, noise, score) / images[0].numel()
    return (sds_loss(z0, predict, prior.schedule, t, noise, score) / z0[0].numel()).to(images.device)
