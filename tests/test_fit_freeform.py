# SPDX-License-Identifier: GPL-3.0-or-later
"""The displacement beyond the modes: it brings landmarks nearer, smoothly and not far, and closes the lips at rest."""

from dataclasses import replace

import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.fit.freeform import LIMIT, free_form
from idto3d.fit.landmarks import LandmarkFit, LandmarkModel, PhotoState, fit_landmarks
from idto3d.fit.lips import close_lips
from idto3d.fit.subject import fit_subject
from idto3d.headmodel import HeadModel, load_head_model
from idto3d.mesh.surface import edges_of
from idto3d.photos.faces import Face
from idto3d.pipeline import STARTER_PACK
from tests.synthetic_face import at_landmarks, camera_of, face_of, with_exact_net
from tests.tiny_head import tiny_head_model


@pytest.fixture(scope="module")
def tiny() -> HeadModel:
    return tiny_head_model(96, 64)


@pytest.fixture(scope="module")
def starter() -> HeadModel:
    return with_exact_net(load_head_model(STARTER_PACK / "head.safetensors"))


def bulged(model: HeadModel, height: float) -> Array:
    """(P,3): a dent or bulge of the person's left cheek that no mode has."""
    at = LandmarkModel.of(model).neutral
    cheek = at[np.argmin(np.linalg.norm(at - at.mean(0) - [0.035, -0.02, 0.02], axis=1))]
    near = np.exp(-((np.linalg.norm(model.neutral - cheek, axis=1) / 0.02) ** 2))
    return height * near[:, None] * np.array([0.8, 0.0, 0.6])


def known(model: HeadModel, *faces: Face) -> LandmarkFit:
    """A fit of the mean head by the right cameras: all that is left over is free form's."""
    zero = np.zeros(len(model.expression_names))
    states = tuple(PhotoState(camera_of(model, yaw), zero, zero) for yaw in YAWS[: len(faces)])
    return LandmarkFit(np.zeros(len(model.identity)), zero, states, (0.0,) * len(faces), 0.0)


YAWS = (0.0, 40.0, -40.0)
LIP_PAIRS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402), (80, 88), (310, 318))
"""MediaPipe's landmarks on the inner rim of upper and lower lip that lie over one another."""


def test_it_finds_what_the_modes_cannot_say(tiny: HeadModel) -> None:
    truth = bulged(tiny, 0.003)
    faces = [face_of(tiny, camera_of(tiny, yaw), tiny.neutral + truth) for yaw in YAWS]
    found, corrections = free_form(tiny, faces, known(tiny, *faces))
    skin = tiny.vertices_of("face")
    there = skin & (np.linalg.norm(truth, axis=1) > 0.002)
    assert there.sum() > 5
    left = np.linalg.norm(found - truth, axis=1)
    assert np.median(left[there]) < 0.4 * np.median(np.linalg.norm(truth[there], axis=1))
    other_side = found[tiny.mirror[np.flatnonzero(there)]]
    assert np.linalg.norm(other_side, axis=1).max() < 0.0007
    assert len(corrections) == 3


def test_it_is_smooth_and_never_far(tiny: HeadModel) -> None:
    faces = [face_of(tiny, camera_of(tiny, yaw), tiny.neutral + bulged(tiny, 0.005)) for yaw in YAWS]
    rng = np.random.default_rng(0)
    noisy = [replace(f, landmarks=f.landmarks + rng.normal(0, 3, (478, 2))) for f in faces]  # 3 pixels: 3 mm
    found, corrections = free_form(tiny, noisy, known(tiny, *noisy))
    edges = edges_of(tiny.triangles_of("face"))
    edges = edges[(tiny.neutral[edges, 1] > -0.02).all(1)]  # over the mouth, whose lips move apart and together
    for field in (found, *corrections):
        assert np.linalg.norm(field, axis=1).max() <= 2 * LIMIT + 1e-9  # that, and what closes the lips
        step = np.linalg.norm(field[edges[:, 0]] - field[edges[:, 1]], axis=1)
        length = np.linalg.norm(tiny.neutral[edges[:, 0]] - tiny.neutral[edges[:, 1]], axis=1)
        assert (step / length).max() < 0.75  # nothing folds over


@pytest.mark.parametrize("far", [20.0, 200.0])
def test_one_landmark_far_off_makes_no_dent(starter: HeadModel, far: float) -> None:
    """Seen: a landmark on a strand of hair pulled the limit's 4 mm out of a cheek."""
    face = face_of(starter, camera_of(starter, 10), starter.neutral.astype(np.float64))
    landmarks = face.landmarks.copy()
    landmarks[50, 0] += far
    faces = (face, replace(face, landmarks=landmarks))
    good, bad = (free_form(starter, [f], fit_landmarks(starter, [f]))[0] for f in faces)
    assert np.linalg.norm(bad - good, axis=1).max() < 0.0005


def gaps(model: HeadModel, points: Array) -> Array:
    """Heights between the inner rims of upper and lower lip, metres."""
    y = at_landmarks(model, points)[:, 1]
    trusted = model.landmark_trust > 0
    return np.array([y[u] - y[d] for u, d in LIP_PAIRS if trusted[u] and trusted[d]])


def test_lips_touch_at_rest_and_are_as_they_are_in_the_photo(starter: HeadModel) -> None:
    rng = np.random.default_rng(1)
    identity = rng.normal(size=len(starter.identity)) * 0.4
    parted = starter.shape(identity) + starter.motion(starter.expression_vector({"jawOpen": 0.12}))
    assert gaps(starter, parted).max() > 0.003
    fit = fit_subject(starter, [face_of(starter, camera_of(starter), parted, blendshapes={"jawOpen": 0.12})]).fit
    at_rest, shown = gaps(starter, fit.neutral(starter)), gaps(starter, parted)
    # the landmarks lie beside the rims, not on them, so that a millimetre or two stays between touching lips
    assert at_rest.mean() < 0.5 * shown.mean() and (at_rest < shown + 0.0005).all() and at_rest.min() > -0.001
    np.testing.assert_allclose(gaps(starter, fit.posed(starter, fit.photos[0])), shown, atol=0.0015)


def test_closing_opens_no_mouths_at_its_corners(starter: HeadModel) -> None:
    """There the folds of lips that are closed overlap, by more than any closing expression changes."""
    rng = np.random.default_rng(11)
    apart = []
    for _ in range(60):
        expression = 0.08 * np.abs(rng.normal(size=len(starter.expression)))
        points = starter.shape(rng.normal(size=len(starter.identity))) + starter.motion(expression)
        before, after = gaps(starter, points), gaps(starter, points + close_lips(starter, points))
        apart.append(np.where(after > before, after, 0.0))
    assert np.max(apart) < 0.0035, "of which 3 mm lie between landmarks of lips that touch, beside the rims"


def test_teeth_stand_where_the_upper_lip_rests_and_in_the_photo_as_ever(starter: HeadModel) -> None:
    face = face_of(starter, camera_of(starter), starter.neutral.astype(np.float64))
    resting = starter.expression_vector({"mouthUpperUp": 0.25})
    fit = replace(known(starter, face), resting=resting)
    displacement, (correction,) = free_form(starter, [face], fit)
    teeth, lip = starter.vertices_of("teeth", "gums", "tongue"), starter.landmark_triangle[13]
    risen = starter.landmark_barycentric[13] @ (displacement + starter.motion(resting))[lip, 1]
    assert risen > 0.0005
    np.testing.assert_allclose(displacement[teeth], np.tile([0, risen, 0], (teeth.sum(), 1)), atol=1e-9)
    np.testing.assert_allclose((displacement + correction)[teeth], 0, atol=1e-9)


def test_the_correction_brings_landmarks_to_where_the_photo_has_them(starter: HeadModel) -> None:
    """A smile that the model does not have, in one photo of two."""
    at = LandmarkModel.of(starter)
    calm = starter.neutral.astype(np.float64)
    corner = at.neutral[list(at.index).index(291)]
    odd = 0.004 * np.exp(-((np.linalg.norm(calm - corner, axis=1) / 0.015) ** 2))[:, None] * [0.3, -0.3, 0.9]
    faces = [face_of(starter, camera_of(starter, 0.0), calm), face_of(starter, camera_of(starter, 40.0), calm + odd)]
    fitted = fit_subject(starter, faces)
    for face, photo in zip(fitted.faces, fitted.fit.photos, strict=True):
        whole = fitted.fit.posed(starter, photo)
        misses = []
        for posed in (whole - photo.correction, whole):
            pixel = photo.camera.project(at_landmarks(starter, posed)[at.index])[0]
            misses.append(np.linalg.norm(pixel - face.landmarks[at.index], axis=1) / photo.camera.scale)
        before, after = (float(np.sqrt(at.trust @ m**2 / at.trust.sum())) for m in misses)
        assert after < before
        assert after < 0.0008


def test_eyes_and_teeth_move_as_wholes(starter: HeadModel) -> None:
    truth = bulged(starter, 0.003)
    faces = [face_of(starter, camera_of(starter, yaw), starter.neutral + truth) for yaw in YAWS]
    found, _ = free_form(starter, faces, known(starter, *faces))
    assert np.ptp(found[starter.vertices_of("teeth")], axis=0).max() < 1e-9
    eye = starter.vertices_of("sclera") & (starter.neutral[:, 0] > 0)
    assert eye.sum() > 20 and np.ptp(found[eye], axis=0).max() < 1e-9
