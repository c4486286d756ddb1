# SPDX-License-Identifier: GPL-3.0-or-later
"""Orbit cameras around the head and the OpenGL matrices they stand for.

World: the backend head frame (metres, right handed, +Y up, +Z out of the face, +X the person's left).
Camera space: x right, y up, z toward the camera. Images are square with row 0 at the top.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Clip planes as multiples of the camera distance: a head is far smaller than its distance, so nothing is cut,
# and the ratio 100 leaves a float32 depth buffer much finer than a lip.
NEAR, FAR = 0.1, 10.0


@dataclass(frozen=True)
class Camera:
    """A camera on a sphere round ``target``.

    azimuth, elevation: degrees; azimuth 0 looks at the face, +90 sees the person's left side (+X), elevation +90 looks
    down on the crown. distance: metres from the target. fov: vertical angle of view in degrees. target: metres.
    """

    azimuth: float
    elevation: float
    distance: float
    fov: float
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)


def make_camera(azimuth: float, elevation: float, fov: float, frame: float, target: Sequence[float]) -> Camera:
    """A camera at the distance where `frame` metres at the target fill the picture's height."""
    distance = frame / 2 / math.tan(math.radians(fov) / 2)
    azimuth = (float(azimuth) + 180) % 360 - 180
    x, y, z = (float(t) for t in target)
    return Camera(azimuth, float(elevation), float(distance), float(fov), (x, y, z))


def _axes(cam: Camera) -> tuple[list[float], list[float], list[float]]:
    """Right, up and backward (target to camera) unit vectors; written out so that the poles need no special case."""
    az, el = math.radians(cam.azimuth), math.radians(cam.elevation)
    right = [math.cos(az), 0.0, -math.sin(az)]
    up = [-math.sin(el) * math.sin(az), math.cos(el), -math.sin(el) * math.cos(az)]
    back = [math.cos(el) * math.sin(az), math.sin(el), math.cos(el) * math.cos(az)]
    return right, up, back


def camera_positions(
    cams: Sequence[Camera], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Tensor:
    """Centres of projection in the world, (B,3) metres."""
    rows = [[t + cam.distance * b for t, b in zip(cam.target, _axes(cam)[2], strict=True)] for cam in cams]
    return torch.tensor(rows, dtype=dtype, device=device)


def view_matrix(cam: Camera) -> Tensor:
    """World to camera space, (4,4) float64."""
    rotation = torch.tensor(_axes(cam), dtype=torch.float64)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = -rotation @ camera_positions([cam], dtype=torch.float64)[0]
    return matrix


def projection_matrix(cam: Camera, near: float, far: float) -> Tensor:
    """Camera space to OpenGL clip space for a square image, (4,4) float64; near and far in metres."""
    focal = 1.0 / math.tan(math.radians(cam.fov) / 2.0)
    matrix = torch.zeros(4, 4, dtype=torch.float64)
    matrix[0, 0] = matrix[1, 1] = focal
    matrix[2, 2] = (near + far) / (near - far)
    matrix[2, 3] = 2.0 * near * far / (near - far)
    matrix[3, 2] = -1.0
    return matrix


def to_clip(vertices: Tensor, cams: Sequence[Camera]) -> Tensor:
    """Project vertices, (V,3) shared or (B,V,3) one set a view, to OpenGL clip coordinates (B,V,4); differentiable."""
    matrices = torch.stack(
        [projection_matrix(c, NEAR * c.distance, FAR * c.distance) @ view_matrix(c) for c in cams]
    ).to(vertices)
    return vertices @ matrices[:, :, :3].transpose(1, 2) + matrices[:, None, :, 3]


def rotate_to_camera(normals: Tensor, cams: Sequence[Camera]) -> Tensor:
    """Rotate world directions, (V,3) shared or (B,V,3), into each camera's space, (B,V,3)."""
    rotations = torch.stack([view_matrix(c)[:3, :3] for c in cams]).to(normals)
    return normals @ rotations.transpose(1, 2)
