# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a fit explains its photographs. A wrong head is worse than no head: what fails here is refused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..arrays import Array
from ..errors import UserError
from ..headmodel import HeadModel
from ..photos.faces import Face
from .camera import PhotoCamera
from .result import HeadFit, PhotoFit

Word = Literal["good", "fair", "poor"]

GOOD, FAIR, WRONG = 0.0014, 0.0022, 0.0040
"""Residuals in metres on the face up to which a fit is good, fair and poor; beyond the last it is refused."""
IMPLAUSIBLE = 1.3  # root mean square of the identity in standard deviations; people come out at 0.2 to 0.6
FARTHEST = 5.0  # standard deviations of one mode
TURNED = 55.0  # degrees of yaw beyond which half of the face is a guess
LOOK_BACK = 0.03  # face heights by which landmarks found on the rendered head may be off; usual are .004 to .010
COLOURLESS = 0.02  # weight of a photo without colours beside those that have them
_OTHER_PHOTO = "Choose a photo that shows the whole face, uncovered, turned by less than half to the side."


@dataclass(frozen=True)
class Verdict:
    """How well a photo was understood, and in a few words why not better."""

    word: Word
    reason: str = ""


def judge(photo: PhotoFit) -> Verdict:
    """By the fit's residual, by how far the face is turned and by whether all of it is in the photo."""
    yaw = abs(photo.camera.angles[0])
    if photo.residual > FAIR:
        return Verdict("poor", "the face does not quite fit")
    if yaw > TURNED:
        return Verdict("poor", "the face is turned far to the side")
    if photo.residual > GOOD:
        return Verdict("fair", "the face fits roughly")
    if photo.cut:
        return Verdict("fair", "the photo's edge cuts the face")
    if yaw > TURNED / 2:
        return Verdict("fair", "one side of the face is hidden")
    return Verdict("good")


def weights_of(faces: Sequence[Face], cameras: Sequence[PhotoCamera], residuals: Sequence[float]) -> Array:
    """(K,) 0..1: how much each photo counts among others of its person, by its residual (metres) and by how many of its
    pixels lie on the face, over those of the finest: a small face would blur a large one. One without colours only
    fills what those with colours do not show."""
    pixels = np.array([(camera.scale / face.enlarged) ** 2 for face, camera in zip(faces, cameras, strict=True)])
    pixels = pixels * [COLOURLESS if face.grey else 1.0 for face in faces]
    return pixels / pixels.max() / (1 + (np.array(residuals) / GOOD) ** 2)


def plausible(identity: Array) -> bool:
    """Whether somebody may have this identity (M,)."""
    rms, most = float(np.sqrt((identity**2).mean())), float(np.abs(identity).max(initial=0.0))
    return bool(np.isfinite(rms)) and rms <= IMPLAUSIBLE and most <= FARTHEST


def check_identity(fit: HeadFit) -> None:
    """Raises UserError E_FIT_IMPLAUSIBLE for a head that nobody has."""
    if not plausible(fit.identity):
        raise UserError(
            "E_FIT_IMPLAUSIBLE", "The head that fits the photographs would be one that nobody has.", _OTHER_PHOTO
        )


def refuse_residual(name: str, residual: float) -> UserError:
    """The error for a photo whose residual (metres) is above WRONG."""
    return UserError(
        "E_FIT_RESIDUAL",
        f"The face in {name} cannot be explained: its features lie {residual * 1000:.1f} mm from where any head would"
        " have them.",
        _OTHER_PHOTO,
    )


def look_back(
    model: HeadModel, neutral: Array, camera: PhotoCamera, picture: Array, find: Callable[[Array], Array | None]
) -> float:
    """Median distance, in face heights, between the head's landmarks and those that `find` detects in a picture
    (S,S,3) uint8 of the finished head, rendered by `camera`. `find` gives (478,2) pixels or None.

    Raises UserError E_FIT_LOOK_BACK when it detects no face, or one that differs by more than LOOK_BACK.
    """
    found = find(picture)
    rows = np.flatnonzero(model.landmark_trust[:468] > 0.3)
    pixel, _ = camera.project(neutral)
    place = model.landmarks(pixel)[rows]
    height = float(np.ptp(place[:, 1]))
    missed = np.inf
    if found is not None:
        # a shift of the whole face does not count
        offset = found[rows] - place
        missed = float(np.median(np.linalg.norm(offset - np.median(offset, 0), axis=1)) / height)
    if missed > LOOK_BACK:
        raise UserError(
            "E_FIT_LOOK_BACK", "The head that was made does not look like a face: the fit went wrong.", _OTHER_PHOTO
        )
    return missed
