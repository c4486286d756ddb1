# SPDX-License-Identifier: GPL-3.0-or-later
"""Roots of lashes are as dark as the photographs show them, and lie on the rims of the lids."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from idto3d.evidence.gather import material_texels
from idto3d.evidence.lashes import DARKEST, USUAL, Lashes, draw_lashes, measure_lashes
from idto3d.fit.projection import EYES
from idto3d.headmodel import HeadModel
from idto3d.mesh.texels import Texels

S = 400
SKIN = 0.4


def shown(upper: float, lower: float, radius: float, weight: float = 1.0, half: float = 0.8) -> Lashes:
    """What is measured of a picture with two eyes of this iris radius, pixels, whose rims have this lightness; half of
    their opening, in radii."""
    marks, picture = np.zeros((478, 2)), np.full((S, S, 3), SKIN, np.float32)
    for eye, iris, x in zip(EYES, (468, 473), (120, 280), strict=True):
        around = np.pi - np.arange(16) / 16 * 2 * np.pi  # from the outer corner below the eye and back above it
        marks[list(eye)] = np.c_[x + 2 * radius * np.cos(around), 200 + half * radius * np.sin(around)]
        rays = np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]])
        marks[iris : iris + 5] = np.array([x, 200]) + radius * rays
        for rim, light in ((eye[8:] + eye[:1], upper), (eye[:9], lower)):
            line = np.rint(marks[list(rim)]).astype(np.int32)
            cv2.polylines(picture, [line], False, [light * SKIN] * 3, max(1, round(0.25 * radius)))
    face, photo = SimpleNamespace(landmarks=marks, enlarged=1.0), SimpleNamespace(linear=picture)
    return measure_lashes([face], [photo], np.array([weight]))  # type: ignore[list-item]


def test_rims_are_as_dark_as_in_the_picture() -> None:
    dark, fair = shown(0.2, 0.5, 20.0), shown(0.8, 0.9, 20.0)
    assert dark.upper == pytest.approx(0.2, abs=0.05) and dark.lower == pytest.approx(0.5, abs=0.05)
    assert fair.upper > 0.65 and fair.lower > 0.8
    assert shown(0.01, 0.5, 20.0).upper >= DARKEST


def test_what_a_picture_cannot_tell_is_usual() -> None:
    for told in (shown(0.9, 0.9, 1.5), shown(0.9, 0.9, 20.0, weight=0.0), shown(0.2, 0.2, 20.0, half=0.15)):
        np.testing.assert_allclose([told.upper, told.lower], USUAL)


@pytest.fixture(scope="module")
def head(starter: HeadModel) -> tuple[HeadModel, Texels]:
    return starter, material_texels(starter, next(m for m in starter.materials if m.name == "skin"), 512)


def test_rims_are_drawn_where_the_lids_end_and_not_in_the_inner_corner(head: tuple[HeadModel, Texels]) -> None:
    model, at = head
    plain = np.full((512, 512, 3), SKIN, np.float32)
    share = draw_lashes(model, at, plain, Lashes(0.2, 0.6)).reshape(-1, 3)[at.index, 0] / SKIN
    points, marks = at.at(model.neutral), model.landmarks(model.neutral)

    def around(mark: int, reach: float = 0.001) -> float:
        return float(share[np.linalg.norm(points - marks[mark], axis=1) < reach].min())

    for upper, lower, inner in ((159, 145, 133), (386, 374, 362)):
        assert around(upper) == pytest.approx(0.2, abs=0.15)
        assert around(lower) == pytest.approx(0.6, abs=0.15)
        assert around(inner) > 0.8
    far = np.min([np.linalg.norm(points - marks[k], axis=1) for eye in EYES for k in eye], 0) > 0.006
    np.testing.assert_allclose(share[far], 1.0, rtol=1e-5)


def test_a_map_without_eyes_stays(head: tuple[HeadModel, Texels]) -> None:
    model, _ = head
    at = material_texels(model, next(m for m in model.materials if m.name == "head"), 64)
    plain = np.full((64, 64, 3), SKIN, np.float32)
    np.testing.assert_allclose(draw_lashes(model, at, plain, Lashes(0.2, 0.6)), plain, rtol=1e-3)
