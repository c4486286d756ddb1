# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders a finished head: for previews, for sheets, and for the check of the finished face."""

from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..arrays import Array
from ..fit.camera import PhotoCamera
from ..render.lights import FlatLight, Light
from ..render.normals import vertex_normals
from ..render.raster import antialias, interpolate, rasterize
from ..render.shading import linear_to_srgb, shade, srgb_to_linear
from ..render.skin import F0_OF_SPECULAR, sample_map
from .head import Head

GREY = 0.16
DISTANCE = 1.2  # metres from which portraits are taken
REACH = 1.15  # of a head's height that a portrait shows


def portrait(head: Head, azimuth: float, size: int, elevation: float = 0.0) -> PhotoCamera:
    """A camera that shows the whole head, around its middle; degrees. azimuth +90 sees the person's left."""
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
    return PhotoCamera(rotation, centre, size / reach, middle, 1 / DISTANCE)


@torch.no_grad()
def render_head(
    head: Head, camera: PhotoCamera, size: int, light: Light, background: Array | float = GREY,
    vertices: Array | None = None,
) -> Array:  # fmt: skip
    """(size,size,3) sRGB 0..1. vertices (V,3): another pose of the head. background: one value or a picture
    (size,size,3)."""
    points = torch.from_numpy(np.asarray(head.vertices if vertices is None else vertices)).float()
    head = replace(head, alpha={name: _at_pixels(head, name, camera.scale) for name in head.alpha})
    clear = _opacity(head, head.triangles_uv, head.triangle_material)
    matrix = torch.from_numpy(camera.clip_matrix(size)).float()
    clip = (F.pad(points, (0, 1), value=1.0) @ matrix.T)[None]

    def layer(rows: Array, whole: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Colours (size,size,3) times opacity, with smooth outlines, opacity and depth, of some triangles. whole:
        between their opaque corners no holes are looked for, which would show the background."""
        triangles, places = torch.from_numpy(head.triangles[rows]), torch.from_numpy(head.triangles_uv[rows])
        raster = rasterize(clip, triangles, size)

        def covered(values: Tensor, index: Tensor) -> Tensor:
            image = interpolate(values, raster, index)
            return image.reshape(-1, image.shape[-1]).index_select(0, raster.pixels)

        shown = raster.tri_id.reshape(-1)[raster.pixels]
        material = torch.from_numpy(head.triangle_material[rows])[shown]
        at = _channels(head, covered(torch.from_numpy(head.uv).float(), places), material)
        colour = at[:, :3]
        if not isinstance(light, FlatLight):
            normal = F.normalize(covered(vertex_normals(points, triangles), triangles), dim=-1)
            eye = torch.from_numpy(camera.position).float()
            # both sides are lit: hair's inside shows through its border
            a, b, c = points[triangles].unbind(1)
            inside = (torch.linalg.cross(b - a, c - a) * (eye - a)).sum(1) < 0
            normal = torch.where(inside[shown][:, None], -normal, normal)
            f0 = F0_OF_SPECULAR * at[:, 4:5]
            radiance = shade(srgb_to_linear(colour), at[:, 3:4], f0, normal, covered(points, triangles), eye, light)
            colour = linear_to_srgb(radiance.clamp(0, 1))
        cover = torch.ones_like(at[:, 5:]) if whole else at[:, 5:]
        image = antialias(raster.spread(torch.cat([colour * cover, cover], 1)), raster, clip, triangles)
        return image[0, ..., :3], image[0, ..., 3:], raster.depth[0, ..., None]

    behind = torch.as_tensor(background, dtype=torch.float32).expand(size, size, 3)
    solid, cover, depth = layer(clear.min(1) > 0.9, True)
    image = solid + behind * (1 - cover)
    # One layer of partly transparent faces, the nearest ones, over the opaque ones.
    strands, opacity, near = layer((clear.max(1) > 0.1) & (clear.min(1) <= 0.9), False)
    shown = near < depth
    return (image + shown * (strands - opacity * image)).clamp(0, 1).numpy()


def _at_pixels(head: Head, name: str, scale: float) -> Array:
    """(S',S') opacity of a material with texels of about a pixel at scale, pixels a metre: hairs finer than pixels are
    faint, not dotted."""
    image, rows = np.asarray(head.alpha[name], np.float32), head.triangle_material == head.materials.index(name)
    a, b, c = np.moveaxis(head.vertices[head.triangles[rows]], 1, 0)
    p, q, r = np.moveaxis(head.uv[head.triangles_uv[rows]] * len(image), 1, 0)
    metres = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    texels = np.abs((q - p)[:, 0] * (r - p)[:, 1] - (q - p)[:, 1] * (r - p)[:, 0])
    finer = float(np.sqrt(texels.sum() / max(metres.sum(), 1e-12))) / scale
    size = max(4, int(len(image) / max(finer, 1.0)))
    return image if size >= len(image) else cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def _opacity(head: Head, corners: Array, material: Array) -> Array:
    """(F,3) opacity at the corners of triangles in `uv`."""
    out = np.ones(corners.shape, np.float32)
    for n, name in enumerate(head.materials):
        if name in head.alpha:
            image = head.alpha[name]
            last = len(image) - 1
            column, row = np.moveaxis(np.rint(head.uv[corners[material == n]] * [last, -last] + [0, last]), -1, 0)
            out[material == n] = image[row.astype(int), column.astype(int)]
    return out


def _channels(head: Head, uv: Tensor, material: Tensor) -> Tensor:
    out = torch.zeros(len(uv), 6)
    out[:, 5] = 1
    for n, name in enumerate(head.materials):
        rows = material == n
        if rows.any():
            image = torch.from_numpy(np.asarray(head.maps[name], np.float32)).permute(2, 0, 1)[None]
            out[rows, :5] = sample_map(image, uv[rows])
            if name in head.alpha:
                clear = torch.from_numpy(np.asarray(head.alpha[name], np.float32))[None, None]
                out[rows, 5:] = sample_map(clear, uv[rows])
    return out
