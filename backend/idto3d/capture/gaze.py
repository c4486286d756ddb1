# SPDX-License-Identifier: GPL-3.0-or-later
"""The gaze: rotation of the eyeballs from ARKit's eight eyeLook shapes.

Scores are used instead of the irises' landmarks, which understate a gaze: on synthetic faces, rays through the irises
gave half of the rotation where the scores gave most of it.
"""

import numpy as np

from idto3d_shared.live_link import SHAPES

from ..arrays import Array
from ..headmodel.eyeballs import IRIS_RADIUS, TURN
from .person import Person

FULL = np.radians(TURN)
"""Rotation at which an eyeLook shape is 1, as in the heads' own shapes: eyes turned by bones look as by keys."""
LOOK_ROWS = np.array([name.startswith("eyeLook") for name in SHAPES])


def gaze_of_shapes(shapes: Array) -> Array:
    """(2,2): yaw and pitch in the head, radians in the table's sense, of the left and the right eye, from (52,) shapes.
    Both eyes get the same pitch."""
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
    ring = IRIS_RADIUS * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], float)
    right, left = (person.eyes[n] + [0, 0, person.radius[n]] + ring for n in (1, 0))
    return np.concatenate([right, left])
