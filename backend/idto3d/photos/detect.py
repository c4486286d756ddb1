# SPDX-License-Identifier: GPL-3.0-or-later
"""Face detection with a net of 192 pixels: on the whole photo, on its parts, rotated."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from . import align
from .nets import CELLS, DETECTOR_SIZE, FaceNets

SCORE = 0.5
"""Least score of a face; MediaPipe's own default."""

# Two boxes whose squares share more than this of their union are one face.
_OVERLAP = 0.3
# Padding, in sides of the photo, with which a face that fills the photo is detected.
_ROOM = 2.5
# The net detects faces of 12 of its pixels or more: down to 12 pixels of the photo, or a hundredth of its side.
_LEAST_WINDOW, _SMALLEST_SHARE = float(DETECTOR_SIZE), 1 / 8

_ROWS, _COLUMNS = np.divmod(np.arange(CELLS * CELLS), CELLS)
_ANCHORS = (np.stack([_COLUMNS, _ROWS], 1) + 0.5) / CELLS


@dataclass(frozen=True, eq=False)
class Box:
    """A face that the detector proposes, in pixels of the photo: centre (2,), the longer side, keypoints (6,2): eyes
    (image left first when upright), nose, mouth, ears; score 0..1."""

    centre: Array
    side: float
    keypoints: Array
    score: float

    @property
    def roll(self) -> float:
        """Degrees that the face is turned clockwise as seen, by the line of the eyes."""
        dx, dy = self.keypoints[1] - self.keypoints[0]
        return float(np.degrees(np.arctan2(dy, dx)))


def windows(height: int, width: int) -> Iterator[list[tuple[Array, float]]]:
    """Squares (centre (2,), side) of a photo to run the detector on, each list finer than the one before.

    First the whole, with and without padding; then squares of half its longer side, a quarter and so on, that overlap
    by half.
    """
    size = np.array([width, height], np.float64)
    side = float(size.max())
    yield [((size - 1) / 2, side), ((size - 1) / 2, _ROOM * side)]
    while side / 2 >= max(_LEAST_WINDOW, _SMALLEST_SHARE * size.max()):
        side /= 2
        counts = np.maximum(np.ceil(2 * size / side - 1), 1).astype(int)
        steps = [
            np.linspace(side / 2, n - side / 2, count) - 0.5 if count > 1 else np.array([(n - 1) / 2])
            for n, count in zip(size, counts, strict=True)
        ]
        yield [(np.array([x, y]), side) for y in steps[1] for x in steps[0]]


def look(
    levels: Sequence[NDArray[np.uint8]], squares: Sequence[tuple[Array, float]], turn: float, nets: FaceNets
) -> list[Box]:
    """Faces in squares (centre, side) of a photo, a pyramid, that are about upright once rotated back by turn."""
    boxes = []
    for centre, side in squares:
        to_net = align.box_transform(centre, side, DETECTOR_SIZE, turn)
        values, logits = nets.detect(align.warp_level(levels, to_net, DETECTOR_SIZE, "black"))
        boxes += _decode(values, logits, align.invert(to_net))
    return distinct(boxes)


def _decode(values: NDArray[np.float32], logits: NDArray[np.float32], back: Array) -> list[Box]:
    scores = 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -50.0, 50.0)))
    scale = float(np.sqrt(abs(np.linalg.det(back[:, :2]))))
    boxes = []
    for cell in np.flatnonzero(scores > SCORE):
        v = values[cell].astype(np.float64)
        points = _ANCHORS[cell] * DETECTOR_SIZE + np.concatenate([v[:2], v[4:]]).reshape(-1, 2) - 0.5
        points = align.apply(back, points)
        boxes.append(Box(points[0], float(v[2:4].max()) * scale, points[1:], float(scores[cell])))
    return boxes


def distinct(boxes: Sequence[Box]) -> list[Box]:
    """One box of each group that overlaps, surest first: the mean of the group weighted by its scores (BlazeFace)."""
    left = sorted(boxes, key=lambda box: -box.score)
    kept = []
    while left:
        group = [box for box in left if _overlap(left[0], box) > _OVERLAP]
        left = [box for box in left if _overlap(group[0], box) <= _OVERLAP]
        kept.append(_mean(group))
    return kept


def _mean(group: Sequence[Box]) -> Box:
    weights = np.array([box.score for box in group])
    weights /= weights.sum()
    return Box(
        np.tensordot(weights, np.stack([box.centre for box in group]), 1),
        float(weights @ [box.side for box in group]),
        np.tensordot(weights, np.stack([box.keypoints for box in group]), 1),
        group[0].score,
    )


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union of the squares around two boxes."""
    low = np.maximum(a.centre - a.side / 2, b.centre - b.side / 2)
    high = np.minimum(a.centre + a.side / 2, b.centre + b.side / 2)
    shared = float(np.prod(np.maximum(high - low, 0.0)))
    return shared / max(a.side**2 + b.side**2 - shared, 1e-9)
