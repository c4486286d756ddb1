# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the net that finds dense landmarks, and measures what a head may be fitted with.

Loss: the Gaussian negative log likelihood of every point (Wood et al. 2022, eq. 1), so that the net says how sure it
is; beside it the identity coefficients, which a crop tells more exactly than a recogniser's vector.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..photos.align import FACE_CROP
from .face_nets import FaceData, Photos, box_transforms, make_photos, to_net, upright
from .nets import Landmarks
from .photos import degrade, sample_crops
from .prior import StageConfig, run_stage

Array = NDArray[Any]
CROP = 112


@dataclass(frozen=True)
class LandmarkNetConfig:
    """How the landmark net is trained."""

    steps: int = 4000
    batch: int = 48
    lr: float = 2e-3
    weight_decay: float = 2e-2
    shape_weight: float = 1.0
    # as in FaceNetsConfig
    pool: int = 60
    fresh_every: int = 3
    seed: int = 0
    checkpoint_every: float = 120.0


def landmark_crops(photos: Tensor, keypoints: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Crops (B,CROP,CROP,3) as a user's run makes them from keypoints that are a little wrong, and the transforms
    (B,2,3) from pixels of the photograph to pixels of the crop."""
    _, _, d, _ = upright(keypoints)
    eyes, mouth, side, roll = upright(keypoints + 0.05 * d[:, None, None] * torch.randn(keypoints.shape, generator=g))
    centre = eyes + FACE_CROP[1] * (mouth - eyes)
    transforms = box_transforms(centre, FACE_CROP[0] * side, roll, CROP)
    return sample_crops(photos, transforms, CROP), transforms


def losses(
    net: Landmarks, data: FaceData, points: Tensor, taken: Photos, config: LandmarkNetConfig, g: torch.Generator
) -> dict[str, Tensor]:
    """points (N,K,2): where the landmarks fall in every picture of the data, pixels."""
    with torch.no_grad():
        crops, transforms = landmark_crops(taken.pixels.float() / 255, taken.keypoints, g)
        image = to_net(degrade(crops, g))
        wanted = points[taken.rows] @ transforms[:, :, :2].transpose(1, 2) + transforms[:, None, :, 2]
        wanted = (wanted + 0.5) / CROP
    with torch.autocast("cpu", torch.bfloat16):
        got, log_sigma, shape = (out.float() for out in net(image))
    square = (got - wanted).square().sum(-1)
    weight = 1.0 / (1.0 + torch.arange(shape.shape[1]) / 8.0)
    missed = (shape - torch.from_numpy(data.shape[taken.label])).square()
    return {
        "points": (2 * log_sigma + square / (2 * torch.exp(2 * log_sigma))).mean(),
        "coarse": 30 * (square + 1e-6).sqrt().mean(),  # the likelihood alone is slow to start
        "shape": config.shape_weight * (missed * weight).sum(1).mean() / weight.sum(),
    }


def train_landmark_net(data: FaceData, points: Array, folder: Path, config: LandmarkNetConfig) -> Landmarks:
    """Train, or go on from the folder's checkpoint. points (N,K,2) pixels, pixel centres at halves as rendered."""
    torch.manual_seed(config.seed)
    net = Landmarks(points.shape[1], data.shape.shape[1])
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    at = torch.from_numpy(points) - 0.5
    pool: deque[Photos] = deque(maxlen=config.pool)

    def loss_of(step: int, rng: np.random.Generator, g: torch.Generator) -> dict[str, Tensor]:
        if fresh := len(pool) < config.pool // 4 or step % config.fresh_every == 0:
            pool.append(make_photos(data, config.batch, rng, g))
        return losses(net, data, at, pool[-1] if fresh else pool[int(rng.integers(len(pool)))], config, g)

    stage = StageConfig(
        config.steps,
        config.batch,
        config.lr,
        config.weight_decay,
        clip=8.0,
        seed=config.seed,
        checkpoint_every=config.checkpoint_every,
    )
    run_stage("landmarks", folder, net, list(net.parameters()), stage, loss_of, autocast=False)
    return net.eval()
