# SPDX-License-Identifier: GPL-3.0-or-later
"""Pins on heads of which all is known: they go where they are put, they mend what was wrong, and the rest stays."""

import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.errors import UserError
from idto3d.fit.pins import Pin, Pinning, Posed, Pulled
from idto3d.headmodel import HeadModel
from tests.synthetic_face import at_landmarks, camera_of, landmarks_of

CHIN, NOSE, BROW, CHEEK = 152, 4, 105, 234
SIZE = 800


@pytest.fixture(scope="module")
def head(starter: HeadModel) -> Pinning:
    """One person, smiling at one camera and calm before another."""
    identity = np.random.default_rng(1).normal(size=len(starter.identity)) * 0.4
    neutral = starter.shape(identity)
    smile = starter.expression_vector({"mouthSmile": 0.5})
    photos = [
        Posed(camera_of(starter, yaw=5, size=SIZE), smile, neutral + starter.motion(smile)),
        Posed(camera_of(starter, yaw=-30, size=SIZE), smile * 0, neutral),
    ]
    return Pinning(starter, identity, neutral, photos)


def pin(head: Pinning, landmark: int, moved: tuple[float, float] = (0, 0), photo: int = 0) -> Pin:
    """A landmark, put some pixels from where it is."""
    pixel, _ = landmarks_of(head.model, head.photos[photo].camera, head.photos[photo].pose)
    weights = head.model.landmark_barycentric[landmark].astype(np.float64)
    return Pin(photo, head.model.landmark_triangle[landmark], weights, pixel[landmark] + moved)


def where(head: Pinning, pulled: Pulled, photo: int = 0) -> Array:
    """(478,2) pixels of the landmarks."""
    return landmarks_of(head.model, pulled.photos[photo].camera, pulled.photos[photo].pose)[0]


def test_no_pins_no_change(head: Pinning) -> None:
    pulled = head.pull([])
    assert not pulled.motion.any() and pulled.photos == head.photos


def test_pins_where_things_are_change_nothing(head: Pinning) -> None:
    pulled = head.pull([pin(head, k, photo=p) for k in (CHIN, NOSE, BROW, 61, 291) for p in (0, 1)])
    assert np.abs(pulled.motion).max() < 1e-6


@pytest.mark.parametrize(("landmark", "moved"), [(CHIN, (0, 12)), (NOSE, (8, 0)), (BROW, (0, -8)), (CHEEK, (-10, 0))])
def test_one_pin_goes_where_it_is_put_and_a_far_region_stays(
    head: Pinning, landmark: int, moved: tuple[float, float]
) -> None:
    one = pin(head, landmark, moved)
    pulled = head.pull([one])
    assert np.linalg.norm(where(head, pulled)[landmark] - one.pixel) < 0.5
    places = at_landmarks(head.model, head.neutral)
    motion = np.linalg.norm(at_landmarks(head.model, pulled.motion), axis=1)
    far = np.linalg.norm(places - places[landmark], axis=1) > 0.07
    near = np.linalg.norm(places - places[landmark], axis=1) < 0.01
    assert motion[landmark] > 0.002 and motion[near].mean() > 0.4 * motion[landmark]
    assert motion[far].mean() < 0.1 * motion[landmark] and motion[far].max() < 0.0015


def test_several_pins_are_all_met_in_both_photos(head: Pinning) -> None:
    pins = [pin(head, CHIN, (0, 8)), pin(head, 61, (-4, 2)), pin(head, NOSE, (3, 0), 1), pin(head, CHEEK, (-3, 0), 1)]
    pulled = head.pull(pins)
    for one, landmark in zip(pins, (CHIN, 61, NOSE, CHEEK), strict=True):
        assert np.linalg.norm(where(head, pulled, one.photo)[landmark] - one.pixel) < 1.0


def test_pins_at_the_true_places_mend_a_wrong_head(starter: HeadModel) -> None:
    """The fit has another person's shape; fifteen pins where the true one's features are."""
    rng = np.random.default_rng(3)
    wrong = rng.normal(size=len(starter.identity)) * 0.3
    truth = starter.shape(wrong + rng.normal(size=len(wrong)))
    camera = camera_of(starter, yaw=4, size=SIZE)
    calm = np.zeros(len(starter.expression))
    head = Pinning(starter, wrong, starter.shape(wrong), [Posed(camera, calm, starter.shape(wrong))])
    target, _ = landmarks_of(starter, camera, truth)
    rows = (10, 152, 234, 454, 33, 263, 133, 362, 61, 291, 4, 105, 334, 172, 397)
    weights = starter.landmark_barycentric.astype(np.float64)
    pins = [Pin(0, starter.landmark_triangle[k], weights[k], target[k]) for k in rows]
    pulled = head.pull(pins)
    others = np.setdiff1d(np.flatnonzero(starter.landmark_trust > 0.5), rows)

    def off(pixel: Array) -> float:
        return float(np.linalg.norm((pixel - target)[others], axis=1).mean())

    before, after = off(where(head, head.pull([]))), off(where(head, pulled))
    assert before > 1.5 and after < 0.6 * before, (before, after)

    def shape(points: Array) -> float:
        # one photo from the front tells nothing of depth, nor of where a head is
        d = (points - truth)[starter.vertices_of("face"), :2]
        return float(np.linalg.norm(d - d.mean(0), axis=1).mean())

    assert shape(head.neutral + pulled.motion) < 0.9 * shape(head.neutral)


def test_a_pin_far_off_is_refused_with_a_word(head: Pinning) -> None:
    with pytest.raises(UserError) as refused:
        head.pull([pin(head, NOSE, (160, 90))])
    assert refused.value.code == "E_FIT_PINS" and refused.value.fix


def test_two_pins_of_one_place_that_disagree_are_refused_or_averaged(head: Pinning) -> None:
    pulled = head.pull([pin(head, CHIN, (3, 0)), pin(head, CHIN, (-3, 0))])
    assert np.isfinite(pulled.motion).all() and np.abs(pulled.motion).max() < 0.01


def test_pins_side_by_side_that_go_opposite_ways_are_refused(head: Pinning) -> None:
    """Each is met, so that a spike stood out between them: of the head, or only of what the photo shows."""
    one = pin(head, NOSE, (10, 0))
    near = np.flatnonzero((head.model.triangles_of("face") == one.corners[0]).any(1))
    corners = head.model.triangles_of("face")[near[0]]
    weights = np.full(3, 1 / 3)
    pixel, _ = head.photos[0].camera.project(weights @ head.photos[0].pose[corners])
    with pytest.raises(UserError) as refused:
        head.pull([one, Pin(0, corners, weights, pixel - [10, 0])])
    assert refused.value.code == "E_FIT_PINS" and "tear" in refused.value.message
    assert np.isfinite(head.pull([one, Pin(0, corners, weights, pixel + [10, 0])]).motion).all()


def test_pins_of_one_place_in_two_views_that_disagree_make_no_spike(starter: HeadModel) -> None:
    """By two millimetres, in views that are four degrees apart: met in full, that would be centimetres of depth."""
    neutral, calm = starter.shape(np.zeros(len(starter.identity))), np.zeros(len(starter.expression))
    cameras = [camera_of(starter, yaw=yaw, size=SIZE) for yaw in (0, 4)]
    head = Pinning(starter, np.zeros(len(starter.identity)), neutral, [Posed(c, calm, neutral) for c in cameras])
    apart = 0.001 * cameras[0].scale
    pulled = head.pull([pin(head, NOSE, (apart, 0)), pin(head, NOSE, (-apart, 0), 1)])
    assert np.abs(pulled.motion).max() < 0.004
    assert all(np.linalg.norm(where(head, pulled, k)[NOSE] - pin(head, NOSE, ((1 - 2 * k) * apart, 0), k).pixel) < 0.5
               for k in (0, 1))  # fmt: skip


def test_a_pin_on_an_eyeball_is_refused(head: Pinning) -> None:
    corners = head.model.triangles_of("sclera")[0]
    with pytest.raises(UserError) as refused:
        head.pull([Pin(0, corners, np.full(3, 1 / 3), np.zeros(2))])
    assert refused.value.code == "E_FIT_PINS"


def test_eyes_and_lashes_go_with_the_lids(head: Pinning) -> None:
    """Both corners of an eye 6 pixels to one side: the ball comes along in one piece."""
    pulled = head.pull([pin(head, 33, (-6, 0)), pin(head, 133, (-6, 0)), pin(head, 159, (-6, 0))])
    model = head.model
    rows = np.flatnonzero(model.vertices_of("sclera") & (model.neutral[:, 0] < 0))
    ball = pulled.motion[rows]
    lid = at_landmarks(model, pulled.motion)[[33, 133, 159]].mean(0)
    assert np.linalg.norm(ball.mean(0) - lid) < 0.5 * np.linalg.norm(lid)
