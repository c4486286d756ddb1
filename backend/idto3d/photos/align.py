# SPDX-License-Identifier: GPL-3.0-or-later
"""Crops of images under affine transforms: pure geometry, shared by photos at run time and renders in training.

Conventions used everywhere in this package:

* keypoints (5, 2) are (x, y) in pixels, y down, the top left pixel's centre at (0, 0), as in OpenCV; order: the eye at
  the image left (the subject's right eye), the other eye, nose tip, mouth corner at the image left, the other corner.
* a crop transform (2, 3) float64 maps image pixels to crop pixels: ``crop = M[:, :2] @ (x, y) + M[:, 2]``.
"""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Padding = Literal["replicate", "black"]

# The ArcFace template in a 112 x 112 crop, as in insightface.utils.face_align.arcface_dst (Deng et al., CVPR 2019).
ARCFACE_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)

# Landmarks of MediaPipe's at the lids' borders, image left first.
LIDS = ([33, 160, 158, 133, 153, 144], [362, 385, 387, 263, 373, 380])

# Reduction up to which bicubic sampling does not alias.
_SHARP = 1.25
_SMALLEST_LEVEL = 256


def similarity(source: npt.ArrayLike, target: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Least-squares similarity (rotation, scale, translation; no reflection) from source (N, 2) to target (N, 2).

    Returns (2, 3). Umeyama (PAMI 1991) in the plane, where the similarity is multiplication by one complex number.
    Raises ValueError when all source points coincide.
    """
    p = np.asarray(source, dtype=np.float64) @ np.array([1.0, 1.0j])
    q = np.asarray(target, dtype=np.float64) @ np.array([1.0, 1.0j])
    p_mean, q_mean = p.mean(), q.mean()
    spread = float(np.sum(np.abs(p - p_mean) ** 2))
    if not spread > 0.0:
        raise ValueError("the points coincide: they define no similarity")
    a = np.sum(np.conj(p - p_mean) * (q - q_mean)) / spread
    b = q_mean - a * p_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def box_transform(centre: npt.ArrayLike, side: float, size: int, roll: float = 0.0) -> npt.NDArray[np.float64]:
    """(2, 3) transform to the size x size crop of the square of the given side (pixels) around centre (x, y).

    roll: degrees by which the square is turned clockwise as seen in the image; content turned by it comes out upright.
    """
    if not side > 0.0:
        raise ValueError("the side of a crop must be positive")
    scale = size / side
    angle = np.deg2rad(roll)
    rotation = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = np.full(2, (size - 1) / 2.0)
    translation = middle - rotation @ np.asarray(centre, dtype=np.float64)
    return np.concatenate([rotation, translation[:, None]], axis=1)


def arcface_transform(keypoints: npt.ArrayLike, size: int = 112) -> npt.NDArray[np.float64]:
    """(2, 3) transform from image pixels to a recogniser's size x size crop, from keypoints (5, 2).

    insightface's ``estimate_norm``: the similarity to ARCFACE_TEMPLATE scaled to the size. Raises ValueError on
    keypoints that define no crop (coinciding, not finite).
    """
    k = np.asarray(keypoints, dtype=np.float64)
    if k.shape != (5, 2) or not np.isfinite(k).all():
        raise ValueError("keypoints must be five finite points")
    return similarity(k, ARCFACE_TEMPLATE * (size / 112.0))


def invert(transform: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Inverse (2, 3) of an affine transform (2, 3)."""
    m = np.asarray(transform, dtype=np.float64)
    inverse = np.linalg.inv(m[:, :2])
    return np.concatenate([inverse, -(inverse @ m[:, 2])[:, None]], axis=1)


def apply(transform: npt.ArrayLike, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Affine transform (2, 3) of points (..., 2)."""
    m = np.asarray(transform, dtype=np.float64)
    return np.asarray(points, dtype=np.float64) @ m[:, :2].T + m[:, 2]


def compose(second: npt.ArrayLike, first: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The affine transform (2, 3) that does one after the other."""
    m = np.asarray(second, dtype=np.float64)
    out = m[:, :2] @ np.asarray(first, dtype=np.float64)
    out[:, 2] += m[:, 2]
    return out


def warp(
    image: npt.NDArray[np.uint8], transform: npt.ArrayLike, size: int, padding: Padding = "replicate"
) -> npt.NDArray[np.uint8]:
    """Crop (size, size, 3) of image (H, W, 3) under an image-to-crop transform (2, 3).

    Bicubic; before a reduction the image is averaged by area to nearly the crop's resolution, as samples alone would
    alias. Outside the image the nearest edge pixel is repeated, or black as in insightface's ``norm_crop``.
    """
    m = np.array(transform, dtype=np.float64)
    if not np.isfinite(m).all():
        raise ValueError("the crop transform is not finite")
    # Only the needed part of the image: OpenCV's warps refuse sources over 32767 pixels a side.
    corners = apply(invert(m), [[0, 0], [size, 0], [0, size], [size, size]])
    limits = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(corners.min(axis=0)) - 4, 0, limits - 1).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 5, low + 1, limits).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    m[:, 2] += m[:, :2] @ low
    step = 1.0 / float(np.sqrt(abs(np.linalg.det(m[:, :2]))))  # image pixels per crop pixel
    if step > _SHARP:
        fewer = np.maximum(np.round((high - low) * _SHARP / step), 1).astype(int)
        part = np.asarray(cv2.resize(part, (int(fewer[0]), int(fewer[1])), interpolation=cv2.INTER_AREA), np.uint8)
        ratio = (high - low) / fewer  # old x = ratio new x + (ratio - 1) / 2
        m[:, 2] += m[:, :2] @ ((ratio - 1) / 2)
        m[:, :2] *= ratio
    border = cv2.BORDER_REPLICATE if padding == "replicate" else cv2.BORDER_CONSTANT
    crop = cv2.warpAffine(np.ascontiguousarray(part), m, (size, size), flags=cv2.INTER_CUBIC, borderMode=border)
    return np.asarray(crop, np.uint8)


def pyramid(image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    """The image and its repeated halvings, so that a small crop of a large part need not read all its pixels."""
    levels = [image]
    while min(levels[-1].shape[:2]) >= _SMALLEST_LEVEL:
        height, width = (n // 2 * 2 for n in levels[-1].shape[:2])
        even = levels[-1][:height, :width]  # so that the scale is 2 exactly
        levels.append(np.asarray(cv2.resize(even, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8))
    return levels


def warp_level(
    levels: Sequence[npt.NDArray[np.uint8]], transform: npt.ArrayLike, size: int, padding: Padding = "replicate"
) -> npt.NDArray[np.uint8]:
    """`warp` of levels[0] from the smallest level of a pyramid that is still sharper than the crop."""
    m = np.array(transform, dtype=np.float64)
    step = 1.0 / float(np.sqrt(abs(np.linalg.det(m[:, :2]))))  # image pixels per crop pixel
    level = int(np.clip(np.floor(np.log2(max(step, 1.0))), 0, len(levels) - 1))
    factor = 2.0**level
    m[:, 2] += m[:, :2] @ np.full(2, (factor - 1.0) / 2.0)  # level pixel x covers image pixels around factor x + this
    m[:, :2] *= factor
    return warp(levels[level], m, size, padding)


def arcface_crop(image: npt.NDArray, keypoints: npt.ArrayLike, size: int = 112) -> npt.NDArray:
    """Aligned face crop (size, size, 3) for a recogniser; black outside, as recognisers were trained."""
    return warp(image, arcface_transform(keypoints, size), size, "black")
