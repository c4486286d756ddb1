# SPDX-License-Identifier: GPL-3.0-or-later
"""How the pack's nets answer to faces that move, read backwards: `capture.motion` from synthetic people's takes.

Ridge regression (Hoerl and Kennard 1970) on the landmarks' principal components. Its estimates are too small by what
landmarks do not show. Those of shapes that they do show are brought back to size; those that they hint at are brought
to as much as makes them vary as true as they are, so that who frowns is seen to; the others stay careful.

What the landmark net's inner features (128x8x8) say besides was tried with 108 people: within a take, R^2 over all
shapes is .268 with them and .263 without.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from idto3d_shared.live_link import SHAPES

from ..capture.motion import FEATURES, Motion, features
from ..capture.person import person_of
from ..capture.read import calibrate, pose_of
from ..capture.track import Track
from ..finish.arkit import other_side
from ..headmodel import HeadModel
from ..photos.nets import LANDMARKS, FaceNets
from .motion_takes import FIRST_SEED, RATE, SIZE, Moves, make_moves
from .population import Population
from .store import stored

Array = NDArray[Any]

PEOPLE = 108
UNSURE = 0.35  # standard deviations that the identity is off which a take is read with, as a fit's is
COMPONENTS, RIDGE = 80, 300.0
SOFT = 0.9  # millimetres, root mean square of a component, below which it counts for less
SHOWN, MOST_GAIN = 0.5, 2.5  # correlation from which on a shape is shown by landmarks; what it is brought up by at most
HINTED, MOST_HINTED = 0.25, 3.0  # the same of a shape that is hinted at
FOLDS = 4


def learn_motion(population: Population, nets: FaceNets, work: Path, file: Path) -> None:
    """Write the pack's file; takes are drawn once and kept in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    rows, people = [], []
    for seed in range(FIRST_SEED, FIRST_SEED + PEOPLE):
        moves = Moves(**stored(work / f"{seed}.npz", partial(_drawn, population, nets, seed)))
        rows.append((read_moves(population.model, moves, seed), moves.weights))
        people.append(np.full(len(moves.weights), seed))
    given, wanted = (np.concatenate(part) for part in zip(*rows, strict=True))
    motion = fit_motion(given, wanted, np.concatenate(people))
    save_file({"weights": motion.weights.astype(np.float32), "bias": motion.bias.astype(np.float32)}, file)


def _drawn(population: Population, nets: FaceNets, seed: int) -> dict[str, Array]:
    return vars(make_moves(population, nets, seed))


def read_moves(model: HeadModel, moves: Moves, seed: int) -> Array:
    """(T,FEATURES) of a take, as `capture` reads it with a head that was fitted."""
    off = np.random.default_rng([seed, 13]).normal(0, UNSURE, len(model.identity)).astype(np.float32)
    vertices = moves.neutral + np.tensordot(off, model.identity, 1)
    count = len(moves.points)
    track = Track(np.arange(count) / RATE, moves.points, moves.depth, np.ones(count, bool), (SIZE, SIZE))
    person, lens = calibrate(person_of(model, vertices), track, moves.scores)
    out = np.zeros((count, FEATURES))
    for n, (points, depth, scores) in enumerate(zip(moves.points, moves.depth, moves.scores, strict=True)):
        solved = pose_of(person, lens, points, depth, scores, None)
        out[n] = features(person, lens, solved.pose, points, scores)
    return out


def fit_motion(given: Array, wanted: Array, people: Array) -> Motion:
    """given (N,FEATURES), wanted (N,52) of people (N,); both sides learn from both."""
    motion, seen = _ridge(given, wanted), np.zeros_like(wanted)
    for fold in np.array_split(np.unique(people), FOLDS):  # as for people who were not there
        own = np.isin(people, fold)
        seen[own] = _ridge(given[~own], wanted[~own]).shapes(given[own])
    gain = _gain(_beside_rest(seen, people), _beside_rest(wanted, people))
    usual = wanted.mean(0)  # about which estimates are too small
    return Motion(motion.weights * gain, usual + gain * (motion.bias - usual))


def _gain(seen: Array, wanted: Array) -> Array:
    """(52,) what estimates seen (N,52) of wanted (N,52) are brought up by, the same on both sides."""
    both, there = (seen * wanted).sum(0), np.maximum((wanted**2).sum(0), 1e-9)
    slope = np.maximum(both / there, 1e-3)
    correlation = both / np.sqrt(np.maximum((seen**2).sum(0) * there, 1e-12))
    hinted = np.where(correlation > HINTED, np.clip(correlation / slope, 1, MOST_HINTED), 1.0)
    gain = np.where(correlation > SHOWN, np.clip(1 / slope, 1, MOST_GAIN), hinted)
    return (gain + gain[[SHAPES.index(other_side(name)) for name in SHAPES]]) / 2


def _beside_rest(values: Array, people: Array) -> Array:
    """values (N,52) beside their mean of each of people (N,): a take's rest is taken off when it is read."""
    out = values.astype(np.float64)
    for person in np.unique(people):
        out[people == person] -= out[people == person].mean(0)
    return out


def _ridge(given: Array, wanted: Array) -> Motion:
    """Landmarks by their principal components, of unit variance where they are well seen; scores and turn as they
    are."""
    marks, rest = given[:, : 2 * LANDMARKS], given[:, 2 * LANDMARKS :]
    mean = marks.mean(0)
    _, size, axes = np.linalg.svd(marks - mean, full_matrices=False)
    components = axes[:COMPONENTS].T / (size[:COMPONENTS] / np.sqrt(len(marks)) + SOFT)
    scaled = np.c_[(marks - mean) @ components, rest * 2]
    middle, usual = scaled.mean(0), wanted.mean(0)
    x = scaled - middle
    solved = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (wanted - usual))
    weights = np.concatenate([components @ solved[:COMPONENTS], solved[COMPONENTS:] * 2])
    return Motion(weights, usual - np.concatenate([mean, rest.mean(0)]) @ weights)
