# SPDX-License-Identifier: GPL-3.0-or-later
"""Colour and size of irises from made-up pictures of eyes, and the eyeballs painted after them."""

from dataclasses import replace

import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.evidence.eyes import (
    BINS,
    PLAIN_IRIS,
    PLAIN_SCLERA,
    EyeLook,
    lay_photo_on_eyes,
    measure_eyes,
    open_eyes,
    paint_eyes,
    unmirrored,
    with_pupils,
)
from idto3d.evidence.gather import material_texels
from idto3d.fit.camera import PhotoCamera
from idto3d.fit.light import LUMINANCE
from idto3d.fit.projection import EYES, Projected, linear_to_srgb, srgb_to_linear
from idto3d.fit.tone import IRIS, Reading
from idto3d.headmodel import HeadModel
from idto3d.headmodel.eyeballs import IRIS_RADIUS
from idto3d.photos.faces import Face
from tests.synthetic_face import EVEN_LIGHT, face_of
from tests.tiny_head import tiny_head_model

SIZE = 400
CENTRES = np.array([[130.0, 200.0], [270.0, 200.0]])  # the person's right eye, then the left
BLUE, WHITE = np.array([0.06, 0.10, 0.20]), np.array([0.40, 0.38, 0.36])


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return tiny_head_model(48, 32)


def eyes(
    model: HeadModel, radius: float = 24.0, iris: Array = BLUE, white: Array = WHITE, light: float = 1.0,
    glint: bool = False,
) -> tuple[Face, PhotoCamera, Projected]:  # fmt: skip
    """A picture of two open eyes; radius of the irises in pixels."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    linear = np.full((SIZE, SIZE, 3), 0.25)
    camera = PhotoCamera(np.eye(3), np.zeros(3), radius / 0.0062, np.full(2, (SIZE - 1) / 2), 1.0)
    face = face_of(model, camera, model.neutral.astype(np.float64), np.zeros((SIZE, SIZE, 3), np.uint8))
    landmarks = np.zeros((478, 2))
    for centre, outline, (middle, rim) in zip(CENTRES, EYES, IRIS, strict=True):
        away = np.hypot(x - centre[0], y - centre[1]) / radius
        linear[away < 2.6] = white
        linear[away < 1] = iris
        linear[away < 0.36] = 0.004
        if glint:
            linear[np.hypot(x - centre[0] - 0.5 * radius, y - centre[1] + 0.5 * radius) < 0.25 * radius] = 1.0 / light
        turn = np.linspace(0, 2 * np.pi, len(outline), endpoint=False)
        landmarks[list(outline)] = centre + radius * np.c_[2.3 * np.cos(turn), 1.2 * np.sin(turn)]
        landmarks[middle] = centre
        landmarks[list(rim)] = centre + radius * np.array([[1, 0], [0, -1], [-1, 0], [0, 1]])
    picture = np.rint(linear_to_srgb(linear * light) * 255).astype(np.uint8)
    face = replace(face, picture=picture, landmarks=landmarks)
    ones = np.ones((4, 3))
    photo = Projected(
        np.zeros((4, 2)), np.zeros(4), np.ones(4), ones, light * ones, srgb_to_linear(picture), np.ones((SIZE, SIZE)),
        Reading(np.ones(3), None, False), np.ones(3), light * EVEN_LIGHT, np.zeros((512, 512)), np.zeros((512, 512)),
    )  # fmt: skip
    return face, camera, photo


def measured(*shots: tuple[Face, PhotoCamera, Projected]) -> EyeLook:
    return measure_eyes(shots)


def test_a_blue_iris_in_a_white_eye(model: HeadModel) -> None:
    look = measured(eyes(model))
    assert look.radius == pytest.approx((0.0062 + IRIS_RADIUS) / 2, abs=2e-5)  # halfway to what all people have
    np.testing.assert_allclose(look.profile[2:-1], np.tile(BLUE, (BINS - 3, 1)), rtol=0.06)


def test_the_white_is_as_light_as_whites_are_and_its_hue_leans_to_what_is_seen(model: HeadModel) -> None:
    """Lids shade it in every photo: lids of the head would shade it once more."""
    usual = np.array(PLAIN_SCLERA)
    plain, shaded, yellow = (
        measured(eyes(model, white=white)).sclera for white in (usual, 0.5 * usual, usual * [1.2, 1.0, 0.6])
    )
    np.testing.assert_allclose(plain, usual, rtol=0.02)
    np.testing.assert_allclose(shaded, usual, rtol=0.02)
    assert yellow @ LUMINANCE == pytest.approx(usual @ LUMINANCE)
    assert 0.6 * usual[2] / usual[0] < yellow[2] / yellow[0] < 0.95 * usual[2] / usual[0]


def test_a_dimmer_photo_has_no_darker_eyes(model: HeadModel) -> None:
    np.testing.assert_allclose(measured(eyes(model, light=0.4)).profile[4], BLUE, rtol=0.1)


def test_warm_light_is_not_the_eyes_colour(model: HeadModel) -> None:
    warm = np.array([1.35, 1.0, 0.55])
    face, camera, photo = eyes(model)
    photo = replace(photo, linear=(photo.linear * warm).astype(np.float32), shade=photo.shade * warm)
    np.testing.assert_allclose(measured((face, camera, photo)).profile[4], BLUE, rtol=0.1)


def test_the_light_of_a_photo_without_colours_gives_eyes_none(model: HeadModel) -> None:
    """Its hue is made up, so that skin has one."""
    face, camera, photo = eyes(model, iris=np.full(3, 0.1))
    photo = replace(photo, shade=photo.shade * [0.63, 1.05, 1.32])
    assert np.ptp(measured((replace(face, grey=True), camera, photo)).profile[4]) < 1e-3


def test_an_eye_that_is_closed_tells_nothing(model: HeadModel) -> None:
    face, camera, photo = eyes(model, iris=np.array([0.3, 0.15, 0.1]))  # lids
    for centre, outline in zip(CENTRES, EYES, strict=True):
        face.landmarks[list(outline), 1] = centre[1] + 0.15 * (face.landmarks[list(outline), 1] - centre[1])
    look = measured((face, camera, photo))
    np.testing.assert_allclose(look.profile, np.tile(PLAIN_IRIS, (BINS, 1)))
    assert look.radius == IRIS_RADIUS and not open_eyes(face).any()


def test_eyes_of_few_pixels_are_not_laid_on(model: HeadModel) -> None:
    face, _, photo = eyes(model)
    at = material_texels(model, next(m for m in model.materials if m.name == "eyes"), 64)
    painted = np.zeros((64, 64, 3), np.float32)
    seen = replace(photo, pixel=np.tile(CENTRES[0], (len(model.neutral), 1)), height=np.zeros(len(model.neutral)),
                   facing=np.ones(len(model.neutral)), shade=np.ones((len(model.neutral), 3)))  # fmt: skip
    for grown, shows in ((1.0, True), (20.0, False)):  # times by which the photo was enlarged: irises of 24 and 1.2
        shown = replace(face, to_picture=np.diag([grown, grown, 1.0])[:2])
        laid = lay_photo_on_eyes(painted, at, [shown], [seen], np.ones(1), WHITE)
        assert bool(laid.any()) == shows


def test_each_eye_counts_by_its_own_pixels(model: HeadModel) -> None:
    """Of a face that is turned, the far eye has fewer."""
    face, _, _ = eyes(model)
    rings = [list(ring) for _, ring in IRIS]
    shown = replace(
        face, landmarks=face.landmarks.copy(), to_picture=np.diag([1.5, 1.5, 1.0])[:2]
    )  # irises of 16 pixels
    shown.landmarks[rings[0]] = CENTRES[0] + 0.2 * (face.landmarks[rings[0]] - CENTRES[0])
    near, far = (open_eyes(shown)[tuple(c.astype(int)[::-1])] for c in (CENTRES[1], CENTRES[0]))
    assert near > 0.95 and far == 0


def test_a_highlight_is_not_the_iriss_colour(model: HeadModel) -> None:
    np.testing.assert_allclose(measured(eyes(model, glint=True)).profile[3:-2], np.tile(BLUE, (BINS - 5, 1)), rtol=0.1)


def test_what_an_iris_mirrors_is_not_laid_on(model: HeadModel) -> None:
    face, _, photo = eyes(model, glint=True)
    clear, white = unmirrored(face, photo.linear)
    x, y = CENTRES[0].astype(int)
    assert clear[y - 12, x + 12] < 0.05 and clear[y + 12, x - 12] > 0.95  # glint, and the iris across from it
    assert clear[y, x] > 0.9 and clear[y, x + 40] == 1  # pupil; the white may be as bright as it is
    assert white[y, x] == 0 and white[y, x + 40] == 1


def test_a_ring_in_the_iris_is_kept(model: HeadModel) -> None:
    face, camera, photo = eyes(model)
    y, x = np.mgrid[:SIZE, :SIZE]
    for centre in CENTRES:
        away = np.hypot(x - centre[0], y - centre[1]) / 24.0
        photo.linear[(away > 0.36) & (away < 0.6)] = (0.2, 0.1, 0.03)
    look = measured((face, camera, photo))
    assert look.profile[1, 0] > 2 * look.profile[1, 2] and look.profile[-2, 2] > 2 * look.profile[-2, 0]


def test_few_pixels_say_little_and_none_nothing(model: HeadModel) -> None:
    face, camera, photo = eyes(model)
    landmarks = face.landmarks.copy()
    for outline in EYES:
        landmarks[list(outline)] = landmarks[outline[0]]
    closed = measured((replace(face, landmarks=landmarks), camera, photo))
    assert closed.radius == IRIS_RADIUS
    np.testing.assert_array_equal(closed.profile, np.tile(PLAIN_IRIS, (BINS, 1)))
    np.testing.assert_array_equal(closed.sclera, PLAIN_SCLERA)
    tiny, large = (measured(eyes(model, radius)).profile[5, 2] for radius in (1.6, 24.0))
    assert PLAIN_IRIS[2] < tiny < large


def test_of_an_enlarged_picture_the_photos_own_pixels_count(model: HeadModel) -> None:
    green = np.array([0.05, 0.16, 0.05])
    sharp, (face, camera, photo) = eyes(model, 24.0, green), eyes(model, 24.0, BLUE)
    blown = replace(face, to_picture=np.diag([6.0, 6.0, 1.0])[:2]), camera, photo
    np.testing.assert_allclose(measured(sharp, blown).profile[5], green, rtol=0.15)
    tiny = replace(face, to_picture=np.diag([15.0, 15.0, 1.0])[:2])  # irises of 1.6
    found = measured((tiny, camera, photo)).profile[5, 2]
    assert PLAIN_IRIS[2] < found < 0.8 * measured((face, camera, photo)).profile[5, 2]


def test_what_lies_over_an_eye_is_not_measured(model: HeadModel) -> None:
    """A red fringe over one of two blue eyes."""
    face, camera, photo = eyes(model)
    over = np.hypot(*(np.mgrid[:SIZE, :SIZE] - CENTRES[0][::-1].reshape(2, 1, 1))) < 80
    photo.linear[over] = (0.5, 0.05, 0.03)
    shown = replace(face, inside=face.inside & ~over)
    np.testing.assert_allclose(measured((shown, camera, photo)).profile[4], BLUE, rtol=0.1)
    assert measured((face, camera, photo)).profile[4, 0] > 2 * BLUE[0]


def test_photos_are_pooled_by_their_pixels(model: HeadModel) -> None:
    green = np.array([0.05, 0.16, 0.05])
    near_, far = eyes(model, 24.0, green), eyes(model, 6.0, BLUE)
    np.testing.assert_allclose(measured(near_, far).profile[5], green, rtol=0.15)


def test_a_ball_is_painted_by_the_distance_from_its_pole(model: HeadModel) -> None:
    material = next(m for m in model.materials if m.name == "eyes")
    texels = material_texels(model, material, 256)
    look = EyeLook(0.0055, np.tile(BLUE, (BINS, 1)), WHITE)
    painted = texels.spread(paint_eyes(model, texels, look).astype(np.float32))
    colour = texels.of_image(with_pupils(painted, model, texels, look.radius))
    points = texels.at(model.neutral)
    for centre, _ in IRIS:
        pole = model.landmark_barycentric[centre] @ model.neutral[model.landmark_triangle[centre]]
        away = np.linalg.norm(points - pole, axis=1) / look.radius
        light = colour[away < 0.2].mean(1)
        assert len(light) > 3 and light.max() < 0.02  # the pupil
        ring = colour[(away > 0.5) & (away < 0.8)]
        assert (ring[:, 2] > 1.5 * ring[:, 0]).all()
        side = np.sign(points[:, 0]) == np.sign(pole[0])
        white = colour[side & (away > 1.3) & (away < 1.8)]
        assert len(white) > 20 and (white.mean(1) > 2 * ring.mean()).mean() > 0.5
        assert (white <= WHITE + 1e-6).all()
