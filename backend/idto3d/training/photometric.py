# SPDX-License-Identifier: GPL-3.0-or-later
"""What skins, shadows and gloss add to the shading of a fitted head, asked of photographs whose truth is known.

Of what a photograph shows beyond the fitted head in the fitted light (`fit.photometric`), the part that the true
identity explains is taken away. What is left, and its mirror image, is a sample of a Gaussian field: factor analysis
by its principal components (Tipping and Bishop 1999), with a variance of its own at each point.
"""

from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from ..arrays import Array
from ..fit.landmarks import FitConfig, LandmarkFit, fit_landmarks
from ..fit.outline import fit_outlines
from ..fit.photometric import read_shading
from ..headmodel import HeadModel, load_head_model
from ..photos import Face
from ..photos.nets import load_face_nets
from .data import DataConfig, population_of
from .landmark_errors import FIRST_SEED, in_modes, portraits
from .regions import Regions

CELL = 0.004  # metres of the mean head, in each cube of which one point is asked
WAYS = 150  # in which the field varies
LEAST_NOISE = 0.03  # standard deviation of a point
SURE = 3.0  # photographs: prior of a point's mean, and of its noise


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


def find_shading(config: DataConfig, nets: Path, folder: Path) -> dict[str, Array]:
    """What `learn_shading` finds, of a head model that knows how the nets of a folder err; a file a person in the other
    one, so that it is resumed."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{seed}.npz" for seed in range(FIRST_SEED, FIRST_SEED + config.people)]
    with get_context("spawn").Pool(config.workers) as pool:
        for _ in pool.imap_unordered(partial(_read_into, config, nets), [f for f in files if not f.exists()]):
            pass
    model = load_head_model(Path(config.head))
    fields, seen = (np.concatenate(arrays) for arrays in zip(*map(_fields, files), strict=True))
    return learn_shading(model, shading_points(Regions(model)), fields, seen)


def _fields(file: Path) -> tuple[Array, Array]:
    with np.load(file) as stored:
        return stored["field"], stored["seen"]


def _read_into(config: DataConfig, nets: Path, file: Path) -> None:
    torch.set_num_threads(1)
    population = population_of(config)
    model, regions, seed = population.model, Regions(population.model), int(file.stem)
    points = shading_points(regions)
    person = population.person(seed)
    identity, _ = in_modes(regions, person.neutral)
    fields, seen = [np.zeros((0, len(points)))], [np.zeros((0, len(points)), bool)]
    for _, face in portraits(population, load_face_nets(nets), person, 0):
        fit = fit_outlines(model, [face], fit_landmarks(model, [face]), FitConfig())
        field, shown = skin_field(model, face, fit, identity, points)
        fields.append(field[None])
        seen.append(shown[None])
    partial_file = file.with_suffix(".partial.npz")
    np.savez(partial_file, field=np.concatenate(fields).astype(np.float32), seen=np.concatenate(seen))
    partial_file.replace(file)
