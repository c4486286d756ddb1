# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a head stands: the neck's base, found in sections whose every width is known."""

import numpy as np
import pytest

from idto3d_blender.head import frame


def _tower(*rings: tuple[float, float, float]) -> np.ndarray:
    """(z, half width, y) -> a ring of four points each."""
    return np.array([(x * w, y + d, z) for z, w, y in rings for x, d in ((-1, 0), (1, 0), (0, -0.05), (0, 0.03))], "f4")


def test_neck_base_is_where_the_shoulders_begin() -> None:
    # Slices of one centimetre from -0.20 on. The narrowest is 6 cm to the side at -0.095; 8 cm are 1.33 times as much,
    # 9 cm at -0.125 are 1.5 times: the shoulders. Between them the lowest slice of the neck begins at -0.12.
    skin = _tower(
        (-0.2, 0.13, 0.0),
        *((z, 0.12, 0.0) for z in (-0.195, -0.185, -0.175, -0.165, -0.155, -0.145, -0.135)),
        (-0.125, 0.09, 0.0),
        (-0.115, 0.08, 0.02),
        (-0.105, 0.07, 0.02),
        (-0.095, 0.06, 0.02),
        *((z / 100 + 0.005, 0.08, 0.0) for z in range(-9, 15)),
    )
    assert frame.neck_base(skin) == pytest.approx((0.0, 0.01, -0.12), abs=1e-6)


def test_neck_base_without_shoulders_is_the_lowest_section() -> None:
    skin = _tower(*((z / 100 + 0.001, 0.02 + z / 1000, 0.0) for z in range(0, 20)))
    assert frame.neck_base(skin) == pytest.approx((0.0, -0.01, 0.001), abs=1e-6)


def test_vertices_of_named_parts() -> None:
    faces = np.array([(0, 1, 2, -1), (2, 3, 4, 5), (6, 7, 8, -1)], np.int32)
    part = np.array([0, 1, 2], np.int32)
    found = frame.vertices_of(faces, part, ("face", "hair", "back_head"), "back_head", "face", "none")
    assert found.tolist() == [0, 1, 2, 6, 7, 8]
