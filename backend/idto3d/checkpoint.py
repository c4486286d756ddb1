# SPDX-License-Identifier: GPL-3.0-or-later
"""Training checkpoints: weights and optimiser state as safetensors, replaced whole."""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from .whole_file import whole

_FILE = "checkpoint.safetensors"


def save_checkpoint(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    """Write `folder/checkpoint.safetensors`; a kill leaves the one before."""
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{number}/{key}": torch.as_tensor(value) for key, value in state.items()}
    with whole(folder / _FILE) as partial:
        save_file({name: value.detach().contiguous() for name, value in tensors.items()}, partial, {"step": str(step)})


def checkpoint_step(folder: Path) -> int:
    """The step of a folder's checkpoint, 0 without."""
    path = folder / _FILE
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        return int(file.metadata()["step"])


def load_checkpoint(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer | None = None) -> int:
    """Restore a checkpoint if there is one; returns its step, 0 without."""
    path = folder / _FILE
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        step = int(file.metadata()["step"])
    model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model/")})
    if optimiser is not None:
        restored = optimiser.state_dict()
        for name, value in tensors.items():
            if name.startswith("optimiser/"):
                _, number, key = name.split("/")
                restored["state"].setdefault(int(number), {})[key] = value
        optimiser.load_state_dict(restored)
    return step
