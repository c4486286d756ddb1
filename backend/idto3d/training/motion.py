# SPDX-License-Identifier: GPL-3.0-or-later
"""Learns `capture.motion` from synthetic people's takes.

Ridge regression (Hoerl and Kennard 1970) on the landmarks' principal components. It shrinks estimates, the more the
less landmarks show of a shape. Shapes with a good correlation are scaled to unit slope, those with some correlation to
their true variance, so that a frown is visible; the others stay shrunk.

The landmark net's inner features (128x8x8) as further inputs, tried with 108 people, raise R^2 over all shapes within a
take from .263 to .268 only.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from idto3d_shared.live_link import SHAPES

from ..arrays import Array
from ..capture.motion import FEATURES, Motion, features
from ..capture.person import person_of
from ..capture.read import calibrate, pose_of
from ..capture.track import Track
from ..finish.arkit import other_side
from ..headmodel import HeadModel
from ..photos.nets import LANDMARKS
from .data import DataConfig, each, nets_of, population_of
from .motion_takes import FIRST_SEED, RATE, SIZE, Moves, make_moves

PEOPLE = 108
UNSURE = 0.35  # standard deviation of the error of the identity with which a take is read, as a fit has
COMPONENTS, RIDGE = 80, 300.0
SOFT = 0.9  # millimetres, root mean square of a component, below which its weight falls
SHOWN, MOST_GAIN = 0.5, 2.5  # correlation above which a shape is scaled to unit slope; greatest gain
HINTED, MOST_HINTED = 0.25, 3.0  # correlation above which it is scaled to true variance; greatest gain
FOLDS = 4


def learn_motion(config: DataConfig, file: Path) -> None:
    """Write the pack's file."""
    rows, people = [], []
    model, seeds = population_of(config).model, range(FIRST_SEED, FIRST_SEED + min(PEOPLE, config.people))
    for seed, take in zip(seeds, each(config, "moves", seeds, _drawn), strict=True):
        moves = Moves(**np.load(take))
        rows.append((read_moves(model, moves, seed), moves.weights))
        people.append(np.full(len(moves.weights), seed))
    given, wanted = (np.concatenate(part) for part in zip(*rows, strict=True))
    motion = fit_motion(given, wanted, np.concatenate(people))
    save_file({"weights": motion.weights.astype(np.float32), "bias": motion.bias.astype(np.float32)}, file)


def _drawn(config: DataConfig, seed: int) -> dict[str, Array]:
    return vars(make_moves(population_of(config), nets_of(config), seed))


def read_moves(model: HeadModel, moves: Moves, seed: int) -> Array:
    """(T,FEATURES) of a take, as `capture` computes them with a fitted head."""
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
    """given (N,FEATURES), wanted (N,52) of people (N,)."""
    motion, seen = _ridge(given, wanted), np.zeros_like(wanted)
    for fold in np.array_split(np.unique(people), FOLDS):  # cross-validation: estimates for people left out
        own = np.isin(people, fold)
        seen[own] = _ridge(given[~own], wanted[~own]).shapes(given[own])
    gain = _gain(_beside_rest(seen, people), _beside_rest(wanted, people))
    usual = wanted.mean(0)  # estimates are shrunk towards it
    return Motion(motion.weights * gain, usual + gain * (motion.bias - usual))


def _gain(seen: Array, wanted: Array) -> Array:
    """(52,) factors on estimates seen (N,52) of wanted (N,52), the same for left and right."""
    both, there = (seen * wanted).sum(0), np.maximum((wanted**2).sum(0), 1e-9)
    slope = np.maximum(both / there, 1e-3)
    correlation = both / np.sqrt(np.maximum((seen**2).sum(0) * there, 1e-12))
    hinted = np.where(correlation > HINTED, np.clip(correlation / slope, 1, MOST_HINTED), 1.0)
    gain = np.where(correlation > SHOWN, np.clip(1 / slope, 1, MOST_GAIN), hinted)
    return (gain + gain[[SHAPES.index(other_side(name)) for name in SHAPES]]) / 2


def _beside_rest(values: Array, people: Array) -> Array:
    """values (N,52) minus each person's (N,) mean, as reading a take subtracts its rest."""
    out = values.astype(np.float64)
    for person in np.unique(people):
        out[people == person] -= out[people == person].mean(0)
    return out


def _ridge(given: Array, wanted: Array) -> Motion:
    """Ridge regression on the landmarks' principal components, scaled to about unit variance, scores and angles."""
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
