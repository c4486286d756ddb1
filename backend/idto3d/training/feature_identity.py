# SPDX-License-Identifier: GPL-3.0-or-later
"""What the landmark net's features say of who is seen: ridge regression onto the modes, and how it errs on others.

The net is trained on photographs of people, and what it sees of a synthetic face and of a real one is alike: standard
scores of the features have a root mean square of 1 on both. What an expression changes in them is learnt, too, and
belongs to nobody. Errors are those on people left out (four folds), as two covariances: what a person's photographs
have in common, and what is each one's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FOLDS = 4
RIDGE = 0.3  # of the mean variance of a photograph's standardised features
LEAST_SCALE = 1e-3  # of a feature's spread, against the mean feature's
SURE_IDENTITY, SURE_EXPRESSION = 30.0, 3.0  # photographs: prior that a mode, an expression changes nothing
STILL = 30.0  # how often each expression is shown, besides, on a face that stays the same
CORRELATED = 0.8  # of the errors' covariances off their diagonals, the rest being chance


def learn_features(features: Array, identity: Array, expression: Array, person: Array) -> dict[str, Array]:
    """The arrays `feature_*` of a `HeadModel`. features (N,F), identity (N,M), expression (N,E), person (N,) whose
    photograph it is."""
    mean, spread = features.mean(0), features.std(0)
    scale = spread + LEAST_SCALE * spread.mean()
    standard = (features - mean) / scale
    _, number = np.unique(person, return_inverse=True)
    missed = np.zeros(identity.shape)
    for fold in range(FOLDS):
        out = number % FOLDS == fold
        weights = _weights(standard[~out], identity[~out], expression[~out])
        missed[out] = identity[out] - identity[~out].mean(0) - standard[out] @ weights
    return {
        "feature_mean": mean.astype(np.float32),
        "feature_scale": scale.astype(np.float32),
        "feature_weights": _weights(standard, identity, expression).astype(np.float32),
        "feature_bias": identity.mean(0).astype(np.float32),
        "feature_errors": _errors(missed, number).astype(np.float32),
    }


def _weights(standard: Array, identity: Array, expression: Array) -> Array:
    """(F,M) by ridge regression in its dual form, with pseudo-photographs of what expressions change and no person."""
    count, modes = identity.shape
    known = np.c_[np.ones(count), identity, expression]
    sure = np.r_[1e-3, np.full(modes, SURE_IDENTITY), np.full(expression.shape[1], SURE_EXPRESSION)]
    change = np.linalg.solve(known.T @ known + np.diag(sure), known.T @ standard)[1 + modes :]
    still = np.sqrt(STILL) * (expression[expression.any(1)] @ change)
    seen = np.concatenate([standard, still])
    said = np.concatenate([identity - identity.mean(0), np.zeros((len(still), modes))])
    alike = (seen @ seen.T).astype(np.float64) / seen.shape[1]
    ridge = RIDGE * np.trace(alike[:count, :count]) / count
    out: Array = seen.T @ np.linalg.solve(alike + ridge * np.eye(len(alike)), said) / seen.shape[1]
    return out


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
    out: Array = CORRELATED * covariance + (1 - CORRELATED) * np.diag(np.diag(covariance))
    return out
