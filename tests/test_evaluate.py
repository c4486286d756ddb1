# SPDX-License-Identifier: GPL-3.0-or-later
"""The rulers: what they must ignore (pose, scale) and what they must see."""

import numpy as np
import pytest

from idto3d.evaluate.metrics import colour_difference, correlation, surface_error
from idto3d.mesh.attach import Surface


def _bumpy(seed: int, height: float) -> tuple[np.ndarray, np.ndarray]:
    """A 20 cm sheet with smooth bumps, metres."""
    n = 30
    x, y = np.meshgrid(np.linspace(-0.1, 0.1, n), np.linspace(-0.1, 0.1, n))
    phase = np.random.default_rng(seed).random(4) * 6
    z = 0.02 * np.cos(20 * x) * np.cos(17 * y) + height * np.sin(60 * x + phase[0]) * np.sin(50 * y + phase[1])
    i = np.arange(n * n).reshape(n, n)
    a, b, c, d = (k.reshape(-1) for k in (i[:-1, :-1], i[:-1, 1:], i[1:, 1:], i[1:, :-1]))
    return np.stack([x, y, z], -1).reshape(-1, 3), np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def test_surface_error_ignores_pose_and_scale() -> None:
    vertices, faces = _bumpy(0, 0.0)
    c, s = np.cos(0.05), np.sin(0.05)
    moved = 1.03 * vertices[::3] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T + [0.002, -0.001, 0.003]
    assert surface_error(moved, Surface(vertices, faces)) < 0.3


def test_surface_error_sees_shape_in_millimetres() -> None:
    flat, faces = _bumpy(0, 0.0)
    bumpy, _ = _bumpy(1, 0.003)
    error = surface_error(bumpy[::3], Surface(flat, faces))
    assert 0.5 < error < 1.5  # mean of 3 mm |sin sin| is 1.2 mm; the normal distance is a little less


def test_correlation_of_fields() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(100, 3))
    assert correlation(a, 2 * a) == pytest.approx(1.0)
    assert correlation(a, -a) == pytest.approx(-1.0)
    assert abs(correlation(a, rng.normal(size=(100, 3)))) < 0.3


def test_colour_difference_is_lab_distance_over_the_mask() -> None:
    black, white = np.zeros((2, 2, 3)), np.ones((2, 2, 3))
    mask = np.array([[True, False], [False, False]])
    assert colour_difference(black, white, mask) == pytest.approx(100.0, abs=0.1)
    half = black.copy()
    half[1, 1] = 1.0  # outside the mask
    assert colour_difference(half, black, mask) == 0.0
