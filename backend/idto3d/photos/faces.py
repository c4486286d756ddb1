# SPDX-License-Identifier: GPL-3.0-or-later
"""From photos to the faces that an identity is made of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from idto3d.errors import UserError
from idto3d.photos import align
from idto3d.photos.detect import Detector, detect_faces
from idto3d.photos.load import Notice, Photo, read_photo

HEAD_SIZE = 128
PORTRAIT_SIZE = 512

# Eye-mouth distance in pixels; it is 41 in the recogniser's own 112-pixel crop.
_TOO_SMALL, _SMALL = 10.0, 24.0
_SMALLEST_PHOTO = 32
# Degrees. A recogniser and the frontal cascade both fade beyond half profile.
_TOO_TURNED_YAW, _TURNED_YAW = 60.0, 35.0
_TOO_TURNED_PITCH, _TURNED_PITCH = 45.0, 25.0


@dataclass(frozen=True)
class Face:
    """The face of one photo.

    name: the photo's file name; keypoints: (5, 2) float64 pixels of the photo (order and convention: align.py);
    crop: (112, 112, 3) uint8 sRGB for the recogniser; head: (128, 128, 3) uint8 sRGB; portrait: the same square,
    (512, 512, 4), alpha 0 where the photo has ended; yaw, pitch: degrees; logit: the net's logit of being a face;
    notices: those of reading the photo and of the face.
    """

    name: str
    keypoints: npt.NDArray[np.float64]
    crop: npt.NDArray[np.uint8]
    head: npt.NDArray[np.uint8]
    portrait: npt.NDArray[np.uint8]
    yaw: float
    pitch: float
    logit: float
    notices: tuple[Notice, ...]


def find_face(photo: Photo, detector: Detector) -> Face:
    """The largest face of a photo, with its crops.

    Raises UserError: E_NO_FACE, E_FACE_TOO_SMALL (also for photos under 32 pixels), E_FACE_TOO_TURNED.
    Notices: W_SEVERAL_FACES, W_FACE_SMALL, W_FACE_TURNED.
    """
    height, width = photo.image.shape[:2]
    if min(height, width) < _SMALLEST_PHOTO:
        raise UserError(
            "E_FACE_TOO_SMALL", f"{photo.name} is only {width} x {height} pixels.", "Choose a photo of more pixels."
        )
    found = detect_faces(photo.image, detector)
    if not found:
        raise UserError(
            "E_NO_FACE",
            f"No face was found in {photo.name}.",
            "Choose a photo that shows the face from the front, uncovered and evenly lit.",
        )
    face, notices = found[0], list(photo.notices)
    if len(found) > 1:
        notices.append(
            Notice("W_SEVERAL_FACES", f"{photo.name} shows {len(found)} faces; the largest is used. Crop to choose.")
        )
    distance = align.eye_mouth_distance(face.keypoints)
    if distance < _TOO_SMALL:
        raise UserError(
            "E_FACE_TOO_SMALL",
            f"The face in {photo.name} is too small: {distance:.0f} pixels from eyes to mouth.",
            f"Choose a photo where that is {_SMALL:.0f} pixels or more.",
        )
    if distance < _SMALL:
        notices.append(
            Notice("W_FACE_SMALL", f"The face in {photo.name} is small: {distance:.0f} pixels from eyes to mouth.")
        )
    turn = f"turned by {face.yaw:.0f} degrees sideways and {face.pitch:.0f} up or down"
    if abs(face.yaw) > _TOO_TURNED_YAW or abs(face.pitch) > _TOO_TURNED_PITCH:
        raise UserError(
            "E_FACE_TOO_TURNED", f"The face in {photo.name} is {turn}.", "Choose a photo that looks at the camera."
        )
    if abs(face.yaw) > _TURNED_YAW or abs(face.pitch) > _TURNED_PITCH:
        notices.append(Notice("W_FACE_TURNED", f"The face in {photo.name} is {turn}; likeness may suffer."))
    return Face(
        name=photo.name,
        keypoints=face.keypoints,
        crop=align.arcface_crop(photo.image, face.keypoints),
        head=align.head_crop(photo.image, face.keypoints, HEAD_SIZE),
        portrait=_portrait(photo.image, face.keypoints),
        yaw=face.yaw,
        pitch=face.pitch,
        logit=face.logit,
        notices=tuple(notices),
    )


def _portrait(image: npt.NDArray[np.uint8], keypoints: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    to_crop = align.crop_transform(keypoints, PORTRAIT_SIZE, "head")
    inside = align.warp(np.full(image.shape[:2], 255, np.uint8), to_crop, PORTRAIT_SIZE, "black")
    return np.dstack([align.head_crop(image, keypoints, PORTRAIT_SIZE), inside])


def read_faces(paths: Sequence[str | os.PathLike[str]], detector: Detector) -> tuple[list[Face], list[Notice]]:
    """The faces of one person's photos, one per usable photo, and all notices.

    A photo that cannot be used is left out and reported as W_PHOTO_SKIPPED with its own error; when none can be used,
    the first one's UserError is raised. E_PHOTO_MISSING when no photo is given.
    """
    if not paths:
        raise UserError("E_PHOTO_MISSING", "No photo was given.", "Choose at least one.")
    faces: list[Face] = []
    notices: list[Notice] = []
    first: UserError | None = None
    for path in paths:
        try:
            face = find_face(read_photo(path), detector)
        except UserError as error:
            first = first or error
            notices.append(Notice("W_PHOTO_SKIPPED", f"Photo left out. {error}"))
        else:
            faces.append(face)
            notices.extend(face.notices)
    if not faces and first is not None:
        raise first
    return faces, notices
