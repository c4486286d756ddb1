# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of a face: the square of a photo that shows the whole head, upright, for all later steps."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from . import align
from .landmarks import MESH, extent, upright

LARGEST, SMALLEST = 1536, 512
# Side in face heights, and largest size, of the close-up of the face.
_CLOSE_SIDE, _CLOSE_LARGEST = 1.4, 2048
# In heights of the face: the side, and how far the centre lies over the landmarks' mean, so that high hair fits.
_SIDE, _UP = 3.2, 0.15
_LIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
# Side of the pictures of a head, whose face is then 40 pixels high, and blur, at which they are compared.
_COMPARED, _NOISE = 128, 1.0
# Side of the pictures of a head at which they are laid over each other, blur there, steps, and the longest step: pixels
# across and down, share of the size, radians.
_LAID, _LAID_BLUR, _LAID_STEPS, _LAID_FARTHEST = 256, 1.5, 8, np.array([4.0, 4.0, 0.05, 0.05])
# Side of the copy whose colours are tested; root mean square 0..1 of what lightness does not explain of them.
# Photographs with little colour had 0.023, tinted ones up to 0.013 after strong compression.
_COARSE, _COLOUR = 128, 0.016
# The same over the root mean square of lightness, which an exposure leaves as it is: on 76 photographs with colours it
# was 0.036 or more, dimmed to a quarter of their values, too.
_COLOUR_OF_LIGHTNESS = 0.03
# Side of the copy whose brightest pixels are looked for, and the share of them that may be lamps' or glints.
_METERED, _GLINTS = 512, 0.001


def frame(points: Array) -> tuple[Array, int]:
    """(2,3) from photo pixels to the picture of landmarks (478,2), and the picture's size."""
    height, roll = extent(points)[1], upright(points)
    angle = np.deg2rad(roll)
    up = np.array([np.sin(angle), -np.cos(angle)])
    side = _SIDE * height
    size = int(np.clip(round(side), SMALLEST, LARGEST))
    return align.box_transform(points[:MESH].mean(0) + _UP * height * up, side, size, roll), size


@dataclass(frozen=True, eq=False)
class CloseUp:
    """The face at a higher resolution than the picture of the whole head: picture (C,C,3) uint8 sRGB; from_picture
    (2,3): from pixels of the whole head's picture to its own."""

    picture: NDArray[np.uint8]
    from_picture: Array

    @property
    def scale(self) -> float:
        """Its resolution over that of the whole head's picture."""
        return float(np.sqrt(abs(np.linalg.det(self.from_picture[:, :2]))))


def close_up(image: NDArray[np.uint8], points: Array, to_picture: Array) -> CloseUp | None:
    """The close-up of landmarks (478,2) in a photo (H,W,3); None where the head's picture has full resolution."""
    height = extent(points)[1]
    if _SIDE * height <= LARGEST:
        return None
    side = _CLOSE_SIDE * height
    size = int(min(round(side), _CLOSE_LARGEST))
    to_close = align.box_transform(points[:MESH].mean(0), side, size, upright(points))
    return CloseUp(align.warp(image, to_close, size), align.compose(to_close, align.invert(to_picture)))


def inside(shape: tuple[int, int], to_picture: Array, size: int) -> NDArray[np.bool_]:
    """(size,size): where a picture's pixel centres lie within a photo of the shape (H,W)."""
    height, width = shape
    back = align.invert(to_picture)
    rows, columns = np.arange(size)[:, None], np.arange(size)[None, :]
    x = back[0, 0] * columns + back[0, 1] * rows + back[0, 2]
    y = back[1, 0] * columns + back[1, 1] * rows + back[1, 2]
    return (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)


def continued(picture: NDArray[np.uint8], within: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture (S,S,3) with the nearest colour of within (S,S), where it has the photo, in all other places."""
    if not within.any():
        return picture
    other = (~within).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(other, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colours = np.zeros((nearest.max() + 1, 3), np.uint8)
    colours[nearest[within]] = picture[within]
    return colours[nearest]


def is_grey(picture: NDArray[np.uint8], within: NDArray[np.bool_]) -> bool:
    """Whether a picture (S,S,3), where within (S,S), is grey or toned like sepia.

    Then the channels are functions of the lightness, up to JPEG's errors.
    """
    small = cv2.resize(picture, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
    real = cv2.resize(within.astype(np.uint8), (_COARSE, _COARSE), interpolation=cv2.INTER_NEAREST) > 0
    channels = small[real].astype(np.float64) / 255
    lightness = channels @ _LIGHTNESS
    powers = np.stack([lightness**n for n in range(4)], 1)
    left = channels - powers @ np.linalg.lstsq(powers, channels, rcond=None)[0]
    least = min(_COLOUR, _COLOUR_OF_LIGHTNESS * float(np.sqrt((lightness**2).mean())))  # dark colours differ by less
    return bool(np.sqrt((left**2).sum(1).mean()) < least)


def lay_over(picture: NDArray[np.uint8], points: Array, other: NDArray[np.uint8], back: Array) -> Array:
    """(2,3) similarity that brings the pixels of another picture (T,T,3) of a head to those of a picture (S,S,3) with
    landmarks points (478,2), so that the faces look most alike (Lucas and Kanade 1981); back (2,3): nearly that."""
    share = _LAID / len(picture)
    reduced = np.array([[share, 0, 0.5 * share - 0.5], [0, share, 0.5 * share - 0.5]])  # from edges, not centres
    still = _blurred(np.asarray(cv2.resize(picture, (_LAID, _LAID), interpolation=cv2.INTER_AREA), np.uint8))
    hull = cv2.convexHull(np.rint(align.apply(reduced, points[:MESH])).astype(np.int32))
    rows, columns = np.nonzero(cv2.fillConvexPoly(np.zeros((_LAID, _LAID), np.uint8), hull, 1))
    if not len(rows):
        return back
    middle = np.array([columns.mean(), rows.mean()])
    right, down = columns - middle[0], rows - middle[1]
    laid = align.compose(reduced, back)
    for _ in range(_LAID_STEPS):
        moved = _blurred(align.warp(other, laid, _LAID))
        by_row, by_column = (np.gradient((still + moved) / 2, axis=axis)[rows, columns] for axis in (0, 1))
        slopes = np.stack([by_column, by_row, by_column * right + by_row * down, by_row * right - by_column * down], 1)
        off = (moved - still)[rows, columns]
        weight = 1 / (1 + (off / (2 * np.median(np.abs(off)) + 1e-6)) ** 2)  # less where they differ, as by compression
        found = np.linalg.lstsq(slopes * weight[:, None], off * weight, rcond=None)[0]
        x, y, wider, turned = np.clip(found, -_LAID_FARTHEST, _LAID_FARTHEST)
        step = np.array([[1 + wider, -turned, 0], [turned, 1 + wider, 0]])  # about the middle
        step[:, 2] = middle + [x, y] - step[:, :2] @ middle
        laid = align.compose(step, laid)
    return align.compose(align.invert(reduced), laid)


def _blurred(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(image.astype(np.float32) @ _LIGHTNESS, (0, 0), _LAID_BLUR), np.float32)


def unlikeness(
    picture: NDArray[np.uint8], within: NDArray[np.bool_], points: Array, other: NDArray[np.uint8], back: Array
) -> float:
    """The largest difference in lightness between two pictures of a face, over its deviation on the face.

    picture (S,S,3) with landmarks points (478,2), within (S,S) its photo; other (T,T,3), whose pixels `back` (2,3)
    brings to the picture's.
    """
    size, small = len(picture), (_COMPARED, _COMPARED)
    one, two = (
        cv2.resize(image, small, interpolation=cv2.INTER_AREA).astype(np.float32) @ _LIGHTNESS
        for image in (picture, align.warp(other, back, size))  # at full size, as warps round to 1/32 pixel
    )
    hull = cv2.convexHull(np.rint(points[:MESH]).astype(np.int32))
    face = cv2.fillConvexPoly(np.zeros((size, size), np.uint8), hull, 1) * within
    shown = cv2.resize(face.astype(np.float32), small, interpolation=cv2.INTER_AREA) > 0.99
    real = cv2.resize(within.astype(np.float32), small, interpolation=cv2.INTER_AREA) > 0.99
    unlike = np.abs(cv2.GaussianBlur((one - two) * real, (0, 0), _NOISE))[shown].max(initial=0.0)
    return float(unlike / max(float(one[shown].std()), 1e-6)) if shown.any() else np.inf


def brightest(image: NDArray[np.uint8]) -> int:
    """The value 0..255 that only glints of a photo (H,W,3) exceed, in the channel that is highest there."""
    small = cv2.resize(image, (_METERED, _METERED), interpolation=cv2.INTER_AREA)
    return int(np.quantile(small.max(-1), 1 - _GLINTS))
