# SPDX-License-Identifier: GPL-3.0-or-later
"""A fit to and from fit.json, where cameras are of the whole photographs and in the bundle's frame."""

from collections.abc import Mapping, Sequence

import numpy as np

from idto3d.errors import UserError
from idto3d_shared.fit_file import FitCamera, FitFile, FitPhoto

from ..arrays import Array
from ..headmodel import HeadModel
from ..photos import align
from ..photos.faces import Face
from .camera import PhotoCamera
from .result import HeadFit

TO_HEAD = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""The bundle's frame (Z up, facing -Y) to the head's (Y up, facing +Z)."""
_TO_OPENCV = np.diag([1.0, -1.0, -1.0])
NEAREST = 0.15  # metres from a camera to the middle of the head: nearer, it is in it


def record_fit(model: HeadModel, fit: HeadFit, faces: Sequence[Face]) -> FitFile:
    """The content of fit.json; faces: one for each photo of the fit, in its order."""
    names = model.expression_names
    photos = []
    for face, photo in zip(faces, fit.photos, strict=True):
        back = align.invert(face.to_picture)
        file = face.file
        photos.append(
            FitPhoto(
                face.name,
                "" if file is None else file.path,
                "" if file is None else file.sha256,
                len(face.picture) if file is None else file.width,
                len(face.picture) if file is None else file.height,
                to_file(in_photo(photo.camera, back)),
                dict(zip(names, map(float, photo.expression), strict=True)),
                np.asarray(photo.light, np.float64),
                align.apply(back, face.landmarks),
                photo.residual,
            )
        )
    resting = dict(zip(names, map(float, fit.resting), strict=True))
    return FitFile(np.asarray(fit.identity, np.float64), resting, tuple(photos))


def coefficients(model: HeadModel, named: Mapping[str, float]) -> Array:
    """(E,) of coefficients by name; names that the model does not have are left out."""
    return np.array([named.get(name, 0.0) for name in model.expression_names])


def in_photo(camera: PhotoCamera, transform: Array) -> PhotoCamera:
    """The camera after its picture was moved by a similarity `transform` (2,3)."""
    factor = float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))
    turn = np.eye(3)
    # Rows run downwards in pictures and upwards in camera axes.
    turn[:2, :2] = np.diag([1, -1]) @ (transform[:, :2] / factor) @ np.diag([1, -1])
    shift = align.apply(transform, camera.shift)
    return PhotoCamera(turn @ camera.rotation, camera.centre, camera.scale * factor, shift, camera.inverse_distance)


def to_file(camera: PhotoCamera) -> FitCamera:
    """The camera as OpenCV's pinhole from the bundle's frame."""
    rotation = _TO_OPENCV @ camera.rotation
    translation = np.array([0, 0, 1 / camera.inverse_distance]) - rotation @ camera.centre
    return FitCamera(camera.focal, np.asarray(camera.shift, np.float64), rotation @ TO_HEAD, translation)


def from_file(camera: FitCamera, centre: Array) -> PhotoCamera:
    """The inverse of `to_file`; centre (3,): head frame, the camera's centre in the fit. Raises UserError
    E_REFIT_BUNDLE for a camera in the head or behind it."""
    rotation = _TO_OPENCV @ camera.rotation @ TO_HEAD.T
    distance = float((camera.rotation @ TO_HEAD.T @ centre + camera.translation)[2])
    if not distance > NEAREST:
        message = "A photo's camera lies in the head, by the head's fit.json."
        raise UserError("E_REFIT_BUNDLE", message, "Generate the head again.")
    return PhotoCamera(rotation, centre, camera.focal / distance, camera.principal, 1 / distance)
