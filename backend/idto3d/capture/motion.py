# SPDX-License-Identifier: GPL-3.0-or-later
"""Estimates ARKit's 52 shapes from a frame's landmarks and scores, by a map learnt from faces of known motion.

A landmark net shows less motion than there is, and partly on other landmarks: pursed lips look narrower, frowning brows
hardly lower. A linear map corrects this: from every landmark's offset to its place on the face at rest, the blendshape
net's scores and the head's angles, to the shapes (training/motion.py; the best linear estimate, as in Kay 1993, chapter
12).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from idto3d_shared.live_link import SHAPES

from ..arrays import Array
from ..errors import PACK_AGAIN, UserError
from ..photos.nets import LANDMARKS
from .gaze import neutral_irises
from .person import Person
from .solve import Lens, Pose

FILE = "motion.safetensors"
FEATURES = 2 * LANDMARKS + len(SHAPES) + 2
_ELSE = "Download the pack again, or let the video tell who it is: the starter pack reads it then."


@dataclass(frozen=True, eq=False)
class Motion:
    """weights (FEATURES,52) and bias (52,) to ARKit's shapes in the order of SHAPES."""

    weights: Array
    bias: Array

    def shapes(self, features: Array) -> Array:
        """(...,52) of features (...,FEATURES), not clipped to 0..1."""
        return features @ self.weights + self.bias


def load_motion(path: Path) -> Motion:
    """Raises UserError E_PACK_MISSING, E_PACK_FORMAT."""
    if not path.is_file():
        raise UserError("E_PACK_MISSING", f"The pack has no {path.name}, so it cannot read videos.", _ELSE)
    try:
        stored = load_file(path)
        weights, bias = (stored[name].astype(np.float64) for name in ("weights", "bias"))
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError("E_PACK_FORMAT", f"{path.name} does not say how faces move ({error}).", PACK_AGAIN) from error
    if weights.shape != (FEATURES, len(SHAPES)) or bias.shape != (len(SHAPES),):
        raise UserError("E_PACK_FORMAT", f"{path.name} has weights of {weights.shape}.", PACK_AGAIN)
    return Motion(weights, bias)


def features(person: Person, lens: Lens, pose: Pose, points: Array, scores: Array) -> Array:
    """(FEATURES,) of a frame: each landmark's (478,2) offset from its place on the face at rest, millimetres along the
    head's x and y axes, 0 where it has none; the net's scores (52,); yaw and pitch of the head."""
    index = np.r_[person.index, LANDMARKS - 10 : LANDMARKS]
    rest = np.concatenate([person.neutral, neutral_irises(person)])
    x = (rest - person.centre) @ pose.rotation.T + pose.place
    depth = -x[:, 2:]
    beside = (points[index] - lens.centre) * [1.0, -1.0] * depth / lens.focal - x[:, :2]
    offset = np.zeros((LANDMARKS, 2))
    offset[index] = (beside @ pose.rotation[:2])[:, :2] * 1000
    return np.concatenate([offset.ravel(), scores, pose.angles[:2]])
