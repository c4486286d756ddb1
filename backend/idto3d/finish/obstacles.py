# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyeballs and rows of teeth as obstacles that skin may not enter, and their motion.

An eyeball is a radius for every direction from its centre, a row of teeth one for every angle and height about an
upright axis. Both move rigidly, nearly: each key moves them by an affine map, and a mixture by the sum of these maps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import grey_closing

from ..arrays import Array
from ..headmodel import HeadModel
from ..headmodel.eyeballs import Eyeball

Place = tuple[Array, Array]
"""Matrices (N,3,3) and shifts (N,3) that bring an obstacle from rest into N poses."""
RESTING: Place = np.eye(3)[None], np.zeros((1, 3))
ENOUGH = 1e-4  # metres of depth that are tolerated

GRID = 97
WIDEST = 2.4  # of the stereographic map of an eyeball's directions: 1 is the rim of its front half
TEETH = "teeth"
ARCH = 80.0  # degrees to both sides of the front that the map of a row of teeth covers
STEP = (2.5, 0.0006)  # degrees and metres of a row of teeth's map


@dataclass(frozen=True, eq=False)
class Obstacle:
    """A surface about centre (3,): front (H,W) radius in metres on a grid from `low` (2,) with `step` (2,) of its
    coordinates, -1 where there is none; upright: cylindrical, else spherical; vertices (N,) of the head model that
    move with it; deep: metres below the surface beyond which a point is behind it, not in it."""

    centre: Array
    front: Array
    low: Array
    step: Array
    upright: bool
    vertices: Array
    deep: float


def pushes(points: Array, margins: Array, placed: Sequence[tuple[Obstacle, Place]]) -> tuple[Array, Array]:
    """The longest of the displacements (N,S,3) that move points (N,S,3) of N poses to margins (S,) off the surfaces of
    obstacles at their places, zero outside of them, and their lengths (N,S), zero below ENOUGH."""
    push, size = np.zeros(points.shape), np.zeros(points.shape[:2])
    for o, (turn, shift) in placed:
        back = np.ascontiguousarray(np.linalg.inv(turn))
        _push(points, turn, back, shift, o.centre, o.front, o.low, o.step, o.upright, o.deep, margins, push, size)
    size[size < ENOUGH] = 0.0
    return push, size


@numba.njit(cache=True, nogil=True)
def _push(points, turn, back, shift, centre, front, low, step, upright, deep, margins, push, size):  # type: ignore[no-untyped-def]
    beyond = front.max() + margins.max()
    top = low[1] + step[1] * (front.shape[1] - 1)
    for n in range(points.shape[0]):
        for s in range(points.shape[1]):
            p0, p1, p2 = points[n, s, 0] - shift[n, 0], points[n, s, 1] - shift[n, 1], points[n, s, 2] - shift[n, 2]
            height = back[n, 1, 0] * p0 + back[n, 1, 1] * p1 + back[n, 1, 2] * p2
            if upright and (height < low[1] or height > top):
                continue
            x = back[n, 0, 0] * p0 + back[n, 0, 1] * p1 + back[n, 0, 2] * p2 - centre[0]
            y = 0.0 if upright else height - centre[1]
            z = back[n, 2, 0] * p0 + back[n, 2, 1] * p1 + back[n, 2, 2] * p2 - centre[2]
            distance = np.sqrt(x * x + y * y + z * z)
            if distance < 1e-9 or distance > beyond:
                continue
            x, y, z = x / distance, y / distance, z / distance
            if upright:
                i, j = np.arctan2(x, z), height
            else:
                i, j = x / max(1 + z, 1e-3), y / max(1 + z, 1e-3)
            i, j = (i - low[0]) / step[0], (j - low[1]) / step[1]
            if i < 0 or j < 0 or i > front.shape[0] - 1.001 or j > front.shape[1] - 1.001:
                continue
            a, b = int(i), int(j)
            u, v = i - a, j - b
            if min(min(front[a, b], front[a, b + 1]), min(front[a + 1, b], front[a + 1, b + 1])) < 0:
                continue
            near = (1 - v) * front[a, b] + v * front[a, b + 1]
            far = (1 - v) * front[a + 1, b] + v * front[a + 1, b + 1]
            depth = (1 - u) * near + u * far + margins[s] - distance
            if 0 < depth < deep:
                d0 = depth * (turn[n, 0, 0] * x + turn[n, 0, 1] * y + turn[n, 0, 2] * z)
                d1 = depth * (turn[n, 1, 0] * x + turn[n, 1, 1] * y + turn[n, 1, 2] * z)
                d2 = depth * (turn[n, 2, 0] * x + turn[n, 2, 1] * y + turn[n, 2, 2] * z)
                length = np.sqrt(d0 * d0 + d1 * d1 + d2 * d2)
                if length > size[n, s]:
                    size[n, s] = length
                    push[n, s, 0], push[n, s, 1], push[n, s, 2] = d0, d1, d2


def eyeball_obstacle(model: HeadModel, neutral: Array, eye: Eyeball, part: str) -> Obstacle:
    """The ball of an eye, whose outer surface is `part`."""
    own = eye.vertices[model.vertices_of(part)[eye.vertices]]
    away = neutral[own] - eye.centre
    distance = np.linalg.norm(away, axis=1)
    outward = away / distance[:, None]
    ticks = np.linspace(-WIDEST, WIDEST, GRID)
    grid = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), -1)
    ahead = outward[:, 2] > -0.9
    front = LinearNDInterpolator(_coordinates(away, outward, False)[ahead], distance[ahead])(grid)
    step = np.full(2, ticks[1] - ticks[0])
    return Obstacle(eye.centre, np.nan_to_num(front, nan=-1.0), np.full(2, -WIDEST), step, False, own, 0.006)


def teeth_obstacles(model: HeadModel, neutral: Array, opened: Array) -> list[Obstacle]:
    """Upper and lower teeth, distinguished by whether opened (P,3), the offsets of an open jaw, moves them."""
    own = np.flatnonzero(model.vertices_of(TEETH))
    if not len(own):
        return []
    moved = np.linalg.norm(opened, axis=1)
    falls = moved > 0.1 * moved[own].max(initial=0)  # molars, near the hinge, fall less
    points = neutral[own]
    half = float(np.abs(points[:, 0] - points[:, 0].mean()).max())
    centre = np.array([points[:, 0].mean(), 0.0, points[:, 2].max() - half])
    triangles = model.triangles_of(TEETH)
    rows = (triangles[~falls[triangles[:, 0]]], triangles[falls[triangles[:, 0]]])
    return [_row_of_teeth(neutral, row, centre) for row in rows if len(row)]


def affine(rest: Array, motions: Array) -> tuple[Array, Array]:
    """The least-squares affine maps of motions (K,N,3) of points rest (N,3): matrices (K,3,3) and shifts (K,3), so that
    a point x moves by matrix @ x + shift."""
    middle = rest.mean(0)
    system = np.c_[rest - middle, np.ones(len(rest))]
    flat = motions.transpose(1, 0, 2).reshape(len(rest), -1)
    solved = np.linalg.lstsq(system, flat, rcond=None)[0].reshape(4, -1, 3)
    matrix = solved[:3].transpose(1, 2, 0)
    shift: Array = solved[3] - matrix @ middle
    return matrix, shift


def _row_of_teeth(neutral: Array, triangles: Array, centre: Array) -> Obstacle:
    corners = neutral[triangles]
    shares = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [1 / 3] * 3])
    points = np.einsum("sk,tkc->tsc", shares, corners).reshape(-1, 3)
    away = (points - centre) * [1, 0, 1]
    distance = np.linalg.norm(away, axis=1)
    at = _coordinates(points, away / np.maximum(distance, 1e-9)[:, None], True)
    step = np.array([np.radians(STEP[0]), STEP[1]])
    low = np.array([-np.radians(ARCH), points[:, 1].min()])
    size = (int(2 * np.radians(ARCH) / step[0]) + 1, int(np.ptp(points[:, 1]) / step[1]) + 1)
    cell = np.rint((at - low) / step).astype(np.int64)
    inside = ((cell >= 0) & (cell < size)).all(1)
    front = np.full(size, -1.0)
    np.maximum.at(front, tuple(cell[inside].T), distance[inside])
    closed = grey_closing(front, (5, 5))  # gaps between samples and between teeth
    return Obstacle(centre, closed, low, step, True, np.unique(triangles), 0.008)


def _coordinates(points: Array, outward: Array, upright: bool) -> Array:
    """(...,2) of directions: the stereographic projection from behind, or the angle about +Y and the height."""
    if upright:
        return np.stack([np.arctan2(outward[..., 0], outward[..., 2]), points[..., 1]], -1)
    return outward[..., :2] / np.maximum(1 + outward[..., 2:], 1e-3)
