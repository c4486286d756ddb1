# SPDX-License-Identifier: GPL-3.0-or-later
"""The rims of a person's lids, as lines through landmarks."""

import numpy as np

from ..arrays import Array

POINTS = 80  # of a rim


def rims(marks: Array, eye: tuple[int, ...]) -> tuple[Array, Array]:
    """(POINTS,C) each: rims of upper and lower lid, of landmarks (478,C), from the inner to the outer corner; eye: one
    of `projection.EYES`."""
    return along(marks[[*eye[8:], eye[0]]], POINTS), along(marks[[*eye[8::-1]]], POINTS)


def along(line: Array, count: int) -> Array:
    """(count,C) along a line through points (K,C)."""
    places = np.linspace(0, len(line) - 1, count)
    return np.stack([np.interp(places, np.arange(len(line)), line[:, c]) for c in range(line.shape[1])], 1)
