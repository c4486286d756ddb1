# SPDX-License-Identifier: GPL-3.0-or-later
"""The skin's tone. A photograph shows albedo times light, and only priors on both separate them: the tones of human
skin, the usual exposure of faces, and the albedo of the eyes' whites, which is much alike in all people.

Posterior mean on a grid of lightness with a flat prior. Given the lightness, everything else is Gaussian in logarithms:
skin's hue follows its lightness along melanin's curve, and the light's colour and strength are common to skin and eyes.
Light is a mixture of two kinds, usual and odd (backlight, a stage), so that odd light does not make skin appear darker.
The constants were measured on synthetic people (`python -m idto3d.training.tone_prior`, with MakeHuman's CC0 skins) and
widened for cameras and lids: in photographs the whites are a fifth darker.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import Array
from ..ramps import ramp
from .light import LUMINANCE

IRIS = ((468, (469, 470, 471, 472)), (473, (474, 475, 476, 477)))
WHITE = 1.2  # iris radii from its centre at which the white begins
BRIGHTEST = 0.9  # quantile of the white's lightness above which lids and lashes do not shade it
FEWEST = 6  # pixels of white needed

# rows of logarithms: mean, red over green, green over blue
AXES = np.array([[1 / 3, 1 / 3, 1 / 3], [1, -1, 0], [0, 1, -1]])
LIGHTNESS = np.linspace(-3.6, -0.2, 86)  # mean logarithm of linear albedo
PALEST, DARKEST = (-0.5, 0.1), (-3.0, 0.15)  # where skin ends, and how sharply
CURVE = np.array([[0.0, 1.0], [0.34, -0.24], [0.29, -0.16]])  # of AXES: constant, and slope by the lightness
OFF_CURVE = np.array([0.0, 0.1, 0.08])  # standard deviation of people around it
MEASURED = np.array([0.1, 0.07, 0.07])  # standard deviation of the measurement in a picture
WHITE_MEAN, WHITE_SPREAD = np.array([-0.45, 0.15, 0.10]), np.array([0.28, 0.13, 0.13])
CLOSING = (1.6, 1.2)  # opening at which lids begin to shade the white, and shade it fully
SHADED, SHADED_SPREAD = -0.65, 0.25  # added to mean and deviation of the white's lightness then
SHUT = 0.9  # opening below which the white is not used
FINE, COARSE_SPREAD = 8.0, np.array([0.5, 0.3, 0.3])  # iris radius in photo pixels under which lids blend in


@dataclass(frozen=True)
class _Light:
    """A kind of light: prior probability, and mean (lightness) and standard deviations of its logarithm in AXES."""

    share: float
    mean: float
    spread: tuple[float, float, float]


LIGHTS = (_Light(0.85, -0.15, (0.27, 0.15, 0.12)), _Light(0.15, -0.6, (0.6, 0.4, 0.2)))


@dataclass(frozen=True, eq=False)
class White:
    """The white of an eye: colour (3,) linear, divided by the eyeball's shading; radius: of the iris, pixels of the
    photo; opening: between the lids, in iris radii."""

    colour: Array
    opening: float
    radius: float


@dataclass(frozen=True, eq=False)
class Reading:
    """The measurements. skin (3,) linear: reflected diffusely under the face's mean light; white: of the eyes, None
    where none is seen; grey: the photograph has no colours."""

    skin: Array
    white: White | None
    grey: bool


def iris_of(landmarks: Array, eye: tuple[int, tuple[int, ...]]) -> tuple[Array, float]:
    """Centre (2,) and radius in pixels of the iris of one of `IRIS`."""
    middle = landmarks[eye[0]]
    return middle, float(np.linalg.norm(landmarks[list(eye[1])] - middle, axis=1).mean())


def likely_tone(reading: Reading) -> Array:
    """(3,) linear albedo of the skin."""
    seen, mean, spread = _observed(reading)
    kinds = [_posterior(seen - mean - np.tile([kind.mean, 0, 0], len(seen) // 3), kind, spread, reading.grey)
             for kind in LIGHTS]  # fmt: skip
    logarithm = np.array([chance for chance, _ in kinds])
    chance = np.exp(logarithm - logarithm.max())
    coordinates = np.einsum("kn,knc->c", chance / chance.sum(), np.array([c for _, c in kinds]))
    return np.clip(np.exp(np.linalg.solve(AXES, coordinates)), 0.005, 0.9)


def _observed(reading: Reading) -> tuple[Array, Array, Array]:
    """(3,), or (6,) with a white: coordinates of skin and white in AXES, their means without the skin's lightness, and
    their independent standard deviations."""
    parts = [(np.log(np.maximum(reading.skin, 1e-3)) @ AXES.T, CURVE[:, 0], np.hypot(MEASURED, OFF_CURVE))]
    white = reading.white
    if white is not None and white.opening > SHUT:
        shut = float(ramp(white.opening, *CLOSING))
        spread = WHITE_SPREAD + [SHADED_SPREAD * shut, 0, 0] + COARSE_SPREAD * max(0.0, 1 - white.radius / FINE)
        colour = np.log(np.maximum(white.colour, 1e-3)) @ AXES.T
        parts.append((colour, WHITE_MEAN + [SHADED * shut, 0, 0], spread))
    seen, mean, spread = (np.concatenate([part[n] for part in parts]) for n in range(3))
    return seen, mean, spread


def _posterior(off: Array, kind: _Light, spread: Array, grey: bool) -> tuple[Array, Array]:
    """For each of LIGHTNESS its log likelihood (N,) under a kind of light, and the skin's coordinates (N,3).

    off, spread: (3,) or (6,), see `_observed`. The hues of a grey picture are ignored.
    """
    known = np.arange(0, len(off), 3) if grey else np.arange(len(off))
    light = np.diag(np.square(kind.spread))
    covariance = np.kron(np.ones((len(off) // 3,) * 2), light) + np.diag(spread**2)
    slope = np.zeros(len(off))
    slope[:3] = CURVE[:, 1]
    rest = (off - LIGHTNESS[:, None] * slope)[:, known]
    weighed = rest @ np.linalg.inv(covariance[np.ix_(known, known)])
    chance = np.log(kind.share) - 0.5 * (weighed * rest).sum(1)
    chance -= 0.5 * np.linalg.slogdet(covariance[np.ix_(known, known)])[1]
    for beyond in ((LIGHTNESS - PALEST[0]) / PALEST[1], (DARKEST[0] - LIGHTNESS) / DARKEST[1]):
        chance -= np.log1p(np.exp(beyond))
    own = np.zeros((len(off), 3))
    own[:3] = np.diag(OFF_CURVE**2)
    return chance, CURVE[:, 0] + LIGHTNESS[:, None] * CURVE[:, 1] + weighed @ own[known]


def brighter_white(
    landmarks: Array, openings: Sequence[Array], linear: Array, pixel: Array, shade: Array, enlarged: float
) -> White | None:
    """The brighter of both eyes' whites, None where none is seen.

    openings: (S,S) bool, between the lids of each of IRIS; linear (S,S,3) the picture; pixel (B,2) and shade (B,3):
    where the visible vertices of the eyeballs lie, and how they are lit; enlarged: pixels of the picture for one of the
    photo, as `Face.enlarged`.
    """
    found = []
    for eye, opening in zip(IRIS, openings, strict=True):
        middle, radius = iris_of(landmarks, eye)
        rows, columns = np.nonzero(opening)
        white = np.hypot(columns - middle[0], rows - middle[1]) > WHITE * radius
        colours = linear[rows[white], columns[white]]
        near = np.hypot(*(pixel - middle).T) < 2.2 * radius
        if len(colours) <= FEWEST or not near.any():
            continue
        light = colours @ LUMINANCE
        colour = colours[light >= np.quantile(light, BRIGHTEST)].mean(0) / shade[near].mean(0)
        depth = cv2.distanceTransform(opening.astype(np.uint8), cv2.DIST_L2, 3).max()
        found.append(White(colour, 2 * float(depth) / radius, radius / enlarged))
    return max(found, key=lambda w: float(w.colour.sum()), default=None)
