# SPDX-License-Identifier: GPL-3.0-or-later
"""A beard of the chin goes on below the face's outline and where nobody sees; collars and shadows are no beard."""

import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.evidence.beards import SPREAD, beard_colour, beard_of, beyond, hairs_of, jaw_of
from idto3d.evidence.gather import material_texels
from tests.tiny_head import tiny_head_model

MODEL = tiny_head_model(96, 64)
AT = material_texels(MODEL, MODEL.materials[0], 256)
TONE = np.array([0.5, 0.3, 0.2])
WHITE = np.array([0.75, 0.72, 0.7])
BLACK, SHADOW = np.array([0.05, 0.04, 0.03]), np.array([0.15, 0.02, 0.02])
MARKS = MODEL.landmarks(MODEL.neutral)
POINTS = AT.at(MODEL.neutral)
CHIN = MARKS[152, 1]
JAW = AT.at(jaw_of(MODEL))
FRONT = POINTS[:, 2] > 0
INSIDE = (FRONT & (POINTS[:, 1] > CHIN)).astype(np.float32)
METRES = float(np.median(np.linalg.norm(np.diff(AT.image(POINTS)[128], axis=0), axis=1)))


def painted(colour: Array, where: Array) -> Array:
    return np.where(where[:, None], colour, TONE).astype(np.float32)


def unseen_beard(picture: Array, seen: Array = INSIDE) -> Array:
    """(N,) 0..1: where a beard goes on; nowhere, if there is none."""
    layers = [(AT.image(picture), AT.image(seen))]
    if hairs_of(AT, layers, TONE, JAW) is None:
        return np.zeros(len(seen))
    return beyond(AT, layers, [(picture, seen)], TONE, JAW, METRES)


def lower_face(low: float) -> Array:
    """(N,) bool: from the nose down to a height."""
    return FRONT & (POINTS[:, 1] < MARKS[2, 1]) & (POINTS[:, 1] > low)


@pytest.mark.parametrize("colour", [BLACK, WHITE], ids=["black", "white"])
def test_a_beard_goes_on_below_the_outline_and_no_farther_than_beards_do(colour: Array) -> None:
    found = beard_of(AT, painted(colour, lower_face(CHIN - 0.2)), TONE, INSIDE, JAW)
    below = FRONT & (POINTS[:, 1] < CHIN)
    near = below & (JAW[:, 0] > 0.99)
    assert near.any() and found[near].mean() > 0.9
    assert (found <= JAW[:, 2]).all() and JAW[below, 2].min() < 0.5


@pytest.mark.parametrize("colour", [TONE, SHADOW], ids=["clean", "shadow"])
def test_without_a_beard_on_the_chin_nothing_beard_of(colour: Array) -> None:
    collar = FRONT & (POINTS[:, 1] < CHIN - 0.002)
    picture = np.where(collar[:, None], BLACK, painted(colour, lower_face(CHIN - 0.002))).astype(np.float32)
    assert beard_of(AT, picture, TONE, INSIDE, JAW).max() == 0
    assert unseen_beard(picture).max() == 0


def test_shade_that_fades_over_the_chin_is_no_beard() -> None:
    """As dark as a beard where it is darkest, but all of it is border."""
    depth = np.clip((MARKS[2, 1] - POINTS[:, 1]) / (MARKS[2, 1] - CHIN), 0, 1)[:, None] * FRONT[:, None]
    picture = (TONE * (BLACK / TONE) ** (0.36 * depth)).astype(np.float32)
    assert beard_colour(AT.image(picture), TONE).max() > 0.8
    assert beard_of(AT, picture, TONE, INSIDE, JAW).max() == 0
    assert unseen_beard(picture).max() == 0


def test_a_collar_apart_from_the_beard_is_none_of_it() -> None:
    beard = lower_face(CHIN + 0.008)
    collar = FRONT & (POINTS[:, 1] < CHIN)
    found = beard_of(AT, painted(BLACK, beard | collar), TONE, INSIDE, JAW)
    assert found[beard & (JAW[:, 0] > 0.99)].mean() > 0.8
    assert collar.sum() > 50 and found[collar].max() == 0


def test_what_is_not_seen_has_the_beard_beside_it_in_the_colour_of_its_hairs() -> None:
    rng = np.random.default_rng(0)
    picture = painted(BLACK, lower_face(CHIN))
    between = lower_face(CHIN) & (rng.random(len(picture)) < 0.3)
    picture[between] = 0.4 * TONE
    cover, hairs = unseen_beard(picture), hairs_of(AT, [(AT.image(picture), AT.image(INSIDE))], TONE, JAW)
    unseen = FRONT & (INSIDE == 0) & (JAW[:, 0] > 0.99)
    assert cover[unseen].mean() > 0.6
    assert hairs is not None
    np.testing.assert_allclose(hairs[0], BLACK, atol=0.01)
    assert hairs[1] == pytest.approx(SPREAD[1]), "skin shows between the hairs"
    assert (cover <= np.maximum(JAW[:, 0], JAW[:, 5]) + 1e-6).all()
    assert unseen_beard(picture, 0.4 * INSIDE).max() == 0


@pytest.mark.parametrize("full", [True, False], ids=["full", "goatee"])
def test_before_the_ears_grows_what_covers_the_jaws_corners(full: bool) -> None:
    burns = JAW[:, 4] > 0.99
    within = lower_face(CHIN) if full else lower_face(CHIN) & (np.abs(POINTS[:, 0]) < 0.6 * np.abs(MARKS[172, 0]))
    cover = unseen_beard(painted(BLACK, within), INSIDE * ~burns)
    assert burns.sum() > 50
    assert cover[burns].mean() > 0.7 if full else cover[burns].max() < 0.1
