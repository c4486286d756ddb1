# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundle's own preview, drawn by our rasteriser: photo, head from three sides, normals, albedo."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .generated import Head
from .photos.faces import Face
from .render.cameras import Camera, make_camera
from .render.lights import EnvironmentLight, FlatLight, Light, lobe
from .render.normals import normal_map
from .render.skin import Covered, render_skin, sample_map

GREY = 0.16


def portrait_camera(azimuth: float) -> Camera:
    return make_camera(azimuth, 4.0, 14.0, 0.34, np.array([0.0, -0.02, 0.0]))


def portrait_light() -> EnvironmentLight:
    """A key from the upper left and a cool fill."""
    key = lobe(F.normalize(torch.tensor([0.5, 0.6, 0.8]), dim=0), 0.9, 0.3)[:, None] * torch.tensor([1.0, 0.96, 0.9])
    fill = lobe(F.normalize(torch.tensor([-0.8, 0.1, 0.4]), dim=0), 0.5, 0.1)[:, None] * torch.tensor([0.85, 0.93, 1.0])
    return EnvironmentLight(0.75 * key + 0.3 * fill)


@torch.no_grad()
def render_head(
    vertices: Tensor,
    faces: Tensor,
    uv: NDArray[np.float32],
    uv_faces: NDArray[np.int64],
    maps: Tensor,
    camera: Camera,
    size: int,
    light: Light,
) -> Tensor:
    """(size,size,3) sRGB on grey. maps (S,S,5) 0..1."""

    def channels(covered: Covered) -> Tensor:
        at = covered(torch.from_numpy(np.asarray(uv)).float(), torch.from_numpy(np.asarray(uv_faces)).long())
        return sample_map(maps.permute(2, 0, 1)[None], at)

    return render_skin(vertices, faces, channels, [camera], size, light, GREY)[0]


def preview_sheet(faces: list[Face], head: Head, size: int = 256) -> NDArray[np.uint8]:
    """(size, 6 size, 3): the first photo's head crop, front, both three-quarter views, normals, albedo."""
    mesh, atlas = head.mesh, head.atlas
    photo = torch.from_numpy(faces[0].head).permute(2, 0, 1)[None].float() / 255
    tiles = [F.interpolate(photo, size=(size, size), mode="bilinear", antialias=True)[0].permute(1, 2, 0)]
    for azimuth in (0.0, 40.0, -40.0):
        tiles.append(
            render_head(
                mesh.neutral,
                mesh.faces,
                atlas.uv,
                atlas.uv_faces,
                head.maps,
                portrait_camera(azimuth),
                size,
                portrait_light(),
            )
        )
    with torch.no_grad():
        tiles.append(normal_map(mesh.neutral, mesh.faces, [portrait_camera(0.0)], size)[0][0])
    tiles.append(
        render_head(
            mesh.neutral, mesh.faces, atlas.uv, atlas.uv_faces, head.maps, portrait_camera(0.0), size, FlatLight()
        )
    )
    out: NDArray[np.uint8] = (torch.cat(tiles, 1).numpy() * 255 + 0.5).astype(np.uint8)
    return out
