# SPDX-License-Identifier: GPL-3.0-or-later
"""Fits the silhouette of the head to that of the person.

Where only bare skin lies at the border, at the sides of cheeks and ears, the two silhouettes are the same line. Where
hair, a hat, a hand or a collar covers the head, the person's lies further out, so there it is only an upper bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import Array
from ..headmodel import HeadModel
from ..headmodel.model import SKIN_PARTS
from ..photos.faces import Face
from ..ramps import ramp
from .camera import PhotoCamera
from .landmarks import LandmarkFit, LandmarkModel, Lines, refit_with
from .projection import sample, skin_mask
from .visibility import draw_depth, resized

SIZE = 256  # pixels of the picture in which the head's outline is drawn
SMOOTH = 2.0  # pixels of blur before its normals are computed
INWARD, OUTWARD, STEP = 0.025, 0.016, 0.001  # metres along the normal in which the person's outline is looked for
COVER = 0.003  # metres of hair assumed over the scalp
RIM = 0.004  # metres inside an outline that are searched for skin colour, too
SKIN_REACH = 3.0  # robust standard deviations of the face's colours within which a colour is skin
LEAST_SPREAD = (12.0, 3.0, 3.0)  # lower limits of these deviations, in OpenCV's 8-bit L*a*b*
LEAST_SKIN = 0.7  # share of the pixels between both outlines that must be skin's colour where the head is bare
FADES = (0.004, 0.008)  # metres between both outlines over which trust falls to 0: hair can be of skin's colour
HELD = (-0.01, -0.006)  # metres inside a bare outline at which an edge is that of something held before the face
ASIDE = (20.0, 30.0)  # degrees of yaw over which it is believed all the same
UNDER_CHIN = 0.01  # metres below the chin to which the outline is used: below, clothes begin
SCALP = 0.3  # `HeadModel.scalp` from which on hair may cover the outline
CHIN = 152
ROUNDS = 2  # how often outlines are found anew


@dataclass(frozen=True, eq=False)
class Outline:
    """N points of the head's outline: corners (N,3), barycentric weights (N,3); normal (N,2) outwards in the picture;
    beyond (N,): metres along it to the person's outline; scalp (N,) bool; bare (N,) bool: only skin lies between."""

    corners: Array
    weights: Array
    normal: Array
    beyond: Array
    scalp: Array
    bare: Array

    def at(self, values: Array) -> Array:
        """(...,N,C) of a field (...,P,C) over the model's vertices."""
        return np.einsum("...nkc,nk->...nc", values[..., self.corners, :].astype(np.float64), self.weights)


def fit_outlines(model: HeadModel, faces: Sequence[Face], before: LandmarkFit) -> LandmarkFit:
    """Refine a fit to landmarks by the persons' outlines, too. Returns `before` itself where none is found."""
    fit = before
    for _ in range(ROUNDS):
        lines = outlines(model, faces, fit)
        if all(line is None for line in lines):
            break
        fit = refit_with(model, faces, fit, lines)
    return fit


def outlines(model: HeadModel, faces: Sequence[Face], fit: LandmarkFit) -> list[Lines | None]:
    """Of each photograph, the lines on which the head's outline should lie."""
    return [
        _lines(model, face, state.camera, model.shape(fit.identity) + model.motion(state.expression))
        for face, state in zip(faces, fit.states, strict=True)
    ]


def _lines(model: HeadModel, face: Face, camera: PhotoCamera, posed: Array) -> Lines | None:
    outline = find_outline(model, face, camera, posed)
    if outline is None:
        return None
    inset = np.where(outline.scalp & ~outline.bare, COVER, 0.0)
    place = camera.project(outline.at(posed))[0]
    place += outline.normal * ((outline.beyond - inset) * camera.scale)[:, None]
    neutral, none = outline.at(model.neutral), np.zeros(0, bool)
    # Of a face that looks aside the outline tells more than landmarks that are guessed behind it.
    aside = float(ramp(abs(camera.angles[0]), *ASIDE))
    held = np.where(outline.scalp, 1.0, np.maximum(ramp(outline.beyond, *HELD), aside))
    trust = held * ramp(outline.beyond, *FADES[::-1])
    fields = outline.at(model.identity), outline.at(model.expression), trust
    at = LandmarkModel(np.arange(len(place)), neutral, *fields, neutral.mean(0), none, none)
    return Lines(at, outline.normal, place, outline.scalp | ~outline.bare)


def find_outline(model: HeadModel, face: Face, camera: PhotoCamera, posed: Array) -> Outline | None:
    """The outline of a posed head (P,3) where the person's is within reach; None where it nowhere is."""
    small = resized(camera, SIZE / len(face.picture))
    triangles = model.triangles_of(*SKIN_PARTS)
    drawn = draw_depth(small, posed, triangles, SIZE).triangle
    head = (drawn >= 0).astype(np.uint8)
    rows, columns = np.nonzero((head > 0) & (cv2.erode(head, np.ones((3, 3), np.uint8), borderValue=1) == 0))
    corners = triangles[drawn[rows, columns]]
    chin = float(model.landmark_barycentric[CHIN] @ posed[model.landmark_triangle[CHIN], 1])
    above = posed[corners].mean(1)[:, 1] > chin - UNDER_CHIN
    rows, columns, corners = rows[above], columns[above], corners[above]
    if not len(rows):
        return None
    away: Array = cv2.distanceTransform(1 - head, cv2.DIST_L2, 5) - cv2.distanceTransform(head, cv2.DIST_L2, 5)
    away = cv2.GaussianBlur(away, (0, 0), SMOOTH)
    slope = np.stack([cv2.Sobel(away, cv2.CV_32F, 1, 0), cv2.Sobel(away, cv2.CV_32F, 0, 1)], -1)[rows, columns]
    normal: Array = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
    weights = _barycentric(small.project(posed)[0][corners], np.c_[columns, rows].astype(np.float64))
    place = camera.project(np.einsum("nk,nkc->nc", weights, posed[corners]))[0]
    place += 0.5 * len(face.picture) / SIZE * normal  # the outline runs along the border of its pixels

    reach = np.arange(-INWARD, OUTWARD + STEP / 2, STEP)
    way = place[:, None] + normal[:, None] * (reach * camera.scale)[None, :, None]

    def along(image: Array) -> Array:
        return sample(image.astype(np.float32), way.reshape(-1, 2)).reshape(way.shape[:2])

    person = along(face.person)
    leaves = (person[:, :-1] >= 0.5) & (person[:, 1:] < 0.5)
    nearest = np.where(leaves, np.abs(reach[:-1] + STEP / 2), np.inf).argmin(1)
    inner, outer = (person[np.arange(len(way)), nearest + k] for k in (0, 1))
    beyond = reach[nearest] + STEP * np.clip((inner - 0.5) / np.maximum(inner - outer, 1e-6), 0, 1)
    low, high = np.minimum(beyond, 0)[:, None] - RIM, np.maximum(beyond, 0)[:, None] - STEP
    between = (reach >= low) & (reach <= high)
    bare = (along(skin_likeness(face)) * between).sum(1) > LEAST_SKIN * between.sum(1)
    scalp = (model.scalp[corners] * weights).sum(1) > SCALP
    known = leaves.any(1) & (along(face.inside).min(1) > 0.99)
    if not known.any():
        return None
    return Outline(*(values[known] for values in (corners, weights, normal, beyond, scalp, bare)))


def skin_likeness(face: Face) -> Array:
    """(S,S) float32: 1 where a pixel's colour is within the range of the face's skin in this picture."""
    lab = cv2.cvtColor(face.picture, cv2.COLOR_RGB2LAB)
    own = lab[skin_mask(len(lab), face.landmarks)]
    if not len(own):
        return np.zeros(lab.shape[:2], np.float32)
    low, middle, high = np.percentile(own, (16, 50, 84), axis=0)
    reach = SKIN_REACH * np.maximum((high - low) / 2, LEAST_SPREAD)
    # cv2.inRange has its limits within, and colours are whole numbers
    lowest, highest = np.floor(middle - reach) + 1, np.ceil(middle + reach) - 1
    return (cv2.inRange(lab, lowest, highest) > 0).astype(np.float32)


def _barycentric(corners: Array, at: Array) -> Array:
    """(N,3) of points (N,2) in triangles (N,3,2), kept inside."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]

    def cross(u: Array, v: Array) -> Array:
        return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]

    whole = cross(b - a, c - a)
    whole = np.where(np.abs(whole) < 1e-9, 1e-9, whole)
    out = np.stack([cross(b - at, c - at), cross(c - at, a - at), cross(a - at, b - at)], 1) / whole[:, None]
    out = np.clip(out, 0, 1)
    return out / np.maximum(out.sum(1, keepdims=True), 1e-9)
