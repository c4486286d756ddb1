# SPDX-License-Identifier: GPL-3.0-or-later
"""Fewer faces, round by round. What one round closes is up to `chords` for quads, `collapse` for triangles."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .net import Closed, Floats, Ints, Net, applied, pieces, usual_lengths
from .stepwise import Steps

_ROUNDS = 24


@dataclass(frozen=True, eq=False)
class State:
    """points (V,3); faces (F,4), corners (F,4) that are left, group (F,) of each; piece (V,) number of the connected
    piece of each vertex; left, wanted (V,) by that number: how many faces a piece has, and is to have; usual (V,)
    length of the edges that were at each vertex."""

    points: Floats
    faces: Ints
    corners: Ints
    group: Ints
    piece: Ints
    left: Ints
    wanted: Ints
    usual: Floats


Round = Callable[[State], tuple[Ints, Ints] | None]
"""Where vertices (V,) and texture places go in one round; None when nothing more can be closed."""


def thin(net: Net, share: float, close: Round) -> Steps[Closed]:
    """Go on until of each connected piece about ``share`` of its faces is left, or no more can be closed; a step a
    round."""
    faces: Ints = net.faces.astype(np.int64)
    corners: Ints = net.corners.astype(np.int64)
    vertex: Ints = np.arange(len(net.points))
    corner: Ints = np.arange(corners.max() + 1)
    origin: Ints = np.arange(len(faces))
    piece = pieces(faces, len(vertex))
    left = np.bincount(piece[faces[:, 0]], minlength=len(vertex))
    wanted = np.ceil(left * share).astype(int)
    now = State(net.points, faces, corners, net.group, piece, left, wanted, usual_lengths(net))
    for number in range(_ROUNDS):
        yield number / _ROUNDS
        step = close(now)
        if step is None:
            break
        vertex, corner = step[0][vertex], step[1][corner]
        faces, corners, origin = applied(now.faces, now.corners, origin, *step)
        left = np.bincount(piece[faces[:, 0]], minlength=len(vertex))
        now = replace(now, faces=faces, corners=corners, group=net.group[origin], left=left)
    return Closed(vertex, corner, now.faces, now.corners, origin)
