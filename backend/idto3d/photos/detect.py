# SPDX-License-Identifier: GPL-3.0-or-later
"""Boxes that may hold a face, from a net that sees 192 pixels: the whole photo first, then its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import align
from .nets import CELLS, DETECTOR_SIZE, FaceNets

Array = NDArray[Any]

SCORE = 0.5
"""Least score of a face; MediaPipe's own default."""
_OVERLAP = 0.3

_ROWS, _COLUMNS = np.divmod(np.arange(CELLS * CELLS), CELLS)
_ANCHORS = (np.stack([_COLUMNS, _ROWS], 1) + 0.5) / CELLS


@dataclass(frozen=True, eq=False)
class Box:
    """A face that the detector proposes, in pixels of the photo: centre (2,), the longer side, keypoints (6,2): the
    eyes (image left first when upright), nose, mouth, ears; score 0..1."""

    centre: Array
    side: float
    keypoints: Array
    score: float

    @property
    def roll(self) -> float:
        """Degrees that the face is turned clockwise as seen, by the line of the eyes."""
        dx, dy = self.keypoints[1] - self.keypoints[0]
        return float(np.degrees(np.arctan2(dy, dx)))


def detect(image: NDArray[np.uint8], nets: FaceNets) -> list[Box]:
    """Faces of an image (H,W,3) that fill a good part of it, as seen letterboxed to the net's input; surest first."""
    height, width = image.shape[:2]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return look(image, align.box_transform(middle, float(max(height, width)), DETECTOR_SIZE), nets)


def look(image: NDArray[np.uint8], to_net: Array, nets: FaceNets) -> list[Box]:
    """Faces in the square that to_net (2,3) maps to the net's input, in pixels of the image; surest first."""
    boxes, logits = nets.detect(align.warp(image, to_net, DETECTOR_SIZE, "black"))
    scores = 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -50.0, 50.0)))
    back = align.invert(to_net)
    scale = float(np.sqrt(abs(np.linalg.det(back[:, :2]))))
    found = []
    for cell in np.flatnonzero(scores > SCORE):
        values = boxes[cell].astype(np.float64)
        points = _ANCHORS[cell] * DETECTOR_SIZE + np.concatenate([values[:2], values[4:]]).reshape(-1, 2) - 0.5
        points = align.apply(back, points)
        found.append(Box(points[0], float(values[2:4].max()) * scale, points[1:], float(scores[cell])))
    return distinct(found)


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
