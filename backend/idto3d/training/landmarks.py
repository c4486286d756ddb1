# SPDX-License-Identifier: GPL-3.0-or-later
"""Dense landmarks: which points of the control surface photographs are asked for.

Synthetic faces know where every point of the surface falls, hidden or not, so a net can learn many more points than
people could mark, and how sure it is of each; a head is then fitted to them (Wood et al. 2022, "3D face reconstruction
with dense landmarks", whose net, too, has seen no photograph).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .population import Population

Array = NDArray[Any]
SHOWN = ("head", "eyes")  # the parts that landmarks lie on: the first of the control surface
COUNT = 160


def choose_landmarks(population: Population) -> Array:
    """(COUNT,) control vertices, evenly spread over the front of the head and twice as dense at eyes, nose and mouth;
    the last two are the pupils, the person's right one first."""
    head = population.mean_head
    x, y, z = head.T
    shown = np.nonzero(population.outer & (z > 0.01) & (y > -0.135) & (y < 0.075))[0]
    features = (np.abs(x) < 0.048) & (y > -0.085) & (y < 0.03) & (z > 0.05)
    density = np.where(features, 2.0, 1.0)[shown]
    points = head[shown].astype(np.float64)
    chosen = [int(np.argmax(points[:, 2]))]
    gap = np.full(len(points), np.inf)
    while len(chosen) < COUNT - 2:  # farthest point first
        gap = np.minimum(gap, np.linalg.norm(points - points[chosen[-1]], axis=1) * density)
        chosen.append(int(np.argmax(gap)))
    mesh = population.kit.mesh(population.mean_identity, parts=SHOWN)
    balls = mesh["eyes"].vertices
    pupils = [np.nonzero(side)[0] for side in (balls[:, 0] < 0, balls[:, 0] > 0)]
    front = [len(head) + int(ball[np.argmax(balls[ball, 2])]) for ball in pupils]
    return np.concatenate([shown[chosen], front]).astype(np.int64)
