# SPDX-License-Identifier: GPL-3.0-or-later
"""The four small convolutional nets that look at photographs."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Basic residual block (He et al., 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class Trunk(nn.Module):
    """(B,3,S,S) in [-1,1] -> (B,features): stages at S/4, S/8, S/16; a depthwise spatial weighting instead of a mean
    keeps where things are, which a mean would forget (ArcFace's and MobileFaceNet's reason for theirs)."""

    def __init__(self, size: int, widths: tuple[int, int, int, int], blocks: int, features: int) -> None:
        super().__init__()
        w0, w1, w2, w3 = widths
        layers: list[nn.Module] = []
        before = 3
        for width, depth in ((w0, 0), (w1, blocks), (w2, blocks), (w3, blocks)):
            layers += [
                nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            layers += [Residual(width) for _ in range(depth)]
            before = width
        self.stages = nn.Sequential(*layers)
        cells = size // 16
        self.spatial = nn.Sequential(
            nn.Conv2d(w3, 2 * w3, cells, groups=w3, bias=False), nn.BatchNorm2d(2 * w3), nn.Flatten()
        )
        self.out = nn.Linear(2 * w3, features)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.spatial(self.stages(x)))
        return out


class Recogniser(nn.Module):
    """Aligned crop (B,3,112,112) -> embedding (B,512), not normalised (insightface normalises)."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk(112, (24, 48, 96, 192), 2, 512)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.trunk(image)
        return out


class Keypoints(nn.Module):
    """Loose face crop (B,3,112,112) -> keypoints (B,5,2) in 0..1, face logit (B,), yaw and pitch (B,2) degrees."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk(112, (16, 32, 64, 96), 1, 128)
        self.points = nn.Linear(128, 10)
        self.face = nn.Linear(128, 1)
        self.pose = nn.Linear(128, 2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f = torch.relu(self.trunk(image))
        return 0.5 + 0.25 * self.points(f).view(-1, 5, 2), self.face(f)[:, 0], 30 * self.pose(f)


class LandmarkNet(nn.Module):
    """Upright face crop (B,3,112,112) -> points (B,K,2) in 0..1, log_sigma (B,K) natural logarithm of each point's
    standard deviation in the same unit, and shape (B,M): identity coefficients, in the population's deviations."""

    def __init__(self, count: int, modes: int) -> None:
        super().__init__()
        self.trunk = Trunk(112, (32, 48, 96, 160), 2, 320)
        self.points = nn.Linear(320, 2 * count)
        self.log_sigma = nn.Linear(320, count)
        self.shape = nn.Linear(320, modes)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f = torch.relu(self.trunk(image))
        points = 0.5 + 0.25 * self.points(f).unflatten(1, (-1, 2))
        return points, (self.log_sigma(f) - 4.0).clamp(-6.5, -1.0), self.shape(f)


# What the appearance net names: outputs in this order.
HAIR_STYLES = 9  # none, then the head kit's eight


class AppearanceNet(nn.Module):
    """Head crop (B,3,128,128) -> texture modes (B,T), hair style logits (B,9), hair colour (B,3) sRGB,
    person (B,3): sex 0 female..1 male, age / 100, stubble."""

    def __init__(self, texture_modes: int) -> None:
        super().__init__()
        self.trunk = Trunk(128, (24, 40, 80, 128), 1, 192)
        self.texture = nn.Linear(192, texture_modes)
        self.hair_style = nn.Linear(192, HAIR_STYLES)
        self.hair_colour = nn.Linear(192, 3)
        self.person = nn.Linear(192, 3)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        f = torch.relu(self.trunk(image))
        return self.texture(f), self.hair_style(f), torch.sigmoid(self.hair_colour(f)), torch.sigmoid(self.person(f))
