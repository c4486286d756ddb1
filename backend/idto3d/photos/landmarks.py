# SPDX-License-Identifier: GPL-3.0-or-later
"""478 landmarks of a face, and whether they can be trusted: the net must give the same answer from another crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import align
from .detect import Box
from .nets import LANDMARK_SIZE, FaceNets

Array = NDArray[Any]

MESH = 468
"""Landmarks of the face mesh; the irises follow."""
EYE_CORNERS = (33, 263)
FOREHEAD, CHIN = 10, 152

# The net was trained on squares of 1.5 times the box, upright by the eyes.
_MARGIN = 1.5
# (shift in sides, scale, degrees) of the crops whose answers are compared and averaged.
_LOOKS = (((0.0, 0.0), 1.0, 0.0), ((0.02, 0.02), 1.1, 6.0))


@dataclass(frozen=True, eq=False)
class Landmarks:
    """points (478,2) and depth (478,), larger is farther, pixels of the photo; presence 0..1: the net's own opinion;
    spread: how far its answers from two crops are apart, root mean square over the face's height."""

    points: Array
    depth: Array
    presence: float
    spread: float


def find_landmarks(image: NDArray[np.uint8], box: Box, nets: FaceNets) -> Landmarks:
    """Landmarks of the face in a box, refined from the crops that a first answer gives."""
    first = align.box_transform(box.centre, _MARGIN * box.side, LANDMARK_SIZE, box.roll)
    points, presence = _measure(image, [first], nets)
    if presence[0] < 0.1:
        return Landmarks(points[0, :, :2], points[0, :, 2], float(presence[0]), 1.0)
    points, presence = _measure(image, [_look(points[0, :, :2], *look) for look in _LOOKS], nets)
    apart = points[0, :MESH, :2] - points[1, :MESH, :2]
    spread = float(np.sqrt((apart**2).sum(1).mean())) / extent(points[0, :, :2])[1]
    mean = points.mean(0)
    return Landmarks(mean[:, :2], mean[:, 2], float(presence.min()), spread)


def upright(points: Array) -> float:
    """Roll of landmarks (478,2) in degrees, clockwise as seen.

    By the outer corners of the eyes; and by forehead and chin, which count more the more a profile hides one eye.
    """
    across = points[EYE_CORNERS[1]] - points[EYE_CORNERS[0]]
    down = points[CHIN] - points[FOREHEAD]
    dx, dy = across + 0.3 * np.array([down[1], -down[0]])
    return float(np.degrees(np.arctan2(dy, dx)))


def extent(points: Array) -> tuple[Array, float]:
    """Centre (2,) of landmarks' bounding box as it stands upright, and its longer side, pixels."""
    roll = upright(points)
    turn = align.box_transform((0.0, 0.0), 1.0, 1, roll)
    turned = align.apply(turn, points[:MESH])
    low, high = turned.min(0), turned.max(0)
    return align.apply(align.invert(turn), (low + high) / 2), float((high - low).max())


def _look(points: Array, shift: tuple[float, float], scale: float, turn: float) -> Array:
    centre, side = extent(points)
    return align.box_transform(
        centre + np.array(shift) * side, _MARGIN * scale * side, LANDMARK_SIZE, upright(points) + turn
    )


def _measure(image: NDArray[np.uint8], transforms: list[Array], nets: FaceNets) -> tuple[Array, Array]:
    """Points (N,478,3) in pixels of the image and presence (N,), each seen through one transform (2,3)."""
    points, presence = nets.find_landmarks(np.stack([align.warp(image, m, LANDMARK_SIZE) for m in transforms]))
    for found, transform in zip(points, transforms, strict=True):
        back = align.invert(transform)
        found[:, :2] = align.apply(back, found[:, :2])
        found[:, 2] *= np.sqrt(abs(np.linalg.det(back[:, :2])))
    return points, presence
