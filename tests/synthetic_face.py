# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs of made-up heads of which all is known: camera, shape, colours, light, and where each landmark is."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from idto3d.arrays import Array
from idto3d.fit.camera import PhotoCamera
from idto3d.fit.light import shading
from idto3d.fit.projection import linear_to_srgb
from idto3d.fit.visibility import draw_depth
from idto3d.headmodel import HeadModel
from idto3d.headmodel.follow import FILMS
from idto3d.mesh.surface import vertex_normals
from idto3d.photos.faces import Face

SIZE = 320
EVEN_LIGHT = np.zeros((9, 3))
EVEN_LIGHT[0] = 1 / 0.28209479  # shades every normal with 1
SKIN = (0.40, 0.22, 0.15)  # linear


def camera_of(
    model: HeadModel, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, distance: float = 0.7, size: int = SIZE
) -> PhotoCamera:
    """A camera that shows the whole head in the middle of a size x size picture; degrees as in `PhotoCamera.angles`."""
    turn = Rotation.from_euler("YXZ", [yaw, -pitch, -roll], degrees=True).as_matrix()
    centre = (model.neutral.max(0) + model.neutral.min(0)).astype(np.float64) / 2
    reach = 1.6 * float(np.ptp(model.neutral, axis=0).max())
    return PhotoCamera(turn, centre, size / reach, np.full(2, (size - 1) / 2), 1 / distance)


def with_exact_net(model: HeadModel) -> HeadModel:
    """The model as it is where the landmark net does not err, as that of `face_of`."""
    shift, scatter = np.zeros((478, 3)), np.zeros((0, 478, 2))
    exact: dict[str, Any] = {"landmark_identity": None, "landmark_distance": None}
    return replace(model, landmark_shift=shift, landmark_scatter=scatter, **exact)


def landmarks_of(model: HeadModel, camera: PhotoCamera, posed: Array) -> tuple[Array, Array]:
    """Pixels (478,2) of the landmarks of a posed head (P,3), and their depths (478,) in pixels, larger is farther."""
    pixel, height = camera.project(at_landmarks(model, posed))
    return pixel, -height * camera.scale


def at_landmarks(model: HeadModel, field: Array) -> Array:
    """(478,C) a vertex field (P,C) at the landmarks."""
    weights = model.landmark_barycentric.astype(np.float64)
    return np.einsum("kjc,kj->kc", field[model.landmark_triangle], weights)


def photograph(
    model: HeadModel, camera: PhotoCamera, posed: Array, albedo: Array | None = None, light: Array = EVEN_LIGHT,
    size: int = SIZE, background: float = 0.05,
) -> tuple[Array, Array]:  # fmt: skip
    """The picture (S,S,3) uint8 of a posed head with vertex colours (P,3) linear under a light (9,3), and the person in
    it (S,S) bool."""
    triangles = model.triangles_of(*(part for part in model.part_names if part not in FILMS))
    drawn = draw_depth(camera, posed, triangles, size).triangle
    person = drawn >= 0
    corners = triangles[drawn[person]]
    pixel, height = camera.project(posed)
    rows, columns = np.nonzero(person)
    (a, b, c), at = (pixel[corners[:, k]] for k in range(3)), np.c_[columns, rows]
    area = _cross(b - a, c - a)
    weight = np.stack([_cross(b - at, c - at), _cross(c - at, a - at), _cross(a - at, b - at)], 1) / area[:, None]
    weight /= 1 - camera.inverse_distance * height[corners]  # what is straight in the picture is not on the surface
    weight /= weight.sum(1, keepdims=True)
    colours = np.broadcast_to(SKIN, posed.shape) if albedo is None else albedo
    linear = colours * shading(light, vertex_normals(posed, model.triangles))
    picture = np.full((size, size, 3), background)
    picture[person] = np.einsum("nkc,nk->nc", linear[corners], weight)
    return np.rint(linear_to_srgb(picture) * 255).astype(np.uint8), person


def face_of(
    model: HeadModel, camera: PhotoCamera, posed: Array, picture: Array | None = None, name: str = "made-up.png",
    blendshapes: Mapping[str, float] | None = None, person: Array | None = None,
) -> Face:  # fmt: skip
    """What a perfect net would find in the picture, by default a grey one that is all person."""
    landmarks, depth = landmarks_of(model, camera, posed)
    size = SIZE if picture is None else len(picture)
    return Face(
        name=name,
        picture=np.full((size, size, 3), 128, np.uint8) if picture is None else picture,
        inside=np.ones((size, size), bool),
        to_picture=np.eye(2, 3),
        landmarks=landmarks,
        landmark_depth=depth,
        blendshapes=dict(blendshapes or {}),
        person=(np.ones((size, size)) if person is None else person).astype(np.float32),
        presence=1.0,
        crop=np.full((112, 112, 3), 128, np.uint8),
        grey=False,
        notices=(),
    )


def _cross(a: Array, b: Array) -> Array:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
