# SPDX-License-Identifier: GPL-3.0-or-later
"""The photo's camera against values worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from idto3d.fit.camera import PhotoCamera
from idto3d.fit.visibility import draw_depth, resized
from tests.synthetic_face import camera_of
from tests.tiny_head import tiny_head_model

# a metre in front of a point 2 m up: a metre there is 1000 pixels
FRONT = PhotoCamera(np.eye(3), np.array([0.0, 2.0, 0.0]), 1000.0, np.array([100.0, 50.0]), 1.0)
C, S = np.cos(np.radians(30)), np.sin(np.radians(30))


@pytest.mark.parametrize(
    ("point", "pixel", "height"),
    [
        ((0, 2, 0), (100, 50), 0.0),
        ((0.1, 2.2, 0), (200, -150), 0.0),  # to the right, and up the picture
        ((0.1, 2.2, 0.5), (300, -350), 0.5),  # half way to the camera: twice as large
        ((0.1, 2.2, -1.0), (150, -50), -1.0),
    ],
)
def test_points_become_pixels(point: tuple[float, ...], pixel: tuple[float, ...], height: float) -> None:
    at, z = FRONT.project(np.array(point, float))
    np.testing.assert_allclose(at, pixel)
    assert z == pytest.approx(height)


def test_where_the_camera_is() -> None:
    np.testing.assert_allclose(FRONT.position, [0, 2, 1])
    aside = replace(FRONT, rotation=np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]), inverse_distance=0.5)
    np.testing.assert_allclose(aside.position, [-2, 2, 0])  # it looks to the picture's right: we see its right
    np.testing.assert_allclose(aside.towards(np.array([0.0, 2, 0])), [-1, 0, 0], atol=1e-12)
    assert FRONT.focal == 1000 and aside.focal == 2000


@pytest.mark.parametrize(
    ("rotation", "angles"),
    [
        ([[C, 0, S], [0, 1, 0], [-S, 0, C]], (30, 0, 0)),
        ([[1, 0, 0], [0, C, S], [0, -S, C]], (0, 30, 0)),
        ([[C, S, 0], [-S, C, 0], [0, 0, 1]], (0, 0, 30)),
        ([[-1, 0, 0], [0, -1, 0], [0, 0, 1]], (0, 0, 180)),
    ],
)
def test_angles_have_signs_as_seen(rotation: list[list[float]], angles: tuple[float, ...]) -> None:
    camera = replace(FRONT, rotation=np.array(rotation))
    np.testing.assert_allclose(np.abs(camera.angles) if 180 in angles else camera.angles, angles, atol=1e-9)
    ahead, above = camera.project(camera.centre + [[0, 0, 0.1], [0, 0.1, 0]])[0] - camera.shift
    yaw, pitch, roll = angles
    assert np.sign(round(ahead[0], 6)) == np.sign(yaw)  # a nose that points to the picture's right
    assert np.sign(round(-ahead[1], 6)) == np.sign(pitch)  # and up
    if roll == 30:
        assert above[0] > 0 > above[1]  # the crown leans to the right: clockwise


def test_synthetic_cameras_are_turned_as_they_say() -> None:
    camera = camera_of(tiny_head_model(), yaw=-40, pitch=15, roll=100)
    np.testing.assert_allclose(camera.angles, (-40, 15, 100), atol=1e-9)


def test_the_clip_matrix_draws_where_points_project() -> None:
    size = 200
    camera = camera_of(tiny_head_model(), 25, -10, 5, size=size)
    points = camera.centre + np.random.default_rng(0).uniform(-0.1, 0.1, (50, 3))
    clip = np.c_[points, np.ones(50)] @ camera.clip_matrix(size).T
    ndc = clip[:, :3] / clip[:, 3:]
    pixel, height = camera.project(points)
    np.testing.assert_allclose((ndc[:, 0] + 1) * size / 2 - 0.5, pixel[:, 0], atol=1e-9)
    np.testing.assert_allclose((1 - ndc[:, 1]) * size / 2 - 0.5, pixel[:, 1], atol=1e-9)
    assert (np.diff(ndc[np.argsort(height), 2]) < 0).all()  # nearer is smaller
    distance = 1 / camera.inverse_distance
    np.testing.assert_allclose(clip[:, 3], distance - height)
    at = camera.position + np.outer([0.1 * distance, 10 * distance], camera.rotation.T @ [0, 0, -1])
    near, far = np.c_[at, [1, 1]] @ camera.clip_matrix(size).T
    assert near[2] / near[3] == pytest.approx(-1) and far[2] / far[3] == pytest.approx(1)


def test_a_picture_of_half_the_pixels() -> None:
    camera = resized(FRONT, 0.5)
    pixel = np.array([[0.1, 2.2, 0.3], [-0.2, 2.0, 0.1]])
    before, after = FRONT.project(pixel)[0], camera.project(pixel)[0]
    np.testing.assert_allclose(after + 0.5, (before + 0.5) / 2)  # edges of pixels, not centres, are what is halved


def test_depth_is_that_of_the_frontmost() -> None:
    """A square before a larger one, 3 cm apart."""
    square = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    vertices = np.concatenate([0.05 * square, 0.02 * square + [0, 0, 0.03]]) + FRONT.centre
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    camera = replace(FRONT, shift=np.array([63.5, 63.5]))
    drawn = draw_depth(camera, vertices, triangles, 128)
    assert drawn.height[64, 64] == pytest.approx(0.03, abs=1e-5) and drawn.triangle[64, 64] >= 2
    assert drawn.height[64, 64 + 40] == pytest.approx(0.0, abs=1e-5) and drawn.triangle[64, 64 + 40] < 2
    assert drawn.height[64, 64 + 55] == -np.inf and drawn.triangle[64, 64 + 55] == -1
    columns = np.flatnonzero(drawn.triangle[64] >= 2)  # 2 cm at 0.97 m
    assert columns[0] == 43 and columns[-1] == 84
