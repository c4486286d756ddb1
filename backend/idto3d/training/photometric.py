# SPDX-License-Identifier: GPL-3.0-or-later
"""What skins, shadows and gloss add to the shading of a fitted head, asked of photographs whose truth is known.

Of what a photograph shows beyond the fitted head in the fitted light (`fit.photometric`), the part that the true
identity explains is taken away. What is left, and its mirror image, is a sample of a Gaussian field: factor analysis
by its principal components (Tipping and Bishop 1999), with a variance of its own at each point.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays import Array
from ..fit.landmarks import LandmarkFit, fit_landmarks
from ..fit.outline import fit_outlines
from ..fit.photometric import Shading, read_shading, whitened
from ..headmodel import HeadModel
from ..photos import Face
from .data import DataConfig, each, nets_of, population_of
from .feature_identity import FOLDS
from .landmark_errors import WITHOUT, in_modes, people_of, portraits
from .regions import Regions

CELL = 0.004  # metres of the mean head, in each cube of which one point is asked
WAYS = 150  # in which the field varies
LEAST_NOISE = 0.03  # standard deviation of a point
SURE = 3.0  # photographs: prior of a point's mean, and of its noise
WEIGHT = 0.1
"""Of a point. Neighbours' errors are correlated beyond what the field describes, above all on real skin: with the
weight that is best on renders two fits of one real person differ by .760 of what those of two people do, with this one
by .700, without shading by .705."""


def shading_points(regions: Regions) -> Array:
    """(S,) vertices all over the face that one can see; with each of them its mirror image."""
    model = regions.model
    place = model.neutral
    half = np.flatnonzero(regions.visible & regions.visible[model.mirror] & (place[:, 0] >= 0))
    _, first = np.unique(np.floor(place[half] / CELL).astype(int), axis=0, return_index=True)
    return np.unique(np.r_[half[first], model.mirror[half[first]]])


def skin_field(model: HeadModel, face: Face, fit: LandmarkFit, identity: Array, points: Array) -> tuple[Array, Array]:
    """(S,) what is added at the points in the photograph of a fit, and (S,) bool where it is seen; identity (M,): the
    true one."""
    state = fit.states[0]
    posed = model.shape(fit.identity) + model.motion(state.expression)
    shading = read_shading(model, face, state.camera, posed, points)
    return shading.logs - shading.slopes @ (identity - fit.identity), shading.seen


def learn_shading(model: HeadModel, points: Array, fields: Array, seen: Array) -> dict[str, Array]:
    """The arrays `shading_*` of a `HeadModel` from fields (N,S), 0 where they are not seen (N,S)."""
    other = np.searchsorted(points, model.mirror[points])
    fields, weight = (np.concatenate([a, a[:, other]]).astype(np.float64) for a in (fields, seen))
    count = weight.sum(0) + SURE
    mean = fields.sum(0) / count
    off = fields - mean * weight
    values, vectors = np.linalg.eigh(off @ off.T)
    values, vectors = values[::-1][:WAYS], vectors[:, ::-1][:, :WAYS]
    ways = off.T @ vectors / np.sqrt(len(off))
    noise = ((off - vectors @ (vectors.T @ off)) ** 2).sum(0) / count + LEAST_NOISE**2
    arrays = {"shading_mean": mean, "shading_ways": ways, "shading_noise": noise}
    return {"shading_points": points, **{name: array.astype(np.float32) for name, array in arrays.items()}}


def find_shading(config: DataConfig) -> dict[str, Array]:
    """The arrays `shading_*` of a `HeadModel`, which knows how landmarks err; what is usual is that of people left out
    of the field."""
    model, points = population_of(config).model, shading_points(Regions(population_of(config).model))
    fields, seen, out = [], [], []
    for file in each(config, "skins", people_of(config), _fields):
        with np.load(file) as stored:
            fields.append(stored["field"])
            seen.append(stored["seen"])
        out += len(seen[-1]) * [int(file.stem) % FOLDS == 0]
    field, shown, held = np.concatenate(fields), np.concatenate(seen), np.array(out)
    found: dict[str, Any] = learn_shading(model, points, field[~held], shown[~held])
    others, still = replace(model, **found), np.zeros((len(points), 0))
    squares = [
        whitened(others, Shading(logs, still, seen))[-1, -1]
        for logs, seen in zip(field[held], shown[held], strict=True)
    ]
    usual = np.median(squares / np.maximum(shown[held].sum(1), 1))
    numbers = {"shading_weight": np.array(WEIGHT), "shading_residual": usual}
    return {**learn_shading(model, points, field, shown), **numbers}


def _fields(config: DataConfig, seed: int) -> dict[str, Array]:
    """Of a person's photographs; features speak as they do of somebody that they were not learnt from."""
    population = population_of(config)
    without = np.load(config.work / WITHOUT, mmap_mode="r")[seed % FOLDS]
    model, regions = replace(population.model, feature_weights=without.astype(np.float32)), Regions(population.model)
    points, person = shading_points(regions), population.person(seed)
    identity, _ = in_modes(regions, person.neutral)
    fields, seen = np.zeros((0, len(points)), np.float32), np.zeros((0, len(points)), bool)
    for _, face in portraits(population, nets_of(config), person, 0):
        fit = fit_outlines(model, [face], fit_landmarks(model, [face]))
        field, shown = skin_field(model, face, fit, identity, points)
        fields, seen = np.vstack([fields, field[None]]), np.vstack([seen, shown[None]])
    return {"field": fields.astype(np.float32), "seen": seen}
