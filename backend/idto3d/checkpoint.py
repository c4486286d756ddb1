# SPDX-License-Identifier: GPL-3.0-or-later
"""Training checkpoints: weights and optimiser state as safetensors, replaced whole."""

import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .whole_file import whole

_FILE = "checkpoint.safetensors"


def save_checkpoint(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    """Write `folder/checkpoint.safetensors`; a kill, or a machine that goes down, leaves the one before."""
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{number}/{key}": torch.as_tensor(value) for key, value in state.items()}
    stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with whole(folder / _FILE) as partial:
        save_file(stored, partial, {"step": str(step), "crc32": _crc32(stored)})
        with partial.open("r+b") as file:  # the disk may take the new name before what it names
            os.fsync(file.fileno())


def checkpoint_step(folder: Path) -> int:
    """The step of a folder's checkpoint, 0 without."""
    path = folder / _FILE
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        return int(file.metadata()["step"])


def load_checkpoint(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer | None = None) -> int:
    """Restore a checkpoint if there is one; returns its step, 0 without. Raises SafetensorError for a damaged one."""
    path = folder / _FILE
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        metadata = file.metadata()
    step, written = int(metadata["step"]), metadata.get("crc32")  # earlier releases have none
    if written not in (None, _crc32(tensors)):
        raise SafetensorError(f"{path} is damaged")
    model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model/")})
    if optimiser is not None:
        restored = optimiser.state_dict()
        for name, value in tensors.items():
            if name.startswith("optimiser/"):
                _, number, key = name.split("/")
                restored["state"].setdefault(int(number), {})[key] = value
        optimiser.load_state_dict(restored)
    return step


def _crc32(tensors: Mapping[str, Tensor]) -> str:
    """Of all values: the library's own header may be whole where they are lost."""
    checksum = 0
    for name in sorted(tensors):
        checksum = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, checksum)
    return f"{checksum:08x}"
