# SPDX-License-Identifier: GPL-3.0-or-later
"""The dark rim that the roots of lashes draw round an eye. Photographs cannot be projected there, since a pixel beside
a lid's rim may be the eye's; so its darkness is measured and the rim drawn. Without it eyes look bare wherever lashes
are thin or, as in some viewers, absent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..fit.light import LUMINANCE
from ..fit.projection import EYES, Projected, polygon_mask, sample
from ..fit.rims import POINTS, rims
from ..fit.tone import IRIS, iris_of
from ..headmodel import HeadModel
from ..mesh.texels import Texels
from ..photos.faces import Face
from ..ramps import ramp
from .eyes import CLOSED, OPEN, opening

USUAL, TRUST_USUAL = (0.35, 0.6), 0.3  # lightness of upper and lower roots over the lid's; weight in photographs
DARKEST = 0.12  # that a measurement is believed to be: the rest is the pupil's or a frame's
ACROSS = np.linspace(-0.2, 0.6, 17)  # iris radii out from a rim, at which it is looked at
BESIDE = 0.3  # iris radii out from a rim, from where on it is the lid's skin
ENOUGH, SMALLEST = 6.0, 0.3  # an iris's radius in the photo's pixels, and the share of it that tells nothing of lashes
WIDTH = (0.0014, 0.0006)  # metres over which upper and lower roots fade
CORNER = 0.25  # of a rim, from the inner corner, over which lashes thicken


@dataclass(frozen=True)
class Lashes:
    """How light the roots of upper and lower lashes look, 0..1 of the skin of the lid beside them."""

    upper: float
    lower: float


def measure_lashes(faces: Sequence[Face], photos: Sequence[Projected], weights: Array) -> Lashes:
    """Geometric mean over photographs, by their weights (K,), and both eyes, and a little of what is usual, which is
    what small pictures leave."""
    found, trust = [np.array(USUAL)], [TRUST_USUAL]
    for face, photo, weight in zip(faces, photos, weights, strict=True):
        light = photo.linear @ LUMINANCE.astype(np.float32)
        for eye, iris in zip(EYES, IRIS, strict=True):
            _, radius = iris_of(face.landmarks, iris)
            middle = face.landmarks[list(eye)].mean(0)
            found.append(np.array([_darkness(light, rim, middle, radius) for rim in rims(face.landmarks, eye)]))
            fine = float(np.clip(radius / face.enlarged / ENOUGH - SMALLEST, 0, 1))
            opened = opening(polygon_mask(len(light), face.landmarks, eye), radius)
            # closed, the skin beside one rim would be the other's lashes
            trust.append(float(weight * fine * ramp(opened, CLOSED, OPEN)))
    upper, lower = np.exp(np.average(np.log(found), axis=0, weights=trust))
    return Lashes(float(upper), float(lower))


def _darkness(light: Array, rim: Array, middle: Array, radius: float) -> float:
    """Of the darkest across a rim (N,2) of the eye around middle (2,), over the skin beside it; light (S,S) linear,
    radius of the iris, pixels."""
    outwards = (rim - middle) / np.maximum(np.linalg.norm(rim - middle, axis=1, keepdims=True), 1e-6) * radius
    across = sample(light, (rim + ACROSS[:, None, None] * outwards).reshape(-1, 2)).reshape(len(ACROSS), -1)
    lid = float(np.median(across[ACROSS >= BESIDE]))
    return float(np.clip(np.median(across[ACROSS < BESIDE].min(0)) / max(lid, 1e-3), DARKEST, 1.0))


def draw_lashes(model: HeadModel, at: Texels, albedo: Array, lashes: Lashes) -> Array:
    """Linear albedo (S,S,3) with the roots of lashes drawn along the lids' rims."""
    points, marks = at.at(model.neutral), model.landmarks(model.neutral)
    ball = cKDTree(model.neutral[model.vertices_of("sclera")])
    skin = at.at(model.vertices_of("eye_socket")[:, None])[:, 0] < 0.5
    dimmed = np.ones(len(points), np.float32)
    for upper, lower in (rims(marks, eye) for eye in EYES):
        for rim, light, width in ((upper, lashes.upper, WIDTH[0]), (lower, lashes.lower, WIDTH[1])):
            low, high = rim.min(0) - 3 * width, rim.max(0) + 3 * width
            near = np.flatnonzero(skin & ((points > low) & (points < high)).all(1))
            away, which = cKDTree(rim).query(points[near])
            if rim is upper:  # the lid's edge, which faces the ball, lies in the shade of the lashes
                inside = ball.query(points[near])[0] < ball.query(rim)[0][which]
                away[inside & (away < cKDTree(lower).query(points[near])[0])] = 0.0
            thick = np.clip(which / (POINTS - 1) / CORNER, 0, 1)
            dimmed[near] *= 1 - (1 - light) * thick * np.exp(-((away / width) ** 2))
    return albedo * (1 - at.image(1 - dimmed))[..., None]
