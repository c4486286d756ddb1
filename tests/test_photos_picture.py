# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of a head by hand: its frame, where it lies in the photo, its lack of colour, and the mask's steps."""

import cv2
import numpy as np
import pytest
from skimage import data

from idto3d.photos import align, mask
from idto3d.photos.landmarks import CHIN, EYE_CORNERS, FOREHEAD, extent, upright
from idto3d.photos.picture import brightest, frame, inside, is_grey


def landmarks(height: float = 200.0, middle: tuple[float, float] = (400.0, 300.0)) -> np.ndarray:
    """A face by four landmarks, the others between them: of the height, three quarters as wide."""
    points = np.tile(np.array(middle), (478, 1))
    points[FOREHEAD], points[CHIN] = points[0] - [0, height / 2], points[0] + [0, height / 2]
    for corner, sign in zip(EYE_CORNERS, (-1, 1), strict=True):
        points[corner] = points[0] + [sign * 0.375 * height, -0.1 * height]
    points[200] = 4 * points[0] - points[[FOREHEAD, CHIN, *EYE_CORNERS]].sum(0) + points[0]  # so that the mean stays
    return points


def test_frame_by_hand() -> None:
    to_picture, size = frame(landmarks())
    # Height 200: side 640, the centre 30 over the mean (400, 300), one picture pixel a photo pixel.
    assert size == 640
    np.testing.assert_allclose(to_picture, [[1, 0, 319.5 - 400], [0, 1, 319.5 - 270]], atol=1e-9)


@pytest.mark.parametrize(("height", "size"), [(50.0, 512), (160.0, 512), (480.0, 1536), (2000.0, 1536)])
def test_frame_sizes(height: float, size: int) -> None:
    to_picture, got = frame(landmarks(height))
    assert got == size
    assert np.sqrt(np.linalg.det(to_picture[:, :2])) == pytest.approx(size / (3.2 * height))


def test_frame_turns_with_the_face() -> None:
    straight, turn = landmarks(), align.box_transform((100.0, 50.0), 1000.0, 1000, -35.0)
    to_picture, size = frame(straight)
    turned, turned_size = frame(align.apply(turn, straight))
    assert size == turned_size
    assert upright(align.apply(turn, straight)) == pytest.approx(35.0)
    expected = align.apply(to_picture, straight)
    np.testing.assert_allclose(align.apply(turned, align.apply(turn, straight)), expected, atol=1e-6)


def test_a_profile_stands_upright_by_forehead_and_chin() -> None:
    points = landmarks()
    points[EYE_CORNERS[0]] = points[EYE_CORNERS[1]] + [1.0, 8.0]  # both eyes in one place, their line means nothing
    assert abs(upright(points)) < 10


def test_extent_by_hand() -> None:
    centre, side = extent(landmarks())
    np.testing.assert_allclose(centre, [400, 300], atol=1e-9)
    assert side == pytest.approx(200)


def test_inside_by_hand() -> None:
    # 8 x 8 picture pixels of a photo of 4 x 6 that begins at picture pixel (2, 1).
    within = inside((4, 6), np.array([[1.0, 0, 2], [0, 1, 1]]), 8)
    expected = np.zeros((8, 8), bool)
    expected[1:5, 2:8] = True
    np.testing.assert_array_equal(within, expected)


def test_grey_and_toned_pictures_have_no_colour() -> None:
    image = data.astronaut()
    everywhere = np.ones(image.shape[:2], bool)
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float64) / 255
    sepia = (255 * np.stack([grey**0.85, grey, grey**1.2], -1)).astype(np.uint8)
    stored = np.asarray(cv2.imdecode(cv2.imencode(".jpg", sepia, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 1), np.uint8)
    assert not is_grey(image, everywhere)
    assert not is_grey((image * 0.35 + 0.65 * 255 * grey[..., None]).astype(np.uint8), everywhere)
    for toned in (np.dstack([(255 * grey).astype(np.uint8)] * 3), sepia, stored):
        assert is_grey(toned, everywhere)
    muted = image * 0.35 + 0.65 * 255 * grey[..., None]
    for exposure in (0.5, 0.25):
        assert not is_grey((muted * exposure).astype(np.uint8), everywhere)
        assert is_grey((sepia * exposure).astype(np.uint8), everywhere)
    half = everywhere.copy()
    half[:, 256:] = False
    mixed = image.copy()
    mixed[:, :256] = (255 * grey[:, :256, None]).astype(np.uint8)
    assert is_grey(mixed, half) and not is_grey(mixed, everywhere)


def square(x: int, y: int, side: int = 20) -> np.ndarray:
    out = np.zeros((256, 256), bool)
    out[y : y + side, x : x + side] = True
    return out


def test_people_apart_are_left_out() -> None:
    person = np.zeros((256, 256), np.float32)
    person[50:200, 20:100] = 1.0
    person[50:200, 130:220] = 0.9
    person[50:200, 127:130] = 0.3  # the other one's soft border
    own = mask._only(person, square(50, 60), [])
    assert (own[50:200, 20:100] == 1).all() and own[:, 120:].max() == 0


def test_people_who_touch_are_parted_between_their_faces() -> None:
    person = np.zeros((256, 256), np.float32)
    person[50:200, 20:220] = 1.0
    own = mask._only(person, square(40, 60), [square(180, 60)])
    # The faces end at column 59 and begin at 180: half way lies 119.5.
    assert own[70, 114] == 1 and own[70, 126] == 0
    assert own[:, 130:].max() == 0


def test_the_brightest_of_a_photo_is_no_glint_and_no_channel_alone_is_missed() -> None:
    image = np.full((1000, 2000, 3), 40, np.uint8)
    image[:200, :200, 2] = 180
    assert brightest(image) == 180
    image[500:504, 500:510] = 255  # a lamp far away
    assert brightest(image) == 180
    image[500:600, 500:700] = 255
    assert brightest(image) == 255
