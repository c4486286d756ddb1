# SPDX-License-Identifier: GPL-3.0-or-later
"""Lids that meet. The head model's blink moves everybody's upper lid as far, whether the eyes are narrow or wide: of
wide ones a millimetre and a half of the ball would show."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..fit.projection import EYES
from ..fit.rims import POINTS, rims
from ..headmodel import HeadModel
from ..ramps import ramp

LID, SOCKET = "face", "eye_socket"
SHUT = 0.9  # of the head model's blink, which a key has that is to close an eye
EDGE = 0.003  # metres from a rim within which a vertex may be at a lid's edge
REACH = 0.03  # metres from a rim within which a blink moves skin
COLUMNS = 20  # of a lid
OVERLAP = 0.0002  # metres by which the upper lid hides the lower one's edge
SEEN_FROM = np.tan(np.radians(20))  # of what it hangs before that one: as far below no ball shows between them
OPENING = (0.0005, 0.002)  # metres between the rims at rest from which on lids have a way to go, off the eye's corners
LIMITS = (0.6, 1.8)  # of what a lid's motion may be of the key's own
SMOOTH = np.array([1, 2, 1]) / 4


@dataclass(frozen=True, eq=False)
class Lids:
    """One eye's, of a head at rest. vertices (N,) of the head model and their points (N,3); place (N,): the nearest
    point of the upper rim; upper (N,) 0..1: how far they move with that lid; edge (N,): the column of those that may be
    at an edge, -1 of others; apart (COLUMNS,): metres between the rims."""

    vertices: Array
    points: Array
    place: Array
    upper: Array
    edge: Array
    apart: Array

    def closed_by(self, key: Array, blink: Array) -> bool:
        """Whether a key (P,3) is to close this eye as a blink (P,3) does."""
        rim = self.vertices[(self.edge >= 0) & (self.upper > 0.5)]
        return float((key[rim] * blink[rim]).sum()) > SHUT * float((blink[rim] ** 2).sum())

    def factors(self, key: Array) -> Array:
        """(N,) factors on a key (P,3) with which the lids meet."""
        moves = key[self.vertices]
        closed, over = self.points + moves, self.upper > 0.5
        highest = [rows[closed[rows, 1].argmax()] for rows in self._columns(~over) if len(rows)]
        floor = closed[sorted(highest, key=lambda n: float(closed[n, 0]))]
        factor = np.ones(COLUMNS)
        for c, rows in enumerate(self._columns(over)):
            if len(rows) and len(floor):
                edge = rows[closed[rows, 1].argmin()]
                above, before = (closed[edge, k] - np.interp(closed[edge, 0], floor[:, 0], floor[:, k]) for k in (1, 2))
                missing = above + OVERLAP + SEEN_FROM * max(before, 0.0)
                factor[c] += ramp(self.apart[c], *OPENING) * missing / max(-float(moves[edge, 1]), OPENING[0])
        factor = np.pad(np.clip(factor, *LIMITS), len(SMOOTH) // 2, "edge")
        middles = (np.arange(COLUMNS) + 0.5) * POINTS / COLUMNS
        return 1 + self.upper * (np.interp(self.place, middles, np.convolve(factor, SMOOTH, "valid")) - 1)

    def _columns(self, own: Array) -> list[Array]:
        """The rows (M,) of each column's edge that are `own` (N,)."""
        return [np.flatnonzero((self.edge == c) & own) for c in range(COLUMNS)]


def find_lids(model: HeadModel, neutral: Array) -> list[Lids]:
    """The lids of a head (P,3), none where the model has no landmarks on them."""
    if not model.landmark_trust[[*EYES[0], *EYES[1]]].all():
        return []
    marks, skin = model.landmarks(neutral), model.vertices_of(LID)
    soft = np.flatnonzero(model.vertices_of(LID, SOCKET))
    out = []
    for upper, lower in (rims(marks, eye) for eye in EYES):
        above, place = cKDTree(upper).query(neutral[soft], distance_upper_bound=REACH)
        near = np.isfinite(above)
        vertices, above, place = soft[near], above[near], place[near]
        below, under = cKDTree(lower).query(neutral[vertices])
        over = ramp(below - above, -EDGE / 3, EDGE / 3)
        edge = np.where(over > 0.5, place, under) * COLUMNS // POINTS
        edge[(np.minimum(above, below) > EDGE) | ~skin[vertices]] = -1
        apart = (upper - lower)[:, 1].reshape(COLUMNS, -1).mean(1)
        out.append(Lids(vertices, neutral[vertices], place, over, edge, apart))
    return out
