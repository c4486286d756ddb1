# SPDX-License-Identifier: GPL-3.0-or-later
"""The person's outline: heads are drawn to it where nothing covers them, and never reach beyond it."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.fit import landmarks
from idto3d.fit.landmarks import fit_landmarks
from idto3d.fit.outline import COVER, find_outline, fit_outlines
from idto3d.headmodel import HeadModel, load_head_model
from idto3d.photos.faces import Face
from idto3d.pipeline import STARTER_PACK
from tests.synthetic_face import camera_of, face_of, photograph, with_exact_net

SIZE = 512
HAIR = (30, 60, 200)  # no skin has this colour


@pytest.fixture(scope="module")
def starter() -> HeadModel:
    return with_exact_net(load_head_model(STARTER_PACK / "head.safetensors"))


def portrait(model: HeadModel, posed: Array, grown: float = 0.0, cover: bool = False) -> Face:
    """A photograph whose person reaches metres further out than the head; cover: by something that is not skin."""
    camera = camera_of(model, 5, size=SIZE)
    picture, person = photograph(model, camera, posed, size=SIZE)
    mask = cv2.resize(person.astype(np.float32), (4 * SIZE, 4 * SIZE)) > 0.5
    pixels = int(round(4 * abs(grown) * camera.scale))
    if pixels:
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
        mask = (cv2.dilate if grown > 0 else cv2.erode)(mask.astype(np.uint8), disk) > 0
    wide = cv2.resize(mask.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    added = (wide > 0.5) & ~person
    colour = HAIR if cover else np.median(picture[person], axis=0)
    picture = np.where(added[..., None], np.asarray(colour, np.uint8), picture)
    return face_of(model, camera, posed, picture, person=wide)


def beyond(model: HeadModel, face: Face, posed: Array) -> Any:
    found = find_outline(model, face, camera_of(model, 5, size=SIZE), posed)
    assert found is not None and len(found.beyond) > 100
    return found


def test_it_is_found_where_it_is(starter: HeadModel) -> None:
    posed = starter.neutral.astype(np.float64)
    for grown in (-0.008, 0.0, 0.006):
        found = beyond(starter, portrait(starter, posed, grown), posed)
        assert np.median(found.beyond) == pytest.approx(grown, abs=0.0006)
        assert np.percentile(np.abs(found.beyond - np.median(found.beyond)), 80) < 0.0015
        np.testing.assert_allclose(np.linalg.norm(found.normal, axis=1), 1, atol=1e-5)


def test_what_is_not_skin_covers(starter: HeadModel) -> None:
    posed = starter.neutral.astype(np.float64)
    bare = beyond(starter, portrait(starter, posed, 0.006), posed)
    covered = beyond(starter, portrait(starter, posed, 0.006, cover=True), posed)
    sides = [found.bare[~found.scalp].mean() for found in (bare, covered)]
    assert sides[0] > 0.9 and sides[1] < 0.1


def width(model: HeadModel, posed: Array) -> float:
    """Metres across the head over the ears."""
    rows = model.scalp > 0.5
    return float(np.ptp(posed[rows, 0]))


@pytest.fixture(autouse=True)
def doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A net without errors in common, but with landmarks as doubtful as those make them."""
    monkeypatch.setattr(landmarks, "SIGMA", 0.003)


def fitted(model: HeadModel, face: Face) -> tuple[Any, Any]:
    before = fit_landmarks(model, [face])
    return before, fit_outlines(model, [face], before)


def test_a_skull_beyond_its_person_is_drawn_in(starter: HeadModel) -> None:
    """Landmarks of the mean head, and a person whose skull ends a centimetre earlier."""
    face = portrait(starter, starter.neutral.astype(np.float64), -0.01)
    before, after = fitted(starter, face)
    assert width(starter, starter.shape(after.identity)) < width(starter, starter.shape(before.identity)) - 0.003
    assert after.residual[0] < before.residual[0] + 0.0008


def test_what_is_held_before_a_cheek_draws_no_head_in(starter: HeadModel) -> None:
    """Seen: a phone, a cup or a ball, whose edge in the person's mask was taken for the head's outline."""
    face = portrait(starter, starter.neutral.astype(np.float64), 0.0)
    y, x = np.mgrid[:SIZE, :SIZE]
    metres = camera_of(starter, 5, size=SIZE).scale
    edge = face.landmarks[[234, 93, 132]].mean(0)
    held = np.hypot(x - edge[0], y - edge[1]) < 0.03 * metres
    holding = replace(face, person=np.where(held, 0.0, face.person).astype(np.float32))
    plain, with_it = (starter.shape(fitted(starter, one)[1].identity) for one in (face, holding))
    off = np.linalg.norm(plain - with_it, axis=1)[starter.vertices_of("face")]
    assert 1000 * off.mean() < 0.15


def test_hair_and_hats_widen_no_head(starter: HeadModel) -> None:
    face = portrait(starter, starter.neutral.astype(np.float64), 0.012, cover=True)
    before, after = fitted(starter, face)
    np.testing.assert_allclose(after.identity, before.identity, atol=0.03)


def test_bare_sides_draw_a_face_outwards(starter: HeadModel) -> None:
    face = portrait(starter, starter.neutral.astype(np.float64), 0.005)
    before, after = fitted(starter, face)
    left = []
    for fit in (before, after):
        posed = starter.shape(fit.identity) + starter.motion(fit.states[0].expression)
        found = find_outline(starter, face, fit.states[0].camera, posed)
        assert found is not None
        left.append(np.median(found.beyond[~found.scalp]))
    assert left[0] > 0.002 and left[1] < 0.75 * left[0]


def test_without_a_mask_nothing_changes(starter: HeadModel) -> None:
    face = portrait(starter, starter.neutral.astype(np.float64))
    for person in (np.zeros((SIZE, SIZE), np.float32), np.ones((SIZE, SIZE), np.float32)):
        before, after = fitted(starter, replace(face, person=person))
        assert after is before


def test_a_covered_skull_leaves_room_for_hair(starter: HeadModel) -> None:
    """A mask that ends at the skull, with hair's colour at its rim."""
    posed = starter.neutral.astype(np.float64)
    face = portrait(starter, posed)
    rim = cv2.erode((face.person > 0.5).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    top = np.arange(SIZE)[:, None] < face.landmarks[10, 1]
    face = replace(face, picture=np.where((rim & top)[..., None], np.array(HAIR, np.uint8), face.picture))
    before, after = fitted(starter, face)
    high = [starter.shape(fit.identity)[starter.scalp > 0.5, 1].max() for fit in (before, after)]
    assert high[1] < high[0] - 0.2 * COVER
