# SPDX-License-Identifier: GPL-3.0-or-later
"""A finished head as a picture: for previews, for sheets, and for looking back at what was made."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..fit.camera import PhotoCamera
from ..render.lights import FlatLight, Light
from ..render.normals import vertex_normals
from ..render.raster import antialias, interpolate, rasterize
from ..render.shading import linear_to_srgb, shade, srgb_to_linear
from ..render.skin import F0_OF_SPECULAR, sample_map
from .head import Head

Array = NDArray[Any]

GREY = 0.16
REACH = 1.15  # of a head's height that a portrait shows


def portrait(head: Head, azimuth: float, size: int, distance: float = 1.2, elevation: float = 0.0) -> PhotoCamera:
    """A camera round the head's middle that shows it all; degrees, metres. azimuth +90 sees the person's left side."""
    low, high = head.vertices.min(0), head.vertices.max(0)
    centre = np.array([0.0, (low[1] + high[1]) / 2, (low[2] + high[2]) / 2])
    reach = REACH * max(float(high[1] - low[1]), float(np.ptp(head.vertices[:, [0, 2]], axis=0).max()))
    a, e = np.radians(azimuth), np.radians(elevation)
    rotation = np.array(
        [
            [np.cos(a), 0.0, -np.sin(a)],
            [-np.sin(e) * np.sin(a), np.cos(e), -np.sin(e) * np.cos(a)],
            [np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)],
        ]
    )
    middle = np.full(2, (size - 1) / 2)
    return PhotoCamera(rotation, centre, size / reach, middle, 1 / distance)


@torch.no_grad()
def render_head(
    head: Head, camera: PhotoCamera, size: int, light: Light, background: Array | float = GREY,
    vertices: Array | None = None,
) -> Array:  # fmt: skip
    """(size,size,3) sRGB 0..1. vertices: another pose of the head's (V,3). What is see-through by more than half is
    left out. background: one value or a picture (size,size,3)."""
    points = torch.from_numpy(np.asarray(head.vertices if vertices is None else vertices)).float()
    solid = [n for n, name in enumerate(head.materials) if name not in head.alpha]
    rows = np.isin(head.triangle_material, solid)
    triangles = torch.from_numpy(head.triangles[rows])
    uv, triangles_uv = torch.from_numpy(head.uv).float(), torch.from_numpy(head.triangles_uv[rows])
    matrix = torch.from_numpy(camera.clip_matrix(size)).float()
    clip = (F.pad(points, (0, 1), value=1.0) @ matrix.T)[None]
    raster = rasterize(clip, triangles, size)

    def covered(values: Tensor, index: Tensor) -> Tensor:
        image = interpolate(values, raster, index)
        return image.reshape(-1, image.shape[-1]).index_select(0, raster.pixels)

    material = torch.from_numpy(head.triangle_material[rows])[raster.tri_id.reshape(-1)[raster.pixels]]
    at = _channels(head, covered(uv, triangles_uv), material)
    colour = at[:, :3]
    if not isinstance(light, FlatLight):
        normal = F.normalize(covered(vertex_normals(points, triangles), triangles), dim=-1)
        eye = torch.from_numpy(camera.position).float()
        f0 = F0_OF_SPECULAR * at[:, 4:5]
        radiance = shade(srgb_to_linear(colour), at[:, 3:4], f0, normal, covered(points, triangles), eye, light)
        colour = linear_to_srgb(radiance.clamp(0, 1))
    behind = torch.as_tensor(background, dtype=torch.float32).expand(size, size, 3)
    image = raster.spread(colour)
    image = image * raster.mask + behind[None] * (1 - raster.mask)
    out: Array = antialias(image, raster, clip, triangles).clamp(0, 1)[0].numpy()
    return out


def _channels(head: Head, uv: Tensor, material: Tensor) -> Tensor:
    out = torch.zeros(len(uv), 5)
    for n, name in enumerate(head.materials):
        rows = material == n
        if rows.any():
            image = torch.from_numpy(np.asarray(head.maps[name], np.float32)).permute(2, 0, 1)[None]
            out[rows] = sample_map(image, uv[rows])
    return out
