# SPDX-License-Identifier: GPL-3.0-or-later
"""Lids that meet: where an expression closes an eye, both rims are laid on one clean line over the eyeball, and the
skin around follows evenly. The expression field is smooth over millimetres, and would leave slits and folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, eye_array
from scipy.sparse.linalg import splu

from .fit import neighbour_means

Array = NDArray[Any]

CLOSED = 0.25  # share of its neutral opening below which an eye is closed
REACH = 0.009  # metres from the rim within which skin follows
CLEAR = 0.0006  # metres that lids keep off the eyeball
OVERLAP = 0.0001  # metres by which the rims pass each other: no light between them
CURVE = 4  # degree of the line on which lids meet


@dataclass(frozen=True)
class Lids:
    """One eye of a finished mesh. rim (R,): vertices of the lids' rim; skin (S,): those of the skin around, socket
    included; centre (3,) and radius of the eyeball in the neutral pose; metres."""

    rim: Array
    skin: Array
    centre: Array
    radius: float


def sphere(points: Array) -> tuple[Array, float]:
    """Centre (3,) and radius of the sphere through points (N,3), by least squares."""
    # |p|^2 = 2 p.c + (r^2 - |c|^2)
    system = np.column_stack([2 * points, np.ones(len(points))])
    solved = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0]
    centre: Array = solved[:3]
    return centre, float(np.sqrt(solved[3] + (centre**2).sum()))


def lids_of(neutral: Array, faces: Array, rim: Array, ball: Array) -> Lids:
    """The lids with the vertices `rim` (R,) of a closed piece with faces (F,3), before an eyeball, ball (B,3) neutral
    positions of its front."""
    used = np.unique(faces)
    near = np.linalg.norm(neutral[used][:, None] - neutral[rim][None], axis=2).min(1) < REACH
    centre, radius = sphere(ball.astype(np.float64))
    return Lids(rim, used[near], centre, radius)


def closed_lids(neutral: Array, offset: Array, faces: Array, lids: Lids) -> Array:
    """The offset (V,3) with the lids meeting, where it closes them; else the offset as it is. neutral (V,3)."""
    rest, posed = neutral[lids.rim], (neutral + offset)[lids.rim]
    inner, outer = rest[rest[:, 0].argmin()], rest[rest[:, 0].argmax()]
    across = np.clip((posed[:, 0] - inner[0]) / (outer[0] - inner[0]), 0, 1)
    chord = inner[1] + (rest[:, 0] - inner[0]) / (outer[0] - inner[0]) * (outer[1] - inner[1])
    upper = rest[:, 1] > chord
    middle = (across > 0.25) & (across < 0.75)
    up, down = middle & upper, middle & ~upper
    if up.sum() < 3 or down.sum() < 3:
        return offset
    opening = rest[up, 1].mean() - rest[down, 1].mean()
    if posed[up, 1].mean() - posed[down, 1].mean() > CLOSED * opening:
        return offset
    # The lower lid says where: it hardly moves. The corners stay.
    at = np.concatenate([across[~upper], [0, 1]])
    height = np.concatenate([posed[~upper, 1], [inner[1], outer[1]]])
    weight = np.concatenate([np.ones((~upper).sum()), [20, 20]])
    line = np.polyfit(at, height, CURVE, w=weight)
    goal = posed.copy()
    goal[:, 1] = np.polyval(line, across) + np.where(upper, -OVERLAP, OVERLAP)
    depth = np.polyfit(across, posed[:, 2], CURVE)
    goal[:, 2] = np.polyval(depth, across) + np.where(upper, OVERLAP, 0.0)
    goal = _off_ball(goal, lids)
    moved = offset.copy()
    moved[lids.rim] = goal - rest
    skin = np.setdiff1d(lids.skin, lids.rim)
    moved[skin] = _evenly(moved, faces, skin)
    before = skin[neutral[skin, 2] + moved[skin, 2] > lids.centre[2]]
    outside = before[np.linalg.norm(neutral[before] - lids.centre, axis=1) > lids.radius]
    moved[outside] = _off_ball((neutral + moved)[outside], lids) - neutral[outside]
    return moved


def _off_ball(points: Array, lids: Lids) -> Array:
    """Points (N,3) pushed out to CLEAR off the eyeball."""
    way = points - lids.centre
    distance = np.linalg.norm(way, axis=1, keepdims=True)
    out: Array = lids.centre + way * np.maximum(1.0, (lids.radius + CLEAR) / np.maximum(distance, 1e-9))
    return out


def _evenly(moved: Array, faces: Array, free: Array) -> Array:
    """(S,3) for the vertices `free` (S,): motion between that of the others, as even as a bent plate's."""
    near = np.isin(faces, free).any(1)
    near = np.isin(faces, np.unique(faces[near])).any(1)  # a plate needs two rings of what holds it
    used, local = np.unique(faces[near], return_inverse=True)
    average = neighbour_means(local.reshape(-1, 3), len(used))
    bend = csc_array(average - eye_array(len(used)))
    bend = csc_array(bend.T @ bend)
    inside = np.isin(used, free)
    solver = splu(csc_array(bend[inside][:, inside]))
    out: Array = solver.solve(-(bend[inside][:, ~inside] @ moved[used[~inside]]))
    return out
