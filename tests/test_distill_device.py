# SPDX-License-Identifier: GPL-3.0-or-later
"""The device that priors run on."""

import pytest
import torch

from idto3d.distill.device import best_device


@pytest.mark.parametrize(
    ("built", "capability", "device"),
    [
        (["sm_75", "sm_90", "sm_120", "compute_120"], (6, 1), "cpu"),
        (["sm_75", "sm_90", "sm_120", "compute_120"], (7, 5), "cuda"),
        (["sm_90a", "sm_120"], (12, 1), "cuda"),
        (["gfx1100"], (11, 0), "cuda"),
    ],
)
def test_a_gpu_that_torch_was_not_built_for_is_left_alone(
    built: list[str], capability: tuple[int, int], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert torch.cuda.is_available() or best_device() == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert best_device() == device
