# SPDX-License-Identifier: GPL-3.0-or-later
"""Vertex normals and camera-space normal maps, the geometry prior's image domain."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from idto3d.render.cameras import Camera, rotate_to_camera, to_clip
from idto3d.render.gather import gather_rows, scatter_add_rows
from idto3d.render.raster import antialias, interpolate, rasterize


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals, each the area-weighted mean over the faces around a vertex; differentiable.

    vertices (V,3) or (B,V,3); faces (F,3) wound counter-clockwise seen from outside. A vertex in no face gets zero.
    """
    if vertices.ndim == 3:
        return torch.stack([vertex_normals(v, faces) for v in vertices])
    index = faces.long()
    a, b, c = gather_rows(vertices, index.reshape(-1)).view(-1, 3, 3).unbind(1)
    doubled = torch.linalg.cross(b - a, c - a)
    total = scatter_add_rows(doubled[:, None].expand(-1, 3, -1).reshape(-1, 3), index.reshape(-1), vertices.shape[0])
    # The floor, 1e-12 m^2, only touches vertices whose faces add up to under a square micrometre; it bounds the
    # gradient of the slivers that marching tetrahedra leave.
    return normalize(total, dim=-1, eps=1e-12)


def normal_map(vertices: Tensor, faces: Tensor, cams: Sequence[Camera], size: int) -> tuple[Tensor, Tensor]:
    """Camera-space normals (x right, y up, z toward the camera) encoded (n+1)/2 on black, and the soft mask.

    vertices (V,3) or (B,V,3), faces (F,3) -> image (B,H,W,3) and mask (B,H,W,1), both in 0..1, antialiased and
    differentiable in the vertices, inside and at the outline.
    """
    clip = to_clip(vertices, cams)
    raster = rasterize(clip, faces, size)
    normals = rotate_to_camera(vertex_normals(vertices, faces), cams)
    # Only the covered pixels are normalised and encoded, so that the background stays exactly black.
    inside = interpolate(normals, raster, faces).view(-1, 3).index_select(0, raster.pixels)
    image = raster.spread((normalize(inside, dim=-1, eps=1e-6) + 1.0) * 0.5)
    blended = antialias(torch.cat([image, raster.mask], dim=-1), raster, clip, faces).clamp(0.0, 1.0)
    return blended[..., :3], blended[..., 3:]
