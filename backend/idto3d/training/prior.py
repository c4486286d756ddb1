# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the starter pack's autoencoder, and its shared U-Net with the two domains' adapters.

Babiloni et al. 2024 (section 3) adapt a pretrained U-Net. Here base, text encoder, LoRA sets and branches of both
domains are trained together: every picture trains the base and its domain's adapters. Loss: noise prediction, weighted
by min-SNR with gamma 5 (Hang et al. 2023).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from ..arrays import Array
from ..prior.adapters import Condition, denoise, domain_parameters
from ..prior.schedule import Schedule, make_schedule
from .captions import Domain
from .samples import COLUMNS, EpsPair, sample_sheet
from .stage import StageConfig, run_stage

MIN_SNR_GAMMA = 5.0
BATCH = 64  # pictures that are encoded at once
HEAD_WEIGHT = 2.0
"""Weight of covered latent pixels relative to the black background."""
TEXT_DROPOUT, ID_DROPOUT, EXP_DROPOUT = 0.1, 0.25, 0.1
"""Dropout of text, identity and expression; highest for identity, so that words keep an influence."""


def train_vae(vae: AutoencoderKL, pictures: Array, folder: Path, config: StageConfig) -> None:
    """L1 on pixels and on their gradients, a very small KL. pictures (N,S,S,3) uint8."""
    vae.to(config.device, memory_format=torch.channels_last)

    def loss_of(rng: np.random.Generator, g: torch.Generator) -> dict[str, Tensor]:
        rows = np.sort(rng.choice(len(pictures), config.batch, replace=False))
        x = _to_net(pictures[rows], config.device)
        posterior = vae.encode(x).latent_dist
        z = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=g).to(config.device)
        y = vae.decode(z).sample.float()
        return {
            "l1": (y - x).abs().mean(),
            "edges": 0.5 * ((y - x).diff(dim=2).abs().mean() + (y - x).diff(dim=3).abs().mean()),
            "kl": 1e-5 * posterior.kl().float().mean() / z[0].numel() * 100,
        }

    run_stage(folder, vae, config, loss_of)


@torch.no_grad()
def encode_all(vae: AutoencoderKL, pictures: Array, device: str) -> Tensor:
    """Latent means (N,4,h,w) float16 of pictures (N,S,S,3) uint8, unscaled."""
    out = []
    for i in range(0, len(pictures), BATCH):
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            out.append(vae.encode(_to_net(pictures[i : i + BATCH], device)).latent_dist.mean.half().cpu())
    return torch.cat(out)


def _to_net(pictures: Array, device: str) -> Tensor:
    x = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, eq=False)
class PriorData:
    """Pictures and what is said of them, row by row: scaled latents by domain (N,4,h,w), token ids by domain (N,K,L) of
    K captions each, coverage (N,h,w), person (N,), expression (N,), view (N,): which picture it is, or the mirror image
    of. tokens_blank: (1,L) of the empty prompt."""

    latents: dict[Domain, Tensor]
    tokens: dict[Domain, Tensor]
    tokens_blank: Tensor
    coverage: Tensor
    person: Array
    expression: Array
    view: Array

    def some_tokens(self, domain: Domain, rows: Array, rng: np.random.Generator) -> Tensor:
        """(B,L) one caption of each row."""
        which = torch.from_numpy(rng.integers(self.tokens[domain].shape[1], size=len(rows)))
        return self.tokens[domain][torch.from_numpy(rows), which]


@dataclass(frozen=True, eq=False)
class Priors:
    """What is trained: a U-Net with adapters for each domain, which share all other weights (`share_base`), and the
    text encoder. y_id (people, photos, 512) and y_exp (E,D) are what they are conditioned on besides text."""

    unets: dict[Domain, UNet2DConditionModel]
    text: nn.Module
    y_id: Tensor
    y_exp: Tensor

    @property
    def device(self) -> torch.device:
        return next(self.text.parameters()).device

    def parameters(self) -> list[nn.Parameter]:
        """Every trained parameter once: the base, each domain's own, the text encoder."""
        nets = [*self.unets.values(), self.text]
        return list(dict.fromkeys(p for net in nets for p in net.parameters()))

    def text_of(self, tokens: Tensor) -> Tensor:
        """Token ids (B,L) to embeddings (B,L,C)."""
        return self.text(tokens).last_hidden_state


def share_base(first: UNet2DConditionModel, other: UNet2DConditionModel) -> None:
    """Give `other` the very parameters of `first` wherever they are no adapter's."""
    own = {id(p) for p in domain_parameters(other)}
    modules = dict(first.named_modules())
    for name, module in other.named_modules():
        for key, parameter in list(module._parameters.items()):
            if parameter is not None and id(parameter) not in own:
                module._parameters[key] = modules[name]._parameters[key]


Decode = Callable[[Tensor], Tensor]
"""Scaled latents to images, for the sample sheets."""


def train_priors(priors: Priors, data: PriorData, decode: Decode, folder: Path, config: StageConfig) -> None:
    """Both domains at once, half of each batch."""
    device = config.device
    schedule = make_schedule().to(device)
    parameters = priors.parameters()
    for p in parameters:
        p.requires_grad_(True)
    count = config.batch // 2

    def loss_of(rng: np.random.Generator, g: torch.Generator) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        for domain, unet in priors.unets.items():
            rows = rng.choice(len(data.person), count, replace=False)
            cond = draw_condition(domain, priors, data, rows, rng, g)
            t, noise, z_t = noised(schedule, data.latents[domain][rows].float().to(device), g)
            eps = denoise(unet, z_t, t, cond).float()
            losses[domain] = weighted(schedule, eps, noise, t, data.coverage[rows].to(device))
        return losses

    @torch.no_grad()
    def sheet() -> None:
        rows = shown_rows(data)
        open_gate = torch.ones(len(rows), device=device)
        lines: list[tuple[Tensor, EpsPair]] = []
        for domain, unet in priors.unets.items():
            cond = Condition(
                priors.text_of(data.tokens[domain][rows, 0].to(device)),
                priors.y_id[data.person[rows], 0].to(device),
                priors.y_exp[data.expression[rows]].to(device),
                open_gate,
                open_gate,
            )
            both = cond.unconditional(priors.text_of(data.tokens_blank.to(device))).cat(cond)

            def pair(z: Tensor, t: Tensor, unet: Any = unet, both: Condition = both) -> tuple[Tensor, Tensor]:
                out = denoise(unet, torch.cat([z, z]), torch.cat([t, t]), both).float()
                return out[: len(z)], out[len(z) :]

            lines.append((data.latents[domain][rows].float().to(device), pair))
        sample_sheet(folder / "samples.png", decode, lines, config.seed)

    run_stage(folder, nn.ParameterList(parameters), config, loss_of, sheet)


def draw_condition(
    domain: Domain, priors: Priors, data: PriorData, rows: Array, rng: np.random.Generator, g: torch.Generator
) -> Condition:
    """What is said of some pictures in a step, each condition dropped in its share of them."""
    device, count = priors.device, len(rows)
    keep = [torch.rand((count,), generator=g) >= p for p in (TEXT_DROPOUT, ID_DROPOUT, EXP_DROPOUT)]
    tokens = torch.where(keep[0][:, None], data.some_tokens(domain, rows, rng), data.tokens_blank)
    photo = torch.from_numpy(rng.integers(priors.y_id.shape[1], size=count))
    return Condition(
        priors.text_of(tokens.to(device)),
        priors.y_id[data.person[rows], photo].to(device),
        priors.y_exp[data.expression[rows]].to(device),
        keep[1].float().to(device),
        keep[2].float().to(device),
    )


def shown_rows(data: PriorData) -> Array:
    """The pictures whose captions the sample sheets use: spread over the people."""
    return np.linspace(0, len(data.person) - 1, COLUMNS).astype(int)


def min_snr_weight(schedule: Schedule, t: Tensor) -> Tensor:
    """(B,1,1,1) min(SNR, gamma) / SNR: the weight of a noise-prediction loss (Hang et al. 2023, section 3.4)."""
    alpha, sigma = schedule.alpha_sigma(t)
    snr = (alpha / sigma) ** 2
    return snr.clamp(max=MIN_SNR_GAMMA) / snr


def noised(schedule: Schedule, z0: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Timesteps (B,), noise, and latents z0 (B,4,h,w) with so much of it."""
    t = torch.randint(0, len(schedule), (len(z0),), generator=g).to(z0.device)
    noise = torch.randn(z0.shape, generator=g).to(z0.device)
    return t, noise, schedule.add_noise(z0, noise, t)


def weighted(schedule: Schedule, eps: Tensor, noise: Tensor, t: Tensor, coverage: Tensor) -> Tensor:
    """The loss of predicted noise eps (B,4,h,w), with more weight where coverage (B,h,w) shows the head."""
    weight = 1 + (HEAD_WEIGHT - 1) * coverage[:, None]
    error = (F.mse_loss(eps, noise, reduction="none") * weight).sum((1, 2, 3)) / (weight.sum((1, 2, 3)) * eps.shape[1])
    return (error * min_snr_weight(schedule, t).view(-1)).mean()
