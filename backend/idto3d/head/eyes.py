# SPDX-License-Identifier: GPL-3.0-or-later
"""Lids that part from the eye: the sculpted surface runs over the eyeball; here it is cut along the lids' rim, and the
patch inside is turned back as the wall of a socket. The ball itself is a part of its own (`parts`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BINS = 180  # directions in which the rim is known
TEXEL = 1e-4  # metres: how finely it is looked for
REACH = 0.024  # metres from the eye's middle within which it lies
NEAR = 4e-4  # metres: vertices this near the rim are put on it, instead of cutting slivers beside it
WALL = 0.8  # radius of the socket in radii of the eyeball, on which the lids lie: out of their way
COVERED = 0.002  # metres off the eyeball from which on something (hair) hangs over the eye


@dataclass(frozen=True)
class Eye:
    """One eye of the control surface in the canonical pose. ball: its outer layer's faces (T,3); centre (3,) and radius
    of the sphere; middle (2,): x and y from which the rim is seen; reach (BINS,): how far it lies in each direction;
    rim (BINS,3): where."""

    ball: Array
    centre: Array
    radius: float
    middle: Array
    reach: Array
    rim: Array

    def look_up(self, points: Array) -> tuple[Array, Array, Array]:
        """How far points (N,3) are from the middle, how far the rim is in their direction (N,), and its place (N,3)."""
        x, y = (points[:, :2] - self.middle).T
        at = (np.arctan2(y, x) / (2 * np.pi) % 1.0) * BINS
        low = np.floor(at).astype(int) % BINS
        t = at - np.floor(at)
        high = (low + 1) % BINS
        reach = self.reach[low] * (1 - t) + self.reach[high] * t
        rim = self.rim[low] * (1 - t)[:, None] + self.rim[high] * t[:, None]
        return np.hypot(x, y), reach, rim


def find_eye(vertices: Array, skin: Array, ball: Array) -> Eye | None:
    """The eye whose outer layer has the faces `ball` (T,3), between lids that belong to the faces `skin` (S,3).

    None where no opening with a rim all around is seen from the front.
    """
    points = vertices[np.unique(ball)].astype(np.float64)
    # sphere through the layer: |p|^2 = 2 p.c + (r^2 - |c|^2)
    solved = np.linalg.lstsq(np.column_stack([2 * points, np.ones(len(points))]), (points**2).sum(1), rcond=None)[0]
    centre, radius = solved[:3], float(np.sqrt(solved[3] + (solved[:3] ** 2).sum()))
    low = centre[:2] - REACH
    side = round(2 * REACH / TEXEL)
    corners = vertices[skin]
    near = (np.abs(corners.mean(1)[:, :2] - centre[:2]) < REACH).all(1) & (corners[..., 2].max(1) > centre[2])
    skin_z = _front(vertices.astype(np.float64), skin[near], low, TEXEL, side)
    ball_z = _front(vertices.astype(np.float64), ball, low, TEXEL, side)
    seen = ball_z > skin_z
    if not seen.any():
        return None
    middle = low + (np.argwhere(seen).mean(0)[::-1] + 0.5) * TEXEL
    angle = 2 * np.pi * np.arange(BINS) / BINS
    steps = np.arange(0, REACH / TEXEL, 0.5)
    ray = middle[None, None] + steps[None, :, None] * TEXEL * np.stack([np.cos(angle), np.sin(angle)], 1)[:, None]
    column, row = np.clip(np.floor((ray - low) / TEXEL).astype(int), 0, side - 1).transpose(2, 0, 1)
    hidden = ~seen[row, column]
    if not hidden.any(1).all():
        return None
    first = hidden.argmax(1)
    reach = _smooth(steps[first] * TEXEL)
    z = np.array(
        [skin_z[row[i, first[i] : first[i] + 6], column[i, first[i] : first[i] + 6]].max() for i in range(BINS)]
    )
    if not np.isfinite(z).all():
        return None
    place = middle + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return Eye(ball, centre, radius, middle, reach, np.column_stack([place, _smooth(z)]))


def _smooth(values: Array) -> Array:
    """Mean of three neighbours on the ring: the rim is read off a raster."""
    out: Array = (np.roll(values, 1) + values + np.roll(values, -1)) / 3
    return out


@numba.njit(cache=True, nogil=True)
def _front(points, faces, low, texel, side):  # type: ignore[no-untyped-def]
    """(side,side) greatest z by y and x, -inf where there is nothing."""
    out = np.full((side, side), -np.inf)
    for f in range(len(faces)):
        a, b, c = points[faces[f, 0]], points[faces[f, 1]], points[faces[f, 2]]
        x0, y0 = (a[0] - low[0]) / texel - 0.5, (a[1] - low[1]) / texel - 0.5
        x1, y1 = (b[0] - low[0]) / texel - 0.5, (b[1] - low[1]) / texel - 0.5
        x2, y2 = (c[0] - low[0]) / texel - 0.5, (c[1] - low[1]) / texel - 0.5
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0:
            continue
        for row in range(max(0, int(np.ceil(min(y0, y1, y2)))), min(side - 1, int(np.floor(max(y0, y1, y2)))) + 1):
            for col in range(max(0, int(np.ceil(min(x0, x1, x2)))), min(side - 1, int(np.floor(max(x0, x1, x2)))) + 1):
                u = ((x1 - col) * (y2 - row) - (x2 - col) * (y1 - row)) / area
                v = ((x2 - col) * (y0 - row) - (x0 - col) * (y2 - row)) / area
                w = 1.0 - u - v
                if u >= 0.0 and v >= 0.0 and w >= 0.0:
                    out[row, col] = max(out[row, col], u * a[2] + v * b[2] + w * c[2])
    return out


def part_lids(vertices: Array, faces: Array, eye: Eye) -> tuple[Array, Array, Array] | None:
    """The surface cut along the rim, with a socket behind it: vertices (V',3), faces (F',3), side (V',): 0 on the rim,
    -1 in the socket, 1 elsewhere. It stays a closed manifold if it was one. None where something hangs over the eye."""
    away, reach, rim = eye.look_up(vertices)
    signed = np.where((away < REACH) & (vertices[:, 2] > eye.centre[2]), away - reach, REACH)
    inside = signed < 0
    if inside.sum() < 8:
        return None
    off = np.linalg.norm(vertices[inside] - eye.centre, axis=1) - eye.radius
    if (np.abs(off) > COVERED).mean() > 0.2:
        return None
    signed[np.abs(signed) < NEAR] = 0.0
    vertices, faces, signed = cut(vertices, faces, signed)
    away, reach, rim = eye.look_up(vertices)
    vertices = np.where((signed == 0)[:, None], rim, vertices)
    inside = signed < 0
    share = (away[inside] / reach[inside])[:, None]
    out = rim[inside] - eye.centre
    distance = np.linalg.norm(out, axis=1, keepdims=True)
    polar = np.arccos(np.clip(out[:, 2:] / distance, -1, 1))
    around = out[:, :2] / np.linalg.norm(out[:, :2], axis=1, keepdims=True)
    polar = polar + (np.pi - polar) * (1 - share)
    wall = np.column_stack([np.sin(polar) * around, np.cos(polar)])
    vertices[inside] = eye.centre + WALL * eye.radius * wall
    return vertices, faces, np.sign(signed)


def cut(vertices: Array, faces: Array, values: Array) -> tuple[Array, Array, Array]:
    """Splits faces (F,3) where values (V,) change sign along their edges; new vertices have the value 0 and come last.
    Faces keep their order and winding, those that are split come last; a closed manifold stays one."""
    signs = np.sign(values)[faces]
    crossed = (signs.min(1) < 0) & (signs.max(1) > 0)
    new: dict[tuple[int, int], int] = {}
    ends: list[tuple[int, int]] = []
    extra: list[tuple[int, int, int]] = []
    for face in faces[crossed]:
        ring: list[int] = []  # the face's corners with the crossings between them
        for a, b in zip(face, np.roll(face, -1), strict=True):
            ring.append(int(a))
            if values[a] * values[b] < 0:
                key = (int(min(a, b)), int(max(a, b)))
                if key not in new:
                    new[key] = len(vertices) + len(ends)
                    ends.append(key)
                ring.append(new[key])
        zeros = [i for i, v in enumerate(ring) if v >= len(vertices) or values[v] == 0]
        for i, j in ((zeros[0], zeros[1]), (zeros[1], zeros[0] + len(ring))):
            part = [ring[k % len(ring)] for k in range(i, j + 1)]
            extra += [(part[0], part[k], part[k + 1]) for k in range(1, len(part) - 1)]
    if not extra:
        return vertices, faces, values
    a, b = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    t = (values[a] / (values[a] - values[b]))[:, None] if len(a) else np.zeros((0, 1))
    return (
        np.concatenate([vertices, vertices[a] * (1 - t) + vertices[b] * t]),
        np.concatenate([faces[~crossed], np.array(extra, dtype=faces.dtype)]),
        np.concatenate([values, np.zeros(len(a))]),
    )
