# SPDX-License-Identifier: GPL-3.0-or-later
"""The device that priors run on; moves frozen dataclasses of tensors between devices."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def best_device() -> str:
    """ "cuda" where this torch has programs for the GPU, else "cpu". is_available() alone says yes to one that is older
    than all that torch was built for, on which the first step would fail."""
    if not torch.cuda.is_available():
        return "cpu"
    built = [int(known[1]) for name in torch.cuda.get_arch_list() if (known := re.match(r"sm_(\d+)", name))]
    major, minor = torch.cuda.get_device_capability()
    return "cuda" if 10 * major + minor >= min(built, default=0) else "cpu"


def to_device(value: T, device: torch.device | str) -> T:
    """The same value with every tensor in it, in dataclasses and mappings at any depth, on `device`."""
    out: Any = value
    if isinstance(value, Tensor):
        out = value.to(device)
    elif isinstance(value, Mapping):
        out = {key: to_device(inner, device) for key, inner in value.items()}
    elif is_dataclass(value) and not isinstance(value, type):
        inner = {f.name: getattr(value, f.name) for f in fields(value)}
        changed = {name: to_device(v, device) for name, v in inner.items()}
        if any(changed[name] is not inner[name] for name in inner):
            out = replace(value, **changed)
    return out
