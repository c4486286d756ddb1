# SPDX-License-Identifier: GPL-3.0-or-later
"""Training checkpoints: weights and optimiser state as safetensors, replaced whole."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from .whole_file import whole


def save_checkpoint(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, step: int, config: dict[str, Any]
) -> None:
    """Write `folder/checkpoint.safetensors`; a kill leaves the one before."""
    tensors = {f"model/{k}": v.detach().contiguous() for k, v in model.state_dict().items()}
    names = [n for n, _ in model.named_parameters()]
    state = optimiser.state_dict()["state"]
    order = [i for g in optimiser.state_dict()["param_groups"] for i in g["params"]]
    for slot, index in enumerate(order):
        for key, value in state.get(index, {}).items():
            tensors[f"optimiser/{slot}/{key}"] = torch.as_tensor(value).detach().contiguous()
    metadata = {"step": str(step), "config": json.dumps(config), "parameters": str(len(names))}
    with whole(folder / "checkpoint.safetensors") as partial:
        save_file(tensors, partial, metadata)


def load_checkpoint(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer | None = None) -> int:
    """Restore a checkpoint if there is one; returns its step, 0 without."""
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, "pt") as f:
        step = int(f.metadata()["step"])
        model.load_state_dict({k[6:]: f.get_tensor(k) for k in f.keys() if k.startswith("model/")})
        if optimiser is not None:
            state: dict[int, dict[str, torch.Tensor]] = {}
            for k in f.keys():
                if k.startswith("optimiser/"):
                    _, slot, key = k.split("/")
                    state.setdefault(int(slot), {})[key] = f.get_tensor(k)
            order = [i for g in optimiser.state_dict()["param_groups"] for i in g["params"]]
            optimiser.load_state_dict(
                {
                    "state": {order[s]: v for s, v in state.items()},
                    "param_groups": optimiser.state_dict()["param_groups"],
                }
            )
    return step
