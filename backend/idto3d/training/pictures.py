# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders albedo and normals of textured meshes, the training pictures, with the project's own rasteriser."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..render.cameras import Camera, rotate_to_camera, to_clip
from ..render.raster import interpolate, rasterize

SUPERSAMPLE = 2


@dataclass(frozen=True, eq=False)
class Drawing:
    """One posed person, all parts merged, on one device.

    vertices (V,3) metres; normals (V,3) unit; triangles (F,3) long; uv (N,2); triangles_uv (F,3) long; texture (F,)
    long into textures, each (S,S,3) sRGB 0..1, row 0 at v = 1; hair (F,) bool.
    """

    vertices: Tensor
    normals: Tensor
    triangles: Tensor
    uv: Tensor
    triangles_uv: Tensor
    texture: Tensor
    textures: tuple[Tensor, ...]
    hair: Tensor


@dataclass(frozen=True, eq=False)
class Pictures:
    """albedo (B,S,S,3) sRGB 0..1, normal (B,S,S,3) camera space, both premultiplied by coverage (B,S,S); hair (B,S,S):
    share of a pixel that shows hair; position (B,S,S,3) metres, mean over what is covered."""

    albedo: Tensor
    normal: Tensor
    coverage: Tensor
    hair: Tensor
    position: Tensor


def draw(drawing: Drawing, cameras: Sequence[Camera], size: int) -> Pictures:
    """The same drawing from B cameras, SUPERSAMPLE samples a pixel and axis, averaged."""
    clip = to_clip(drawing.vertices, cameras)
    raster = rasterize(clip, drawing.triangles, size * SUPERSAMPLE)
    triangle = raster.tri_id.view(-1)[raster.pixels]
    normals = rotate_to_camera(drawing.normals, cameras)
    n = interpolate(normals, raster, drawing.triangles).view(-1, 3)[raster.pixels]
    # Cards of hair are seen from both sides.
    n = F.normalize(n, dim=1, eps=1e-6) * torch.where(n[:, 2:] < 0, -1.0, 1.0)
    weights = raster.weights[..., None]
    where = (drawing.uv[drawing.triangles_uv[triangle]] * weights).sum(1)
    position = (drawing.vertices[drawing.triangles[triangle]] * weights).sum(1)
    one = torch.ones_like(n[:, :1])
    hair = drawing.hair[triangle].to(n)[:, None]
    rows = torch.cat([_sample(drawing, triangle, where), n, one, hair, position], 1)
    image = raster.spread(rows).permute(0, 3, 1, 2)
    pooled = F.avg_pool2d(image, SUPERSAMPLE).permute(0, 2, 3, 1)
    cover = pooled[..., 6]
    return Pictures(
        pooled[..., :3], pooled[..., 3:6], cover, pooled[..., 7], pooled[..., 8:] / cover.clamp(min=1e-6)[..., None]
    )


def _sample(drawing: Drawing, triangle: Tensor, where: Tensor) -> Tensor:
    """(K,3) bilinear texture colours at uv (K,2) of triangles (K,)."""
    out = where.new_zeros(len(where), 3)
    kind = drawing.texture[triangle]
    for n, texture in enumerate(drawing.textures):
        rows = (kind == n).nonzero()[:, 0]
        if len(rows):
            grid = where[rows] * where.new_tensor([2.0, -2.0]) + where.new_tensor([-1.0, 1.0])
            image = texture.permute(2, 0, 1)[None]
            found = F.grid_sample(image, grid[None, None], padding_mode="border", align_corners=False)
            out[rows] = found[0, :, 0].T
    return out
