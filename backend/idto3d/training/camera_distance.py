# SPDX-License-Identifier: GPL-3.0-or-later
"""How far away cameras are when the landmarks of a photograph say so, asked of photographs whose truth is known.

The landmark net was taught what faces look like from where they mostly are photographed. Of the perspective of a camera
that is nearer or farther it reports a part, and a fit that believed it would have heads before their true camera too
broad or too deep.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..arrays import Array
from ..errors import UserError
from ..fit.landmarks import Observed, distance_alone, fit_landmarks
from ..fit.priors import identity_prior
from ..headmodel import HeadModel
from ..photos import Face, FaceNets, Photo, find_face
from .data import DataConfig, each, nets_of, population_of
from .photographs import random_setting, take_photograph
from .population import Population

FIRST_SEED, PEOPLE = 1_690_000, 16  # whom features were not learnt from
DISTANCES = (0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.5)  # metres
WHOLE = 0.5  # metres: what pictures show


def self_portraits(population: Population, nets: FaceNets, seed: int) -> Iterator[tuple[float, Face]]:
    """A person from each of DISTANCES, and the true inverse distance; without those in which no face is found."""
    person, rng = population.dressed(population.person(seed)), np.random.default_rng([seed, 3])
    for distance in DISTANCES:
        fov = float(np.degrees(2 * np.arctan(WHOLE / 2 / distance)))
        photograph = take_photograph(population, person, replace(random_setting(rng), frame=WHOLE, fov=fov))
        try:
            face = find_face(Photo(photograph.image, str(seed)), nets)
        except UserError:
            continue
        yield photograph.camera.inverse_distance, face


def told_by_landmarks(model: HeadModel, face: Face) -> float:
    """The inverse distance that the landmarks of a photograph alone would have."""
    fit = fit_landmarks(replace(model, landmark_distance=None), [face])
    return distance_alone(Observed.of(model, face, 1.0), fit.states[0], fit.identity, identity_prior(model, [face]))


def learn_distance(told: Array, true: Array) -> Array:
    """(2,) offset and slope of the likely inverse distance by what landmarks tell (N,), from true ones (N,)."""
    return np.asarray(np.polyfit(told, true, 1)[::-1])


def find_distance(config: DataConfig) -> dict[str, Array]:
    """landmark_distance of a `HeadModel`, which knows how landmarks err."""
    files = each(config, "distances", range(FIRST_SEED, FIRST_SEED + PEOPLE), _distances)
    told, true = np.concatenate([np.load(file)["told_true"] for file in files]).T
    return {"landmark_distance": learn_distance(told, true)}


def _distances(config: DataConfig, seed: int) -> dict[str, Array]:
    population, nets = population_of(config), nets_of(config)
    rows = [(told_by_landmarks(population.model, face), true) for true, face in self_portraits(population, nets, seed)]
    return {"told_true": np.array(rows).reshape(-1, 2)}
