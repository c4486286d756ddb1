# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the face in each of one person's photos, or says why a photo cannot be used."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from idto3d.errors import UserError
from idto3d_shared.fit_file import MOST_PHOTOS
from idto3d_shared.photo_names import photo_names

from ..notices import Notice
from . import align
from .blendshapes import score_blendshapes
from .borders import within_borders
from .covered import what_is_covered
from .landmarks import CHIN, FOREHEAD, MESH, describe
from .load import Photo, PhotoFile, read_photo
from .mask import find_person
from .nets import FaceNets
from .picture import CloseUp, brightest, close_up, continued, frame, inside, is_grey, lay_over, unlikeness
from .search import SURELY_A_FACE, Candidate, beside, search

_T = TypeVar("_T")
# Landmarks; the lids are the rest of the five points.
_NOSE_TIP, _MOUTH_CORNERS = 4, [61, 291]
_SMALLEST_PHOTO = 32
# Heights of the face in pixels, forehead to chin. Under the first the landmarks are off by a fiftieth of it.
_TOO_SMALL, _SMALL = 32.0, 80.0
FINE = 150.0
"""Pixels from forehead to chin from which on more tell no more of a face's shape."""
# Degrees of yaw, by the net's depth, beyond which less than half of the face is seen well.
_TURNED = 40.0
# Size of a face over that of others from which on it is the one that the photo is of.
_MAIN = 1.5
# Heights of the face over the forehead's rim to which a photo must go so that it shows how hair grows.
_HAIR = 0.15
# Share of the mesh's landmarks beyond the photo above which its edge cuts the face; tight portraits have .02.
_CUT = 0.05
# `unlikeness` of one photo saved twice. On 20 photographs, JPEGs of quality 85, copies of half the size and crops had
# up to .06, 19 of 20 crops of half the size, too; lids, brows, lips, jaw or a turn that moved by a hundredth of the
# face's height .1 or more, two photos of one person 1.8 or more.
_RESAVED = 0.08


@dataclass(frozen=True, eq=False)
class Face:
    """What one photo shows of a person.

    name: the file's name; picture (S,S,3) uint8 sRGB: the whole head with hair and neck, upright by the eyes, the
    photo's edges repeated outside it; inside (S,S): where the picture lies in the photo; to_picture (2,3): photo
    pixels to picture pixels; landmarks (478,2) in pixels of the picture, 468 to 477 irises; landmark_depth (478,): the
    net's z in the same scale, larger is farther; blendshapes: ARKit names and ``_neutral`` to 0..1; person (S,S) 0..1:
    the mask of the person with hair; presence 0..1: the net's opinion that this is a face; crop (112,112,3): aligned
    for a recogniser; grey: the photo has no colour; file: where it came from; close: the face alone, where the photo
    shows more of it than the picture does; features (2F,): what the landmark net sees of it and of its mirror image,
    see `nets.FEATURES`; brightest 0..255: of the whole photo, see `picture.brightest`; focal: length in pixels
    of the picture, if the camera noted it; lips_spread: see `Landmarks.of_lips`.
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
    file: PhotoFile | None = None
    close: CloseUp | None = None
    features: NDArray[np.float32] | None = None
    brightest: int = 255
    focal: float | None = None
    lips_spread: float = 0.0

    @property
    def enlarged(self) -> float:
        """Pixels of the picture for one of the photo, 1 where the photo has as many or more: what is smaller than a
        pixel of the photo shows nothing."""
        return max(1.0, float(np.sqrt(abs(np.linalg.det(self.to_picture[:, :2])))))

    @property
    def cut(self) -> bool:
        """Whether the photo's edge cuts the face."""
        return _is_cut(self.inside, self.landmarks)

    @property
    def height(self) -> float:
        """Pixels of the photo from forehead to chin."""
        return float(np.ptp(self.landmarks[:MESH, 1])) / math.sqrt(abs(np.linalg.det(self.to_picture[:, :2])))


def fineness(faces: Sequence[Face]) -> list[float]:
    """0..1: by how many of its pixels lie on the face, over those of the finest of one person's photos, each tells of
    the shape. A face of 45 pixels beside one of 300 would lead the fit astray; above FINE more tell no more."""
    enough = min(FINE, max(face.height for face in faces))
    return [min(1.0, face.height / enough) for face in faces]


def in_colour(faces: Sequence[Face], values: Sequence[_T]) -> list[_T]:
    """Those of values, one a face, whose photos have colours; all where none has. Beside them, the hues of a photo
    without colours are but a guess."""
    return [value for face, value in zip(faces, values, strict=True) if not face.grey] or list(values)


def five_points(landmarks: NDArray[Any]) -> NDArray[np.float64]:
    """(5,2) of landmarks (478,2): middles of the eyes, nose tip, corners of the mouth, image left first.

    The places that ArcFace's alignment takes from 68 landmarks: the mean of an eye's six, 30, 48 and 54 (counted from
    0). Frontal faces lie 3 pixels off its 112-pixel template, root mean square of their mean; smiles widen the mouth.
    """
    eyes = [landmarks[lids].mean(0) for lids in align.LIDS]
    return np.stack([*eyes, landmarks[_NOSE_TIP], *landmarks[_MOUTH_CORNERS]])


def find_face(photo: Photo, nets: FaceNets) -> Face:
    """The largest, most central face of a photo.

    Raises UserError: E_NO_FACE, E_FACE_TOO_SMALL (also for photos under 32 pixels), E_FACE_TOO_TURNED (a face whose
    landmarks cannot be trusted). Notices: W_SEVERAL_FACES, W_FACE_SMALL, W_FACE_TURNED, W_FACE_CUT.
    """
    shown, name = within_borders(photo.image, photo.opaque), photo.name
    image = shown.image
    candidates = _candidates(replace(photo, image=image), nets)
    found = candidates[0].landmarks
    to_picture, size = frame(found.points)
    scale = float(np.sqrt(abs(np.linalg.det(to_picture[:, :2]))))
    landmarks = align.apply(to_picture, found.points)
    picture = align.warp(image, to_picture, size)
    within = inside((image.shape[0], image.shape[1]), to_picture, size)
    if shown.mask is not None:
        within &= cv2.warpAffine(shown.mask.astype(np.float32), to_picture, (size, size)) > 0.5
        picture = continued(picture, within)
    around = [align.apply(to_picture, candidate.landmarks.points[:MESH]) for candidate in candidates]
    return Face(
        name=name,
        picture=picture,
        inside=within,
        to_picture=align.compose(to_picture, [[1, 0, -shown.left], [0, 1, -shown.top]]),
        landmarks=landmarks,
        landmark_depth=found.depth * scale,
        blendshapes=score_blendshapes(landmarks, nets),
        person=find_person(picture, within, around, nets),
        presence=found.presence,
        crop=align.arcface_crop(image, five_points(found.points)),
        grey=is_grey(picture, within),
        notices=(*photo.notices, *_notices(name, candidates, _is_cut(within, landmarks))),
        file=photo.file,
        close=close_up(image, found.points, to_picture),
        features=describe(picture, landmarks, nets),
        brightest=brightest(image),
        focal=None if photo.focal is None else photo.focal * scale,
        lips_spread=found.of_lips,
    )


def _candidates(photo: Photo, nets: FaceNets) -> list[Candidate]:
    """Faces of a photo that can be used, the best first; at least one."""
    height, width = photo.image.shape[:2]
    if min(height, width) < _SMALLEST_PHOTO:
        raise UserError(
            "E_FACE_TOO_SMALL", f"{photo.name} is only {width} x {height} pixels.", "Choose a photo of more pixels."
        )
    candidates = search(align.pyramid(photo.image), nets)
    usable = [candidate for candidate in candidates if candidate.passes]
    turned = [
        c for c in candidates if not c.passes and c.box.score >= SURELY_A_FACE and abs(c.landmarks.yaw) >= _TURNED
    ]
    # Of a person in profile with somebody else behind, it is not the other that is meant.
    if turned and (not usable or max(candidate.size for candidate in turned) > _MAIN * usable[0].size):
        raise UserError(
            "E_FACE_TOO_TURNED",
            f"The face in {photo.name} is turned too far aside.",
            "Choose a photo that looks at the camera, or crop it to the face that is meant.",
        )
    if not usable:
        raise UserError(
            "E_NO_FACE",
            f"No face was found in {photo.name}.",
            "Choose a photo that shows the face, uncovered and evenly lit.",
        )
    tall = candidates[0].size
    if tall < _TOO_SMALL:
        raise UserError(
            "E_FACE_TOO_SMALL",
            f"The face in {photo.name} is too small: {tall:.0f} pixels from forehead to chin.",
            f"Choose a photo where that is {_SMALL:.0f} pixels or more.",
        )
    return candidates


def _is_cut(within: NDArray[np.bool_], landmarks: NDArray[np.float64]) -> bool:
    """Whether too many of the mesh's landmarks (478,2) in a picture, or the chin's, are not within (S,S) the photo."""
    column, row = np.clip(np.rint(landmarks[:MESH]), 0, len(within) - 1).astype(int).T
    here = within[row, column]
    return float(1 - here.mean()) > _CUT or not here[CHIN]


def _notices(name: str, candidates: Sequence[Candidate], cut: bool) -> list[Notice]:
    found = candidates[0].landmarks
    notices = []
    count = beside(candidates)
    if count > 1:
        notices.append(
            Notice(
                "W_SEVERAL_FACES",
                f"{name} shows {count} faces; the largest and most central one is used. Crop to choose.",
            )
        )
    tall = candidates[0].size
    if tall < _SMALL:
        notices.append(Notice("W_FACE_SMALL", f"The face in {name} is small: {tall:.0f} pixels from forehead to chin."))
    if abs(found.yaw) > _TURNED:
        turned = f"The face in {name} is turned aside by about {abs(found.yaw):.0f} degrees"
        notices.append(Notice("W_FACE_TURNED", f"{turned}; likeness may suffer."))
    if cut:
        notices.append(Notice("W_FACE_CUT", f"The edge of {name} cuts the face: what lies beyond it is a guess."))
    return notices


def read_faces(paths: Sequence[str | os.PathLike[str]], nets: FaceNets) -> tuple[list[Face], list[Notice]]:
    """The faces of one person's photos, one per usable photo, and all notices.

    A photo that cannot be used, E_FACE_COVERED where something lies over its mouth or eyes, E_PHOTO_TWICE for another
    one saved again or cropped, is left out and reported as W_PHOTO_SKIPPED with its own error; when none can be used,
    the first one's UserError is raised. Of copies of one photo that which shows most is used. E_PHOTO_MISSING when no
    photo is given, E_PHOTO_COUNT when more than MOST_PHOTOS are. W_HAIR_CUT when none goes over the forehead.
    Faces are called by `photo_names`.
    """
    if not paths:
        raise UserError("E_PHOTO_MISSING", "No photo was given.", "Choose at least one.")
    if len(paths) > MOST_PHOTOS:
        message = f"{len(paths)} photos were given; at most {MOST_PHOTOS} can be used."
        raise UserError("E_PHOTO_COUNT", message, "Choose the best few.")
    faces: list[Face] = []
    notices: list[Notice] = []
    first: UserError | None = None
    for path, name in zip(paths, photo_names(paths), strict=True):
        try:
            face = find_face(replace(read_photo(path), name=name), nets)
            _check_uncovered(face)
        except UserError as error:
            first = first or error
            notices.append(Notice("W_PHOTO_SKIPPED", f"Photo left out. {error}"))
            continue
        same = next((k for k, known in enumerate(faces) if _is_resaved(known, face)), None)
        if same is None:
            faces.append(face)
            continue
        fewer, faces[same] = sorted((face, faces[same]), key=_worth)
        what = f"{fewer.name} is the same photo as {faces[same].name}."
        twice = UserError("E_PHOTO_TWICE", what, "Remove one of them.")
        notices.append(Notice("W_PHOTO_SKIPPED", f"Photo left out. {twice}"))
    if not faces and first is not None:
        raise first
    notices.extend(notice for face in faces for notice in face.notices)
    if not any(map(_shows_hair, faces)):
        notices.append(Notice("W_HAIR_CUT", "No photo shows the head over the forehead: its hair is a guess."))
    return faces, notices


def _is_resaved(one: Face, other: Face) -> bool:
    """Whether two faces are of one photo, copied, cropped or saved in another size, format or quality. Its landmarks
    would err alike and count as if they erred independently."""
    near = align.similarity(other.landmarks[:MESH], one.landmarks[:MESH])
    back = lay_over(one.picture, one.landmarks, other.picture, near)
    both = one.inside & (cv2.warpAffine(other.inside.astype(np.float32), back, one.inside.shape[::-1]) > 0.5)
    return unlikeness(one.picture, both, one.landmarks, other.picture, back) < _RESAVED


def _worth(face: Face) -> tuple[bool, int, int]:
    """Of copies of one photo: with colours, then with more pixels of the face, then more of all."""
    return not face.grey, round(face.height), 0 if face.file is None else face.file.width * face.file.height


def _check_uncovered(face: Face) -> None:
    covered = what_is_covered(face.picture, face.landmarks, face.lips_spread, face.grey)
    if covered:
        raise UserError(
            "E_FACE_COVERED",
            f"Something covers the {covered} in {face.name}.",
            "Choose a photo that shows the whole face.",
        )


def _shows_hair(face: Face) -> bool:
    rim, chin = face.landmarks[[FOREHEAD, CHIN]]
    column, row = np.rint(rim + _HAIR * (rim - chin)).astype(int)
    return bool(face.inside[row, column])
