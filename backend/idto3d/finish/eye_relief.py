# SPDX-License-Identifier: GPL-3.0-or-later
"""The normal map of the eyes' lower layer. The ball's mesh bulges like the cornea and has a clear coat in shaders;
under it, this map makes the iris a flat, slightly concave disc."""

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from ..headmodel.eyeballs import IRIS_RADIUS, sphere_centre
from ..mesh.surface import unit
from ..mesh.texels import Texels

LIMBUS = 0.1  # of the iris's radius: the transition from iris to white
HOLLOW = np.radians(14.0)  # tilt of the iris's rim towards its middle
APEX = 0.02  # share of the ball's points, farthest from its centre, whose mean is the cornea's apex


def iris_relief(texels: Texels, vertices: Array) -> NDArray[np.uint8]:
    """(S,S,3) normals in tangent space, +Y up, of the eyes' map; texels of vertices (V,3), metres, head frame, with the
    left eye at x > 0."""
    points = texels.at(vertices).astype(np.float64)
    place = texels.spread(points)
    along = unit(texels.of_image(np.gradient(place, axis=1)))
    up = texels.of_image(-np.gradient(place, axis=0))
    up = unit(up - along * (up * along).sum(1, keepdims=True))
    out = np.cross(along, up)
    tangent = np.zeros_like(points)
    tangent[:, 2] = 1
    for side in (points[:, 0] > 0, points[:, 0] <= 0):
        if side.sum() < 16:
            continue
        away = points[side] - sphere_centre(points[side])
        reach = np.linalg.norm(away, axis=1)
        axis = unit(away[reach >= np.quantile(reach, 1 - APEX)].mean(0))
        direction = away / reach[:, None]
        angle = np.arccos(np.clip(direction @ axis, -1, 1))
        off = angle * np.median(reach) / IRIS_RADIUS
        outward = unit(direction - (direction @ axis)[:, None] * axis)
        lean = (HOLLOW * np.minimum(off, 1))[:, None]
        disc = axis * np.cos(lean) - outward * np.sin(lean)
        own = out[side] * np.sign((out[side] * direction).sum(1, keepdims=True))
        share = np.clip((1 - off) / LIMBUS, 0, 1)[:, None]
        wanted = unit(share * disc + (1 - share) * own)
        tangent[side] = np.stack([(wanted * v).sum(1) for v in (along[side], up[side], own)], 1)
    image = texels.spread(unit(tangent))
    return np.rint((image * 0.5 + 0.5) * 255).astype(np.uint8)
