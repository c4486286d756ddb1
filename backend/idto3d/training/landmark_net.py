# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the net that finds dense landmarks, and measures what a head may be fitted with.

Loss: the Gaussian negative log likelihood of every point (Wood et al. 2022, eq. 1), so that the net says how sure it
is; beside it the identity coefficients, which a crop tells more exactly than a recogniser's vector.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..photos.align import FACE_CROP
from .face_nets import FaceData, PhotoPool, Photos, box_transforms, shape_missed, to_net, upright
from .nets import LandmarkNet
from .photos import degrade, sample_crops
from .prior import StageConfig, run_stage

Array = NDArray[Any]
CROP = 112


def landmark_crops(photos: Tensor, keypoints: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Crops (B,CROP,CROP,3) as a user's run makes them from keypoints that are a little wrong, and the transforms
    (B,2,3) from pixels of the photograph to pixels of the crop."""
    _, _, d, _ = upright(keypoints)
    eyes, mouth, side, roll = upright(keypoints + 0.05 * d[:, None, None] * torch.randn(keypoints.shape, generator=g))
    centre = eyes + FACE_CROP[1] * (mouth - eyes)
    transforms = box_transforms(centre, FACE_CROP[0] * side, roll, CROP)
    return sample_crops(photos, transforms, CROP), transforms


def losses(net: LandmarkNet, data: FaceData, points: Tensor, taken: Photos, g: torch.Generator) -> dict[str, Tensor]:
    """points (N,K,2): where the landmarks fall in every picture of the data, pixels."""
    with torch.no_grad():
        crops, transforms = landmark_crops(taken.pixels.float() / 255, taken.keypoints, g)
        image = to_net(degrade(crops, g))
        wanted = points[taken.rows] @ transforms[:, :, :2].transpose(1, 2) + transforms[:, None, :, 2]
        wanted = (wanted + 0.5) / CROP
    with torch.autocast("cpu", torch.bfloat16):
        got, log_sigma, shape = (out.float() for out in net(image))
    square = (got - wanted).square().sum(-1)
    return {
        "points": (2 * log_sigma + square / (2 * torch.exp(2 * log_sigma))).mean(),
        "coarse": 30 * (square + 1e-6).sqrt().mean(),  # the likelihood alone is slow to start
        "shape": shape_missed(shape, data, taken),
    }


def train_landmark_net(data: FaceData, points: Array, folder: Path, stage: StageConfig) -> LandmarkNet:
    """Train, or go on from the folder's checkpoint. points (N,K,2) pixels, pixel centres at halves as rendered."""
    torch.manual_seed(stage.seed)
    net = LandmarkNet(points.shape[1], data.shape.shape[1])
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    at = torch.from_numpy(points) - 0.5
    pool = PhotoPool(data, stage.batch)

    def loss_of(step: int, rng: np.random.Generator, g: torch.Generator) -> dict[str, Tensor]:
        return losses(net, data, at, pool.draw(step, rng, g), g)

    run_stage("landmarks", folder, net, list(net.parameters()), stage, loss_of, autocast=False)
    return net.eval()
