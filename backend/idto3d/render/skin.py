# SPDX-License-Identifier: GPL-3.0-or-later
"""A textured, lit head as pictures: what the texture stage distils and what previews show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .cameras import Camera, camera_positions, to_clip
from .lights import FlatLight, Light
from .normals import vertex_normals
from .raster import antialias, interpolate, rasterize
from .shading import linear_to_srgb, shade, srgb_to_linear

F0_OF_SPECULAR = 0.08  # Principled BSDF: specular 0.5 reflects 4 %

Covered = Callable[[Tensor, Tensor], Tensor]
"""Vertex attributes (V,C) and the faces that index them (F,3), to their values at the K covered pixels (K,C)."""


def sample_map(image: Tensor, uv: Tensor) -> Tensor:
    """Bilinear values (K,C) of a map (1,C,S,S) at uv (K,2), v up."""
    grid = torch.stack([uv[:, 0] * 2 - 1, 1 - 2 * uv[:, 1]], -1)[None, None]
    return F.grid_sample(image, grid, align_corners=False)[0, :, 0].T


def render_skin(
    vertices: Tensor,
    faces: Tensor,
    channels: Callable[[Covered], Tensor],
    cameras: Sequence[Camera],
    size: int,
    light: Light,
    background: float = 0.0,
) -> Tensor:
    """(B,size,size,3) sRGB, differentiable in the vertices and in the channels.

    channels: gives albedo (sRGB), roughness and specular (K,5), all 0..1, at the covered pixels. A FlatLight shows the
    albedo itself.
    """
    clip = to_clip(vertices, cameras)
    raster = rasterize(clip, faces, size)
    pixels = raster.pixels

    def covered(values: Tensor, index: Tensor) -> Tensor:
        image = interpolate(values, raster, index)
        return image.reshape(-1, image.shape[-1]).index_select(0, pixels)

    at = channels(covered)
    colour = at[:, :3]
    if not isinstance(light, FlatLight):
        normal = F.normalize(covered(vertex_normals(vertices, faces), faces), dim=-1)
        eye = camera_positions(cameras, vertices.device, vertices.dtype)[pixels // (size * size)]
        f0 = F0_OF_SPECULAR * at[:, 4:5]
        radiance = shade(srgb_to_linear(colour), at[:, 3:4], f0, normal, covered(vertices, faces), eye, light)
        colour = linear_to_srgb(radiance.clamp(0, 1))
    image = raster.spread(colour - background) + background
    return antialias(image, raster, clip, faces).clamp(0, 1)
