# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera conventions that every other part of the product relies on."""

import math

import pytest
import torch
from torch import Tensor

from idto3d.render.cameras import Camera, camera_positions, projection_matrix, rotate_to_camera, to_clip, view_matrix
from idto3d.render.raster import rasterize


def ndc(point: tuple[float, float, float], cam: Camera) -> Tensor:
    clip = to_clip(torch.tensor([point]), [cam])[0, 0]
    return clip[:3] / clip[3]


@pytest.mark.parametrize(
    ("azimuth", "elevation", "expected"),
    [
        (0.0, 0.0, (0.0, 0.0, 2.0)),  # in front of the face
        (90.0, 0.0, (2.0, 0.0, 0.0)),  # the person's left side
        (180.0, 0.0, (0.0, 0.0, -2.0)),
        (0.0, 90.0, (0.0, 2.0, 0.0)),  # over the crown
        (45.0, -30.0, (math.sqrt(1.5), -1.0, math.sqrt(1.5))),
    ],
)
def test_positions(azimuth: float, elevation: float, expected: tuple[float, float, float]) -> None:
    cam = Camera(azimuth, elevation, 2.0, 30.0, (0.1, -0.2, 0.3))
    position = camera_positions([cam])[0] - torch.tensor(cam.target)
    torch.testing.assert_close(position, torch.tensor(expected), atol=1e-6, rtol=0)
    # The camera is the origin of its own space, and the target lies on its axis.
    world = torch.cat([camera_positions([cam])[0].double(), torch.ones(1)])
    torch.testing.assert_close((view_matrix(cam) @ world)[:3], torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(ndc(cam.target, cam)[:2], torch.zeros(2), atol=1e-6, rtol=0)


def test_front_view_shows_the_left_side_on_the_right_and_up_is_up() -> None:
    cam = Camera(0.0, 0.0, 1.0, 30.0)
    assert ndc((0.1, 0.0, 0.0), cam)[0] > 0.2
    assert ndc((0.0, 0.1, 0.0), cam)[1] > 0.2
    assert ndc((0.0, 0.0, 0.1), cam)[2] < ndc((0.0, 0.0, 0.0), cam)[2]


def test_side_view_sees_the_left_side() -> None:
    # Two patches at the person's left and right; from +90 only the left one is visible.
    y, z = torch.tensor([-0.05, 0.05, 0.05, -0.05]), torch.tensor([-0.05, -0.05, 0.05, 0.05])
    patch = torch.stack([torch.full((4,), 0.1), y, z], dim=1)
    vertices = torch.cat([patch, patch * torch.tensor([-1.0, 1.0, 1.0])])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    cams = [Camera(90.0, 0.0, 1.0, 20.0), Camera(-90.0, 0.0, 1.0, 20.0)]
    seen = rasterize(to_clip(vertices, cams), faces, 32).tri_id
    assert set(seen[0].unique().tolist()) == {-1, 0, 1}
    assert set(seen[1].unique().tolist()) == {-1, 2, 3}
    # From the person's left the nose (+Z) points to the left of the picture.
    assert ndc((0.0, 0.0, 0.1), cams[0])[0] < 0


def test_field_of_view_is_vertical_and_whole() -> None:
    cam = Camera(0.0, 0.0, 1.0, 40.0)
    assert float(ndc((0.0, math.tan(math.radians(20.0)), 0.0), cam)[1]) == pytest.approx(1.0, abs=1e-6)


def test_near_and_far_planes() -> None:
    projection = projection_matrix(Camera(0.0, 0.0, 1.0, 40.0), 0.5, 4.0)
    for depth, expected in ((0.5, -1.0), (4.0, 1.0)):
        clip = projection @ torch.tensor([0.0, 0.0, -depth, 1.0], dtype=torch.float64)
        assert float(clip[2] / clip[3]) == pytest.approx(expected)


def test_rotation_to_camera_space() -> None:
    cams = [Camera(0.0, 0.0, 1.0, 30.0), Camera(90.0, 0.0, 1.0, 30.0), Camera(0.0, 90.0, 1.0, 30.0)]
    rotated = rotate_to_camera(torch.eye(3), cams)
    assert rotated.shape == (3, 3, 3)
    # The direction to each camera becomes +z: out of the face, to the left, up.
    for b, axis in enumerate((2, 0, 1)):
        torch.testing.assert_close(rotated[b, axis], torch.tensor([0.0, 0.0, 1.0]), atol=1e-6, rtol=0)
    # From above with the face at the bottom of the picture.
    torch.testing.assert_close(rotated[2, 2], torch.tensor([0.0, -1.0, 0.0]), atol=1e-6, rtol=0)


def test_vertices_shared_or_per_view() -> None:
    cams = [Camera(0.0, 0.0, 1.0, 30.0), Camera(50.0, 10.0, 1.5, 35.0)]
    points = torch.rand(7, 3, generator=torch.Generator().manual_seed(0))
    shared = to_clip(points, cams)
    assert shared.shape == (2, 7, 4)
    torch.testing.assert_close(shared, to_clip(torch.stack([points, points]), cams))
