# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains recogniser, keypoint net and appearance net together: they share the synthetic photographs of each step.

The recogniser's loss is ArcFace's (Deng et al., 2019) plus a regression of the head's shape from the normalised
embedding, so that y_id says what the geometry network needs to know and not only who is who.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..head.geometry_net import ShapeHead
from ..photos.align import ARCFACE_TEMPLATE, FACE_CROP, HEAD_CROP
from .data import load_shards
from .nets import AppearanceNet, Keypoints, Recogniser
from .photos import Renders, backdrop, degrade, dye_hair, real_textures, sample_crops, take_photo, texture_crops
from .prior import StageConfig, run_stage

Array = NDArray[Any]


ARC_SCALE, ARC_MARGIN = 24.0, 0.3  # ArcFace: feature scale and additive angular margin (radians)
# ArcFace's loss is two orders larger than a regression's, and would drown the shape.
ARC_WEIGHT, SHAPE_WEIGHT = 0.08, 3.0
# Photographs cost as much as a step: new ones every third step, kept in a pool of so many batches.
FRESH_EVERY, POOL = 3, 60


def photo_stage(steps: int, seed: int) -> StageConfig:
    """How nets that look at photographs are trained."""
    # ArcFace's gradients are large before the classes have parted.
    return StageConfig(steps, batch=48, lr=2e-3, weight_decay=2e-2, clip=8.0, seed=seed, checkpoint_every=120.0)


def arcface_loss(cosine: Tensor, label: Tensor, scale: float, margin: float) -> Tensor:
    """Additive angular margin softmax (ArcFace, eq. 3). cosine (B,N), label (B,)."""
    target = cosine.gather(1, label[:, None]).clamp(-1 + 1e-4, 1 - 1e-4)
    shifted = torch.cos(torch.acos(target) + margin)
    return F.cross_entropy(scale * cosine.scatter(1, label[:, None], shifted.to(cosine.dtype)), label)


def _similarity(keypoints: Tensor, target: Tensor) -> Tensor:
    """Least-squares plane similarities (B,2,3) from keypoints (B,5,2) to target (5,2) (Umeyama 1991)."""
    p = torch.view_as_complex(keypoints.double().contiguous())
    q = torch.view_as_complex(target.double().contiguous())
    pm, qm = p.mean(1, keepdim=True), q.mean()
    a = ((p - pm).conj() * (q - qm)).sum(1) / (p - pm).abs().square().sum(1)
    b = qm - a * pm[:, 0]
    return torch.stack([torch.stack([a.real, -a.imag, b.real], 1), torch.stack([a.imag, a.real, b.imag], 1)], 1).float()


def box_transforms(centre: Tensor, side: Tensor, roll: Tensor, size: int) -> Tensor:
    """As photos.align.box_transform, for batches: centre (B,2), side and roll (radians) (B,) -> (B,2,3)."""
    s = size / side
    c, d = s * roll.cos(), s * roll.sin()
    rotation = torch.stack([torch.stack([c, d], 1), torch.stack([-d, c], 1)], 1)
    shift = (size - 1) / 2 - (rotation @ centre[..., None])[..., 0]
    return torch.cat([rotation, shift[..., None]], 2)


def upright(keypoints: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of keypoints (B,5,2): middle of the eyes and of the mouth (B,2), their distance (B,), roll in radians (B,)."""
    eyes, mouth = keypoints[:, :2].mean(1), keypoints[:, 3:].mean(1)
    along = keypoints[:, 1] - keypoints[:, 0]
    return eyes, mouth, (mouth - eyes).norm(dim=1).clamp(min=4), torch.atan2(along[:, 1], along[:, 0])


# What a shard of `faces` holds.
ARRAYS = ("albedo", "normal", "coverage", "lit", "hair", "light", "keypoints", "person", "camera")


@dataclass
class FaceData:
    """The rendered faces and what is known of their people."""

    arrays: dict[str, Array]
    label: Array
    shape: Array
    texture: Array
    hair_style: Array
    hair_colour: Array
    person: Array
    textures: list[Tensor]


def load_faces(folder: str | Path, population: Any, shape: Array, texture: Array) -> FaceData:
    arrays = load_shards(folder, ARRAYS)
    seeds = arrays["person"]
    first = int(seeds.min())
    label = (seeds - first).astype(np.int64)
    kit = population.kit
    people = [population.person(int(s)) for s in range(first, int(seeds.max()) + 1)]
    get = np.array(
        [
            [kit.get(z, n) for n in ("hair_style", "hair_r", "hair_g", "hair_b", "gender", "age_years", "stubble")]
            for z in people
        ]
    )
    return FaceData(
        arrays,
        label,
        shape[: len(people)],
        texture[: len(people)],
        np.round(get[:, 0]).astype(np.int64) + 1,
        get[:, 1:4].astype(np.float32),
        np.stack([get[:, 4], get[:, 5] / 100, get[:, 6]], 1).astype(np.float32),
        real_textures(),
    )


def renders_of(arrays: dict[str, Array], rows: Array) -> Renders:
    """Rows of the `faces` data set."""

    def image(name: str) -> Tensor:
        return torch.from_numpy(arrays[name][rows].astype(np.float32) / 255)

    coverage = image("coverage")
    camera = torch.from_numpy(arrays["camera"][rows])
    return Renders(
        image("albedo"),
        image("normal") * 2 - coverage[..., None],
        coverage,
        image("lit"),
        torch.from_numpy(arrays["light"][rows]),
        camera[:, 0],
        camera[:, 1],
        torch.from_numpy(arrays["keypoints"][rows]) - 0.5,
        image("hair"),
    )


def batch_of(data: FaceData, rows: Array) -> tuple[Renders, Array]:
    """Renders and people (B,) of some rows."""
    return renders_of(data.arrays, rows), data.label[rows]


class FaceNets(nn.Module):
    """The three nets and what only training needs."""

    def __init__(self, people: int, shape_modes: int, texture_modes: int) -> None:
        super().__init__()
        self.recogniser = Recogniser()
        self.shape = ShapeHead(shape_modes)
        self.classes = nn.Parameter(torch.randn(people, 512) * 0.05)
        self.keypoints = Keypoints()
        self.appearance = AppearanceNet(texture_modes)


def arcface_crops(photos: Tensor, keypoints: Tensor, g: torch.Generator, jitter: float = 1.0) -> Tensor:
    d = (keypoints[:, 3:].mean(1) - keypoints[:, :2].mean(1)).norm(dim=1)[:, None, None]
    noisy = keypoints + jitter * 0.05 * d * torch.randn(keypoints.shape, generator=g)
    return sample_crops(photos, _similarity(noisy, torch.from_numpy(ARCFACE_TEMPLATE).float()), 112)


def head_crops(photos: Tensor, keypoints: Tensor, g: torch.Generator, jitter: float = 1.0) -> Tensor:
    eyes, mouth, d, roll = upright(keypoints)
    b = len(d)
    centre = eyes + HEAD_CROP[1] * (mouth - eyes) + jitter * 0.08 * d[:, None] * torch.randn((b, 2), generator=g)
    side = HEAD_CROP[0] * d * torch.exp(jitter * 0.06 * torch.randn((b,), generator=g))
    return sample_crops(
        photos, box_transforms(centre, side, roll + jitter * 0.05 * torch.randn((b,), generator=g), 128), 128
    )


def keypoint_crops(photos: Tensor, keypoints: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Loose, turned crops and where the keypoints fall in them, 0..1."""
    eyes, mouth, d, roll = upright(keypoints)
    b = len(d)
    spread = torch.where(torch.rand((b,), generator=g) < 0.5, 0.12, 0.4)[:, None]
    centre = eyes + FACE_CROP[1] * (mouth - eyes) + spread * d[:, None] * torch.randn((b, 2), generator=g)
    side = FACE_CROP[0] * d * torch.exp(0.2 * torch.randn((b,), generator=g)).clamp(0.65, 1.6)
    transform = box_transforms(centre, side, roll + 0.25 * torch.randn((b,), generator=g), 112)
    moved = keypoints @ transform[:, :, :2].transpose(1, 2) + transform[:, None, :, 2]
    return sample_crops(photos, transform, 112), (moved + 0.5) / 112


def non_faces(photos: Tensor, keypoints: Tensor, textures: list[Tensor], g: torch.Generator) -> Tensor:
    """Crops that hold no face: backgrounds, real textures, clothes, and pieces of heads (ears, hair, single eyes)."""
    b, size = photos.shape[:2]
    _, mouth, d, _ = upright(keypoints)
    angle = 2 * math.pi * torch.rand((b,), generator=g)
    away = torch.stack([angle.cos(), angle.sin()], 1) * (1.4 + 1.2 * torch.rand((b, 1), generator=g)) * d[:, None]
    side = d * (0.6 + 2.4 * torch.rand((b,), generator=g))
    pieces = sample_crops(photos, box_transforms(mouth + away, side, 3 * torch.randn((b,), generator=g), 112), 112)
    scenes = sample_crops(
        backdrop(b, size, g),
        box_transforms(
            torch.rand((b, 2), generator=g) * size, size * (0.2 + torch.rand((b,), generator=g)), angle, 112
        ),
        112,
    )
    kind = torch.rand((b,), generator=g)[:, None, None, None]
    return torch.where(kind < 0.4, pieces, torch.where(kind < 0.6, scenes, texture_crops(textures, b, 112, g)))


def to_net(crops: Tensor) -> Tensor:
    """(B,S,S,3) 0..1 -> (B,3,S,S) in [-1,1]."""
    return (crops.permute(0, 3, 1, 2) * 2 - 1).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Photos:
    """A batch of photographs (B,S,S,3) uint8 of some rows (B,) of the data, with their keypoints (B,5,2), angles (B,2),
    people (B,) and hair colours (B,3)."""

    rows: Array
    pixels: Tensor
    keypoints: Tensor
    angles: Tensor
    label: Array
    hair_colour: Tensor


def make_photos(data: FaceData, batch: int, rng: np.random.Generator, g: torch.Generator) -> Photos:
    rows = rng.choice(len(data.label), batch, replace=False)
    renders, label = batch_of(data, rows)
    with torch.no_grad():
        renders, colour = dye_hair(renders, torch.from_numpy(data.hair_colour[label]), g)
        pixels = (take_photo(renders, g) * 255).byte()
    return Photos(rows, pixels, renders.keypoints, torch.stack([renders.azimuth, renders.elevation], 1), label, colour)


class PhotoPool:
    """What a step learns from: photographs made for it, or some of an earlier step's."""

    def __init__(self, data: FaceData, batch: int) -> None:
        self.data, self.batch = data, batch
        self._batches: deque[Photos] = deque(maxlen=POOL)

    def draw(self, step: int, rng: np.random.Generator, g: torch.Generator) -> Photos:
        if len(self._batches) < POOL // 4 or step % FRESH_EVERY == 0:
            self._batches.append(make_photos(self.data, self.batch, rng, g))
            return self._batches[-1]
        return self._batches[int(rng.integers(len(self._batches)))]


def shape_missed(shape: Tensor, data: FaceData, taken: Photos) -> Tensor:
    """Mean square by which identity coefficients (B,K) miss those of the photographs' people."""
    # Modes weigh by what they move: the first carry most of a face's millimetres.
    weight = 1.0 / (1.0 + torch.arange(shape.shape[1]) / 8.0)
    missed = (shape - torch.from_numpy(data.shape[taken.label])).square()
    return (missed * weight).sum(1).mean() / weight.sum()


def losses(nets: FaceNets, data: FaceData, taken: Photos, g: torch.Generator, small_nets: bool) -> dict[str, Tensor]:
    photos, label = taken.pixels.float() / 255, taken.label
    with torch.no_grad():
        id_in = to_net(degrade(arcface_crops(photos, taken.keypoints, g), g))
    labels = torch.from_numpy(label)
    with torch.autocast("cpu", torch.bfloat16):
        embedding = nets.recogniser(id_in).float()
    y_id = F.normalize(embedding, dim=1)
    cosine = y_id @ F.normalize(nets.classes, dim=1).T
    out = {
        "arcface": ARC_WEIGHT * arcface_loss(cosine, labels, ARC_SCALE, ARC_MARGIN),
        "shape": SHAPE_WEIGHT * shape_missed(nets.shape(y_id), data, taken),
    }
    if not small_nets:
        return out
    with torch.no_grad():
        faces, points = keypoint_crops(photos, taken.keypoints, g)
        half = len(label) // 2
        kp_in = to_net(
            degrade(torch.cat([faces, non_faces(photos[:half], taken.keypoints[:half], data.textures, g)]), g)
        )
        head_in = to_net(degrade(head_crops(photos, taken.keypoints, g), g))
    with torch.autocast("cpu", torch.bfloat16):
        p, f, pose = nets.keypoints(kp_in)
        tex, style, colour, person = nets.appearance(head_in)
    n = len(label)
    is_face = torch.cat([torch.ones(n), torch.zeros(half)])
    out["keypoints"] = 20 * F.smooth_l1_loss(p[:n].float(), points, beta=0.02)
    out["face"] = F.binary_cross_entropy_with_logits(f.float(), is_face)
    out["pose"] = 0.02 * F.smooth_l1_loss(pose[:n].float(), taken.angles, beta=5.0)
    tex_weight = 1.0 / (1.0 + torch.arange(data.texture.shape[1]) / 4.0)
    out["texture"] = ((tex.float() - torch.from_numpy(data.texture[label])) ** 2 * tex_weight).sum(
        1
    ).mean() / tex_weight.sum()
    out["hair_style"] = 0.5 * F.cross_entropy(style.float(), torch.from_numpy(data.hair_style[label]))
    out["hair_colour"] = 4 * F.smooth_l1_loss(colour.float(), taken.hair_colour, beta=0.1)
    out["person"] = 4 * F.smooth_l1_loss(person.float(), torch.from_numpy(data.person[label]), beta=0.1)
    return out


def train_face_nets(data: FaceData, folder: Path, stage: StageConfig, people: int) -> FaceNets:
    """Train, or go on from the folder's checkpoint."""
    torch.manual_seed(stage.seed)
    nets = FaceNets(people, data.shape.shape[1], data.texture.shape[1])
    nets.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pool = PhotoPool(data, stage.batch)

    def loss_of(step: int, rng: np.random.Generator, g: torch.Generator) -> dict[str, Tensor]:
        return losses(nets, data, pool.draw(step, rng, g), g, small_nets=step % FRESH_EVERY == 0)

    run_stage("faces", folder, nets, list(nets.parameters()), stage, loss_of, autocast=False)
    return nets.eval()
