# SPDX-License-Identifier: GPL-3.0-or-later
"""Tracks one face through a video: its landmarks in every frame.

The face is searched where it was, so a frame costs one run of the landmark net. The detector runs only when the face is
lost, and the full search over parts and rotations less and less often while there is none.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from ..photos import align
from ..photos.detect import look, windows
from ..photos.landmarks import extent, find_landmarks, upright
from ..photos.nets import LANDMARK_SIZE, FaceNets
from ..photos.search import Candidate, search
from .video import Frame

# Of the box of the landmarks before: what the net was trained on, as in photos/landmarks.py.
_MARGIN = 1.5
# The net's score below which the face is lost.
_PRESENCE = 0.5
# A face does not grow or shrink by more from one frame to the next, nor jump by more than this share of its size.
_GROWTH, _JUMP = 1.5, 0.7
# Longer side to which a frame is reduced to search a lost face, and the most frames between full searches.
_SEARCH_SIDE, _SELDOM = 1280, 128


@dataclass(frozen=True, eq=False)
class Track:
    """times (T,) seconds; points (T,478,2) and depth (T,478) float32 in pixels of the frames, as in
    `photos.landmarks`; seen (T,) bool: frames with a face, points of the others are 0; size: (width, height) of the
    frames."""

    times: Array
    points: Array
    depth: Array
    seen: NDArray[np.bool_]
    size: tuple[int, int]


def track(frames: Iterable[Frame], nets: FaceNets, told: Callable[[int, Frame, Array | None], None]) -> Track:
    """Follow the largest, most central face. told: called with each frame's number, the frame and its landmarks
    (478,2), or None."""
    follower = Follower(nets)
    times, found = [], []
    size = (0, 0)
    for number, frame in enumerate(frames):
        landmarks = follower.find(frame.image)
        told(number, frame, None if landmarks is None else landmarks[:, :2])
        times.append(frame.time)
        found.append(None if landmarks is None else landmarks.astype(np.float32))
        size = (frame.image.shape[1], frame.image.shape[0])
    nothing = np.zeros((478, 3), np.float32)
    points = np.stack([nothing if one is None else one for one in found])
    seen = np.array([one is not None for one in found], bool)
    return Track(np.array(times), points[..., :2], points[..., 2], seen, size)


class Follower:
    """Finds the face frame by frame, from where it was before."""

    def __init__(self, nets: FaceNets) -> None:
        self._nets = nets
        self._last: Array | None = None
        self._wait, self._pause = 0, 1

    def find(self, image: NDArray[np.uint8]) -> Array | None:
        """Landmarks (478,3) in pixels of a frame (H,W,3) BGR, the third the depth; None where there is no face."""
        found = None if self._last is None else self._follow(image, self._last)
        self._last = self._search(image) if found is None else found
        return self._last

    def _follow(self, image: NDArray[np.uint8], last: Array) -> Array | None:
        centre, side = extent(last[:, :2])
        to_net = align.box_transform(centre, _MARGIN * side, LANDMARK_SIZE, upright(last[:, :2]))
        crop = align.warp(image, to_net, LANDMARK_SIZE)[..., ::-1]
        points, presence = self._nets.find_landmarks(crop[None])
        if presence[0] < _PRESENCE:
            return None
        back = align.invert(to_net)
        found = points[0]
        found[:, :2] = align.apply(back, found[:, :2])
        found[:, 2] *= np.sqrt(abs(np.linalg.det(back[:, :2])))
        moved, now = extent(found[:, :2])
        near = np.linalg.norm(moved - centre) < _JUMP * side and side / _GROWTH < now < side * _GROWTH
        return found if near else None

    def _search(self, image: NDArray[np.uint8]) -> Array | None:
        levels = align.pyramid(np.ascontiguousarray(image[..., ::-1]))
        while max(levels[0].shape[:2]) > _SEARCH_SIDE and len(levels) > 1:
            levels = levels[1:]
        scale = image.shape[1] / levels[0].shape[1]
        self._wait -= 1
        if self._wait < 0:
            candidates = search(levels, self._nets)
            self._wait, self._pause = self._pause, min(2 * self._pause, _SELDOM)
        else:
            whole = next(windows(*levels[0].shape[:2]))
            boxes = look(levels, whole, 0.0, self._nets)[:2]
            candidates = [Candidate(box, find_landmarks(levels, box, self._nets), 0.0) for box in boxes]
        passing = [candidate for candidate in candidates if candidate.passes]
        if not passing:
            return None
        self._wait, self._pause = 0, 1
        marks = passing[0].landmarks
        # Of a halved picture: pixel x covers those around 2 x + 1/2.
        points = marks.points * scale + (scale - 1) / 2
        return np.c_[points, marks.depth * scale]
