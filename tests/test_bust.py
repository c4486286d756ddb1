# SPDX-License-Identifier: GPL-3.0-or-later
"""A bust that stands, of a made-up one that is cut aslant."""

import numpy as np
import pytest

from idto3d.training.bust import level_bust

AROUND, ROWS = 24, 16
HIGH = 0.2


def slanted() -> tuple[np.ndarray, np.ndarray]:
    """A tube of ROWS+1 rings whose lower end is at -.02 before and at .02 behind, and whose narrower upper end, a
    shorter border, is level."""
    angle, up = np.meshgrid(np.arange(AROUND) * 2 * np.pi / AROUND, np.linspace(0, 1, ROWS + 1))
    low = -0.02 * np.cos(angle)
    radius = 0.1 - 0.04 * up
    points = np.stack([radius * np.sin(angle), low + up * (HIGH - low), radius * np.cos(angle)], -1).reshape(-1, 3)
    a = np.arange(AROUND * ROWS)
    b = a - a % AROUND + (a + 1) % AROUND
    return points, np.concatenate([np.c_[a, b, a + AROUND], np.c_[b, b + AROUND, a + AROUND]])


def test_its_longest_border_is_level_at_its_lowest() -> None:
    points, triangles = slanted()
    out = level_bust(points, triangles)
    assert out[:AROUND, 1] == pytest.approx(-0.02)
    assert out[:, [0, 2]] == pytest.approx(points[:, [0, 2]])


def test_rows_stay_in_order_and_what_is_farther_up_where_it_was() -> None:
    points, triangles = slanted()
    out = level_bust(points, triangles)
    assert (np.diff(out[:, 1].reshape(ROWS + 1, AROUND), axis=0) > 0).all()
    assert np.array_equal(out[points[:, 1] > 0.06], points[points[:, 1] > 0.06])
    moved = out[:, 1] < points[:, 1] - 1e-4
    assert moved[AROUND : 2 * AROUND].any()  # not the border alone


def test_a_level_one_stays_as_it_is() -> None:
    points, triangles = slanted()
    points[:AROUND, 1] = -0.02
    assert level_bust(points, triangles) == pytest.approx(points)
