# SPDX-License-Identifier: GPL-3.0-or-later
"""Priors of a fit from the landmark net's features: of the identity, and of how a photograph's landmarks err.

Landmarks are drawn to where most faces have them; the features behind them keep more of the person. A linear map from
features to the head model's modes and the landmarks' common errors, and the covariance of its own errors, were learnt
on synthetic people (training/feature_identity.py). All is Gaussian, so that photographs of one person add up: errors
that they share stay, the rest averages out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..errors import UserError
from ..headmodel import HeadModel
from ..photos.faces import Face, fineness

MOST_VARIANCE = 0.95  # of a mode's variance: it is 1 where nothing is known


@dataclass(frozen=True, eq=False)
class IdentityPrior:
    """A Gaussian over identities: mean (M,), precision (M,M)."""

    mean: Array
    precision: Array

    def cost(self, identity: Array) -> float:
        off = identity - self.mean
        return 0.5 * float(off @ self.precision @ off)


@dataclass(frozen=True, eq=False)
class LandmarkErrors:
    """A photograph's landmark errors given the identity, as coefficients (R,) of `landmark_scatter`: a Gaussian with
    the mean `mean + slope @ identity`, slope (R,M), and the covariance `root @ root.T` (R,R)."""

    mean: Array
    slope: Array
    root: Array


def identity_prior(model: HeadModel, faces: Sequence[Face]) -> IdentityPrior:
    """Of photographs of one person; N(0,1) of all modes where the model does not know what features say.

    Raises UserError E_PACK_FORMAT where it knows those of another net.
    """
    count = len(model.identity)
    pairs = zip(fineness(faces), (_estimate(model, face) for face in faces), strict=True)
    estimates = [(fine, *one) for fine, one in pairs if one is not None]
    if not estimates:
        return IdentityPrior(np.zeros(count), np.eye(count))
    trust = np.array([fine * t for fine, _, t in estimates])
    estimate = trust @ np.stack([s[:count] for _, s, _ in estimates]) / trust.sum()
    shared, own = np.asarray(model.feature_errors, np.float64)[:, :count, :count]
    return _posterior(estimate, shared / trust.max() + own / trust.sum(), _extra(model) * own / trust.sum())


def landmark_error_prior(model: HeadModel, face: Face) -> LandmarkErrors:
    """Of one photograph's landmarks, which are wrong together with what its features say of the identity; N(0,1) in
    each way where the model does not know. Raises as `identity_prior`."""
    ways, modes = len(model.landmark_scatter), len(model.identity)
    estimated = _estimate(model, face)
    if estimated is None:
        return LandmarkErrors(np.zeros(ways), np.zeros((ways, modes)), np.eye(ways))
    estimate, trust = estimated
    shared, own = np.asarray(model.feature_errors, np.float64) / trust
    both = _posterior(estimate, shared + own, _extra(model) * own)
    # of a Gaussian over both, that over errors given the identity
    precision = both.precision[modes:, modes:]
    slope = -np.linalg.solve(precision, both.precision[modes:, :modes])
    root = np.linalg.inv(np.linalg.cholesky(precision)).T
    return LandmarkErrors(both.mean[modes:] - slope @ both.mean[:modes], slope, root)


def _estimate(model: HeadModel, face: Face) -> tuple[Array, float] | None:
    """What a photograph's features say (M+R,) of identity and errors, and how far they are believed, 0..1."""
    known = (model.feature_mean, model.feature_scale, model.feature_weights, model.feature_bias)
    if face.features is None or any(array is None for array in known):
        return None
    mean, scale, weights, bias = (np.asarray(array) for array in known)
    if face.features.shape != mean.shape:
        raise UserError(
            "E_PACK_FORMAT",
            f"head.safetensors knows {len(mean)} features of a face, landmarks.onnx gives {len(face.features)}.",
            "The pack's files do not belong together. Use another copy of it.",
        )
    standard = (face.features - mean) / scale
    # a photograph unlike those that were learnt from says less
    return (standard @ weights + bias).astype(np.float64), 1 / max(1.0, float((standard**2).mean()))


def _extra(model: HeadModel) -> float:
    """Variance of what is a real photograph's own beyond a rendered one's, over that."""
    return float(np.asarray(model.feature_inflation)) - 1


def _posterior(estimate: Array, covariance: Array, extra: Array) -> IdentityPrior:
    """Posterior under a prior N(0,1), given a ridge regression's estimate (M,): `covariance` (M,M) is that of its
    errors where it was learnt, `extra` (M,M) of the noise that comes on top.

    With C the covariance, the estimate is (1 - C) truth + noise of the covariance (1 - C) C.
    """
    values, ways = np.linalg.eigh(covariance)
    values = np.minimum(values, MOST_VARIANCE)
    gain = (ways * (1 - values)) @ ways.T
    noise = (ways * ((1 - values) * values)) @ ways.T + extra
    information = gain @ np.linalg.inv(noise)
    precision = np.eye(len(estimate)) + information @ gain
    return IdentityPrior(np.linalg.solve(precision, information @ estimate), precision)
