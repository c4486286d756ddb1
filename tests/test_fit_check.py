# SPDX-License-Identifier: GPL-3.0-or-later
"""A fit judged: how well a photo was understood, who nobody is, and the finished head looked at once more."""

from dataclasses import replace

import numpy as np
import pytest

from idto3d.errors import UserError
from idto3d.fit.check import (
    COLOURLESS,
    FAIR,
    GOOD,
    LOOK_BACK,
    check_identity,
    judge,
    look_back,
    refuse_residual,
    weights_of,
)
from idto3d.fit.overlay import LINE, SIZE, overlay
from idto3d.fit.result import HeadFit, PhotoFit
from idto3d.headmodel import HeadModel
from tests.synthetic_face import EVEN_LIGHT, camera_of, face_of, landmarks_of, photograph


@pytest.mark.parametrize(
    ("residual", "yaw", "word"),
    [
        (0.5 * GOOD, 0, "good"),
        (0.5 * GOOD, -20, "good"),
        (0.5 * GOOD, -40, "fair"),
        (0.5 * GOOD, 70, "poor"),
        (1.1 * GOOD, 0, "fair"),
        (1.1 * GOOD, 70, "poor"),
        (1.1 * FAIR, 0, "poor"),
    ],
)
def test_a_photo_is_judged_with_a_reason(tiny: HeadModel, residual: float, yaw: float, word: str) -> None:
    none = np.zeros(len(tiny.expression_names))
    photo = PhotoFit("a", camera_of(tiny, yaw), none, np.zeros_like(tiny.neutral), EVEN_LIGHT, residual, 1.0)
    verdict, cut = judge(photo), judge(replace(photo, cut=True))
    assert verdict.word == word and bool(verdict.reason) == (word != "good")
    assert cut.word == ("fair" if word == "good" else word) and cut.reason


@pytest.mark.parametrize(
    ("identity", "known"), [([0.5, -0.5], True), ([2.0, 2.0], False), ([6.0] + [0.0] * 99, False), ([np.nan], False)]
)
def test_who_nobody_is(identity: list[float], known: bool) -> None:
    fit = HeadFit(np.array(identity), np.zeros((1, 3)), np.zeros(1), ())
    if known:
        check_identity(fit)
    else:
        with pytest.raises(UserError) as refused:
            check_identity(fit)
        assert refused.value.code == "E_FIT_IMPLAUSIBLE"


def test_a_photo_counts_by_its_residual_and_its_own_pixels_on_the_face(tiny: HeadModel) -> None:
    camera, posed = camera_of(tiny), tiny.neutral.astype(np.float64)
    face = face_of(tiny, camera, posed)
    enlarged = replace(face, to_picture=3.0 * face.to_picture)
    farther = camera_of(tiny, size=len(face.picture) // 2)
    assert weights_of([enlarged], [camera], [GOOD])[0] == pytest.approx(0.5)  # alone it is the finest
    weights = weights_of([face, enlarged, face, face], [camera, camera, farther, camera], [0.0, 0.0, 0.0, GOOD])
    np.testing.assert_allclose(weights, [1, 1 / 9, 1 / 4, 0.5])
    # a photo without colours counts little beside one that has them, even if that is small
    grey = replace(face, grey=True)
    np.testing.assert_allclose(weights_of([grey, face], [camera, farther], [0.0, 0.0]), [4 * COLOURLESS, 1])
    np.testing.assert_allclose(weights_of([grey, grey], [camera, farther], [0.0, 0.0]), [1, 1 / 4])


def test_what_is_said_of_a_photo_that_does_not_fit() -> None:
    error = refuse_residual("holiday.jpg", 0.0123)
    assert error.code == "E_FIT_RESIDUAL" and "holiday.jpg" in str(error) and "12.3 mm" in str(error) and error.fix


def test_the_head_that_was_made_is_recognised(tiny: HeadModel) -> None:
    neutral, camera = tiny.neutral.astype(np.float64), camera_of(tiny)
    there = landmarks_of(tiny, camera, neutral)[0]
    picture = np.zeros((8, 8, 3), np.uint8)
    assert look_back(tiny, neutral, camera, picture, lambda p: there) < 0.001
    assert look_back(tiny, neutral, camera, picture, lambda p: there + [9.0, -4.0]) < 0.001  # found a little beside
    rng = np.random.default_rng(0)
    height = float(np.ptp(there[:468, 1]))
    turn = rng.uniform(0, 2 * np.pi, 478)
    around = LOOK_BACK * height * np.c_[np.cos(turn), np.sin(turn)]
    assert look_back(tiny, neutral, camera, picture, lambda p: there + 0.5 * around) > 0.2 * LOOK_BACK
    with pytest.raises(UserError) as refused:
        look_back(tiny, neutral, camera, picture, lambda p: there + 2.0 * around)
    assert refused.value.code == "E_FIT_LOOK_BACK"
    with pytest.raises(UserError):
        look_back(tiny, neutral, camera, picture, lambda p: None)


def test_the_overlay_lies_on_the_face(tiny: HeadModel) -> None:
    posed, camera = tiny.neutral.astype(np.float64), camera_of(tiny, 15)
    picture, person = photograph(tiny, camera, posed)
    face = face_of(tiny, camera, posed, picture, person=person)
    out = overlay(tiny, face, camera, posed)
    assert out.shape == (SIZE, SIZE, 3) and out.dtype == np.uint8
    x, y = np.rint((landmarks_of(tiny, camera, posed)[0][152] + 0.5) * SIZE / len(picture) - 0.5).astype(int)
    assert np.abs(out[y - 6 : y + 3, x].astype(int) - LINE).sum(1).min() < 120  # the outline runs through the chin
    behind = np.abs(np.mgrid[:SIZE, :SIZE][1] - SIZE / 2) > 0.48 * SIZE
    assert np.ptp(out[behind], axis=0).max() <= 1  # and nothing is drawn beside the head
