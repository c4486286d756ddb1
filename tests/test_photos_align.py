# SPDX-License-Identifier: GPL-3.0-or-later
"""Crops: hand-computed transforms, insightface's own alignment, antialiasing, padding."""

import warnings

import cv2
import numpy as np
import pytest

from idto3d.photos import align

UPRIGHT = np.array([[40.0, 40.0], [60.0, 40.0], [50.0, 50.0], [42.0, 60.0], [58.0, 60.0]])


def rotated(points: np.ndarray, degrees: float, centre: tuple[float, float]) -> np.ndarray:
    """Points turned clockwise as seen in the image (y down)."""
    a = np.deg2rad(degrees)
    r = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return (points - centre) @ r.T + centre


@pytest.mark.parametrize("degrees", [-120.0, -30.0, 10.0, 90.0])
def test_alignment_undoes_roll(degrees: float) -> None:
    upright = align.apply(align.arcface_transform(UPRIGHT, 128), UPRIGHT)
    turned = rotated(UPRIGHT, degrees, (13.0, 70.0))
    np.testing.assert_allclose(align.apply(align.arcface_transform(turned, 128), turned), upright, atol=1e-9)


def test_roll_of_a_box_is_undone() -> None:
    turned = rotated(UPRIGHT, 25.0, (50.0, 50.0))
    upright = align.apply(align.box_transform((50.0, 50.0), 100.0, 100, 25.0), turned)
    np.testing.assert_allclose(upright, UPRIGHT - 0.5, atol=1e-9)  # the centre goes to 49.5


def test_box_transform_corners() -> None:
    # The square of side 20 around (30, 40) covers 20..40 x 30..50, the crop's outer edges.
    m = align.box_transform((30.0, 40.0), 20.0, 112)
    pixels = align.apply(m, [[20.0, 30.0], [40.0, 50.0], [30.0, 40.0]])
    np.testing.assert_allclose(pixels, [[-0.5, -0.5], [111.5, 111.5], [55.5, 55.5]], atol=1e-12)
    with pytest.raises(ValueError, match="positive"):
        align.box_transform((0.0, 0.0), 0.0, 112)


def test_inverse_round_trip() -> None:
    m = align.box_transform((13.0, 7.0), 90.0, 112, 20.0)
    np.testing.assert_allclose(align.apply(align.invert(m), align.apply(m, UPRIGHT)), UPRIGHT, atol=1e-9)


@pytest.mark.parametrize("size", [112, 224])
def test_arcface_matches_insightface(size: int) -> None:
    face_align = pytest.importorskip("insightface.utils.face_align")
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (300, 300, 3), dtype=np.uint8), (0, 0), 2.0)
    for degrees in (-25.0, 0.0, 40.0):
        points = rotated(UPRIGHT * 1.0 + rng.normal(0, 1.5, (5, 2)), degrees, (50.0, 50.0)) + 60.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            expected = face_align.estimate_norm(points.astype(np.float32), size)
            crop = face_align.norm_crop(image, points.astype(np.float32), size)
        np.testing.assert_allclose(align.arcface_transform(points, size), expected, atol=2e-4)
        ours = align.arcface_crop(image, points, size)  # an enlargement, so no area average
        assert np.abs(ours.astype(int) - crop).mean() < 0.5


def test_similarity_excludes_reflection() -> None:
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    m = align.similarity(square, square * [-1.0, 1.0])
    assert np.linalg.det(m[:, :2]) >= 0.0


def test_degenerate_keypoints_are_refused() -> None:
    with pytest.raises(ValueError, match="coincide"):
        align.arcface_transform(np.zeros((5, 2)))
    with pytest.raises(ValueError, match="finite"):
        align.arcface_transform(np.full((5, 2), np.nan))
    with pytest.raises(ValueError, match="five"):
        align.arcface_transform(np.zeros((4, 2)))


def test_reduction_is_an_area_average() -> None:
    # One-pixel stripes reduced 8 times must come out grey; point samples would give black or white.
    image = np.zeros((800, 800, 3), np.uint8)
    image[:, ::2] = 200
    crop = align.warp(image, align.box_transform((400.0, 400.0), 400.0, 50), 50)
    assert crop.min() >= 90 and crop.max() <= 110


def test_reduction_does_not_shift() -> None:
    # A ramp in x: crop pixel i covers image pixels 4 i .. 4 i + 3, whose mean is 4 i + 1.5; its ends see the border.
    image = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    crop = align.warp(image, align.box_transform((31.5, 31.5), 64.0, 16), 16)
    assert np.abs(crop[8, 1:-1] - (4 * np.arange(1, 15) + 1.5)).max() <= 1.0


def test_padding() -> None:
    image = np.full((20, 20, 3), 90, np.uint8)
    m = align.box_transform((0.0, 0.0), 60.0, 60)
    assert (align.warp(image, m, 60, "replicate") == 90).all()
    black = align.warp(image, m, 60, "black")
    assert (black[:25, :25] == 0).all() and (black[35:45, 35:45] == 90).all()
    far = align.warp(image, align.box_transform((1000.0, -500.0), 60.0, 60), 60)
    assert (far == 90).all()
    assert (align.warp(image, align.box_transform((1000.0, -500.0), 60.0, 60), 60, "black") == 0).all()


def test_wide_sources_are_accepted() -> None:
    image = np.zeros((8, 40_000, 3), np.uint8)
    image[:, 35_000:35_100] = 255
    crop = align.warp(image, align.box_transform((35_050.0, 4.0), 8.0, 16), 16)
    assert (crop == 255).all()


def test_part_of_the_image_equals_the_whole() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (200, 240, 3), dtype=np.uint8)
    m = align.box_transform((120.0, 90.0), 50.0, 64, roll=17.0)
    whole = cv2.warpAffine(image, m, (64, 64), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(align.warp(image, m, 64).astype(int) - whole).max() <= 12  # OpenCV's fixed-point coordinates


def test_pyramid_crop_equals_the_full_one() -> None:
    y, x = np.mgrid[:1801, :2003]
    grey = 127 + 60 * np.sin(x / 120) + 60 * np.cos(y / 105)  # up to 8 grey levels a crop pixel
    image = np.dstack([np.round(grey).astype(np.uint8)] * 3)
    levels = align.pyramid(image)
    assert [level.shape[:2] for level in levels] == [(1801, 2003), (900, 1001), (450, 500), (225, 250)]
    m = align.box_transform((1001.3, 877.7), 1400.0, 112, roll=12.0)
    difference = np.abs(align.warp_level(levels, m, 112).astype(float) - align.warp(image, m, 112))
    assert difference.max() <= 3.0
