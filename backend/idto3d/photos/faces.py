# SPDX-License-Identifier: GPL-3.0-or-later
"""From photos to faces: what each of one person's photos shows, or why it cannot be used."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idto3d.errors import UserError

from . import align
from .blendshapes import score_blendshapes
from .detect import detect
from .landmarks import find_landmarks
from .load import Notice, Photo, read_photo
from .mask import find_person
from .nets import FaceNets
from .picture import frame, inside, is_grey

_NO_FACE_FIX = "Choose a photo that shows the face, uncovered and evenly lit."


@dataclass(frozen=True, eq=False)
class Face:
    """What one photo shows of a person.

    name: the file's name; picture (S,S,3) uint8 sRGB: the whole head with hair and neck, upright by the eyes, the
    photo's edges repeated outside it; inside (S,S): where the picture lies in the photo; to_picture (2,3): photo
    pixels to picture pixels; landmarks (478,2) in pixels of the picture, 468 to 477 irises; landmark_depth (478,): the
    net's z in the same scale, larger is farther; blendshapes: ARKit names and ``_neutral`` to 0..1; person (S,S) 0..1:
    the mask of the person with hair; presence 0..1: the net's opinion that this is a face; crop (112,112,3): aligned
    for a recogniser; grey: the photo has no colour.
    """

    name: str
    picture: NDArray[np.uint8]
    inside: NDArray[np.bool_]
    to_picture: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    landmark_depth: NDArray[np.float64]
    blendshapes: dict[str, float]
    person: NDArray[np.float32]
    presence: float
    crop: NDArray[np.uint8]
    grey: bool
    notices: tuple[Notice, ...]


def five_points(landmarks: NDArray[Any]) -> NDArray[np.float64]:
    """(5,2) of landmarks (478,2), as ArcFace's alignment wants them: eyes, nose tip, corners of the mouth."""
    eyes = [landmarks[list(corners)].mean(0) for corners in ((33, 133), (362, 263))]
    return np.stack([*eyes, landmarks[4], landmarks[61], landmarks[291]])


def find_face(photo: Photo, nets: FaceNets) -> Face:
    """The largest face of a photo. Raises UserError: E_NO_FACE."""
    image, notices = photo.image, list(photo.notices)
    boxes = sorted(detect(image, nets), key=lambda box: -box.side)
    if not boxes:
        raise UserError("E_NO_FACE", f"No face was found in {photo.name}.", _NO_FACE_FIX)
    if len(boxes) > 1:
        notices.append(
            Notice("W_SEVERAL_FACES", f"{photo.name} shows {len(boxes)} faces; the largest is used. Crop to choose.")
        )
    found = find_landmarks(image, boxes[0], nets)
    to_picture, size = frame(found.points)
    scale = float(np.sqrt(abs(np.linalg.det(to_picture[:, :2]))))
    landmarks = align.apply(to_picture, found.points)
    picture = align.warp(image, to_picture, size)
    within = inside((image.shape[0], image.shape[1]), to_picture, size)
    return Face(
        name=photo.name,
        picture=picture,
        inside=within,
        to_picture=to_picture,
        landmarks=landmarks,
        landmark_depth=found.depth * scale,
        blendshapes=score_blendshapes(landmarks, nets),
        person=find_person(picture, nets),
        presence=found.presence,
        crop=align.arcface_crop(image, five_points(found.points)),
        grey=is_grey(picture, within),
        notices=tuple(notices),
    )


def read_faces(paths: Sequence[str | os.PathLike[str]], nets: FaceNets) -> tuple[list[Face], list[Notice]]:
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
            face = find_face(read_photo(path), nets)
        except UserError as error:
            first = first or error
            notices.append(Notice("W_PHOTO_SKIPPED", f"Photo left out. {error}"))
        else:
            faces.append(face)
            notices.extend(face.notices)
    if not faces and first is not None:
        raise first
    return faces, notices
