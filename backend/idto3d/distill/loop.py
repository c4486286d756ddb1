# SPDX-License-Identifier: GPL-3.0-or-later
"""The optimisation loop of both stages: seeded by step, can be stopped at any moment, resumes bit by bit on a CPU."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..checkpoint import load_checkpoint, save_checkpoint
from ..errors import Cancelled
from .config import Quality
from .scene import Scene


@dataclass(frozen=True)
class RunConfig:
    """quality: number of steps; seed: of all random numbers; folder: of the checkpoints, None for none."""

    quality: Quality = "standard"
    seed: int = 0
    folder: Path | None = None


def _ignore(*_: Any) -> None:
    pass


@dataclass(frozen=True)
class Callbacks:
    """What a stage calls. Each may raise `Cancelled`: the state of the last whole step is then kept.

    step(step, steps, current): before each step; `current()` gives the scene as it is now. poll(): many times within a
    step.
    """

    step: Callable[[int, int, Callable[[], Scene]], None] = _ignore
    poll: Callable[[], None] = _ignore


SILENT = Callbacks()


@dataclass(frozen=True, eq=False)
class Draw:
    """One step: its number, how far the stage is (0..1), and its sources of randomness."""

    number: int
    progress: float
    numpy: np.random.Generator
    torch: torch.Generator


@dataclass(frozen=True)
class Stage:
    """number: makes seeds differ between stages; layout: to be raised whenever the meaning of a checkpoint's values
    changes; start: further inputs that a checkpoint depends on."""

    name: str
    number: int
    steps: int
    checkpoint_every: int
    layout: int
    start: Sequence[Tensor | str]


def optimise(
    stage: Stage,
    variables: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss_of: Callable[[Draw], Tensor],
    run: RunConfig,
    callbacks: Callbacks,
    current: Callable[[], Scene],
) -> None:
    """Optimise `variables` in place. Resumes where a checkpoint of exactly this stage, start and layout lies; any other
    is ignored. Gradient entries that are not finite count as zero."""
    folder = None if run.folder is None else run.folder / f"{stage.name}-{_key(stage, variables, run)}"
    step = 0 if folder is None else _resume(folder, variables, optimiser)

    def keep() -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            save_checkpoint(folder, variables, optimiser, step)

    while step < stage.steps:
        try:
            callbacks.step(step, stage.steps, current)
            rng = np.random.default_rng([run.seed, stage.number, step])
            source = torch.Generator().manual_seed(int(rng.integers(2**62)))
            loss = loss_of(Draw(step, step / stage.steps, rng, source))
            callbacks.poll()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            callbacks.poll()
        except Cancelled:
            keep()
            raise
        for parameter in variables.parameters():
            if parameter.grad is not None:
                parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
        optimiser.step()
        step += 1
        if step % stage.checkpoint_every == 0 or step == stage.steps:
            keep()


def _resume(folder: Path, variables: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    try:
        return load_checkpoint(folder, variables, optimiser)
    except (SafetensorError, OSError):  # half a file of a machine that went down
        return 0


def _key(stage: Stage, variables: nn.Module, run: RunConfig) -> str:
    """A hash of all that a checkpoint depends on."""
    shapes = {name: [*value.shape, str(value.dtype)] for name, value in variables.state_dict().items()}
    digest = hashlib.sha256(json.dumps([stage.layout, stage.steps, run.seed, shapes]).encode())
    for part in stage.start:
        digest.update(part.encode() if isinstance(part, str) else part.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
