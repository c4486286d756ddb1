# SPDX-License-Identifier: GPL-3.0-or-later
"""Bars, frames and round pictures: what of a picture is photograph."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data

from idto3d.photos import Photo, find_face
from idto3d.photos.borders import Shown, within_borders
from tests.shipped import astronaut, nets


def picture(height: int = 480, width: int = 640) -> np.ndarray:
    """What no border looks like."""
    coarse = np.random.default_rng(3).integers(40, 216, (height // 40, width // 40, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def box_of(shown: Shown) -> tuple[int, int, int, int]:
    return shown.left, shown.top, shown.left + shown.image.shape[1], shown.top + shown.image.shape[0]


def disc(height: int = 480, width: int = 640, radius: float = 230.0) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.asarray(np.hypot(x - width / 2, y - height / 2) < radius)


def jpeg(image: np.ndarray, quality: int = 80) -> np.ndarray:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1), np.uint8)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (30, 90, 160)])
@pytest.mark.parametrize(
    "box", [(0, 60, 640, 420), (100, 0, 540, 480), (90, 0, 640, 480), (50, 40, 600, 440), (0, 0, 640, 460)]
)
def test_bars_and_frames_are_no_photograph(box: tuple[int, int, int, int], colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    image = np.full((480, 640, 3), colour, np.uint8)
    image[top:bottom, left:right] = picture()[top:bottom, left:right]
    for given in (image, jpeg(image)):
        shown = within_borders(given)
        assert shown.mask is None and np.abs(np.subtract(box_of(shown), box)).max() <= 6, box_of(shown)
        assert np.array_equal(
            shown.image, given[shown.top :, shown.left :][: shown.image.shape[0], : shown.image.shape[1]]
        )


def test_a_round_picture_ends_at_its_rim() -> None:
    inside = disc()
    whole = picture()
    for image, opaque in (
        (whole, inside),
        (np.where(inside[..., None], whole, 255).astype(np.uint8), None),
        (jpeg(np.where(inside[..., None], whole, 0).astype(np.uint8)), None),
    ):
        shown = within_borders(image, opaque)
        assert shown.mask is not None
        found = np.zeros_like(inside)
        found[shown.top : shown.top + len(shown.mask), shown.left : shown.left + shown.mask.shape[1]] = shown.mask
        assert not (found & ~inside).any() and (found & inside).sum() > 0.95 * inside.sum()


def person_before(wall: np.ndarray) -> np.ndarray:
    """Head and shoulders, patterned, before a plain wall."""
    out = wall.copy()
    mask = np.zeros(out.shape[:2], np.uint8)
    cv2.circle(mask, (320, 190), 110, 1, -1)
    cv2.ellipse(mask, (320, 520), (250, 190), 0, 0, 360, 1, -1)
    return np.where(mask[..., None] > 0, picture(), out).astype(np.uint8)


def test_a_plain_wall_is_photograph() -> None:
    wall = np.full((480, 640, 3), 250, np.uint8)
    person = person_before(wall)
    corner = picture()
    corner[:100, :180] = 250
    tight = picture()  # a head that fills the picture, with the wall in two corners
    y, x = np.mgrid[:480, :640]
    tight[(np.hypot((x - 320) / 330, (y - 330) / 340) > 1) & (y < 330)] = 250
    for image in (person, corner, tight, picture(), wall):
        for size in (480, 128):
            given = np.asarray(cv2.resize(image, (size * 4 // 3, size), interpolation=cv2.INTER_AREA), np.uint8)
            shown = within_borders(given)
            assert shown.mask is None and shown.image.shape == given.shape
    cut_out = (person != 250).any(-1)
    assert within_borders(person, cut_out).mask is None, "an outline tells of the head"


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (3, 4000), (9, 9)])
def test_absurd_sizes(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    assert within_borders(image).image.shape == image.shape
    within_borders(image, np.zeros(shape, bool))


def test_a_face_between_bars_is_that_of_the_crop() -> None:
    image = astronaut()
    crop = image[:, 60:420]
    barred = np.zeros((len(image) + 80, image.shape[1], 3), np.uint8)
    barred[30:-50, 60:420] = crop
    one, other = find_face(Photo(crop, "crop.jpg"), nets()), find_face(Photo(barred, "barred.jpg"), nets())
    rows, columns = np.nonzero(one.inside != other.inside)
    assert len(rows) < 0.03 * one.inside.size  # the rim
    back = [cv2.invertAffineTransform(face.to_picture) for face in (one, other)]
    places = [face.landmarks @ m[:, :2].T + m[:, 2] for face, m in zip((one, other), back, strict=True)]
    assert np.abs(places[1] - places[0] - [60, 30]).max() < 1.5


def test_around_a_round_picture_its_colours_go_on() -> None:
    image = astronaut()
    centre = np.array([225.0, 130.0])
    y, x = np.mgrid[: len(image), : image.shape[1]]
    away = np.hypot(x - centre[0], y - centre[1])
    face = find_face(replace(Photo(image, "avatar.png"), opaque=away < 125), nets())
    whole = find_face(Photo(image, "whole.png"), nets())
    assert face.inside.sum() < 0.6 * whole.inside.sum()
    back = cv2.invertAffineTransform(face.to_picture)
    rows, columns = np.nonzero(face.inside)
    places = np.c_[columns, rows] @ back[:, :2].T + back[:, 2]
    assert np.hypot(*(places - centre).T).max() < 126
    # At the rim no colour of what is beyond: neither transparency's grey nor another.
    edge = cv2.dilate(face.inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~face.inside
    near = cv2.erode(face.inside.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
    assert np.abs(face.picture[edge].mean(0) - face.picture[near & face.inside].mean(0)).max() < 12


def test_data_that_other_tests_rest_on_has_no_border() -> None:
    assert within_borders(data.astronaut()).image.shape == data.astronaut().shape
