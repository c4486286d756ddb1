# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapters as files: flat weights in safetensors, their sizes beside them as JSON.

They live apart from the base because saving a U-Net with adapters attached silently loses them (diffusers 0.42).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import PACK_AGAIN, UserError

METADATA_KEY = "adapter_config"

Config = TypeVar("Config")


def write_adapter(path: Path, config: Any, state: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    """Write weights and their configuration, a dataclass."""
    stored = {name: value.detach().to("cpu", dtype).contiguous() for name, value in state.items()}
    save_file(stored, str(path), metadata={METADATA_KEY: json.dumps(asdict(config))})


def read_adapter(path: Path, kind: type[Config]) -> tuple[Config, dict[str, Tensor]]:
    """What `write_adapter` wrote with a configuration of this kind. Raises UserError E_PACK_FORMAT for another file."""
    try:
        with safe_open(str(path), framework="pt") as file:
            config = kind(**json.loads(file.metadata()[METADATA_KEY]))
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError("E_PACK_FORMAT", f"{path.name} is not an adapter file ({error}).", PACK_AGAIN) from error
    if broken := not_finite(state):
        raise UserError("E_PACK_FORMAT", f"Weights in {path.name} are no numbers, such as {broken[0]}.", PACK_AGAIN)
    return config, state


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the weights that have an entry which is no number. It shows in their sum, which takes a twentieth of the
    time of looking at each."""
    return [name for name, value in state.items() if not bool(value.float().sum().isfinite())]


def copy_weights(own: Mapping[str, nn.Parameter], state: Mapping[str, Tensor]) -> None:
    """Give the parameters the stored values of their names. Raises UserError E_PACK_FORMAT where they do not fit."""
    expected, given = {n: p.shape for n, p in own.items()}, {n: v.shape for n, v in state.items()}
    wrong = sorted(n for n in expected.keys() | given.keys() if expected.get(n) != given.get(n))
    if wrong:
        raise UserError(
            "E_PACK_FORMAT",
            f"The adapter weights do not fit the U-Net (first of {len(wrong)}: {wrong[0]}).",
            "Use the adapter file that belongs to this pack.",
        )
    with torch.no_grad():
        for name, p in own.items():
            p.copy_(state[name])
