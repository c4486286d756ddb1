# SPDX-License-Identifier: GPL-3.0-or-later
"""The training loop of all stages: seeded by step, logged, with averaged weights, resumed after a kill."""

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..checkpoint import checkpoint_step, load_checkpoint, save_checkpoint
from ..whole_file import whole

Loss = Callable[[np.random.Generator, torch.Generator], dict[str, Tensor]]
"""A step's losses by name, from generators that depend on seed and step only; their sum is minimised."""

_AVERAGES = "ema.safetensors"
_NEXT = "ema.next.safetensors"
"""Averages whose checkpoint is being written."""


@dataclass(frozen=True)
class StageConfig:
    """One stage of training."""

    steps: int
    batch: int = 32
    lr: float = 4e-4
    weight_decay: float = 1e-2
    # largest norm of the gradient
    clip: float = 1.0
    # decay of the exponential moving average of the weights that is exported
    ema: float = 0.999
    warmup: int = 100
    seed: int = 0
    checkpoint_every: float = 150.0
    device: str = "cpu"
    # bfloat16 autocast
    half: bool = True


def cosine(step: int, config: StageConfig) -> float:
    """Learning-rate factor: linear warm-up, cosine decay to 2 %."""
    fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps)))
    return min(1.0, (step + 1) / max(1, config.warmup)) * fall


def run_stage(
    folder: Path,
    model: nn.Module,
    config: StageConfig,
    loss_of: Loss,
    on_checkpoint: Callable[[], None] = lambda: None,
) -> None:
    """Train the parameters of `model` that require gradients, from where `folder` stands to config.steps; at the end,
    and while on_checkpoint runs, the model holds the averaged weights."""
    folder.mkdir(parents=True, exist_ok=True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, betas=(0.9, 0.99))
    if (averages := _averages(folder)).exists():
        os.replace(averages, folder / _AVERAGES)  # before others wait in its place
    step = load_checkpoint(folder, model, optimiser if len(parameters) == len(list(model.parameters())) else None)
    average = _load_average(folder, model) if step else [p.detach().clone() for p in parameters]
    means: dict[str, float] = {}
    started = saved = time.time()
    while step < config.steps:
        rng = np.random.default_rng([config.seed, step])
        g = torch.Generator().manual_seed(int(rng.integers(2**62)))
        for group in optimiser.param_groups:
            group["lr"] = config.lr * cosine(step, config)
        with torch.autocast(torch.device(config.device).type, torch.bfloat16, enabled=config.half):
            parts = loss_of(rng, g)
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(parts.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, config.clip)
        optimiser.step()
        step += 1
        # a faster average in the beginning, so that it forgets the initial weights
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - min(config.ema, step / (step + 20)))
        if step % 25 == 0 or step == config.steps:
            for k, v in parts.items():
                means[k] = 0.7 * means.get(k, float(v.detach())) + 0.3 * float(v.detach())
            _log(folder, {"step": step, "seconds": round(time.time() - started, 1), **means})
        if time.time() - saved > config.checkpoint_every or step == config.steps:
            with _swapped(parameters, average):
                on_checkpoint()  # before the last one is saved, after which nothing calls it
            _save(folder, model, optimiser, step, average)
            saved = time.time()
    _copy(parameters, average)


def _save(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, step: int, average: list[Tensor]) -> None:
    """The checkpoint and its averages: whenever a kill comes, `_averages` finds those of the checkpoint's step."""
    with whole(folder / _NEXT) as partial:
        save_file({str(n): a.contiguous() for n, a in enumerate(average)}, partial, {"step": str(step)})
    save_checkpoint(folder, model, optimiser, step)
    os.replace(folder / _NEXT, folder / _AVERAGES)


def _averages(folder: Path) -> Path:
    """The file of the checkpoint's averages."""
    if (folder / _NEXT).exists():
        with safe_open(folder / _NEXT, "pt") as file:
            if int(file.metadata()["step"]) == checkpoint_step(folder):
                return folder / _NEXT
    return folder / _AVERAGES


def load_average(folder: Path, model: nn.Module) -> bool:
    """Give `model`'s trained parameters the averaged weights of a stage's folder; False where it has not begun."""
    if not _averages(folder).exists():
        return False
    _copy([p for p in model.parameters() if p.requires_grad], _load_average(folder, model))
    return True


def _load_average(folder: Path, model: nn.Module) -> list[Tensor]:
    stored = load_file(_averages(folder))
    trained = [p for p in model.parameters() if p.requires_grad]
    return [stored[str(n)].to(p) for n, p in enumerate(trained)]


def _copy(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    with torch.no_grad():
        for p, value in zip(parameters, values, strict=True):
            p.copy_(value)


@contextmanager
def _swapped(parameters: list[nn.Parameter], values: list[Tensor]) -> Iterator[None]:
    own = [p.detach().clone() for p in parameters]
    _copy(parameters, values)
    try:
        yield
    finally:
        _copy(parameters, own)


def _log(folder: Path, line: dict[str, float]) -> None:
    text = json.dumps({"stage": folder.name, **{k: round(v, 5) for k, v in line.items()}})
    print(text, flush=True)
    with open(folder / "log.jsonl", "a") as f:
        f.write(text + "\n")
