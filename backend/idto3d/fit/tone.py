# SPDX-License-Identifier: GPL-3.0-or-later
"""How dark skin is. A photograph shows albedo times light, and only what is known of both beforehand parts them: which
tones skin has, how bright faces come out of cameras, and what is white in the picture.

A linear estimator of least variance (Kay 1993, "Fundamentals of Statistical Signal Processing", 12.3) of the logarithm
of the skin's albedo from what the picture shows. Its moments are those of synthetic people with the CC0 skins of
MakeHuman under lamps and skies (`python -m idto3d.training.tone_prior` prints them), with the variance added by which
real cameras and lights differ more than those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

IRIS = ((468, (469, 470, 471, 472)), (473, (474, 475, 476, 477)))
WHITE = 1.2  # of the iris's radius from its centre, from where on an eye is white
BRIGHTEST = 0.9  # quantile of the white above which neither lid nor lashes shade it
FEWEST = 6  # pixels of white that tell anything

# rows of logarithms: mean, red over green, green over blue
AXES = np.array([[1 / 3, 1 / 3, 1 / 3], [1, -1, 0], [0, 1, -1]])
REAL = np.array([0.03, 0.015, 0.015, 0.06, 0.03, 0.03, 0.25, 0.02])
"""Variances of real cameras, lights and eyes on top of the synthetic ones, in the order of `Reading.values`."""
SEEN_MEAN = np.array([-1.757, 0.748, 0.538, -0.461, 0.161, 0.092, -1.496, 0.043])
TRUE_MEAN = np.array([-1.586, 0.744, 0.545])
WEIGHTS = np.array(
    [
        [0.936, -0.197, 0.101, -0.173, 0.12, 0.092, 0.071, 0.286],
        [-0.159, 0.292, 0.005, 0.016, -0.034, -0.033, -0.007, -0.081],
        [-0.118, 0.157, 0.072, 0.011, -0.02, -0.022, -0.003, -0.05],
    ]
)


@dataclass(frozen=True, eq=False)
class Reading:
    """What a photograph shows of its light, linear. skin (3,): reflected by the skin's body under the face's mean
    light; white (3,): by the whites of the eyes, nan where none are seen; picture: its mean; fill: mean light of all
    that is seen of the head over that of the face; grey: it has no colours."""

    skin: Array
    white: Array
    picture: float
    fill: float
    grey: bool

    @property
    def values(self) -> Array:
        """(8,) what the estimator takes; nan where it is not known."""
        unknown = np.array([1.0, np.nan, np.nan]) if self.grey else np.ones(3)
        skin, white = (np.log(np.maximum(c, 1e-3)) @ AXES.T * unknown for c in (self.skin, self.white))
        return np.array([*skin, *white, np.log(max(self.picture, 1e-3)), np.log(max(self.fill, 1e-3))])


def likely_tone(reading: Reading) -> Array:
    """(3,) linear albedo of the skin; what is not known counts as usual."""
    off = np.nan_to_num(reading.values - SEEN_MEAN)
    coordinates = TRUE_MEAN + WEIGHTS @ off
    out: Array = np.clip(np.exp(np.linalg.solve(AXES, coordinates)), 0.005, 0.9)
    return out


def whites(landmarks: Array, openings: Sequence[Array], linear: Array, pixel: Array, shade: Array) -> Array:
    """(3,) the brighter of both eyes' whites, freed of the light on the eyeballs, nan where none are seen.

    openings: (S,S) bool, between the lids of each of IRIS; linear (S,S,3) the picture; pixel (B,2) and shade (B,3):
    where the visible vertices of the eyeballs lie, and how they are lit.
    """
    found = [np.full(3, np.nan)]
    for (centre, rim), opening in zip(IRIS, openings, strict=True):
        middle = landmarks[centre]
        radius = float(np.linalg.norm(landmarks[list(rim)] - middle, axis=1).mean())
        rows, columns = np.nonzero(opening)
        white = np.hypot(columns - middle[0], rows - middle[1]) > WHITE * radius
        colours = linear[rows[white], columns[white]]
        near = np.hypot(*(pixel - middle).T) < 2.2 * radius
        if len(colours) <= FEWEST or not near.any():
            continue
        light = colours @ [0.2126, 0.7152, 0.0722]
        found.append(colours[light >= np.quantile(light, BRIGHTEST)].mean(0) / shade[near].mean(0))
    out: Array = max(found, key=lambda c: np.nan_to_num(c).sum())
    return out
