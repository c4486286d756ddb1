# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks and strands of hair."""

import numpy as np
import torch
from scipy.spatial import ConvexHull

from idto3d.head.hair import CROWN, LOCKS, STRANDS, carve_locks, strand_noise


def test_strands_run_down_and_differ_around() -> None:
    """On the back of a ball of a head's size, a step of 3 mm across leaves the strand and a step down does not."""
    g = torch.Generator().manual_seed(0)
    around, height = 2.4 * torch.rand(4000, generator=g) - 1.2, 0.08 * torch.rand(4000, generator=g) - 0.06

    def at(around: torch.Tensor, height: torch.Tensor) -> torch.Tensor:
        ring = (0.1**2 - height**2).sqrt()
        points = torch.stack([ring * torch.sin(around), height, -ring * torch.cos(around)], 1)
        return strand_noise(points + torch.tensor(CROWN), (*LOCKS, *STRANDS))

    here, across, down = at(around, height), at(around + 0.03, height), at(around, height - 0.003)
    assert 0 <= float(here.min()) and float(here.max()) <= 1
    assert float((across - here).abs().mean()) > 2 * float((down - here).abs().mean())
    assert 0.15 < float(here.std()) < 0.35 and abs(float(here.mean()) - 0.5) < 0.1


def test_locks_are_carved_into_hair_and_not_into_skin() -> None:
    g = np.random.default_rng(0)
    points = g.normal(size=(3000, 3))
    points *= 0.1 / np.linalg.norm(points, axis=1, keepdims=True)
    faces = ConvexHull(points).simplices
    out = np.einsum(
        "fc,fc->f", np.cross(*(points[faces[:, k]] - points[faces[:, 0]] for k in (1, 2))), points[faces[:, 0]]
    )
    faces[out < 0] = faces[out < 0][:, ::-1]
    hair = (points[:, 1] > 0.02).astype(float)
    carved = carve_locks(points, faces, hair)
    height = np.linalg.norm(carved, axis=1) - 0.1
    assert np.abs(height[hair == 0]).max() < 1e-9
    crown = points[:, 1] > 0.05
    assert -0.00095 < height[crown].min() < -0.0006 and 0.0004 < height[crown].max() < 0.00095
    assert height[crown].std() > 0.0002
