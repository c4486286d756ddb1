# SPDX-License-Identifier: GPL-3.0-or-later
"""What the landmark net's features say of who is seen and of how its landmarks err: ridge regression, and how that errs
on others.

The net is trained on photographs of people, and what it sees of a synthetic face and of a real one is alike: standard
scores of the features have a root mean square of 1 on both. A mirror image shows the mirrored person, which doubles
what is learnt from and halves what is one photograph's own. What an expression changes is learnt, too, and belongs to
nobody. Errors are those on people left out (four folds; siblings, who have one skin, are left out together), as two
covariances: what a person's photographs have in common, and what is each one's own.
"""

import numpy as np
import scipy.linalg

from ..arrays import Array
from ..headmodel import HeadModel

FOLDS = 4
RIDGE = 0.5  # of the mean square of a picture's standardised features
LEAST_SCALE = 1e-3  # of a feature's spread, against the mean feature's
SURE_IDENTITY, SURE_EXPRESSION = 30.0, 3.0  # photographs: prior that a mode, an expression changes nothing
STILL = 30.0  # how often each expression is shown, besides, on a face that stays the same
CORRELATED = 0.8  # of the errors' covariances off their diagonals, the rest being chance
POINT = 0.003  # metres: what modes may leave of a mirrored face's point
INFLATION = 1.6
"""Variance of what is one photograph's own, of real photographs over rendered ones. What features say of 15 photographs
of five real people scatters 1.3 times as much within a person. At 1.3 two fits of one real person differed by .657 of
what those of two people do, at 1.6 by .636, at 2 by .625, by landmarks alone .630; synthetic ones go the other way."""


def mirrored_modes(model: HeadModel) -> Array:
    """(M,M): identity @ it is the identity of the mirror image."""
    rows = np.flatnonzero(model.vertices_of("face"))
    modes, images = (
        shape.reshape(len(shape), -1).astype(np.float64)
        for shape in (model.identity[:, rows], model.identity[:, model.mirror[rows]] * [-1, 1, 1])
    )
    normal = modes @ modes.T + POINT**2 * np.eye(len(modes))
    return np.asarray(np.linalg.solve(normal, modes @ images.T).T)


def learn_features(
    features: Array, goal: Array, expression: Array, person: Array, family: Array, mirror: Array
) -> tuple[dict[str, Array], Array]:
    """The arrays `feature_*` of a `HeadModel`; and weights (FOLDS,2F,S) learnt without the families of each fold
    (`family % FOLDS`).

    features (N,L,2F): of L looks of each photograph, a picture's and its mirror image's; goal (N,S): identity and
    errors; expression (N,E); person (N,) whose photograph it is, family (N,) of which siblings; mirror (S,S):
    goal @ it is the mirror image's goal.
    """
    count, looks, both = features.shape
    sides = features.reshape(count, looks, 2, both // 2).astype(np.float32)
    mean, spread = sides.mean((0, 1, 2)), sides.std((0, 1, 2))
    scale = spread + LEAST_SCALE * spread.mean()
    sides -= mean
    sides /= scale
    bias = (goal.mean(0) + goal.mean(0) @ mirror) / 2
    goals = np.stack([goal, goal @ mirror], 1).astype(np.float32) - bias.astype(np.float32)
    still = _still(sides, goal, expression)
    folds = [family % FOLDS == fold for fold in range(FOLDS)]
    parts = [_moments(sides[fold], goals[fold], still[fold]) for fold in folds]
    whole = sum(parts[1:], parts[0])
    # one look of each photograph: those of the same one err alike
    rows = np.arange(count)
    some, missed = sides[rows, rows % looks].reshape(count, -1), goal - bias
    without = np.stack([_weights(whole - part, mirror) for part in parts])
    for fold, weights in zip(folds, without, strict=True):
        missed[fold] -= some[fold] @ weights
    found = {
        "feature_mean": np.tile(mean, 2).astype(np.float32),
        "feature_scale": np.tile(scale, 2).astype(np.float32),
        "feature_weights": _weights(whole, mirror).astype(np.float32),
        "feature_bias": bias.astype(np.float32),
        "feature_errors": _errors(missed, np.unique(person, return_inverse=True)[1]).astype(np.float32),
        "feature_inflation": np.array(INFLATION),
    }
    return found, without


def _still(sides: Array, goal: Array, expression: Array) -> Array:
    """(N,2,F) what each photograph's expression changes in sides (N,L,2,F) of nobody: by ridge regression of both."""
    count, modes = goal.shape
    known = np.c_[np.ones(count), goal, expression]
    sure = np.r_[1e-3, np.full(modes, SURE_IDENTITY), np.full(expression.shape[1], SURE_EXPRESSION)]
    shown = np.linalg.solve(known.T @ known + np.diag(sure), known.T @ sides[:, 0].reshape(count, -1))[1 + modes :]
    return (expression @ shown).astype(np.float32).reshape(sides[:, 0].shape)


def _moments(sides: Array, goal: Array, still: Array) -> Array:
    """(F,F+M): sums of the regression of goal (N,2,M) on sides (N,L,2,F), with expressions of nobody (N,2,F)."""
    looks, size = sides.shape[1], sides.shape[-1]
    seen, nobody = sides.reshape(-1, size), np.sqrt(np.float32(STILL * looks)) * still.reshape(-1, size)
    wanted = np.repeat(goal[:, None], looks, 1).reshape(len(seen), -1)
    return np.concatenate([seen.T @ seen + nobody.T @ nobody, seen.T @ wanted], 1)


def _weights(moments: Array, mirror: Array) -> Array:
    """(2F,M): half of what a picture says, and half of what its mirror image does."""
    size = len(moments)
    normal = moments[:, :size].astype(np.float64)
    normal[np.diag_indices(size)] += RIDGE * size
    weights = scipy.linalg.solve(normal, moments[:, size:], assume_a="pos", overwrite_a=True)
    return np.concatenate([weights, weights @ mirror]) / 2


def _errors(missed: Array, person: Array) -> Array:
    """(2,M,M) covariances of errors (N,M): shared by a person's photographs, and each one's own."""
    count = np.bincount(person)
    average = np.stack([np.bincount(person, column) for column in missed.T], 1) / count[:, None]
    within = missed - average[person]
    own = within.T @ within / max(1, len(missed) - len(count))
    whole = missed.T @ missed / len(missed)
    values, ways = np.linalg.eigh(_shrunk(whole - own))
    return np.stack([(ways * np.maximum(values, 0)) @ ways.T, _shrunk(own)])


def _shrunk(covariance: Array) -> Array:
    return CORRELATED * covariance + (1 - CORRELATED) * np.diag(np.diag(covariance))
