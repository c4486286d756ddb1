# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyeballs turn about their centres to the irises of a photograph, and nothing else moves."""

import numpy as np
import pytest

from idto3d.fit.gaze import IRISES, MOST, turn_eyes
from idto3d.headmodel import load_head_model
from idto3d.headmodel.eyeballs import find_eyeballs, turned
from idto3d.pipeline import STARTER_PACK
from tests.synthetic_face import at_landmarks, camera_of, face_of

MODEL = load_head_model(STARTER_PACK / "head.safetensors")
CALM = MODEL.neutral.astype(np.float64)


def looking(yaw: float, pitch: float) -> np.ndarray:
    """(P,3): both eyes turned by degrees, to the person's left and down."""
    points = CALM.copy()
    turn = turned(1, np.radians(yaw)) @ turned(0, np.radians(pitch))
    for eye in find_eyeballs(MODEL, CALM):
        points[eye.vertices] = eye.centre + (CALM[eye.vertices] - eye.centre) @ turn.T
    return points


@pytest.mark.parametrize("gaze", [(0.0, 0.0), (20.0, 0.0), (-15.0, 10.0)])
@pytest.mark.parametrize("head", [0.0, 35.0])
def test_eyes_look_where_they_did(gaze: tuple[float, float], head: float) -> None:
    truth = looking(*gaze)
    camera = camera_of(MODEL, head)
    found = CALM + turn_eyes(MODEL, CALM, camera, face_of(MODEL, camera, truth))
    irises = list(IRISES)
    np.testing.assert_allclose(at_landmarks(MODEL, found)[irises], at_landmarks(MODEL, truth)[irises], atol=1e-4)
    for before, after in zip(find_eyeballs(MODEL, CALM), find_eyeballs(MODEL, found), strict=True):
        np.testing.assert_allclose(after.centre, before.centre, atol=1e-5)
    elsewhere = ~MODEL.vertices_of("sclera", "iris")
    np.testing.assert_array_equal(found[elsewhere], CALM[elsewhere])


def test_an_iris_off_the_eyeball_turns_it_no_farther_than_eyes_turn() -> None:
    camera = camera_of(MODEL)
    face = face_of(MODEL, camera, CALM)
    face.landmarks[IRISES[1]] += [200.0, 0.0]
    moved = turn_eyes(MODEL, CALM, camera, face)
    left, _ = find_eyeballs(MODEL, CALM)
    iris = at_landmarks(MODEL, CALM)[IRISES[1]] - left.centre
    after = iris + at_landmarks(MODEL, moved)[IRISES[1]]
    cosine = iris @ after / np.linalg.norm(iris) / np.linalg.norm(after)
    np.testing.assert_allclose(np.arccos(cosine), MOST, atol=1e-6)
