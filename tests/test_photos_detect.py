# SPDX-License-Identifier: GPL-3.0-or-later
"""Where faces are looked for; and that a photo's face is found, small, turned, cut off or dark, and nothing else is."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from skimage import data

from idto3d.photos import align
from idto3d.photos.detect import Box, distinct, look, windows
from idto3d.photos.search import Candidate, beside, search
from tests.shipped import astronaut, nets

# Of the astronaut, read off by eye: between the eyes, and pixels from forehead to chin.
EYES, TALL = np.array([224.3, 101.8]), 110.0


def find(image: np.ndarray) -> list[Candidate]:
    return search(align.pyramid(np.ascontiguousarray(image)), nets())


def irises(candidate: Candidate) -> np.ndarray:
    return candidate.landmarks.points[[468, 473]].mean(0)


def test_windows_by_hand() -> None:
    whole, halves, quarters = windows(600, 800)
    assert [side for _, side in whole] == [800, 2000]
    np.testing.assert_array_equal(whole[0][0], [399.5, 299.5])
    # Squares of 400: across from 0, 200, 400; down from 0 and 200.
    assert [tuple(centre + 0.5) for centre, _ in halves] == [
        (200, 200), (400, 200), (600, 200), (200, 400), (400, 400), (600, 400),
    ]  # fmt: skip
    assert {side for _, side in quarters} == {200.0} and len(quarters) == 7 * 5


def test_windows_of_a_strip_lie_along_it() -> None:
    _, halves, *_ = windows(50, 2000)
    assert [tuple(centre) for centre, _ in halves] == [(499.5, 24.5), (999.5, 24.5), (1499.5, 24.5)]


def test_windows_end_where_the_net_would_see_no_more() -> None:
    assert len(list(windows(100, 100))) == 1
    assert [squares[0][1] for squares in windows(3000, 4000)] == [4000, 2000, 1000, 500]


def box(x: float, y: float, side: float, score: float) -> Box:
    return Box(np.array([x, y]), side, np.zeros((6, 2)), score)


def test_boxes_of_one_face_are_one_by_weight() -> None:
    # 20 x 20 at a distance of 4: union 480, shared 320.
    one, other = distinct([box(104, 100, 20, 0.6), box(100, 100, 20, 0.9), box(140, 100, 20, 0.7)])
    assert one.centre[0] == pytest.approx((0.6 * 104 + 0.9 * 100) / 1.5) and one.score == 0.9
    assert other.centre[0] == 140
    assert len(distinct([box(100, 100, 20, 0.9), box(112, 100, 20, 0.6)])) == 2  # shared 160 of 640


def test_keypoints_of_the_astronaut() -> None:
    image = astronaut()
    (found,) = look([image], [(np.array([255.5, 255.5]), 512.0)], 0.0, nets())
    assert np.linalg.norm(found.keypoints[:2].mean(0) - EYES) < 8
    assert 0.6 * TALL < found.side < 1.2 * TALL
    assert abs(found.roll) < 10


def test_face_of_the_astronaut() -> None:
    (found,) = find(astronaut())
    assert found.sure and beside([found]) == 1
    points = found.landmarks.points
    by_eye = {468: (202.5, 100.5), 473: (246, 103), 61: (203, 140), 291: (244, 140.5), 152: (223, 178), 4: (223, 126)}
    for landmark, place in by_eye.items():
        assert np.linalg.norm(points[landmark] - place) < 3, landmark
    assert found.size == pytest.approx(TALL, rel=0.1)
    assert abs(found.landmarks.yaw) < 8


def dark(image: np.ndarray) -> np.ndarray:
    return (255 * (image / 255.0) * 0.05 + 3).astype(np.uint8)


def noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 40, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def hand(image: np.ndarray) -> np.ndarray:
    covered = image.copy()
    covered[120:200, 170:220] = (150, 120, 100)
    return covered


SPOILT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "dark": dark,
    "bleached": lambda image: np.clip(image.astype(int) * 3, 0, 255).astype(np.uint8),
    "pale": lambda image: (image * 0.1 + 100).astype(np.uint8),
    "noisy": noisy,
    "blurred": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 2.5), np.uint8),
    "black and white": lambda image: np.dstack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)] * 3),
    "half covered": hand,
}


@pytest.mark.parametrize("how", list(SPOILT))
def test_a_spoilt_photo_keeps_its_face(how: str) -> None:
    found = find(SPOILT[how](astronaut()))
    assert len(found) == 1 and found[0].passes
    assert np.linalg.norm(irises(found[0]) - EYES) < 0.06 * TALL


def test_a_face_cut_off_all_around() -> None:
    top, left = 75, 175
    (found,) = find(astronaut()[top:175, left:275])
    assert found.passes and np.linalg.norm(irises(found) - EYES + [left, top]) < 3


@pytest.mark.parametrize("height", [60, 110])
def test_a_small_face_in_a_large_photo(height: int) -> None:
    scene = np.asarray(cv2.resize(data.rocket(), (3000, 2000), interpolation=cv2.INTER_CUBIC), np.uint8)
    scale = height / TALL
    small = np.asarray(cv2.resize(astronaut(), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    scene[1300 : 1300 + len(small), 2200 : 2200 + len(small)] = small
    (found,) = find(scene)
    assert np.linalg.norm(irises(found) - EYES * scale - [2200, 1300]) < 0.06 * height


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_photo_stored_on_its_side(quarters: int) -> None:
    upright, turned = find(astronaut()), find(np.rot90(astronaut(), -quarters))
    turn = align.box_transform((255.5, 255.5), 512.0, 512, -90.0 * quarters)
    apart = align.apply(turn, upright[0].landmarks.points) - turned[0].landmarks.points
    assert np.abs(apart).max() < 0.02 * TALL
    assert len(turned) == 1 and turned[0].turn == 90.0 * quarters


def test_the_larger_of_two_and_the_central_of_equals() -> None:
    image = astronaut()[:256, 100:356]
    other = np.asarray(cv2.resize(image[:, ::-1], None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA), np.uint8)
    scene = np.full((300, 900, 3), 90, np.uint8)
    scene[20 : 20 + len(other), 350 : 350 + len(other)] = other
    scene[20:276, 620:876] = image
    found = find(scene)
    assert len(found) == beside(found) == 2 and irises(found[0])[0] > 620
    scene[20:276, 350:606] = image
    found = find(scene)
    assert len(found) == 2 and 350 < irises(found[0])[0] < 606


@pytest.mark.parametrize("name", ["chelsea", "coffee", "coins", "rocket", "cell", "page"])
def test_what_is_no_face_does_not_pass(name: str) -> None:
    image = getattr(data, name)()
    image = np.dstack([image] * 3) if image.ndim == 2 else image[..., :3]
    assert not any(candidate.passes for candidate in find(image))
