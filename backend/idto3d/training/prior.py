# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the starter pack's autoencoder, shared U-Net and the two domains' adapters.

The base learns photographs, normals and albedo together, told apart by their words; the LoRA sets and the identity and
expression branches then specialise it (Babiloni et al. 2024, section 3). Loss: plain noise prediction.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..checkpoint import load_checkpoint, save_checkpoint
from ..prior.schedule import make_schedule
from ..prior.adapters import Condition, denoise, domain_parameters
from .samples import COLUMNS, EpsPair, sample_sheet

Array = NDArray[Any]


PHOTO_STEP = 5  # every fifth view is also encoded as a photograph, in the same order


@dataclass(frozen=True)
class StageConfig:
    """One stage of training."""

    steps: int
    batch: int = 32
    lr: float = 4e-4
    weight_decay: float = 1e-2
    # largest norm of the gradient
    clip: float = 1.0
    # share of the samples whose text, identity or expression is dropped
    text_dropout: float = 0.1
    id_dropout: float = 0.1
    exp_dropout: float = 0.1
    seed: int = 0
    checkpoint_every: float = 150.0
    # extra loss on covered latent pixels: the black background teaches little
    head_weight: float = 2.0


def cosine(step: int, steps: int, warmup: int = 100) -> float:
    """Learning-rate factor: linear warm-up, cosine decay to 2 %."""
    return min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))


def run_stage(
    name: str,
    folder: Path,
    model: nn.Module,
    parameters: list[nn.Parameter],
    config: StageConfig,
    loss_of: Callable[[int, np.random.Generator, torch.Generator], dict[str, Tensor]],
    on_checkpoint: Callable[[int], None] = lambda step: None,
    autocast: bool = True,
    device: str = "cpu",
) -> None:
    """The loop that all stages share: seeded by step, logged, resumed from `folder`. model: what is checkpointed."""
    folder.mkdir(parents=True, exist_ok=True)
    optimiser = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, betas=(0.9, 0.99))
    step = (
        load_checkpoint(folder, model, optimiser)
        if len(parameters) == len(list(model.parameters()))
        else load_checkpoint(folder, model)
    )
    means: dict[str, float] = {}
    started = saved = time.time()
    while step < config.steps:
        rng = np.random.default_rng([config.seed, step])
        g = torch.Generator().manual_seed(int(rng.integers(2**62)))
        for group in optimiser.param_groups:
            group["lr"] = config.lr * cosine(step, config.steps)
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            parts = loss_of(step, rng, g)
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(parts.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, config.clip)
        optimiser.step()
        step += 1
        for k, v in parts.items():
            means[k] = 0.97 * means.get(k, v.item()) + 0.03 * v.item()
        if step % 25 == 0:
            line = {
                "stage": name,
                "step": step,
                "seconds": round(time.time() - started, 1),
                **{k: round(v, 5) for k, v in means.items()},
            }
            print(json.dumps(line), flush=True)
            with open(folder / "log.jsonl", "a") as f:
                f.write(json.dumps(line) + "\n")
        if time.time() - saved > config.checkpoint_every or step == config.steps:
            save_checkpoint(folder, model, optimiser, step, asdict(config))
            on_checkpoint(step)
            saved = time.time()


def train_vae(vae: AutoencoderKL, pictures: Array, folder: Path, config: StageConfig, device: str = "cpu") -> None:
    """L1 on pixels and on their gradients, a whisper of KL. pictures (N,S,S,3) uint8."""
    vae.to(device, memory_format=torch.channels_last)

    def loss_of(step: int, rng: np.random.Generator, g: torch.Generator) -> dict[str, Tensor]:
        rows = np.sort(rng.choice(len(pictures), config.batch, replace=False))
        x = torch.from_numpy(pictures[rows]).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        x = x.contiguous(memory_format=torch.channels_last)
        posterior = vae.encode(x).latent_dist
        z = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=g).to(device)
        y = vae.decode(z).sample.float()
        return {
            "l1": (y - x).abs().mean(),
            "edges": 0.5 * ((y - x).diff(dim=2).abs().mean() + (y - x).diff(dim=3).abs().mean()),
            "kl": 1e-5 * posterior.kl().float().mean() / z[0].numel() * 100,
        }

    run_stage("vae", folder, vae, list(vae.parameters()), config, loss_of, device=device)


@torch.no_grad()
def encode_all(vae: AutoencoderKL, pictures: Array, batch: int = 64, device: str = "cpu") -> Tensor:
    """Latent means (N,4,h,w) float16 of pictures (N,S,S,3) uint8, unscaled."""
    out = []
    for i in range(0, len(pictures), batch):
        x = torch.from_numpy(pictures[i : i + batch]).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast(device, torch.bfloat16):
            out.append(vae.encode(x).latent_dist.mean.half().cpu())
    return torch.cat(out)


@dataclass(frozen=True)
class PriorData:
    """Scaled latents by domain (N,4,h,w), token ids by domain (N,L), coverage (N,h,w); per picture the person's
    index, expression index. tokens_blank: (1,L) of the empty prompt."""

    latents: dict[str, Tensor]
    tokens: dict[str, Tensor]
    tokens_blank: Tensor
    coverage: Tensor
    person: Array
    expression: Array


class Base(nn.Module):
    """The shared U-Net with its text encoder: what the base stage trains."""

    def __init__(self, unet: UNet2DConditionModel, text: nn.Module) -> None:
        super().__init__()
        self.unet, self.text = unet, text


def train_base(
    base: Base,
    data: PriorData,
    decode: Callable[[Tensor], Tensor],
    folder: Path,
    config: StageConfig,
    device: str = "cpu",
) -> None:
    """The text-to-image stage over all domains. decode: scaled latents to images, for the sample sheets."""
    schedule = make_schedule().to(device)
    base.to(device)
    domains = list(data.latents)

    def loss_of(step: int, rng: np.random.Generator, g: torch.Generator) -> dict[str, Tensor]:
        rows = rng.choice(len(data.person), config.batch, replace=False)
        which = rng.choice(domains, config.batch, p=[0.2 if d == "photo" else 0.4 for d in domains])
        rows = np.where(which == "photo", rows - rows % PHOTO_STEP, rows)
        at = np.where(which == "photo", rows // PHOTO_STEP, rows)
        z0 = torch.stack([data.latents[d][r] for d, r in zip(which, at, strict=True)]).float().to(device)
        tokens = torch.stack([data.tokens[d][r] for d, r in zip(which, rows, strict=True)])
        tokens = torch.where(
            (torch.rand((config.batch, 1), generator=g) < config.text_dropout), data.tokens_blank, tokens
        ).to(device)
        text = base.text(tokens).last_hidden_state
        t, noise, z_t = _noised(schedule, z0, g, device)
        eps = base.unet(z_t, t, encoder_hidden_states=text).sample.float()
        return {"eps": _weighted(eps, noise, data.coverage[rows].to(device), config.head_weight)}

    def draw(step: int) -> None:
        rows = shown_rows(data)
        lines: list[tuple[Tensor, EpsPair]] = []
        for domain in domains:
            at = rows - rows % PHOTO_STEP if domain == "photo" else rows
            text = base.text(data.tokens[domain][at].to(device)).last_hidden_state
            blank = base.text(data.tokens_blank.to(device)).last_hidden_state.expand_as(text)

            def pair(z: Tensor, t: Tensor, text: Tensor = text, blank: Tensor = blank) -> tuple[Tensor, Tensor]:
                both = torch.cat([blank, text])
                out = base.unet(torch.cat([z, z]), torch.cat([t, t]), encoder_hidden_states=both).sample.float()
                return out[: len(z)], out[len(z) :]

            z0 = data.latents[domain][at // PHOTO_STEP if domain == "photo" else at].float().to(device)
            lines.append((z0, pair))
        sample_sheet(folder / "samples.png", decode, lines, config.seed)

    run_stage("base", folder, base, list(base.parameters()), config, loss_of, torch.no_grad()(draw), device=device)


def shown_rows(data: PriorData) -> Array:
    """The pictures whose captions the sample sheets use: spread over the people."""
    rows: Array = np.linspace(0, len(data.person) - 1, COLUMNS).astype(int)
    return rows


def train_domain(
    unet: UNet2DConditionModel,
    text_of: Callable[[Tensor], Tensor],
    data: PriorData,
    domain: str,
    y_id: Tensor,
    y_exp: Tensor,
    decode: Callable[[Tensor], Tensor],
    folder: Path,
    config: StageConfig,
    device: str = "cpu",
) -> None:
    """The LoRA set and branches of one domain. y_id (people, photos, 512), y_exp (E,D); decode as in `train_base`."""
    schedule = make_schedule().to(device)
    unet.to(device)
    parameters = domain_parameters(unet)
    for p in parameters:
        p.requires_grad_(True)

    def loss_of(step: int, rng: np.random.Generator, g: torch.Generator) -> dict[str, Tensor]:
        rows = rng.choice(len(data.person), config.batch, replace=False)
        b = config.batch
        z0 = data.latents[domain][rows].float().to(device)
        keep = [
            torch.rand((b,), generator=g) >= p for p in (config.text_dropout, config.id_dropout, config.exp_dropout)
        ]
        tokens = torch.where(keep[0][:, None], data.tokens[domain][rows], data.tokens_blank).to(device)
        photo = torch.from_numpy(rng.integers(y_id.shape[1], size=b))
        cond = Condition(
            text_of(tokens),
            y_id[data.person[rows], photo].to(device),
            y_exp[data.expression[rows]].to(device),
            keep[1].float().to(device),
            keep[2].float().to(device),
        )
        t, noise, z_t = _noised(schedule, z0, g, device)
        eps = denoise(unet, z_t, t, cond).float()
        return {"eps": _weighted(eps, noise, data.coverage[rows].to(device), config.head_weight)}

    def draw(step: int) -> None:
        rows = shown_rows(data)
        open_gate = torch.ones(len(rows), device=device)
        cond = Condition(
            text_of(data.tokens[domain][rows]).to(device),
            y_id[data.person[rows], 0].to(device),
            y_exp[data.expression[rows]].to(device),
            open_gate,
            open_gate,
        )
        both = cond.unconditional(text_of(data.tokens_blank).to(device)).cat(cond)

        def pair(z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            out = denoise(unet, torch.cat([z, z]), torch.cat([t, t]), both).float()
            return out[: len(z)], out[len(z) :]

        z0 = data.latents[domain][rows].float().to(device)
        sample_sheet(folder / "samples.png", decode, [(z0, pair)], config.seed)

    model = nn.ParameterList(parameters)
    run_stage(domain, folder, model, parameters, config, loss_of, torch.no_grad()(draw), device=device)


def _noised(schedule: Any, z0: Tensor, g: torch.Generator, device: str) -> tuple[Tensor, Tensor, Tensor]:
    t = torch.randint(0, len(schedule), (len(z0),), generator=g).to(device)
    noise = torch.randn(z0.shape, generator=g).to(device)
    return t, noise, schedule.add_noise(z0, noise, t)


def _weighted(eps: Tensor, noise: Tensor, coverage: Tensor, head_weight: float) -> Tensor:
    weight = 1 + (head_weight - 1) * coverage[:, None]
    return (F.mse_loss(eps, noise, reduction="none") * weight).sum() / (weight.sum() * eps.shape[1])
