# SPDX-License-Identifier: GPL-3.0-or-later
"""Coordinates around a head, and smooth maps over them."""

import numpy as np
import pytest

from idto3d.volume.hood import PIXEL, Hood, fit_hood, flatten_skin, read_map
from idto3d.volume.spread import SmoothMap
from tests.tiny_head import AXES, tiny_head_model

HOOD = Hood(np.array([0.0, 0.02, 0.0]), 0.1, 0.4)


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((0.0, 0.17, 0.0), (0.0, 0.0, 0.15)),  # above the crown
        ((0.0, 0.02, 0.12), (0.0, 0.05 * np.pi, 0.12)),  # straight ahead
        ((0.09, -0.08, 0.0), (0.5 * np.pi, 0.05 * np.pi + 0.1, 0.09)),  # ten centimetres below, on the person's left
        ((0.0, 0.02 + 0.1 / 2**0.5, -0.1 / 2**0.5), (np.pi, 0.025 * np.pi, 0.1)),  # behind, half way up
    ],
)
def test_coordinates(point: tuple[float, ...], expected: tuple[float, ...]) -> None:
    found = HOOD.coordinates(np.array([point]))
    np.testing.assert_allclose([float(c[0]) for c in found], expected, atol=1e-12)
    np.testing.assert_allclose(HOOD.point(*found)[0], point, atol=1e-12)


def test_maps_have_the_crown_in_the_middle_and_the_face_below() -> None:
    middle = HOOD.side // 2
    column, row = HOOD.place(np.array([0.0, 0.5 * np.pi]), np.array([0.1, 0.1]))
    np.testing.assert_allclose(column, [middle, middle + 0.1 / PIXEL], atol=1e-4)
    np.testing.assert_allclose(row, [middle + 0.1 / PIXEL, middle], atol=1e-4)


def test_skin_is_flattened_to_its_radius() -> None:
    model = tiny_head_model(96, 64, eyes=False)
    hood = fit_hood(model, model.neutral.astype(np.float64), -0.1)
    skin = flatten_skin(hood, model, model.neutral.astype(np.float64))
    column, row = hood.place(np.array([[0.5 * np.pi, np.pi]]), np.array([[hood.equator, hood.equator]]))
    level = np.sqrt(1 - (hood.centre[1] / AXES[1]) ** 2)
    np.testing.assert_allclose(
        read_map(skin.outer, column, row)[0],
        [AXES[0] * np.sqrt(1 - (hood.centre[1] / AXES[1]) ** 2 - (hood.centre[2] / AXES[2]) ** 2),
         AXES[2] * level + hood.centre[2]], atol=0.002,
    )  # fmt: skip
    over = hood.map_coordinates()[1] < hood.equator
    np.testing.assert_allclose(skin.outer[over], skin.inner[over], atol=0.004)


def test_a_spread_map_keeps_what_is_known_and_goes_evenly_between() -> None:
    spread = SmoothMap(HOOD)
    down = np.full(72, 0.1)
    turn = np.linspace(-np.pi, np.pi, 72, endpoint=False) + 0.01
    even = spread(turn, down, np.full(72, 0.02), np.ones(72), (0.004, 0.01), 0.02)
    np.testing.assert_allclose(even, 0.02, atol=1e-5)
    known = np.array([0.5 * np.pi, -0.5 * np.pi])
    uneven = spread(known, np.full(2, 0.12), np.array([0.01, 0.03]), np.ones(2), (0.004, 0.0), 0.02)
    where = HOOD.place(np.array([[0.5 * np.pi, np.pi, -0.5 * np.pi]]), np.full((1, 3), 0.12))
    left, back, right = read_map(uneven, *where)[0]
    assert left < back < right and left < 0.017 and right > 0.023
