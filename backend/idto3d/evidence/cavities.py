# SPDX-License-Identifier: GPL-3.0-or-later
"""Nostrils and the holes of ears are dark. Photographs show that at their rims only, and what lies inside is filled
with skin: renderers without shadows would show it as pale as a cheek."""

from functools import lru_cache

import numpy as np

from ..arrays import Array
from ..fit.camera import PhotoCamera
from ..fit.light import spiral
from ..fit.visibility import draw_depth, front_at
from ..headmodel import HeadModel
from ..headmodel.follow import FILMS
from ..headmodel.model import SKIN_PARTS
from ..mesh.surface import vertex_normals
from ..mesh.texels import Texels
from ..ramps import ramp

DIRECTIONS = 64
SIZE, ACROSS, AWAY = 320, 0.4, 3.0  # pixels; metres that they show, and from how far
BEHIND = 0.0015  # metres behind the frontmost surface from which on a point is hidden
OPEN = (0.02, 0.22)  # share of the sky from which nothing, and enough, of the light gets in
DEEPEST = (0.28, 0.17, 0.15)  # of the albedo, linear: what little light there is has gone through skin
MOUTH_OPEN = {"jawOpen": 1.0}


def light_in(model: HeadModel, at: Texels) -> Array:
    """(N,) float32 0..1: how much of the light gets to texels; 1 outside of cavities."""
    return ramp(at.at(sky(model)[:, None])[:, 0], *OPEN)


def darkened(albedo: Array, light: Array) -> Array:
    """Linear albedo (S,S,3) where there is little light (S,S)."""
    share = light[..., None]
    return albedo * (share + (1 - share) * np.array(DEEPEST, np.float32))


@lru_cache(maxsize=1)
def sky(model: HeadModel) -> Array:
    """(P,) float32 0..1: how much of its hemisphere a point of the skin sees past the mean head, weighted by the
    cosine; 1 for what is no skin."""
    out = np.ones(len(model.neutral), np.float32)
    skin = model.vertices_of(*SKIN_PARTS)
    weights = MOUTH_OPEN if {*MOUTH_OPEN} <= {*model.expression_names} else {}
    poses = (model.neutral, model.neutral + model.motion(model.expression_vector(weights)))
    out[skin] = np.max([_sky(model, points.astype(np.float64), skin) for points in poses], 0)
    return out


def _sky(model: HeadModel, points: Array, skin: Array) -> Array:
    solid = model.triangles_of(*(name for name in model.part_names if name not in FILMS))
    normals = vertex_normals(points, model.triangles_of(*SKIN_PARTS))[skin]
    seen, whole = np.zeros(skin.sum()), np.full(skin.sum(), 1e-9)
    middle = (points.max(0) + points.min(0)) / 2
    for direction in spiral(DIRECTIONS):
        right = np.cross([0.0, 1.0, 0.0], direction)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(direction, right), direction])
        camera = PhotoCamera(rotation, middle, SIZE / ACROSS, np.full(2, (SIZE - 1) / 2), 1 / AWAY)
        pixel, height = camera.project(points[skin])
        facing = np.clip(normals @ direction, 0, None)
        whole += facing
        front = front_at(draw_depth(camera, points, solid, SIZE).height, pixel)
        seen += facing * (height > front - BEHIND)
    return seen / whole
