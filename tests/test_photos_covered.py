# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks over the mouth and glasses over the eyes, painted on one photograph, and what is like them but is none."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from idto3d.errors import UserError
from idto3d.photos import Face, Photo, find_face, read_faces
from idto3d.photos.covered import exposed, what_is_covered
from tests.shipped import astronaut, nets

LOWER_FACE = (197, 123, 234, 93, 58, 172, 136, 150, 176, 152, 400, 379, 365, 397, 288, 323, 454, 352)
INNER_LIPS = (78, 81, 13, 311, 308, 402, 14, 178)
LIPS = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91)


@pytest.fixture(scope="module")
def face() -> Face:
    return find_face(Photo(astronaut(), "photo.png"), nets())


def painted(face: Face, marks: tuple[int, ...], colour: tuple[int, int, int]) -> np.ndarray:
    """The face's picture with the hull of some landmarks in one colour."""
    hull = cv2.convexHull(np.rint(face.landmarks[list(marks)]).astype(np.int32))
    return cv2.fillConvexPoly(face.picture.copy(), hull, colour)


@pytest.mark.parametrize("colour", [(235, 235, 240), (120, 160, 200), (15, 15, 15), (30, 90, 60)])
def test_a_mask_is_refused(face: Face, colour: tuple[int, int, int], tmp_path: Path) -> None:
    Image.fromarray(painted(face, LOWER_FACE, colour)).save(tmp_path / "masked.png")
    with pytest.raises(UserError, match="E_FACE_COVERED"):
        read_faces([tmp_path / "masked.png"], nets())


@pytest.mark.parametrize("colour", [(170, 30, 35), (225, 150, 160), (205, 165, 140)])
def test_a_mask_of_skin_s_colours_or_of_none_is_refused_as_its_lips_are_guessed(
    face: Face, colour: tuple[int, int, int], tmp_path: Path
) -> None:
    masked = painted(face, LOWER_FACE, colour)
    grey = np.repeat(cv2.cvtColor(masked, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    assert face.lips_spread < 0.004
    for name, picture in (("masked.png", masked), ("grey.png", grey)):
        Image.fromarray(picture).save(tmp_path / name)
        with pytest.raises(UserError, match=r"E_FACE_COVERED.*mouth"):
            read_faces([tmp_path / name], nets())


@pytest.mark.parametrize("light", [0.25, 0.05])
def test_a_mask_is_seen_on_a_dim_photo(face: Face, light: float) -> None:
    for picture, covered in ((painted(face, LOWER_FACE, (200, 205, 210)), "mouth"), (face.picture, "")):
        dim = np.rint(picture * light ** (1 / 2.2)).astype(np.uint8)
        assert what_is_covered(dim, face.landmarks, 0.0) == covered


def test_a_mouth_that_the_net_is_unsure_of_is_covered_unless_it_has_a_mouth_s_contrast(face: Face) -> None:
    mask = painted(face, LOWER_FACE, (205, 165, 140))
    assert what_is_covered(mask, face.landmarks, 0.012) == "mouth" and not what_is_covered(mask, face.landmarks, 0.004)
    assert not what_is_covered(face.picture, face.landmarks, 0.012), "a beard seen from the side"


def test_beards_lipstick_and_lamps_are_none(face: Face) -> None:
    lips = cv2.fillConvexPoly(
        np.zeros(face.picture.shape[:2], np.uint8), np.rint(face.landmarks[list(LIPS)]).astype(np.int32), 1
    )
    beard = painted(face, LOWER_FACE, (25, 22, 20))
    beard[lips > 0] = face.picture[lips > 0]
    blue_lips = painted(face, LIPS, (40, 40, 160))
    blue_lamp = (face.picture * [0.4, 0.6, 1.0]).astype(np.uint8)
    for picture in (face.picture, beard, blue_lips, blue_lamp):
        assert not what_is_covered(picture, face.landmarks, 0.0)


def test_a_black_beard_on_dark_skin_is_none(face: Face) -> None:
    """All of it has little red, as it has little light."""
    lab = cv2.cvtColor(face.picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) * np.array([0.6, 1.1, 1.0], np.float32)
    dark = (255 * cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)).astype(np.uint8)
    beard = painted(replace(face, picture=dark), LOWER_FACE, (40, 34, 32))
    picture = painted(replace(face, picture=beard), LIPS, (54, 47, 45))
    assert not what_is_covered(picture, face.landmarks, 0.0)


def test_a_grin_in_a_grey_beard_is_none(face: Face) -> None:
    """Dark men's lips may be no redder than the grey around them, but a mask has no teeth."""
    beard = painted(face, LOWER_FACE, (110, 110, 112))
    grin = painted(replace(face, picture=beard), INNER_LIPS, (225, 220, 210))
    assert what_is_covered(beard, face.landmarks, 0.0) == "mouth" and not what_is_covered(grin, face.landmarks, 0.0)


def with_lenses(face: Face, colour: tuple[int, int, int], clear: float) -> np.ndarray:
    """The face's picture behind two lenses of a colour that let some of the light, 0..1, through."""
    irises = face.landmarks[[468, 473]]
    apart = np.linalg.norm(irises[1] - irises[0])
    lens = np.zeros(face.picture.shape[:2], np.float32)
    for middle in irises + [0.0, 0.08 * apart]:
        cv2.ellipse(lens, tuple(middle.astype(int).tolist()), (int(0.42 * apart), int(0.34 * apart)), 0, 0, 360, 1, -1)
    share = (1 - clear) * cv2.GaussianBlur(lens, (0, 0), 1)[..., None]
    sky = np.linspace(1.3, 0.7, len(lens))[:, None, None]  # lenses mirror more of it above
    return np.clip(face.picture * (1 - share) + share * sky * np.array(colour), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("colour", "clear"), [((12, 12, 14), 0.04), ((60, 38, 25), 0.15), ((120, 140, 170), 0.05)])
def test_sunglasses_are_refused(face: Face, colour: tuple[int, int, int], clear: float, tmp_path: Path) -> None:
    Image.fromarray(with_lenses(face, colour, clear)).save(tmp_path / "sunny.png")
    with pytest.raises(UserError, match=r"E_FACE_COVERED.*eyes"):
        read_faces([tmp_path / "sunny.png"], nets())
    glint = with_lenses(face, colour, clear)
    for eye in face.landmarks[[468, 473]].astype(int):
        cv2.line(glint, tuple((eye + [-6, 4]).tolist()), tuple((eye + [6, -4]).tolist()), (250, 250, 250), 3)
    assert what_is_covered(glint, face.landmarks, 0.0) == ("eyes" if sum(colour) < 300 else "")
    light = cv2.cvtColor(with_lenses(face, colour, clear), cv2.COLOR_RGB2GRAY)
    without_colours = np.repeat(light[..., None], 3, 2).astype(np.uint8)
    dark = sum(colour) < 300
    assert what_is_covered(without_colours, face.landmarks, 0.0, grey=True) == ("eyes" if dark else "")


@pytest.mark.parametrize(("contrast", "lifted"), [(0.5, 64), (0.6, 100)])
def test_haze_covers_no_eyes_and_hides_no_lenses(face: Face, contrast: float, lifted: int) -> None:
    for picture, covered in ((face.picture, ""), (with_lenses(face, (12, 12, 14), 0.04), "eyes")):
        hazy = np.clip(contrast * picture.astype(float) + lifted, 0, 255).astype(np.uint8)
        assert what_is_covered(hazy, face.landmarks, 0.0) == covered
        assert np.abs(exposed(hazy) - exposed(picture)).mean() < 0.01


def test_clear_glasses_and_a_cap_s_shade_cover_no_eyes(face: Face) -> None:
    assert not what_is_covered(with_lenses(face, (235, 240, 245), 0.85), face.landmarks, 0.0)
    shade = np.ones((*face.picture.shape[:2], 1))
    shade[: int(face.landmarks[2, 1])] = 0.12 ** (1 / 2.2)  # an eighth of the light, down to the nose
    assert not what_is_covered((face.picture * shade).astype(np.uint8), face.landmarks, 0.0)
