# SPDX-License-Identifier: GPL-3.0-or-later
"""What a photo's camera sees of a fitted head: the frontmost surface at each pixel."""

from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..render.zbuffer import to_screen, zbuffer
from .camera import PhotoCamera

FAR, NEAR = 10.0, 0.1


@dataclass(frozen=True, eq=False)
class DepthBuffer:
    """triangle (S,S) the frontmost of those drawn, -1 where none; height (S,S) float32 metres towards the camera over
    its centre, as `PhotoCamera.project` gives it, -inf where there is nothing."""

    triangle: Array
    height: Array


def draw_depth(camera: PhotoCamera, vertices: Array, triangles: Array, size: int) -> DepthBuffer:
    """Draw triangles (F,3) of vertices (V,3) into the size x size picture."""
    clip = np.c_[vertices, np.ones(len(vertices))] @ camera.clip_matrix(size, NEAR, FAR).T
    triangle = np.empty((size, size), np.int64)
    depth, thin = np.empty((size, size), np.float32), np.empty((size, size), bool)
    zbuffer(to_screen(clip, size), np.ascontiguousarray(triangles, np.int64), triangle, depth, thin)
    distance = 1.0 / camera.inverse_distance
    near, far = NEAR * distance, FAR * distance
    with np.errstate(divide="ignore", invalid="ignore"):
        away = 2 * near * far / (far + near - depth * (far - near))
    height = np.where(triangle >= 0, distance - away, -np.inf).astype(np.float32)
    return DepthBuffer(triangle, height)


def front_at(height: Array, pixel: Array, factor: float = 1.0) -> Array:
    """(...) a buffer's height (S,S) at pixels (...,2) of a picture whose side times factor is S."""
    column, row = np.moveaxis(np.clip(np.rint((pixel + 0.5) * factor - 0.5), 0, len(height) - 1).astype(int), -1, 0)
    return height[row, column]


def resized(camera: PhotoCamera, factor: float) -> PhotoCamera:
    """The same camera for a picture of `factor` times the pixels a side."""
    shift = (camera.shift + 0.5) * factor - 0.5
    return PhotoCamera(camera.rotation, camera.centre, camera.scale * factor, shift, camera.inverse_distance)
