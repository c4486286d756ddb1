# SPDX-License-Identifier: GPL-3.0-or-later
"""A face as other cameras would show it: still that face, to the net that describes it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from idto3d.photos import Face, Photo, find_face
from idto3d.photos.landmarks import describe
from idto3d.training.looks import LOOKS, looks_of
from tests.shipped import astronaut, nets


@pytest.fixture(scope="module")
def face() -> Face:
    return find_face(Photo(astronaut(), "astronaut"), nets())


def apart(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_looks_differ_and_stay_near(face: Face) -> None:
    assert face.features is not None
    looks = looks_of(face, nets(), np.random.default_rng(0))
    assert looks.shape == (LOOKS, len(face.features))
    np.testing.assert_array_equal(looks[0], face.features)
    far = [apart(look, face.features) for look in looks[1:]]
    assert 0.02 < min(far) and max(far) < 0.5
    np.testing.assert_array_equal(looks, looks_of(face, nets(), np.random.default_rng(0)))


def test_a_mirror_image_is_described_with_its_halves_swapped(face: Face) -> None:
    """But for which landmark is which, where the crop lies goes by their outline."""
    assert face.features is not None
    size = len(face.picture)
    points = face.landmarks.copy()
    points[:, 0] = size - 1 - points[:, 0]
    points[[33, 263]] = points[[263, 33]]
    mirrored = describe(np.ascontiguousarray(face.picture[:, ::-1]), points, nets())
    swapped = np.roll(mirrored, len(mirrored) // 2)
    assert apart(swapped, face.features) < 0.1 * apart(mirrored, face.features)
