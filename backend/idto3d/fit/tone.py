# SPDX-License-Identifier: GPL-3.0-or-later
"""The skin's tone. A photograph shows albedo times light, and only priors on both separate them: the tones of human
skin, the usual exposure of faces, and the albedo of the eyes' whites, which is much alike in all people.

Posterior mean on a grid of lightness with a flat prior. Given the lightness, everything else is Gaussian in logarithms:
skin's hue follows its lightness along melanin's curve, and the light's colour and strength are common to skin and eyes.
Light is a mixture of two kinds, usual and odd (backlight, a stage), so that odd light does not make skin appear darker.
A camera exposes so that something is bright: light on a face is less than usual where nothing in the photograph is.
The constants were measured on synthetic people (`python -m idto3d.training.tone_prior`, with MakeHuman's CC0 skins) and
widened for cameras and lids: in photographs the whites are a fifth darker. How often a white is not seen, and how
bright a photograph is at least, were chosen on 85 photographs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import Array
from ..ramps import ramp
from .light import LUMINANCE, under_coat

IRIS = ((468, (469, 470, 471, 472)), (473, (474, 475, 476, 477)))
WHITE = 1.2  # iris radii from its centre at which the white begins
BRIGHTEST = 0.9  # quantile of the white's lightness above which lids and lashes do not shade it
FEWEST = 6  # pixels of white needed
USUAL_FACING = 0.8  # cosine to the camera at which most of a face is seen

# rows of logarithms: mean, red over green, green over blue
AXES = np.array([[1 / 3, 1 / 3, 1 / 3], [1, -1, 0], [0, 1, -1]])
LIGHTNESS = np.linspace(-4.0, -0.2, 96)  # mean logarithm of linear albedo
PALEST, DARKEST = (-0.5, 0.1), (-3.5, 0.15)  # where skin ends, and how sharply
CURVE = np.array([[0.0, 1.0], [0.34, -0.24], [0.29, -0.16]])  # of AXES: constant, and slope by the lightness
OFF_CURVE = np.array([0.0, 0.1, 0.08])  # standard deviation of people around it
MEASURED = np.array([0.1, 0.07, 0.07])  # standard deviation of the measurement in a picture
WHITE_MEAN, WHITE_SPREAD = np.array([-0.45, 0.15, 0.10]), np.array([0.28, 0.13, 0.13])
CLOSING = (1.6, 1.2)  # opening at which lids begin to shade the white, and shade it fully
SHADED, SHADED_SPREAD = -0.65, 0.1  # added to mean and deviation of the white's lightness then
# Eyes whose white is not seen, but lids, lashes, paint: their share; added to mean and deviation of the white.
LOST_SHARE, LOST, LOST_SPREAD = 0.05, -0.5, np.array([0.8, 0.2, 0.2])
SHUT = 0.9  # opening below which the white is not used
EXPOSED = 0.6  # linear: what the brightest of a photograph is at least where it is well exposed
FINE, COARSE_SPREAD = 8.0, np.array([0.5, 0.3, 0.3])  # iris radius in photo pixels under which lids blend in


@dataclass(frozen=True)
class _Light:
    """A kind of light: prior probability, and mean (lightness) and standard deviations of its logarithm in AXES."""

    share: float
    mean: float
    spread: tuple[float, float, float]


LIGHTS = (_Light(0.85, -0.15, (0.2, 0.15, 0.12)), _Light(0.15, -0.6, (0.6, 0.4, 0.2)))


@dataclass(frozen=True, eq=False)
class White:
    """The white of an eye: colour (3,) linear, divided by the eyeball's shading; radius: of the iris, pixels of the
    photo; opening: between the lids, in iris radii."""

    colour: Array
    opening: float
    radius: float


@dataclass(frozen=True, eq=False)
class Reading:
    """The measurements. skin (3,) linear: what the face reflects under its mean light, its coat's share included;
    white: of the eyes, None where none is seen; grey: the photograph has no colours; brightest: of the photograph,
    linear, glints aside."""

    skin: Array
    white: White | None
    grey: bool
    brightest: float = 1.0


def iris_of(landmarks: Array, eye: tuple[int, tuple[int, ...]]) -> tuple[Array, float]:
    """Centre (2,) and radius in pixels of the iris of one of `IRIS`."""
    middle = landmarks[eye[0]]
    return middle, float(np.linalg.norm(landmarks[list(eye[1])] - middle, axis=1).mean())


def likely_tone(readings: Sequence[Reading]) -> Array:
    """(3,) linear albedo of the skin of one person, of photographs whose light has nothing in common."""
    likelihoods, means = zip(*map(_by_lightness, readings), strict=True)
    chance = np.sum(likelihoods, 0) + _people()
    weight = np.exp(chance - chance.max())
    mean = weight @ np.mean(means, 0) / weight.sum()
    return np.clip(np.exp(np.linalg.solve(AXES, mean)), 0.005, 0.9)


def _by_lightness(reading: Reading) -> tuple[Array, Array]:
    """For each of LIGHTNESS the log likelihood (N,) of a photograph, and the skin's coordinates (N,3)."""
    chances, means = [], []
    for share, lost in ((1 - LOST_SHARE, False), (LOST_SHARE, True)):
        off, spread = _off(reading, lost)
        for kind in LIGHTS:
            chance, mean = _posterior(off, kind, spread, reading.grey)
            chances.append(np.log(share) + chance)
            means.append(mean)
    whole = np.logaddexp.reduce(chances)
    return whole, np.einsum("kn,knc->nc", np.exp(chances - whole), means)


def _people() -> Array:
    """(N,) logarithm of how usual skin of each of LIGHTNESS is."""
    beyond = (LIGHTNESS - PALEST[0]) / PALEST[1], (DARKEST[0] - LIGHTNESS) / DARKEST[1]
    return -np.logaddexp(0.0, beyond).sum(0)


def _off(reading: Reading, lost: bool) -> tuple[Array, Array]:
    """For each of LIGHTNESS what coordinates in AXES of skin, or of skin and white, are over those under a light of 1,
    (N,3) or (N,6); and their independent standard deviations. lost: lids, lashes or paint stand where
    the white is looked for."""
    usual = CURVE[:, 0] + LIGHTNESS[:, None] * CURVE[:, 1]
    # the darker the skin, the more of what it reflects is its coat's
    diffuse = reading.skin * under_coat(np.exp(np.linalg.solve(AXES, usual.T).T), np.array([USUAL_FACING]))
    parts = [(np.log(np.maximum(diffuse, 1e-3)) @ AXES.T - usual, np.hypot(MEASURED, OFF_CURVE))]
    white = reading.white
    if white is not None and white.opening > SHUT:
        shut = float(ramp(white.opening, *CLOSING))
        spread = WHITE_SPREAD + [SHADED_SPREAD * shut, 0, 0] + COARSE_SPREAD * max(0.0, 1 - white.radius / FINE)
        usual = WHITE_MEAN + [SHADED * shut + LOST * lost, 0, 0]
        colour = np.log(np.maximum(white.colour, 1e-3)) @ AXES.T
        parts.append((np.tile(colour - usual, (len(LIGHTNESS), 1)), spread + LOST_SPREAD * lost))
    off, spread = np.concatenate([part[0] for part in parts], 1), np.concatenate([part[1] for part in parts])
    off[:, ::3] -= np.log(np.clip(reading.brightest / EXPOSED, 0.01, 1.0))
    return off, spread


def _posterior(off: Array, kind: _Light, spread: Array, grey: bool) -> tuple[Array, Array]:
    """For each of LIGHTNESS its log likelihood (N,) under a kind of light, and the skin's coordinates (N,3).

    off (N,C), spread (C,): see `_off`. The hues of a grey picture are ignored.
    """
    count = off.shape[1]
    known = np.arange(0, count, 3) if grey else np.arange(count)
    light = np.diag(np.square(kind.spread))
    covariance = np.kron(np.ones((count // 3,) * 2), light) + np.diag(spread**2)
    rest = (off - np.tile([kind.mean, 0, 0], count // 3))[:, known]
    weighed = rest @ np.linalg.inv(covariance[np.ix_(known, known)])
    chance = np.log(kind.share) - 0.5 * (weighed * rest).sum(1)
    chance -= 0.5 * np.linalg.slogdet(covariance[np.ix_(known, known)])[1]
    own = np.zeros((count, 3))
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
