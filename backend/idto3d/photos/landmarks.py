# SPDX-License-Identifier: GPL-3.0-or-later
"""The 478 landmarks of a face, and whether to trust them: the net must give the same answer on shifted crops."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from . import align
from .detect import Box
from .nets import LANDMARK_SIZE, FaceNets

MESH = 468
"""Landmarks of the face mesh; the irises follow."""
EYE_CORNERS = (33, 263)
FOREHEAD, CHIN = 10, 152
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
"""The rim."""

# The net was trained on squares of 1.5 times the box, upright by the eyes.
_MARGIN = 1.5
# (shift in sides, scale, degrees) of the crops whose results are compared and averaged.
_LOOKS = (
    ((0.0, 0.0), 1.0, 0.0),
    ((0.02, 0.02), 1.06, 6.0),
    ((-0.02, 0.02), 0.94, -6.0),
    ((0.0, -0.03), 1.0, 0.0),
)
_NO_FACE = 0.02
# Spread below which another round changes nothing, and above which it does not help.
_STEADY, _ASTRAY = 0.012, 0.1
_ROUNDS = 3
DESCRIBED = 256
"""Side to which the head's picture is reduced before its features are taken, so that sharpness does not matter."""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """points (478,2) and depth (478,), larger is farther, pixels of the photo; presence 0..1: the net's own score;
    spread: root mean square distance of its results on several crops from their mean, over the face's height; of_lips:
    that of the lips alone."""

    points: Array
    depth: Array
    presence: float
    spread: float
    of_lips: float = 0.0

    @property
    def yaw(self) -> float:
        """Approximate degrees that the face is turned to the picture's right, by the net's own depth."""
        across, down = self._axis(*EYE_CORNERS), self._axis(FOREHEAD, CHIN)
        towards = np.cross(down, across)
        roll = np.deg2rad(upright(self.points))
        sideways = towards[0] * np.cos(roll) + towards[1] * np.sin(roll)
        return float(np.degrees(np.arctan2(sideways, -towards[2])))

    def _axis(self, start: int, end: int) -> Array:
        return np.append(self.points[end] - self.points[start], self.depth[end] - self.depth[start])


def find_landmarks(levels: Sequence[NDArray[np.uint8]], box: Box, nets: FaceNets) -> Landmarks:
    """Landmarks of the face in a box of a photo, a pyramid: the mean over several crops placed by the landmarks of the
    round before, repeated while they disagree."""
    points, presence = _measure(
        levels, [align.box_transform(box.centre, _MARGIN * box.side, LANDMARK_SIZE, box.roll)], nets
    )
    mean, spread, apart = points[0], 1.0, np.zeros((1, MESH, 2))
    for _ in range(_ROUNDS):
        if presence.mean() < _NO_FACE or spread < _STEADY or 1.0 > spread > _ASTRAY:
            break
        points, presence = _measure(levels, [_crop(mean[:, :2], *look) for look in _LOOKS], nets)
        mean = points.mean(0)
        apart = points[:, :MESH, :2] - mean[:MESH, :2]
        spread = _root_mean_square(apart) / extent(mean[:, :2])[1]
    of_lips = _root_mean_square(apart[:, list(LIPS)]) / extent(mean[:, :2])[1]
    return Landmarks(mean[:, :2], mean[:, 2], float(presence.mean()), spread, of_lips)


def _root_mean_square(apart: Array) -> float:
    """Length of vectors (...,2)."""
    return float(np.sqrt((apart**2).sum(-1).mean()))


def describe(picture: NDArray[np.uint8], points: Array, nets: FaceNets) -> NDArray[np.float32]:
    """(2F,) features of the face with landmarks (478,2) in a picture (S,S,3) of the whole head, then of its mirror
    image."""
    share = DESCRIBED / len(picture)
    small = np.asarray(cv2.resize(picture, (DESCRIBED, DESCRIBED), interpolation=cv2.INTER_AREA), np.uint8)
    crop = _crop((points + 0.5) * share - 0.5, (0.0, 0.0), 1.0, 0.0)
    seen = align.warp_level(align.pyramid(small), crop, LANDMARK_SIZE)
    return nets.describe(np.stack([seen, seen[:, ::-1]])).reshape(-1)


def upright(points: Array) -> float:
    """Roll of landmarks (478,2) in degrees, clockwise as seen.

    By the outer corners of the eyes, and by forehead and chin, which dominate in profiles.
    """
    across = points[EYE_CORNERS[1]] - points[EYE_CORNERS[0]]
    down = points[CHIN] - points[FOREHEAD]
    dx, dy = across + 0.3 * np.array([down[1], -down[0]])
    return float(np.degrees(np.arctan2(dy, dx)))


def extent(points: Array) -> tuple[Array, float]:
    """Centre (2,) of landmarks' bounding box as it stands upright, and its longer side, pixels."""
    turn = align.box_transform((0.0, 0.0), 1.0, 1, upright(points))
    turned = align.apply(turn, points[:MESH])
    low, high = turned.min(0), turned.max(0)
    return align.apply(align.invert(turn), (low + high) / 2), float((high - low).max())


def _crop(points: Array, shift: tuple[float, float], scale: float, turn: float) -> Array:
    centre, side = extent(points)
    roll = np.deg2rad(upright(points))
    right, down = np.array([np.cos(roll), np.sin(roll)]), np.array([-np.sin(roll), np.cos(roll)])
    moved = centre + side * (shift[0] * right + shift[1] * down)
    return align.box_transform(moved, _MARGIN * scale * side, LANDMARK_SIZE, float(np.rad2deg(roll)) + turn)


def _measure(levels: Sequence[NDArray[np.uint8]], transforms: list[Array], nets: FaceNets) -> tuple[Array, Array]:
    """Points (N,478,3) in pixels of the photo and presence (N,), each seen through one transform (2,3)."""
    points, presence = nets.find_landmarks(np.stack([align.warp_level(levels, m, LANDMARK_SIZE) for m in transforms]))
    for found, transform in zip(points, transforms, strict=True):
        back = align.invert(transform)
        found[:, :2] = align.apply(back, found[:, :2])
        found[:, 2] *= np.sqrt(abs(np.linalg.det(back[:, :2])))
    return points, presence
