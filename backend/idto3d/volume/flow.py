# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way strands run over the hood: from a whorl or a parting downwards, and as photographs show them."""

from collections.abc import Sequence

import cv2
import numpy as np

from ..arrays import Array
from ..mesh.surface import unit
from .hood import PIXEL, Hood
from .observe import HairView

WHORL = 0.055  # metres behind the top of the head
FALL = (0.45, 1.0)  # shares of the way to the equator over which strands come to run straight down
PRIOR = 0.06  # what the plan counts beside strands that are seen clearly
BLUR = 0.008  # metres over which directions are averaged
STEP = 0.002  # metres from which the projection's slope is taken
FACING = 0.3  # cosine under which a surface is seen too much from the side


def plan_flow(hood: Hood, hairline: float, fringe: float) -> Array:
    """(side,side,2) unit vectors, columns and rows of the maps. hairline: `down` of hair's border over the forehead;
    fringe 0..1: whether hair falls over it, from the whorl, or is combed off it, from a parting."""
    rows, columns = (np.mgrid[: hood.side, : hood.side] - hood.side // 2) * PIXEL
    whorl = np.array([0.0, -WHORL])
    front = (1.0 - fringe) * np.array([0.0, hairline]) + fringe * whorl
    way = front - whorl
    at = np.stack([columns, rows], -1)
    along = np.clip(((at - whorl) @ way) / max(float(way @ way), 1e-9), 0.0, 1.0)
    off = unit(at - (whorl + along[..., None] * way))
    radial = unit(at)
    level = np.linalg.norm(at, axis=-1) / hood.equator
    fall = np.clip((level - FALL[0]) / (FALL[1] - FALL[0]), 0.0, 1.0)[..., None]
    return unit(off * (1 - fall) + radial * fall)


def strand_flow(hood: Hood, outer: Array, plan: Array, views: Sequence[HairView]) -> Array:
    """(side,side,2) unit vectors: the plan, turned to the strands that photos show on the surface of radius `outer`
    (side,side)."""
    turn, down = hood.map_coordinates()
    points = hood.point(turn, down, outer)
    d_column, d_row = (np.gradient(points, PIXEL, axis=a) for a in (1, 0))
    normal = hood.normals(outer)
    tensor = PRIOR * _tensor(plan)
    for view in views:
        seen = view.shows_hair(points) * np.clip(((normal * view.camera.towards(points)).sum(-1) - FACING) / 0.3, 0, 1)
        # Strands' directions in the picture, brought to the map by the inverse of the projection's slope.
        lines = np.stack([view.sample(view.strands[..., c], points)[0] for c in range(2)], -1)
        a, b = (
            (view.camera.project(points + STEP * d)[0] - view.camera.project(points)[0]) / STEP
            for d in (d_column, d_row)
        )
        angle = 0.5 * np.arctan2(lines[..., 1], lines[..., 0])
        x, y = np.cos(angle), np.sin(angle)
        way = unit(np.stack([b[..., 1] * x - b[..., 0] * y, a[..., 0] * y - a[..., 1] * x], -1))
        tensor += (seen * np.hypot(lines[..., 0], lines[..., 1]))[..., None] * _tensor(way)
    smooth = cv2.GaussianBlur(tensor.astype(np.float32), (0, 0), BLUR / PIXEL)
    angle = 0.5 * np.arctan2(2 * smooth[..., 2], smooth[..., 0] - smooth[..., 1])
    out = np.stack([np.cos(angle), np.sin(angle)], -1)
    sign = np.where((out * plan).sum(-1) < 0, -1.0, 1.0)
    return (out * sign[..., None]).astype(np.float32)


def _tensor(way: Array) -> Array:
    x, y = way[..., 0], way[..., 1]
    return np.stack([x * x, y * y, x * y], -1)
