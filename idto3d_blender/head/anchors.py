# SPDX-License-Identifier: GPL-3.0-or-later
"""Points by which it is told that a head's mesh was moved, turned or scaled as a whole: halves of eyes, teeth and
tongue, which nobody sculpts far, by the order of their vertices, which outlives what is cut off. No bpy."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from . import anatomy

Array = NDArray[np.floating]

ANCHORS = "idto3d_anchors"
"""Property of a mesh: its anchors as it was made."""
PARTS = (*anatomy.EYEBALLS, *anatomy.INSIDE_JAW)
_LEAST = 0.1  # radians, and logarithm of the scale: less is the head's own shape
_LEAST_WAY = 0.02  # metres
_UNLIKE = 0.25  # of the anchors' spread: a mesh that differs by more was not only moved


def anchors(points: Array, members: Mapping[str, NDArray[np.integer]]) -> dict[str, list[float]]:
    """Part -> the middles of the two halves of its vertices, six metres. points (V,3); members: part -> numbers of its
    vertices, in their order."""
    out = {}
    for part in PARTS:
        own = points[members[part]] if part in members else points[:0]
        if len(own) > 1:
            halves = own[: len(own) // 2], own[len(own) // 2 :]
            out[part] = np.concatenate([half.mean(0) for half in halves]).astype(float).tolist()
    return out


def moved(made: Array, now: Array) -> Array | None:
    """The `similarity` of anchors (N,3) as they were made and those of now; None where it is none to speak of, or where
    they differ otherwise."""
    out = similarity(made, now)
    if out is None:
        return None
    scale, angle = np.cbrt(np.linalg.det(out[:3, :3])), anatomy.rigid(made, now)[2]
    still = angle < _LEAST and abs(np.log(scale)) < _LEAST and np.linalg.norm(out[:3, 3]) < _LEAST_WAY * scale
    left = np.linalg.norm(now - made @ out[:3, :3].T - out[:3, 3])
    return None if still or left > _UNLIKE * np.linalg.norm(now - now.mean(0)) else out


def similarity(made: Array, now: Array) -> Array | None:
    """(4,4) that brings points (N,3) closest to others (Umeyama, IEEE TPAMI 13, 1991); None where they are too few, or
    in one place."""
    if len(made) < 4:
        return None
    spread, spread_now = (float(np.linalg.norm(points - points.mean(0))) for points in (made, now))
    if min(spread, spread_now) < 1e-6:
        return None
    out = np.eye(4)
    out[:3, :3] = spread_now / spread * anatomy.rigid(made, now)[0]
    out[:3, 3] = now.mean(0) - out[:3, :3] @ made.mean(0)
    return out
