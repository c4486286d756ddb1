# SPDX-License-Identifier: GPL-3.0-or-later
"""A smooth displacement for what the identity modes cannot express: it moves landmarks to where the photographs show
them."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array, eye_array
from scipy.spatial import cKDTree

from ..arrays import Array
from ..headmodel import HeadModel
from ..headmodel.eyeballs import EYEBALLS
from ..headmodel.model import SKIN_PARTS
from ..mesh.smooth import factorise
from ..mesh.surface import uniform_laplacian
from ..photos.faces import Face
from .camera import PhotoCamera
from .landmarks import LandmarkFit, LandmarkModel, common_error
from .lips import close_lips
from .untangle import untangle

SMOOTHNESS = 0.5  # weight of the bi-Laplacian against a landmark's trust: halves detail finer than some two centimetres
LIMIT = 0.004  # metres of displacement at most
OUTLIER = 0.006  # metres at which a landmark's residual counts half: it is more likely the detector's error
EXPRESSIVE = 0.003  # metres of expression at a landmark at which half of its residual is taken for the expression's
IN_MOUTH = ("teeth", "gums", "tongue")
UPPER_LIP = 13  # the landmark in the middle of its edge
DEPTH_RIDGE = 0.3  # regularises a landmark's depth, which frontal photographs do not show


def free_form(model: HeadModel, faces: Sequence[Face], fit: LandmarkFit) -> tuple[Array, tuple[Array, ...]]:
    """displacement (P,3) of the person's neutral, and of each photo a correction (P,3) of its expression.

    Minimises trust |A d - r|^2 + SMOOTHNESS |L d|^2 with A the landmarks' barycentric rows and r their residuals in the
    picture's plane, less the landmarks' correlated errors. Where an expression moves the skin much, the residual goes
    to the expression's correction. At rest the lips touch, and the skin does not intersect itself.
    """
    residuals, planes, own = [], [], []
    for face, state in zip(faces, fit.states, strict=True):
        camera, at = state.camera, LandmarkModel.reported(model, face)
        motion = np.tensordot(state.expression, at.expression, 1)
        pixel, height = camera.project(at.neutral + np.tensordot(fit.identity, at.identity, 1) + motion)
        missed = face.landmarks[at.index] - pixel - camera.scale * at.bias_of(fit.identity)
        missed -= common_error(at, missed, camera)
        residuals.append(in_head_frame(missed, height, camera))
        planes.append(camera.rotation[:2].T @ camera.rotation[:2])
        own.append(1 / (1 + (np.linalg.norm(motion, axis=1) / EXPRESSIVE) ** 2))
    normal = np.full((len(at.index), 3, 3), 0.0) + DEPTH_RIDGE * np.eye(3)
    right = np.zeros((len(at.index), 3))
    for r, plane, share in zip(residuals, planes, own, strict=True):
        normal += share[:, None, None] * plane
        right += share[:, None] * r
    shared = np.linalg.solve(normal, right[..., None])[..., 0]
    left = [r - shared @ plane for r, plane in zip(residuals, planes, strict=True)]
    displacement, *corrections = FieldInterpolator(model, at)([shared, *left])
    at_rest = model.shape(fit.identity) + displacement + model.motion(fit.resting)
    closing = close_lips(model, at_rest)
    closing = closing + untangle(model, at_rest + closing)
    # teeth move with the upper lip, which covers them at rest
    lip = (at_rest + closing - model.shape(fit.identity))[model.landmark_triangle[UPPER_LIP], 1]
    closing[model.vertices_of(*IN_MOUTH), 1] = np.clip(model.landmark_barycentric[UPPER_LIP] @ lip, -LIMIT, LIMIT)
    # in the photos the lips stay as seen: the closing is undone there
    return displacement + closing, tuple(c - closing for c in corrections)


def in_head_frame(residual: Array, height: Array, camera: PhotoCamera) -> Array:
    """(K,3) metres, head frame, in the picture's plane, of residuals (K,2) in pixels of points at heights (K,), with
    outliers faded."""
    flat = residual * [1.0, -1.0] * (1 - camera.inverse_distance * height)[:, None]
    flat = flat / camera.scale
    flat /= 1 + (np.linalg.norm(flat, axis=1, keepdims=True) / OUTLIER) ** 4
    return np.c_[flat, np.zeros(len(flat))] @ camera.rotation


class FieldInterpolator:
    """Extends values at the landmarks to smooth fields on the whole model; factorises once for all fields."""

    def __init__(self, model: HeadModel, at: LandmarkModel) -> None:
        self._model = model
        triangles = model.triangles_of(*SKIN_PARTS)
        self._skin, local = np.unique(triangles, return_inverse=True)
        place = np.full(len(model.neutral), -1)
        place[self._skin] = np.arange(len(self._skin))
        corners, weights = place[model.landmark_triangle[at.index]], model.landmark_barycentric[at.index]
        self._on_skin = (corners >= 0).all(1)
        k = int(self._on_skin.sum())
        rows = np.repeat(np.arange(k), 3)
        entries = (weights[self._on_skin].ravel(), (rows, corners[self._on_skin].ravel()))
        interpolate = coo_array(entries, shape=(k, len(self._skin))).tocsr()
        laplacian = uniform_laplacian(local.reshape(-1, 3), len(self._skin))
        trust = at.trust[self._on_skin]
        self._weighted = interpolate.T.multiply(trust[None]).tocsr()
        matrix = self._weighted @ interpolate + SMOOTHNESS * (laplacian @ laplacian)
        self._solver = factorise(matrix + 1e-5 * eye_array(len(self._skin)))

    def __call__(self, targets: Sequence[Array]) -> list[Array]:
        """(P,3) each, from values at the landmarks (K,3) each."""
        right = np.concatenate([self._weighted @ t[self._on_skin] for t in targets], 1)
        solved = self._solver.solve(right).reshape(len(self._skin), -1, 3).transpose(1, 0, 2)
        return [_to_all(self._model, self._skin, _limited(field)) for field in solved]


def _limited(field: Array) -> Array:
    length = np.linalg.norm(field, axis=1, keepdims=True)
    return field * np.minimum(1.0, LIMIT / np.maximum(length, 1e-12))


def _to_all(model: HeadModel, skin: Array, field: Array) -> Array:
    """(P,3) from a field on the skin: other parts follow the nearest skin, eyeballs rigidly; inside the mouth 0."""
    out = np.zeros((len(model.neutral), 3))
    tree = cKDTree(model.neutral[skin])
    for name in model.part_names:
        rows = np.flatnonzero(model.vertices_of(name))
        if name in (*SKIN_PARTS, *IN_MOUTH) or not len(rows):
            continue
        near = field[tree.query(model.neutral[rows], k=8)[1]].mean(1)
        if name in EYEBALLS:
            left = model.neutral[rows, 0] > 0
            for side in (left, ~left):
                if side.any():
                    near[side] = near[side].mean(0)
        out[rows] = near
    out[skin] = field
    return out
