# SPDX-License-Identifier: GPL-3.0-or-later
"""Detail that only a close-up of the photo shows comes into maps of twice the side, where the photo was seen."""

from dataclasses import replace

import numpy as np
import pytest

from idto3d.evidence.close_up import enlarged
from idto3d.evidence.gather import HairOver
from idto3d.evidence.hair_colour import SHADES, HairColour
from idto3d.fit.projection import project_photo
from idto3d.headmodel import HeadModel
from idto3d.photos import align
from idto3d.photos.picture import LARGEST, CloseUp, close_up, frame
from tests.synthetic_face import camera_of, landmarks_of
from tests.test_evidence import MAP, gather, shoot, where
from tests.test_evidence import model as model  # the fixture

SCALE = 4  # pixels of the close-up along one of the picture


def test_only_a_large_photo_has_a_close_up(model: HeadModel) -> None:
    points, _ = landmarks_of(model, camera_of(model), model.neutral.astype(np.float64))
    image = np.zeros((320, 320, 3), np.uint8)
    assert close_up(image, points, frame(points)[0]) is None
    grown = 20 * points
    to_picture, size = frame(grown)
    assert size == LARGEST
    close = close_up(np.zeros((6400, 6400, 3), np.uint8), grown, to_picture)
    assert close is not None and close.scale > 1
    # both are the same place of the photo: forehead to chin lies within the close-up
    here = align.apply(close.from_picture, align.apply(to_picture, grown))
    assert here.min() > 0 and here.max() < len(close.picture)
    one, other = (np.linalg.norm(np.ptp(p, axis=0)) for p in (align.apply(to_picture, grown), here))
    assert other / one == pytest.approx(close.scale)


def test_stripes_too_fine_for_the_picture_reach_the_map(model: HeadModel) -> None:
    """Stripes of a picture's pixel: their mean is all that the picture has, the close-up has them."""
    face = shoot(model)
    evidence, camera = gather(model, [face], [0.0]), camera_of(model)
    photo = project_photo(model, face, camera, model.neutral.astype(np.float64))
    size = SCALE * len(face.picture)
    shape = (size, size, 3)
    even, wave = np.full(shape, 128.0), 40 * np.sin(2 * np.pi * np.arange(size) / SCALE)
    offset = (SCALE - 1) / 2
    place = np.array([[SCALE, 0, offset], [0, SCALE, offset]], float)
    skin = next(m for m in model.materials if m.name == "skin")
    before = evidence.maps["skin"]
    plain = enlarged(before, skin, model, evidence, (face, photo))
    assert plain.shape == (2 * MAP, 2 * MAP, 5)
    np.testing.assert_allclose(plain.mean((0, 1)), before.mean((0, 1)), atol=0.01)
    same, striped = (
        enlarged(
            before, skin, model, evidence,
            (replace(face, close=CloseUp(np.rint(picture).astype(np.uint8), place)), photo),
        )
        for picture in (even, even + wave[:, None, None])
    )  # fmt: skip
    np.testing.assert_allclose(same, plain, atol=1e-6)
    change = np.abs(striped - plain)[..., :3].mean(2)
    seen = np.kron(evidence.seen["skin"], np.ones((2, 2)))
    assert change[seen > 0.9].mean() > 0.03 and change[seen == 0].max() < 0.01
    np.testing.assert_array_equal(striped[..., 3:], plain[..., 3:])
    # What another photo has seen gets no detail of this one, in which hair lies over it.
    over = np.zeros(face.inside.shape, np.float32)
    over[:, : len(over) // 2] = 1
    colour = HairColour(np.full(3, 0.1), (photo.linear,) * 2, np.zeros((SHADES, 3)), (0, 1))
    both = gather(model, [face, face], [0.0, 0.0], [1.0, 0.5], hair=HairOver([over, 0 * over], colour))
    close = replace(face, close=CloseUp(np.rint(even + wave[:, None, None]).astype(np.uint8), place))
    change = np.abs(enlarged(before, skin, model, both, (close, photo)) - plain)[..., :3].mean(2)
    seen = np.kron(both.seen["skin"], np.ones((2, 2)))
    left = np.kron(where(model, both)[..., 0], np.ones((2, 2)))  # the person's is on the right of the picture
    assert change[(seen > 0.9) & (left > 0.005)].mean() > 0.03
    hidden = (seen > 0.9) & (left < -0.005)
    assert hidden.sum() > 1000 and change[hidden].max() < 0.01
