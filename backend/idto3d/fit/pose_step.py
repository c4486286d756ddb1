# SPDX-License-Identifier: GPL-3.0-or-later
"""What Gauss-Newton steps of a head's pose have in common, whatever the camera."""

import numpy as np
from scipy.spatial.transform import Rotation

from ..arrays import Array

LARGEST_TURN = 0.5  # radians of one step


def by_turn(by_point: Array, y: Array) -> Array:
    """Jacobian (K,2,3) by a turn w about the camera's axes, in which points y (K,3) move by w x y; by_point (K,2,3): by
    the points."""
    cross = np.zeros((len(y), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = y[:, 2], -y[:, 1], y[:, 0]
    out: Array = by_point @ (cross - cross.transpose(0, 2, 1))
    return out


def turned(rotation: Array, turn: Array) -> Array:
    """A rotation (3,3) after a turn (3,), of half a radian at most."""
    turn = turn * min(1.0, LARGEST_TURN / max(1e-9, float(np.linalg.norm(turn))))
    out: Array = Rotation.from_rotvec(turn).as_matrix() @ rotation
    return out


def huber_weights(distance: Array, threshold: float) -> Array:
    """(K,) of residuals, by iterative reweighting: 1 up to the threshold, in standard deviations, then less."""
    return np.minimum(1.0, threshold / np.maximum(distance, 1e-9))
