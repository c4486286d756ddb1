# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks that stand off a surface of hair: ribbons that run with the strands and end in a point. Without them its
outline is a helmet's."""

from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import Array
from .hood import PIXEL, Hood, read_at, read_map

COUNT = 1500
PARTS = 7  # of a ribbon's length
LENGTH = (0.012, 0.07, 2.5)  # metres: at least, at most, and for each metre of thickness
HANGING = 0.10  # metres where hair hangs
WIDTH = (0.0012, 0.0035)  # metres, of the finest and the broadest
LIFT = (0.0002, 0.0008)  # metres over the surface at the root: what goes under it is black lines to a path tracer
TIP = (0.3, 0.004)  # of the thickness by which a tip stands off at most, and metres
CURL = (0.005, 0.02)  # metres of a curl's radius, and from turn to turn
OVER = 0.002  # metres that ribbons may reach over the border
AT_BORDER = 0.015  # metres from the border in which ribbons are twice as many


@dataclass(frozen=True, eq=False)
class Cover:
    """What ribbons lie on, maps (side,side) over the hood. radius: of the surface of hair, continued around it; skin:
    the skin's; border: metres to its border, positive in hair; flow (side,side,2): how strands run; curl 0..1."""

    hood: Hood
    radius: Array
    skin: Array
    border: Array
    flow: Array
    curl: float


def ribbons(cover: Cover, roots: Array, safe: float) -> tuple[Array, Array, Array]:
    """Vertices (V,3), triangles (F,3), and where in the hood's maps each vertex has its colour: (V,2) column and row.
    roots (K,3): points on the surface; colours are taken `safe` metres inside its border."""
    hood, rng = cover.hood, np.random.default_rng(5)
    at = hood.places(roots)
    inside = read_at(cover.border, at) > safe
    at = at[inside]
    count = len(at)
    if not count:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros((0, 2))
    thick = np.maximum(read_at(cover.radius - cover.skin, at), 0.0)
    low = np.clip((hood.coordinates(roots[inside])[1] / hood.equator - 0.7) / 0.5, 0.0, 1.0)
    longest = np.clip(LENGTH[2] * thick, *LENGTH[:2])
    longest += low * np.clip((thick - 0.01) / 0.02, 0, 1) * (HANGING - longest)
    length = longest * rng.uniform(0.6, 1.2, count)
    line = _traced(cover, at, length)
    # No farther over the border than a tip frays, nor where strands run the other way: folded back, they are black.
    ended = read_at(cover.border, line.reshape(-1, 2)).reshape(line.shape[:2]) < -OVER
    step = np.diff(line, axis=1)
    ended[:, :-1] |= (step * step[:, :1]).sum(-1) < 0
    line = _traced(cover, at, length * np.where(ended.any(1), ended.argmax(1) / PARTS, 1.0))
    good = read_at(cover.border, line.reshape(-1, 2)).reshape(line.shape[:2]) > safe
    last = np.maximum.accumulate(np.where(good, np.arange(PARTS + 1), 0), 1)
    colours = np.take_along_axis(line, last[..., None], 1)
    share = np.linspace(0.0, 1.0, PARTS + 1)
    tip = rng.uniform(0, 1, count) ** 2 * np.minimum(TIP[0] * thick, TIP[1])
    turn = rng.uniform(0, 2 * np.pi, count)[:, None] + share * (length / CURL[1] * 2 * np.pi)[:, None]
    wave = cover.curl * np.minimum(CURL[0], 0.4 * thick)[:, None] * share**0.5
    lift = rng.uniform(*LIFT, count)[:, None] + tip[:, None] * share**2 + wave * np.sin(turn)
    along = np.gradient(line, axis=1)
    across = np.stack([-along[..., 1], along[..., 0]], -1)
    across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    line = line + across * (wave * np.cos(turn) / PIXEL)[..., None]
    middle = _point(cover, line, lift)
    aside = _point(cover, line + across, lift) - middle
    aside /= np.maximum(np.linalg.norm(aside, axis=-1, keepdims=True), 1e-9)
    width = rng.uniform(*WIDTH, count)[:, None] * np.minimum(4 * share + 0.3, 1.0) * (1 - share) ** 0.6
    vertices, triangles = pointed(middle, 0.5 * width[..., None] * aside)
    return vertices, triangles, np.repeat(colours, 2, 1)[:, :-1].reshape(-1, 2)


def pointed(middle: Array, half: Array) -> tuple[Array, Array]:
    """Vertices (K(2N-1),3) and triangles (F,3) of strips along lines (K,N,3) that reach as far as half (K,N,3) to both
    sides, and end in a point."""
    count, parts = len(middle), middle.shape[1] - 1
    vertices = np.stack([middle + half, middle - half], 2).reshape(count, 2 * parts + 2, 3)[:, :-1]
    strip = np.array([[2 * k + c for c in corner] for k in range(parts) for corner in ((0, 2, 1), (1, 2, 3))][:-1])
    triangles = strip[None] + (2 * parts + 1) * np.arange(count)[:, None, None]
    return vertices.reshape(-1, 3), triangles.reshape(-1, 3)


def _traced(cover: Cover, at: Array, length: Array) -> Array:
    """(K,PARTS+1,2) columns and rows of lines of some metres (K,) that run with the strands from places (K,2)."""
    out = [at]
    for _ in range(PARTS):
        way = np.stack([read_at(cover.flow[..., c], out[-1]) for c in (0, 1)], 1)
        out.append(out[-1] + way * (length / PARTS / PIXEL)[:, None])
    return np.stack(out, 1)


def continued(radius: Array, known: Array) -> Array:
    """A map (side,side) that goes on where it is not known as it is nearby."""
    weight = known.astype(np.float32)
    values, total = radius * weight, weight
    for blur in (1.0, 2.0, 4.0, 8.0):
        wide = cv2.GaussianBlur(total, (0, 0), blur)
        values = np.where(total > 0.05, values, cv2.GaussianBlur(values, (0, 0), blur))
        total = np.where(total > 0.05, total, wide)
    return values / np.maximum(total, 1e-6)


def _point(cover: Cover, line: Array, lift: Array) -> Array:
    hood = cover.hood
    column, row = (np.ascontiguousarray(line[..., c], np.float32) for c in (0, 1))
    middle = hood.side // 2
    x, y = (line[..., 0] - middle) * PIXEL, (line[..., 1] - middle) * PIXEL
    radius = np.maximum(read_map(cover.radius, column, row) + lift, read_map(cover.skin, column, row) + 0.001)
    return hood.point(np.arctan2(x, y), np.hypot(x, y), radius)
