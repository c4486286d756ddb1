# SPDX-License-Identifier: GPL-3.0-or-later
"""The mask of the person, refined to the edges of the picture."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .guided_filter import guided_upsample
from .nets import MASK_SIZE, FaceNets

# Of the guided filter: radius in pixels of the net's input, and variance of colour (0..1) that counts as an edge.
_RADIUS = 3
_EDGE = 5e-4
# Shares below these are 0, and above one less these are 1: of the net's output, and of the filter's.
_DOUBT, _HAZE = 0.3, 0.1
# Least share of the face that a mask must cover, or the net has missed the person.
_COVERED = 0.8
# Pixels around another person that are removed, too.
_FRINGE = 7
_CROSS, _SQUARE = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), np.ones((3, 3), np.uint8)


def find_person(
    picture: NDArray[np.uint8], inside: NDArray[np.bool_], faces: Sequence[NDArray[np.float64]], nets: FaceNets
) -> NDArray[np.float32]:
    """(S,S) 0..1 of a picture (S,S,3), real where inside (S,S): the person of the first of the faces in it.

    faces: points (N,2) around each, in pixels of the picture. The net's mask, without those who are not connected to
    the face or nearer to another one, its border moved to the edges in the picture.
    """
    size = picture.shape[0]
    small = _reduce(picture)
    face, *others = (_hull((points + 0.5) * (MASK_SIZE / size) - 0.5) for points in faces)
    person = nets.find_person(small)
    if person[face].mean() < _COVERED:
        # A close-up whose repeated edges confuse the net: it knows black as the outside of a photo.
        black = _reduce(np.where(inside[..., None], picture, np.uint8(0)))
        person = np.maximum(nets.find_person(black) * _reduce(inside.astype(np.uint8)), face, dtype=np.float32)
    person = _harden(_only(person, face, others), _DOUBT)
    return _harden(guided_upsample(small, picture, person, _RADIUS, _EDGE), _HAZE)


def _harden(shares: NDArray[np.float32], least: float) -> NDArray[np.float32]:
    return np.asarray(np.clip((shares - least) / (1 - 2 * least), 0, 1), np.float32)


def _hull(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    corners = cv2.convexHull(np.round(points).astype(np.int32))
    return cv2.fillConvexPoly(np.zeros((MASK_SIZE, MASK_SIZE), np.uint8), corners, 1) > 0


def _reduce(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, (MASK_SIZE, MASK_SIZE), interpolation=cv2.INTER_AREA), np.uint8)


def _only(
    person: NDArray[np.float32], face: NDArray[np.bool_], others: Sequence[NDArray[np.bool_]]
) -> NDArray[np.float32]:
    """The part of the mask that is connected to the face, by a shorter path within the mask than to other faces."""
    people = (person > 0.5).astype(np.uint8)
    if others:
        own = _nearest(people, face, np.any(others, axis=0))
    else:
        labels = cv2.connectedComponents(people)[1]
        own = np.isin(labels, labels[face & (labels > 0)]).astype(np.uint8)
    strange = cv2.dilate(people & (1 - own), np.ones((_FRINGE, _FRINGE), np.uint8)) > own
    return np.where(strange, np.float32(0), person)


def _nearest(people: NDArray[np.uint8], face: NDArray[np.bool_], other_faces: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """1 where people (H,W) 0 or 1 is, and nearer, within it, to the face than to other faces."""
    own = people & face
    other = people & other_faces & ~face
    for step in range(people.size):
        shape = _SQUARE if step % 2 else _CROSS  # by turns, so that distances are about the same in all directions
        wider = np.asarray(cv2.dilate(own, shape), np.uint8) & people & (1 - other)
        other_wider = np.asarray(cv2.dilate(other, shape), np.uint8) & people & (1 - wider)
        if step % 2 and (wider == own).all():
            break
        own, other = wider, other_wider
    return own
