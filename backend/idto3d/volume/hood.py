# SPDX-License-Identifier: GPL-3.0-or-later
"""Coordinates in which hair is a height over a map: around the skull as around a ball, below it as around a pillar.

A point has a direction `turn` about the head's vertical axis (0 in front, positive to the person's left), a way `down`
from the crown along the skull's sphere and then straight down, and a `radius`: from the sphere's centre above its
equator, from the vertical axis below. Flattened, (turn, down) are polar coordinates of a disk with the crown in its
middle and the face's side below it: no seam, and one place for each point of an outer surface.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import map_coordinates

from ..arrays import Array
from ..headmodel import HeadModel
from ..headmodel.model import SKIN_PARTS
from ..render.zbuffer import zbuffer

PIXEL = 0.004  # metres of the flattened maps
MARGIN = 0.05  # metres of the maps beyond the lowest hair


@dataclass(frozen=True, eq=False)
class Hood:
    """centre (3,) and skull: the sphere's, metres in the head frame; reach: the largest `down` of the maps.

    Maps are square images of `side` pixels over the disk.
    """

    centre: Array
    skull: float
    reach: float

    @property
    def equator(self) -> float:
        """`down` where the sphere ends and the pillar begins."""
        return 0.5 * np.pi * self.skull

    @property
    def side(self) -> int:
        return 2 * int(np.ceil(self.reach / PIXEL)) + 1

    def down_to(self, height: float) -> float:
        """`down` of what lies at a height (y) of the head frame, below the equator."""
        return self.equator + float(self.centre[1]) - height

    def coordinates(self, points: Array) -> tuple[Array, Array, Array]:
        """turn, down, radius, each (...,), of points (...,3)."""
        x, y, z = np.moveaxis(np.asarray(points) - self.centre, -1, 0)
        level = np.hypot(x, z)
        above = y > 0
        polar = np.arctan2(level, np.maximum(y, 0.0))
        down = np.where(above, polar * self.skull, self.equator - y)
        return np.arctan2(x, z), down, np.where(above, np.hypot(level, y), level)

    def point(self, turn: Array, down: Array, radius: Array) -> Array:
        """(...,3): the point with these coordinates."""
        polar = np.minimum(down, self.equator) / self.skull
        level, up = radius * np.sin(polar), radius * np.cos(polar)
        height = np.where(down > self.equator, self.equator - down, up)
        return self.centre + np.stack([level * np.sin(turn), height, level * np.cos(turn)], -1)

    def normals(self, radius: Array) -> Array:
        """(side,side,3) unit normals, outwards, of the surface that has a map (side,side) of radius."""
        points = self.point(*self.map_coordinates(), np.maximum(radius, 0.02))
        normal = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
        return normal * np.sign((normal * (points - self.centre)).sum(-1, keepdims=True))

    def place(self, turn: Array, down: Array) -> tuple[Array, Array]:
        """Column and row (float32) in the maps."""
        middle = self.side // 2
        column = middle + down * np.sin(turn) / PIXEL
        row = middle + down * np.cos(turn) / PIXEL
        return column.astype(np.float32), row.astype(np.float32)

    def places(self, points: Array) -> Array:
        """(K,2) columns and rows in the maps of points (K,3)."""
        return np.stack(self.place(*self.coordinates(points)[:2]), 1).astype(np.float64)

    def map_coordinates(self) -> tuple[Array, Array]:
        """turn and down of the maps' pixels, (side,side) each."""
        middle = self.side // 2
        rows, columns = np.mgrid[: self.side, : self.side] - middle
        return np.arctan2(columns, rows), np.hypot(columns, rows) * PIXEL


def fit_hood(model: HeadModel, neutral: Array, lowest: float) -> Hood:
    """The hood of a head neutral (P,3) whose hair hangs down to the height `lowest` (y) of the head frame.

    The sphere is the one of least squares through the scalp.
    """
    x = neutral[model.scalp > 0.5]
    rows = np.concatenate([2.0 * x, np.ones((len(x), 1))], 1)
    solution = np.linalg.lstsq(rows, (x**2).sum(1), rcond=None)[0]
    centre = solution[:3]
    skull = float(np.sqrt(solution[3] + centre @ centre))
    lowest = min(lowest, float(x[:, 1].min()))
    return Hood(centre, skull, 0.5 * np.pi * skull + float(centre[1]) - lowest + MARGIN)


def read_map(values: Array, column: Array, row: Array) -> Array:
    """Bilinear values of a map (side,side) at places (A,B); the border goes on outside."""
    return cv2.remap(
        np.ascontiguousarray(values, np.float32), column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def read_at(values: Array, place: Array) -> Array:
    """Bilinear values (K,) of a map (side,side) at columns and rows (K,2)."""
    return map_coordinates(values, place.T[::-1], order=1, mode="nearest")


@dataclass(frozen=True, eq=False)
class SkinMaps:
    """The skin flattened, (side,side): outer and inner: radius where rays from the axis leave it last and first, 0
    where they never do; scalp 0..1 of the outermost."""

    outer: Array
    inner: Array
    scalp: Array


def flatten_skin(hood: Hood, model: HeadModel, neutral: Array) -> SkinMaps:
    """neutral (P,3), head frame."""
    triangles = np.ascontiguousarray(model.triangles_of(*SKIN_PARTS), np.int64)
    last, hit = flatten(hood, neutral, triangles, True)
    first, _ = flatten(hood, neutral, triangles, False)
    scalp = np.where(hit >= 0, model.scalp[triangles[hit]].mean(-1), 0.0)
    return SkinMaps(last, first, scalp.astype(np.float32))


def flatten(hood: Hood, vertices: Array, triangles: Array, last: bool) -> tuple[Array, Array]:
    """(side,side) radius where rays from the axis leave a mesh, vertices (V,3) and triangles (F,3), for the last time
    or the first, 0 where they never do; and which triangle that is, or -1."""
    turn, down, radius = hood.coordinates(vertices)
    # A face that the axis passes below the skull has corners all around: flattened it would cover the whole disk.
    corners = turn[triangles]
    wide = np.abs((np.roll(corners, -1, 1) - corners + np.pi) % (2 * np.pi) - np.pi).max(1) > 0.5 * np.pi
    kept = np.flatnonzero(~(wide & (down[triangles].min(1) > hood.equator)))
    column, row = hood.place(turn, down)
    sign = -1.0 if last else 1.0  # a z-buffer keeps the smallest
    screen = np.stack([column, row, sign * radius], 1).astype(np.float64)
    triangle = np.empty((hood.side, hood.side), np.int64)
    depth, thin = np.empty((hood.side, hood.side), np.float32), np.empty((hood.side, hood.side), bool)
    zbuffer(screen, np.ascontiguousarray(triangles[kept], np.int64), triangle, depth, thin)
    hit = triangle >= 0
    return np.where(hit, sign * depth, 0.0).astype(np.float32), np.where(hit, kept[triangle], -1)
