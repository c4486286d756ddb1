# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns rendered albedo, normals and shadows into pictures that look casually taken.

The recogniser never sees a real photograph in training, so light, background, clothes, glasses, camera and
compression vary far more widely here than in an album (domain randomisation, Tobin et al., 2017).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class Renders:
    """One batch of drawn portraits, float32: albedo (B,S,S,3) sRGB and normal (B,S,S,3) camera space, both
    premultiplied by coverage (B,S,S); light (B,3) unit, towards a lamp; azimuth, elevation (B,) degrees; keypoints
    (B,5,2) pixels."""

    albedo: Tensor
    normal: Tensor
    coverage: Tensor
    light: Tensor
    azimuth: Tensor
    elevation: Tensor
    keypoints: Tensor


def _uniform(shape: tuple[int, ...], low: float, high: float, g: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=g)


def _maybe(b: int, p: float, g: torch.Generator) -> Tensor:
    return (torch.rand((b,), generator=g) < p).float()


def camera_light(light: Tensor, azimuth: Tensor, elevation: Tensor) -> Tensor:
    """World light directions (B,3) in camera axes (x right, y up, z towards the camera)."""
    a, e = torch.deg2rad(azimuth), torch.deg2rad(elevation)
    back = torch.stack([a.sin() * e.cos(), e.sin(), a.cos() * e.cos()], 1)
    right = torch.stack([a.cos(), torch.zeros_like(a), -a.sin()], 1)
    up = torch.cross(back, right, dim=1)
    return (torch.stack([right, up, back], 1) @ light[..., None])[..., 0]


def _tint(b: int, strength: float, g: torch.Generator) -> Tensor:
    """Warm to cool light colours (B,1,1,3) of mean 1."""
    warm = strength * torch.randn((b, 1), generator=g)
    green = 0.25 * strength * torch.randn((b, 1), generator=g)
    c = torch.exp(torch.cat([warm, green, -warm], 1))
    return (c / c.mean(1, keepdim=True))[:, None, None]


def relight(r: Renders, g: torch.Generator) -> Tensor:
    """(B,S,S,3) display colours 0..1, premultiplied by coverage, under a random sky and a random lamp."""
    b = len(r.albedo)
    cover = r.coverage[..., None].clamp(min=1e-3)
    n = F.normalize(r.normal / cover, dim=-1, eps=1e-6)
    albedo = (r.albedo / cover).clamp(0, 1) ** 2.2
    sky = F.normalize(torch.randn((b, 3), generator=g) + torch.tensor([0.0, 1.0, 0.3]), dim=1)
    ambient = _uniform((b, 1, 1, 1), 0.15, 0.7, g)
    bend = _uniform((b, 1, 1, 1), 0.0, 0.8, g) * (n * sky[:, None, None]).sum(-1, keepdim=True)
    total = ambient * (1 + bend) * _tint(b, 0.12, g)
    d = camera_light(r.light, r.azimuth, r.elevation)
    strength = _uniform((b, 1, 1, 1), 0.1, 1.4, g)
    soft = _uniform((b, 1, 1, 1), 0.0, 1.0, g)  # how large the lamp is
    cosine = (n * d[:, None, None]).sum(-1, keepdim=True)
    wrap = 0.4 * soft
    diffuse = ((cosine + wrap) / (1 + wrap)).clamp(min=0)
    total = total + strength * diffuse * _tint(b, 0.15, g)
    half = F.normalize(d + torch.tensor([0.0, 0.0, 1.0]), dim=1)
    shine = _uniform((b, 1, 1, 1), 0.0, 0.25, g) * ((n * half[:, None, None]).sum(-1, keepdim=True)).clamp(min=0) ** (
        _uniform((b, 1, 1, 1), 8, 40, g)
    )
    fill = F.normalize(torch.randn((b, 3), generator=g) + torch.tensor([0.0, 0.0, 0.7]), dim=1)
    total = total + _uniform((b, 1, 1, 1), 0, 0.5, g) * (n * fill[:, None, None]).sum(-1, keepdim=True).clamp(min=0)
    colour = albedo * total + shine * strength
    # exposure: cameras aim at a mid grey, so dark skin is lifted and fair skin lowered a little
    mean = (colour * r.coverage[..., None]).sum((1, 2, 3)) / (3 * r.coverage.sum((1, 2)).clamp(min=1))
    target = 0.22 * torch.exp(0.3 * torch.randn((b,), generator=g))
    gain = (target / mean.clamp(min=1e-3)) ** _uniform((b,), 0.3, 0.7, g)
    colour = 1 - torch.exp(-1.3 * colour * gain[:, None, None, None])  # a film-like shoulder
    return colour.clamp(0, 1) ** (1 / 2.2) * r.coverage[..., None]


def backdrop(b: int, size: int, g: torch.Generator) -> Tensor:
    """(B,S,S,3) blurred rooms and landscapes: sums of smooth noise at several scales and some hard-edged boxes."""
    out = torch.rand((b, 3, 1, 1), generator=g).expand(b, 3, size, size).clone()
    for cells, weight in ((3, 0.5), (9, 0.3), (32, 0.2)):
        noise = torch.randn((b, 3, cells, cells), generator=g) * 0.5 + torch.randn((b, 1, cells, cells), generator=g)
        scale = weight * _uniform((b, 1, 1, 1), 0, 0.8, g)
        out = out + scale * F.interpolate(noise, size=(size, size), mode="bilinear", align_corners=False)
    ys = torch.linspace(0, 1, size)
    for _ in range(4):
        x0, y0 = torch.rand((b, 1), generator=g), torch.rand((b, 1), generator=g)
        w, h = _uniform((b, 1), 0.05, 0.5, g), _uniform((b, 1), 0.05, 0.6, g)
        inside = ((ys[None] - y0).abs() < h)[:, :, None] & ((ys[None] - x0).abs() < w)[:, None, :]
        alpha = inside[:, None].float() * _maybe(b, 0.5, g)[:, None, None, None]
        out = out * (1 - alpha) + alpha * torch.rand((b, 3, 1, 1), generator=g)
    out = out.clamp(0, 1)
    grey = out.mean(1, keepdim=True)
    out = grey + _uniform((b, 1, 1, 1), 0.1, 0.9, g) * (
        out - grey
    )  # the world is less colourful than independent noise
    return out.permute(0, 2, 3, 1)


def _in_front(photo: Tensor, r: Renders, g: torch.Generator) -> Tensor:
    """A hand, a strand or a leaf over a few, near the face."""
    b, size = photo.shape[:2]
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    eyes, mouth = r.keypoints[:, :2].mean(1), r.keypoints[:, 3:].mean(1)
    d = (mouth - eyes).norm(dim=1).clamp(min=4)[:, None, None]
    px, py = (x[None] - mouth[:, 0, None, None]) / d, (y[None] - mouth[:, 1, None, None]) / d
    cx, cy = _uniform((b, 1, 1), -2, 2, g), _uniform((b, 1, 1), -2, 2.4, g)
    near = (((px - cx) ** 2 + (py - cy) ** 2) < _uniform((b, 1, 1), 0.05, 0.4, g)).float()
    blob = near * _maybe(b, 0.08, g)[:, None, None]
    return photo * (1 - blob[..., None]) + blob[..., None] * torch.rand((b, 1, 1, 3), generator=g)


def take_photo(r: Renders, g: torch.Generator) -> Tensor:
    """(B,S,S,3) photographs 0..1 of a batch of renders, before the camera's own faults (see `degrade`)."""
    cover = r.coverage[..., None]
    photo = relight(r, g) + (1 - cover) * backdrop(len(r.albedo), r.albedo.shape[1], g)
    return _in_front(photo, r, g).clamp(0, 1)


def degrade(crops: Tensor, g: torch.Generator) -> Tensor:
    """What cameras, filters and files do to a crop (B,S,S,3): colour, contrast, blur, low resolution, noise."""
    b, size = crops.shape[:2]
    x = crops.permute(0, 3, 1, 2)
    grey = x.mean(1, keepdim=True)
    saturation = _uniform((b, 1, 1, 1), 0.5, 1.3, g) * (1 - _maybe(b, 0.06, g)[:, None, None, None])
    x = grey + (x - grey) * saturation
    x = x * (1 + 0.06 * torch.randn((b, 3, 1, 1), generator=g))
    x = (x - 0.5) * _uniform((b, 1, 1, 1), 0.75, 1.25, g) + 0.5 + 0.05 * torch.randn((b, 1, 1, 1), generator=g)
    x = x.clamp(1e-3, 1) ** torch.exp(0.15 * torch.randn((b, 1, 1, 1), generator=g))
    small = int(size * float(torch.rand((), generator=g) * 0.6 + 0.35))
    low = F.interpolate(
        F.interpolate(x, size=(small, small), mode="bilinear", antialias=True), size=(size, size), mode="bilinear"
    )
    blurred = _maybe(b, 0.5, g)[:, None, None, None]
    x = x * (1 - blurred) + low * blurred
    x = x + torch.randn(x.shape, generator=g) * _uniform((b, 1, 1, 1), 0, 0.04, g)
    return x.clamp(0, 1).permute(0, 2, 3, 1)


def sample_crops(photos: Tensor, transforms: Tensor, size: int) -> Tensor:
    """Crops (B,size,size,3) under image-to-crop transforms (B,2,3); pixel centres at integers, as in photos.align."""
    s = photos.shape[1]
    full = torch.cat([transforms, torch.tensor([0.0, 0, 1]).expand(len(transforms), 1, 3)], 1)
    back = torch.linalg.inv(full)[:, :2]
    ys, xs = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    grid = torch.stack([xs, ys, torch.ones_like(xs)], -1).reshape(1, -1, 3) @ back.transpose(1, 2)
    grid = ((grid + 0.5) / s * 2 - 1).reshape(-1, size, size, 2)
    out = F.grid_sample(photos.permute(0, 3, 1, 2), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return out.permute(0, 2, 3, 1)
