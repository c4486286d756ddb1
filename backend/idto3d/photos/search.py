# SPDX-License-Identifier: GPL-3.0-or-later
"""The one face of a photo that counts: the search widens until a proposed face passes for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .detect import Box, look, windows
from .landmarks import Landmarks, extent, find_landmarks, upright
from .nets import FaceNets

Array = NDArray[Any]

# Least presence and most spread of a face. On photographs spoilt in many ways faces had up to 0.020, other things 0.025
# or more, even where presence was 1; presence itself falls to 0.03 on profiles whose landmarks are right.
_PRESENCE, _SPREAD = 0.03, 0.022
# Of one that needs no comparison with the photo's other sides up: upside down a face can pass too, at a lower score.
_SURE_SCORE, _SURE_PRESENCE, _SURE_LEAN = 0.7, 0.9, 50.0
_TURNS = (90.0, 270.0, 180.0)
# Proposals of one kind that are looked at closely, and the size, beside the chosen one's, of a face that counts.
_MOST = 6
_BESIDE = 1 / 3
# Of more parts than this only upright faces are looked for.
_TURNED_PARTS = 64
# Sizes of parts in which faces are looked for in evened light: the whole and halves.
_EVEN_STEPS = 2


@dataclass(frozen=True, eq=False)
class Candidate:
    """A proposed face, what the landmark net makes of it, and the turn in degrees at which it was seen."""

    box: Box
    landmarks: Landmarks
    turn: float

    @property
    def passes(self) -> bool:
        """Whether this is a face whose landmarks can be trusted."""
        return self.landmarks.presence >= _PRESENCE and self.landmarks.spread <= _SPREAD

    @property
    def sure(self) -> bool:
        """Whether it need not be compared with what is seen at other turns."""
        lean = abs((upright(self.landmarks.points) - self.turn + 180.0) % 360.0 - 180.0)
        convinces = self.box.score >= _SURE_SCORE and self.landmarks.presence >= _SURE_PRESENCE
        return self.passes and convinces and lean < _SURE_LEAN

    @property
    def size(self) -> float:
        """Pixels of the photo from forehead to chin, or across where that is more."""
        return extent(self.landmarks.points)[1]


def search(levels: Sequence[NDArray[np.uint8]], nets: FaceNets) -> list[Candidate]:
    """Faces of a photo, a pyramid as of `align.pyramid`, the largest and most central first.

    Looked for in the whole photo, as it is and turned by quarters, as cameras store them without saying; then in its
    parts, ever smaller; then with the light evened out. When none passes, those that did not.
    """
    height, width = levels[0].shape[:2]
    rejected: list[Candidate] = []
    for view, squares in _views(levels):
        found = _candidates(view, squares, 0.0, nets)
        if len(squares) <= _TURNED_PARTS and not any(candidate.sure for candidate in found):
            found += [c for turn in _TURNS for c in _candidates(view, squares, turn, nets)]
        passing = [candidate for candidate in found if candidate.passes]
        if passing:
            turn = max(passing, key=lambda c: c.box.score * c.landmarks.presence).turn
            return _ranked([candidate for candidate in passing if candidate.turn == turn], height, width)
        rejected += found
    return _ranked(rejected, height, width)


def beside(candidates: Sequence[Candidate]) -> int:
    """How many of the faces are of a size with the first, itself counted."""
    return sum(candidate.size > _BESIDE * candidates[0].size for candidate in candidates)


def _views(
    levels: Sequence[NDArray[np.uint8]],
) -> Iterator[tuple[Sequence[NDArray[np.uint8]], list[tuple[Array, float]]]]:
    height, width = levels[0].shape[:2]
    for squares in windows(height, width):
        yield levels, squares
    even = [_even(level) for level in levels]
    for squares in islice(windows(height, width), _EVEN_STEPS):
        yield even, squares


def _even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image (H,W,3) with all lightnesses equally frequent: what is nearly black or white can be told apart."""
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    luma[..., 0] = cv2.equalizeHist(luma[..., 0])
    return np.asarray(cv2.cvtColor(luma, cv2.COLOR_YCrCb2RGB), np.uint8)


def _candidates(
    levels: Sequence[NDArray[np.uint8]], squares: Sequence[tuple[Array, float]], turn: float, nets: FaceNets
) -> list[Candidate]:
    boxes = sorted(look(levels, squares, turn, nets), key=lambda box: -box.side * box.score)
    return [Candidate(box, find_landmarks(levels, box, nets), turn) for box in boxes[:_MOST]]


def _ranked(candidates: Sequence[Candidate], height: int, width: int) -> list[Candidate]:
    """Sorted by size, which counts half at the photo's corners."""
    middle = np.array([(width - 1) / 2, (height - 1) / 2])

    def rank(candidate: Candidate) -> float:
        centre = extent(candidate.landmarks.points)[0]
        off = float(np.linalg.norm(centre - middle)) / float(np.hypot(height, width) / 2)
        return candidate.size * (1.0 - 0.5 * min(off, 1.0))

    return sorted(candidates, key=rank, reverse=True)
