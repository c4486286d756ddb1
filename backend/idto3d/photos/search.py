# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the main face of a photo: the search widens until a detection passes the landmark net's tests."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from .detect import Box, look, windows
from .landmarks import Landmarks, extent, find_landmarks, upright
from .nets import FaceNets

# Least presence and greatest spread of a face. On photographs degraded in many ways faces had a spread up to 0.020,
# other things 0.025 or more, even with a presence of 1; presence falls to 0.03 on profiles with correct landmarks.
_PRESENCE, _SPREAD = 0.03, 0.022
# Score, presence and lean (degrees) of a face that need not be compared with rotated views: upside down a face can
# pass, too, with a lower score.
_SURE_SCORE, _SURE_PRESENCE, _SURE_LEAN = 0.7, 0.9, 50.0
_TURNS = (90.0, 270.0, 180.0)
SURELY_A_FACE = 0.7
"""A detector's score above which there is a face, even if its landmarks cannot be trusted."""
# Detections of a view that get landmarks; relative size of a second face that is reported.
_MOST = 6
_BESIDE = 1 / 3
# With more squares than this only upright faces are searched.
_TURNED_PARTS = 64
# Levels of squares that are searched with equalised light: the whole and halves.
_EVEN_STEPS = 2


@dataclass(frozen=True, eq=False)
class Candidate:
    """A detection, its landmarks, and the rotation in degrees at which it was found."""

    box: Box
    landmarks: Landmarks
    turn: float

    @property
    def passes(self) -> bool:
        """Whether this is a face whose landmarks can be trusted."""
        return self.landmarks.presence >= _PRESENCE and self.landmarks.spread <= _SPREAD

    @property
    def sure(self) -> bool:
        """Whether it need not be compared with other rotations."""
        lean = abs((upright(self.landmarks.points) - self.turn + 180.0) % 360.0 - 180.0)
        convinces = self.box.score >= _SURE_SCORE and self.landmarks.presence >= _SURE_PRESENCE
        return self.passes and convinces and lean < _SURE_LEAN

    @property
    def size(self) -> float:
        """Pixels of the photo from forehead to chin, or across where that is more."""
        return extent(self.landmarks.points)[1]


def search(levels: Sequence[NDArray[np.uint8]], nets: FaceNets) -> list[Candidate]:
    """Faces of a photo, a pyramid as of `align.pyramid`, the largest and most central first.

    Searched in the whole photo, as it is and rotated by quarters, since some cameras do not record the orientation;
    then in ever smaller parts; then with equalised light. If none passes, those that failed are returned; else only
    those of them that are surely faces, too, the last.
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
            chosen = [candidate for candidate in passing if candidate.turn == turn]
            return _ranked(chosen, height, width) + _overlooked(chosen, [*rejected, *found])
        rejected += found
    return _ranked(rejected, height, width)


def beside(candidates: Sequence[Candidate]) -> int:
    """The number of faces of a size similar to the first, including it."""
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
    """The image (H,W,3) with its histogram of lightness equalised, for very dark or bright photos."""
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    luma[..., 0] = cv2.equalizeHist(luma[..., 0])
    return np.asarray(cv2.cvtColor(luma, cv2.COLOR_YCrCb2RGB), np.uint8)


def _candidates(
    levels: Sequence[NDArray[np.uint8]], squares: Sequence[tuple[Array, float]], turn: float, nets: FaceNets
) -> list[Candidate]:
    boxes = sorted(look(levels, squares, turn, nets), key=lambda box: -box.side * box.score)
    return [Candidate(box, find_landmarks(levels, box, nets), turn) for box in boxes[:_MOST]]


def _overlooked(chosen: Sequence[Candidate], found: Sequence[Candidate]) -> list[Candidate]:
    """Faces beside those that are chosen whose landmarks cannot be trusted, such as profiles, each once."""
    failed = [c for c in found if c.turn == chosen[0].turn and not c.passes and c.box.score >= SURELY_A_FACE]
    kept: list[Candidate] = []
    for one in sorted(failed, key=lambda candidate: -candidate.box.score):
        if not any(_is_same(one.box, other.box) for other in (*chosen, *kept)):
            kept.append(one)
    return kept


def _is_same(one: Box, other: Box) -> bool:
    return float(np.linalg.norm(one.centre - other.centre)) < (one.side + other.side) / 2


def _ranked(candidates: Sequence[Candidate], height: int, width: int) -> list[Candidate]:
    """Sorted by size, which counts half at the photo's corners."""
    middle = np.array([(width - 1) / 2, (height - 1) / 2])

    def rank(candidate: Candidate) -> float:
        centre = extent(candidate.landmarks.points)[0]
        off = float(np.linalg.norm(centre - middle)) / float(np.hypot(height, width) / 2)
        return candidate.size * (1.0 - 0.5 * min(off, 1.0))

    return sorted(candidates, key=rank, reverse=True)
