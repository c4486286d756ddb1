# SPDX-License-Identifier: GPL-3.0-or-later
"""How far from a head a photograph was taken, in inverse metres: what a fit expects before it looks, and after."""

from dataclasses import dataclass

import numpy as np

INVERSE_DISTANCE, SIGMA_INVERSE_DISTANCE, INVERSE_DISTANCE_LIMITS = 0.9, 0.3, (0.1, 4.0)
"""Photographs of people are taken from 25 cm to some metres, mostly from more than one."""
SELFIES, INVERSE_SELFIE, SIGMA_SELFIE = 0.3, 2.2, 0.8  # their share of all photographs, and theirs of the same
NOTED_SPREAD = 0.06  # of the distance that a noted focal length tells of, as a share: heads differ in size
TOLD_ERROR, TOLD_SPREAD = 0.45, 0.1  # of what landmarks tell of it; how far a fit may go from that of a selfie
CONTRADICTED = 2.0  # deviations between the two from which on a noted focal length is another's, as a crop's


@dataclass(frozen=True)
class DistancePrior:
    """Of a camera's inverse distance."""

    mean: float = INVERSE_DISTANCE
    sigma: float = SIGMA_INVERSE_DISTANCE


def noted_distance(scale: float, focal: float | None) -> DistancePrior | None:
    """By the focal length that the camera noted, in pixels, and pixels a metre at the head; None where there is none,
    or it would have the camera nearer than anyone holds it: a crop's."""
    noted = np.inf if focal is None else scale / focal
    return DistancePrior(noted, NOTED_SPREAD * noted) if noted < INVERSE_DISTANCE_LIMITS[1] else None


def agrees(noted: DistancePrior, told: float) -> bool:
    """Whether what landmarks tell may be said of the distance that the focal length tells of."""
    return abs(told - noted.mean) < CONTRADICTED * np.hypot(TOLD_ERROR, noted.sigma)


def likely_distance(told: float) -> DistancePrior:
    """By what landmarks tell: as likely as it is a selfie, that of one that they tell of, else what is usual."""
    mean = np.array([INVERSE_DISTANCE, INVERSE_SELFIE])
    both = np.hypot([SIGMA_INVERSE_DISTANCE, SIGMA_SELFIE], TOLD_ERROR)
    chance = np.log(np.array([1 - SELFIES, SELFIES]) / both) - 0.5 * ((told - mean) / both) ** 2
    selfie = np.exp(chance[1] - np.logaddexp(*chance))
    near = INVERSE_SELFIE + (SIGMA_SELFIE / both[1]) ** 2 * (told - INVERSE_SELFIE)
    likely = np.interp(selfie, [0, 1], [INVERSE_DISTANCE, max(near, INVERSE_DISTANCE)])
    sigma = np.interp(selfie, [0, 1], [SIGMA_INVERSE_DISTANCE, TOLD_SPREAD])
    return DistancePrior(float(min(likely, INVERSE_DISTANCE_LIMITS[1])), float(sigma))
