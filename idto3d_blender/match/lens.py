# SPDX-License-Identifier: GPL-3.0-or-later
"""A photo's pinhole as Blender's camera, and picking on the head through it. NumPy only, no bpy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..head.bundle import FitCamera

SENSOR = 36.0
_TO_BLENDER = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True, eq=False)
class Lens:
    """lens in millimetres before a sensor SENSOR wide (sensor_fit HORIZONTAL); shift_x, shift_y as Blender's; matrix
    (4,4): the camera in the frame of the head's own vertices."""

    lens: float
    shift_x: float
    shift_y: float
    matrix: NDArray[np.float64]


def lens_of(camera: FitCamera, size: tuple[int, int], origin: NDArray[np.floating]) -> Lens:
    """Of a photo of `size` (width, height); origin (3,): of the mesh in the bundle's frame."""
    width, height = size
    x, y = camera.principal + 0.5  # from the photo's corner, not from the first pixel's middle
    matrix = np.eye(4)
    matrix[:3, :3] = (_TO_BLENDER @ camera.rotation).T
    matrix[:3, 3] = camera.position - origin
    return Lens(camera.focal * SENSOR / width, 0.5 - x / width, (y - height / 2) / width, matrix)


@dataclass(frozen=True, eq=False)
class Hit:
    """A place on a triangle of the skin: corners (3,) and weights (3,)."""

    corners: tuple[int, int, int]
    weights: tuple[float, float, float]


def pick(
    camera: FitCamera, vertices: NDArray[np.floating], triangles: NDArray[np.integer], pixel: tuple[float, float]
) -> Hit | None:
    """What is frontmost of triangles (F,3) of vertices (V,3), bundle's frame, at a pixel of the photo; None beside."""
    place, depth = camera.project(np.asarray(vertices, np.float64))
    a, b, c = (place[triangles[:, k]] for k in range(3))
    at = np.asarray(pixel, np.float64)
    weight = np.stack([_cross(b - at, c - at), _cross(c - at, a - at), _cross(a - at, b - at)], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight /= weight.sum(axis=1, keepdims=True)
    # Pictures have their rows downwards: what faces the camera runs the other way round in them.
    facing = _cross(b - a, c - a) < 0
    inside = np.flatnonzero(facing & (weight >= 0).all(axis=1) & (depth[triangles] > 0).all(axis=1))
    if not len(inside):
        return None
    # In perspective a point halfway in the picture is not halfway on the edge.
    true = weight[inside] / depth[triangles[inside]]
    near = 1 / true.sum(axis=1)
    best = int(np.argmin(near))
    weights = true[best] * near[best]
    corners = triangles[inside[best]]
    return Hit(tuple(map(int, corners)), tuple(map(float, weights)))  # type: ignore[arg-type]


def _cross(u: NDArray[np.floating], v: NDArray[np.floating]) -> NDArray[np.floating]:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
