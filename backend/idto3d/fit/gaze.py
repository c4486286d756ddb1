# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyeballs turned to where a photograph shows their irises: the head model's own expressions move the lids alone."""

import numpy as np

from ..arrays import Array
from ..headmodel import HeadModel
from ..headmodel.eyeballs import find_eyeballs
from ..photos.faces import Face
from .camera import PhotoCamera
from .tone import IRIS

IRISES = tuple(centre for centre, _ in IRIS)  # landmarks of the person's right and left eye
MOST = np.radians(40.0)  # eyes do not turn farther
ROUNDS = 4  # of a fixed point: an iris's depth follows from its place, and its place, a little, from its depth


def turn_eyes(model: HeadModel, points: Array, camera: PhotoCamera, face: Face) -> Array:
    """(P,3) displacement of a posed head, points (P,3), that turns each eyeball about its centre until the middle of
    its iris lies on the photograph's, by the smallest rotation."""
    out = np.zeros_like(points)
    for eye in find_eyeballs(model, points):
        landmark = IRISES[eye.side > 0]
        if model.landmark_trust[landmark] <= 0:
            continue
        iris = model.landmark_barycentric[landmark] @ points[model.landmark_triangle[landmark]] - eye.centre
        reach = float(np.linalg.norm(iris))
        wanted = _on_sphere(camera, eye.centre, reach, face.landmarks[landmark])
        from_centre = points[eye.vertices] - eye.centre
        out[eye.vertices] = from_centre @ _smallest_rotation(iris / reach, wanted).T - from_centre
    return out


def _on_sphere(camera: PhotoCamera, centre: Array, radius: float, pixel: Array) -> Array:
    """(3,) unit vector from a sphere's centre to where the near side is seen at a pixel, or nearest to it; head
    frame."""
    middle = camera.rotation @ (centre - camera.centre)
    flat = (pixel - camera.shift) / camera.scale * [1.0, -1.0]
    height = middle[2] + radius
    for _ in range(ROUNDS):
        aside = flat * (1.0 - camera.inverse_distance * height) - middle[:2]
        aside *= min(1.0, 0.99 * radius / max(float(np.linalg.norm(aside)), 1e-9))
        up = np.sqrt(radius**2 - float(aside @ aside))
        height = middle[2] + up
    out: Array = camera.rotation.T @ np.r_[aside, up] / radius
    return out


def _smallest_rotation(start: Array, end: Array) -> Array:
    """(3,3) that turns one unit vector to another, no farther than MOST (Rodrigues' formula)."""
    axis = np.cross(start, end)
    sine = float(np.linalg.norm(axis))
    angle = min(float(np.arctan2(sine, start @ end)), MOST)
    x, y, z = axis / max(sine, 1e-12)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    out: Array = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return out
