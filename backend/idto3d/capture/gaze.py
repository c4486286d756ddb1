# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the eyes look: the turn of the eyeballs that ARKit's eight eyeLook shapes stand for.

The net that scores shapes has learnt what the landmarks of irises make of a gaze, which they understate: rays through
the irises onto the eyeballs, tried on made-up faces, gave half of the turn where the scores gave most of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from idto3d_shared.live_link import SHAPES

from .person import Person

Array = NDArray[Any]

FULL = np.radians(27.0)
"""The turn at which an eyeLook shape is 1, that of the heads' own shapes (finish/gaze.py)."""
LOOK_ROWS = np.array([name.startswith("eyeLook") for name in SHAPES])
_IRIS_RADIUS = 0.0059  # metres, much the same for everybody


def gaze_of_shapes(shapes: Array) -> Array:
    """(2,2): yaw and pitch in the head, radians as the table has them, of the left eye and the right, from (52,). Both
    look equally high."""
    at = {name: float(shapes[n]) for n, name in enumerate(SHAPES) if LOOK_ROWS[n]}
    yaw, pitch = [], []
    for side, outwards in (("Left", 1.0), ("Right", -1.0)):
        yaw.append(outwards * FULL * (at[f"eyeLookOut{side}"] - at[f"eyeLookIn{side}"]))
        pitch.append(FULL * (at[f"eyeLookDown{side}"] - at[f"eyeLookUp{side}"]))
    return np.stack([yaw, np.full(2, np.mean(pitch))], 1)


def shapes_of_gaze(gaze: Array) -> Array:
    """(52,): the eight eyeLook shapes 0..1 of a gaze (2,2)."""
    at: dict[str, float] = {}
    for side, outwards, (yaw, pitch) in (("Left", 1.0, gaze[0]), ("Right", -1.0, gaze[1])):
        turns = {"In": -outwards * yaw, "Out": outwards * yaw, "Up": -pitch, "Down": pitch}
        at |= {f"eyeLook{way}{side}": float(np.clip(turn / FULL, 0.0, 1.0)) for way, turn in turns.items()}
    return np.array([at.get(name, 0.0) for name in SHAPES])


def neutral_irises(person: Person) -> Array:
    """(10,3) landmarks 468 to 477 of eyes that look straight ahead, head frame."""
    ring = _IRIS_RADIUS * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], float)
    right, left = (person.eyes[n] + [0, 0, person.radius[n]] + ring for n in (1, 0))
    return np.concatenate([right, left])
