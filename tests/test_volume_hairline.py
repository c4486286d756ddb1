# SPDX-License-Identifier: GPL-3.0-or-later
"""Where hair ends beside the face: before an ear that is covered, behind one that is seen, and as skin shows it."""

import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.volume.hairline import SkinSeen, find_border, find_curtain
from idto3d.volume.hood import PIXEL, fit_hood, flatten_skin, read_map
from tests.tiny_head import tiny_head_model

MODEL = tiny_head_model(96, 64)
HOOD = fit_hood(MODEL, MODEL.neutral, -0.25)
SCALP = flatten_skin(HOOD, MODEL, MODEL.neutral).scalp > 0.5
TURN, DOWN = HOOD.map_coordinates()
NOTHING = np.zeros((HOOD.side, HOOD.side))
NONE = np.zeros(0)


def at(values: Array, degrees: float, below: float) -> float:
    """A map's value at an angle from the front and metres below the equator."""
    column, row = HOOD.place(np.array([[np.radians(degrees)]]), np.array([[HOOD.equator + below]]))
    return float(read_map(values, column, row)[0, 0])


def ear(sign: float, value: float) -> SkinSeen:
    """A photo that shows one ear, bare or covered, and nothing else."""
    place = (TURN * sign > 1.4) & (TURN * sign < 2.0) & (np.abs(DOWN - HOOD.equator - 0.045) < 0.03)
    return SkinSeen(np.where(place, value, 0.0), place.astype(float))


def border(seen: SkinSeen, length: float, beside: tuple[Array, Array] = (NONE, NONE)) -> Array:
    end = np.full_like(NOTHING, HOOD.equator + length)
    curtain = find_curtain(HOOD, seen, end, np.full_like(NOTHING, float(length > 0.1)), beside)
    return find_border(HOOD, SCALP, seen, curtain, NOTHING + 0.01, NOTHING - 0.1)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_long_hair_hangs_behind_an_ear_that_is_seen(side: float) -> None:
    inside = border(ear(side, -0.02), 0.15)
    for below in (0.05, 0.08, 0.1, 0.13):
        assert all(at(inside, side * degrees, below) < 0 for degrees in (50, 70, 85))
        assert at(inside, side * 130, below) > 0
    assert at(inside, side * 150, 0.17) < 0 < at(inside, side * 150, 0.13)


def test_it_hangs_before_an_ear_that_is_covered_but_not_over_a_cheek_that_is_seen() -> None:
    seen = ear(1.0, 0.02)
    assert at(border(seen, 0.15), 70, 0.06) > 0.005
    cheek = (TURN > 0.5) & (TURN < np.radians(76)) & (DOWN > HOOD.equator)
    seen = SkinSeen(np.where(cheek, -0.02, seen.value), np.where(cheek, 1.0, seen.weight))
    assert at(border(seen, 0.15), 70, 0.06) < 0 < at(border(seen, 0.15), 88, 0.06)


def test_an_ear_that_is_turned_away_is_as_the_other_unless_hair_is_seen_beside_it() -> None:
    seen = ear(1.0, -0.02)
    assert at(border(seen, 0.15), -85, 0.08) < 0
    outline = np.full(30, -1.5), np.full(30, HOOD.equator + 0.05)
    assert at(border(seen, 0.15, outline), -85, 0.08) > 0


def test_borders_have_no_steps() -> None:
    """Beside what is seen the border goes on: its distance changes no faster than places lie apart, roughly."""
    inside = border(ear(1.0, -0.02), 0.15)
    slope = np.hypot(*np.gradient(inside, PIXEL))
    near = (np.abs(inside) < 0.01) & (DOWN < HOOD.reach - 0.02)
    assert near.sum() > 200 and np.quantile(slope[near], 0.95) < 3.0
