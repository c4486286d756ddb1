# SPDX-License-Identifier: GPL-3.0-or-later
"""Where hair ends beside the face: before an ear that is covered, behind one that is seen, and as skin shows it."""

from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.volume.hairline import Curtain, SkinSeen, find_border, find_curtain, see_skin, with_better_temple
from idto3d.volume.hood import PIXEL, fit_hood, flatten_skin, read_map
from idto3d.volume.observe import RIM
from idto3d.volume.shape import _behind
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
    return SkinSeen(np.where(place, value, 0.0), place.astype(float), NOTHING, NOTHING)


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
    seen = SkinSeen(np.where(cheek, -0.02, seen.value), np.where(cheek, 1.0, seen.weight), NOTHING, NOTHING)
    assert at(border(seen, 0.15), 70, 0.06) < 0 < at(border(seen, 0.15), 88, 0.06)


def test_an_ear_that_is_turned_away_is_as_the_other_unless_hair_is_seen_beside_it() -> None:
    seen = ear(1.0, -0.02)
    assert at(border(seen, 0.15), -85, 0.08) < 0
    outline = np.full(30, -1.5), np.full(30, HOOD.equator + 0.05)
    assert at(border(seen, 0.15, outline), -85, 0.08) > 0


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_lock_before_the_shoulder_is_one_with_the_hair_behind_it(side: float) -> None:
    """Seen: a lock that hung in the air below an ear. It reaches no farther than strands come from behind the ear."""
    seen, away = ear(side, -0.02), np.degrees(np.abs(TURN))
    lock = (TURN * side > 0) & (away > 60) & (away < 72) & (np.abs(DOWN - HOOD.equator - 0.11) < 0.03)
    shown = SkinSeen(np.where(lock, 0.01, seen.value), np.where(lock, 1.0, seen.weight), NOTHING, NOTHING)
    inside = border(shown, 0.15)
    assert at(border(seen, 0.15), side * 85, 0.12) < 0
    assert all(at(inside, side * degrees, 0.12) > 0 for degrees in (70, 85, 100, 130))
    assert at(inside, side * 62, 0.085) < 0 < at(inside, side * 95, 0.1)
    neck = (TURN * side > 0) & (away > 76) & (away < 92) & (DOWN > HOOD.equator + 0.08)
    bare = SkinSeen(np.where(neck, -0.02, shown.value), np.where(neck, 1.0, shown.weight), NOTHING, NOTHING)
    assert at(border(bare, 0.15), side * 84, 0.12) < 0


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_hair_that_has_gone_behind_a_shoulder_comes_forward_no_more(side: float) -> None:
    """Seen: hair in front of the ear's line above and below, and in between a bare shoulder up to that line, or not."""
    away, below = np.degrees(np.abs(TURN)), DOWN - HOOD.equator
    front = (TURN * side > 0) & (away > 50) & (away < 98)
    hair = front & (away > 72) & (below > 0.06) & (below < 0.2)
    shoulder = front & (below > 0.115) & (below < 0.14)
    covered = SkinSeen(np.where(hair, 0.01, 0.0), hair.astype(float), NOTHING, NOTHING)
    bare = SkinSeen(
        np.where(shoulder, -0.02, covered.value), np.maximum(hair, shoulder).astype(float), NOTHING, NOTHING
    )
    before, after = (border(seen, 0.19) for seen in (covered, bare))
    assert at(before, side * 78, 0.1) > 0 and at(after, side * 78, 0.1) > 0
    assert at(before, side * 78, 0.17) > 0 > at(after, side * 78, 0.17)
    assert at(after, side * 130, 0.17) > 0


def test_a_temple_that_is_turned_away_has_the_hairline_of_the_other_if_hair_is_short() -> None:
    left = TURN > 0
    seen = SkinSeen(np.where(left, 0.01, -0.02), NOTHING + 0.5, np.where(left, 0.25, 0.75), NOTHING)
    short, long = (with_better_temple(HOOD, seen, NOTHING + k) for k in (0.0, 1.0))
    np.testing.assert_allclose(at(short.value, 60, 0.0), 0.01 - 0.5 * 0.03, atol=1e-4)
    np.testing.assert_allclose([at(long.value, 60, 0.0), at(short.value, 60, -0.07)], 0.01, atol=1e-4)
    np.testing.assert_allclose(at(short.value, -60, 0.0), -0.02, atol=1e-4)


def test_borders_have_no_steps() -> None:
    """Beside what is seen the border goes on: its distance changes no faster than places lie apart, roughly."""
    seen = ear(1.0, -0.05)
    place = (seen.weight > 0).astype(np.uint8)
    rim = cv2.dilate(place, np.ones((5, 5))) > cv2.erode(place, np.ones((5, 5)))
    slope = np.hypot(*np.gradient(border(seen, 0.15), PIXEL))
    assert rim.sum() > 100 and np.quantile(slope[rim], 0.9) < 3.0


def test_outlines_of_many_photos_are_read() -> None:
    """More points than OpenCV takes in one row."""
    turn = np.linspace(-3.0, 3.0, 40_000)
    over, front, end, long = (NOTHING + value for value in (0.0, 90.0, HOOD.reach, 1.0))
    moved, _, _ = _behind(HOOD, Curtain(over, front, end, long), turn, 0 * turn + HOOD.equator + 0.1, 0 * turn + 0.1)
    np.testing.assert_allclose(np.abs(moved), np.maximum(np.abs(turn), np.pi / 2), atol=1e-5)


class Facing:
    """A photo from the front in which all skin is seen, bare or covered, metres within the head's edge."""

    def __init__(self, outline: float = 0.02, within: float = 0.05) -> None:
        self.view, self.rim = SimpleNamespace(within=within), RIM
        self._outline = outline

    def look_at(self, points: Array) -> tuple[Array, Array]:
        return np.ones(points.shape[:2], bool), np.full(points.shape[:2], self._outline)

    def shows_skin(self, points: Array) -> Array:
        return np.ones(points.shape[:2], bool)

    def sample(self, image: float, points: Array) -> tuple[Array, Array]:
        return np.full(points.shape[:2], image), np.zeros(points.shape[:2])

    camera = SimpleNamespace(towards=lambda points: np.broadcast_to([0.0, 0.0, 1.0], points.shape))


def look(*photos: Facing) -> SkinSeen:
    return see_skin(HOOD, np.full(TURN.shape, 0.09), SCALP, [cast(Any, photo) for photo in photos])


def test_skin_seen_edge_on_is_not_called_bare() -> None:
    """Round a pillar the cosine to the camera is that of the way round: .34 at 70 degrees, .09 at 85."""
    seen = look(Facing())
    assert at(seen.weight, 40.0, 0.05) > 0.9
    assert at(seen.weight, 70.0, 0.05) > 0.5
    assert at(seen.weight, 88.0, 0.05) < 0.1


def test_hair_at_the_edge_of_a_face_is_behind_it_and_at_the_edge_of_the_scalp_on_it() -> None:
    lock, behind = look(Facing(outline=-0.002)), look(Facing(outline=-0.002, within=0.003))
    assert at(lock.weight, 30.0, 0.05) > 0.9 and at(behind.weight, 30.0, 0.05) == 0
    assert not SCALP[HOOD.side // 2 + 40, HOOD.side // 2] or at(behind.weight, 30.0, -0.1) > 0.9
    assert at(lock.rim, 30.0, 0.05) == pytest.approx(RIM, rel=0.1), "the photo draws its border"
    assert at(look(Facing(), Facing()).rim, 30.0, 0.05) == pytest.approx(RIM, rel=0.1), "of two photos, too"
