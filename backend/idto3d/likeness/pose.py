# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the camera of a photograph stood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..render.cameras import Camera, view_matrix


@dataclass(frozen=True)
class Pose:
    """A pinhole camera before a head of the population's size: axes (3,3) rows right, up, towards the camera; pixels
    per metre at the head's origin; shift (2,) pixels of that origin; nearness, 1 / metres from it to the camera: 0 is
    a camera infinitely far (weak perspective)."""

    axes: NDArray[np.float64]
    scale: float
    shift: NDArray[np.float64]
    nearness: float = 0.0

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Points (...,3) metres to pixels (...,2), y down, and depth towards the camera (...,) metres."""
        local = points @ torch.from_numpy(self.axes).to(points).T
        depth = local[..., 2]
        flat = local[..., :2] / (1 - self.nearness * depth)[..., None]
        return self.scale * flat * torch.tensor([1.0, -1.0]).to(points) + torch.from_numpy(self.shift).to(points), depth


def turned_axes(azimuth: float, elevation: float, roll: float) -> NDArray[np.float64]:
    """Axes (3,3) of a camera at these angles, degrees, turned by `roll` in its own plane."""
    axes = view_matrix(Camera(azimuth, elevation, 1.0, 10.0))[:3, :3].numpy()
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    out: NDArray[np.float64] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ axes
    return out
