# SPDX-License-Identifier: GPL-3.0-or-later
"""Hair's strands."""

import torch

from idto3d.head.texture_net import strand_noise


def test_strands_run_down_and_differ_around() -> None:
    """On the back of a ball of a head's size, a step of 3 mm across leaves the strand and a step down does not."""
    g = torch.Generator().manual_seed(0)
    around, height = 2.4 * torch.rand(4000, generator=g) - 1.2, 0.08 * torch.rand(4000, generator=g) - 0.06

    def at(around: torch.Tensor, height: torch.Tensor) -> torch.Tensor:
        ring = (0.1**2 - height**2).sqrt()
        points = torch.stack([ring * torch.sin(around), height, -ring * torch.cos(around)], 1)
        return strand_noise(points + torch.tensor([0.0, 0.02, -0.01]))

    here, across, down = at(around, height), at(around + 0.03, height), at(around, height - 0.003)
    assert 0 <= float(here.min()) and float(here.max()) <= 1
    assert float((across - here).abs().mean()) > 2 * float((down - here).abs().mean())
    assert 0.15 < float(here.std()) < 0.35 and abs(float(here.mean()) - 0.5) < 0.1
