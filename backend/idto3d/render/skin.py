# SPDX-License-Identifier: GPL-3.0-or-later
"""A textured, lit head as pictures: what the texture stage distils and what previews show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .cameras import Camera, camera_positions, to_clip
from .lights import FlatLight, Light
from .normals import vertex_normals
from .raster import Raster, antialias, interpolate, rasterize
from .shading import linear_to_srgb, shade, srgb_to_linear

F0_OF_SPECULAR = 0.08  # Principled BSDF: specular 0.5 reflects 4 %


@dataclass(frozen=True, eq=False)
class Covered:
    """The K covered pixels of a raster."""

    raster: Raster

    def __call__(self, values: Tensor, index: Tensor) -> Tensor:
        """Vertex attributes (V,C) and the faces that index them (F,3), to their values at the pixels (K,C)."""
        image = interpolate(values, self.raster, index)
        return image.reshape(-1, image.shape[-1]).index_select(0, self.raster.pixels)

    @property
    def triangle(self) -> Tensor:
        """(K,) the face that each pixel shows."""
        return self.raster.tri_id.view(-1)[self.raster.pixels]


@dataclass(frozen=True, eq=False)
class Textured:
    """Faces that take their looks from several maps: triangles (F,3) of the vertices, triangles_uv (F,3) of uv (N,2)
    0..1, v up; material (F,) which map."""

    triangles: Tensor
    uv: Tensor
    triangles_uv: Tensor
    material: Tensor

    def channels(self, maps: Sequence[Tensor]) -> Callable[[Covered], Tensor]:
        """What `render_skin` asks for, of one map (S,S,5) a material."""

        def look(covered: Covered) -> Tensor:
            uv = covered(self.uv, self.triangles_uv)
            kind = self.material[covered.triangle]
            rows = [(kind == n).nonzero()[:, 0] for n in range(len(maps))]
            found = [sample_map(image.permute(2, 0, 1)[None], uv[at]) for image, at in zip(maps, rows, strict=True)]
            return torch.zeros(len(uv), 5, device=uv.device).index_copy(0, torch.cat(rows), torch.cat(found))

        return look


def sample_map(image: Tensor, uv: Tensor) -> Tensor:
    """Bilinear values (K,C) of a map (1,C,S,S) at uv (K,2), v up."""
    grid = torch.stack([uv[:, 0] * 2 - 1, 1 - 2 * uv[:, 1]], -1)[None, None]
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)[0, :, 0].T


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
    covered = Covered(raster)
    at = channels(covered)
    colour = at[:, :3]
    if not isinstance(light, FlatLight):
        normal = F.normalize(covered(vertex_normals(vertices, faces), faces), dim=-1)
        eye = camera_positions(cameras, vertices.device, vertices.dtype)[raster.pixels // (size * size)]
        f0 = F0_OF_SPECULAR * at[:, 4:5]
        radiance = shade(srgb_to_linear(colour), at[:, 3:4], f0, normal, covered(vertices, faces), eye, light)
        colour = linear_to_srgb(radiance.clamp(0, 1))
    image = raster.spread(colour - background) + background
    return antialias(image, raster, clip, faces).clamp(0, 1)
