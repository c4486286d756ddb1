# SPDX-License-Identifier: GPL-3.0-or-later
"""ARKit's eyeLook shapes turn the eyeball about its centre, besides moving the lids."""

from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from .model import HeadModel

EYEBALLS = ("sclera", "iris")
IRIS_RADIUS = 0.0059  # metres; people's differ by 5 % only
TURN = 22.0  # degrees at full weight: the model's balls are larger than real ones, whose irises move as far with 30
# A key moves points along chords, so at half weight a turned ball is too small. Growing it makes it as much too large
# at full weight, and both errors stay below 0.2 mm: (1 + g/2) cos(TURN/2) = 1 - g.
GROWTH = 0.0123
_AXES = {  # axis and sense of the left eye's rotation
    "eyeLookUp": (0, -1.0),
    "eyeLookDown": (0, 1.0),
    "eyeLookOut": (1, 1.0),
    "eyeLookIn": (1, -1.0),
}


@dataclass(frozen=True, eq=False)
class Eyeball:
    """vertices (N,) of one eye and the centre (3,) that it turns about; side 1 for the person's left, -1 for the
    right."""

    vertices: Array
    centre: Array
    side: float


def find_eyeballs(model: HeadModel, neutral: Array) -> tuple[Eyeball, ...]:
    """The eyes of a head (P,3), left first; none where the model has none."""
    own = model.vertices_of(*EYEBALLS)
    out = []
    for side in (1.0, -1.0):
        here = np.flatnonzero(own & (model.neutral[:, 0] * side > 0))
        if len(here):
            outer = here[model.vertices_of(EYEBALLS[0])[here]]
            out.append(Eyeball(here, sphere_centre(neutral[outer]), side))
    return tuple(out)


def sphere_centre(points: Array) -> Array:
    """(3,) of the sphere nearest to points (N,3), by linear least squares (Coope 1993)."""
    system = np.c_[2 * points, np.ones(len(points))]
    return np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0][:3]


def look(neutral: Array, eyeballs: tuple[Eyeball, ...], name: str) -> Array:
    """(P,3) offsets of a shape such as eyeLookInLeft on the eyeball of its side."""
    out = np.zeros_like(neutral)
    base, side = (name.removesuffix("Left"), 1.0) if name.endswith("Left") else (name.removesuffix("Right"), -1.0)
    axis, sense = _AXES[base]
    # outwards is the opposite rotation on the right
    turn = turned(axis, np.radians(TURN) * sense * (side if axis == 1 else 1.0))
    for eye in eyeballs:
        if eye.side == side:
            from_centre = neutral[eye.vertices] - eye.centre
            out[eye.vertices] = (1 + GROWTH) * from_centre @ turn.T - from_centre
    return out


def turned(axis: int, angle: float) -> Array:
    """(3,3) the rotation by an angle, radians, about a coordinate axis."""
    out = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out[i, i] = out[j, j] = np.cos(angle)
    out[j, i], out[i, j] = np.sin(angle), -np.sin(angle)
    return out
