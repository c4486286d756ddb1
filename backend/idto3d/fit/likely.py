# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is likely before a landmark is fitted: what the landmark net sees of a face says more than where it puts points.

Its points lie where most faces have them; its features still know better. A linear map of them to the head model's
modes, and how that map errs, were learnt on synthetic people (training/feature_identity.py). The errors are Gaussian,
so that several photographs of a person add up: what their errors have in common stays, the rest averages out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..headmodel import HeadModel
from ..photos.faces import Face

Array = NDArray[Any]

BELIEF = 0.25
"""Of what rendered photographs taught, how much is believed of real ones. With all of it synthetic people gain twice as
much (face surface over the mean head's .71 instead of .74), but what it says of two photographs of one real person
differs more than the landmarks do; to a recogniser heads of real people are alike with none, a quarter and all."""


@dataclass(frozen=True, eq=False)
class Likely:
    """A Gaussian over identities: mean (M,), precision (M,M)."""

    mean: Array
    precision: Array

    def cost(self, identity: Array) -> float:
        off = identity - self.mean
        return 0.5 * float(off @ self.precision @ off)


def likely_identity(model: HeadModel, faces: Sequence[Face]) -> Likely:
    """Of photographs of one person; N(0,1) of all modes where the model does not know what features say.

    Raises UserError E_PACK_FORMAT where it knows those of another net.
    """
    count = len(model.identity)
    seen = [face.features for face in faces if face.features is not None]
    known = (model.feature_mean, model.feature_scale, model.feature_weights, model.feature_bias, model.feature_errors)
    if not seen or any(array is None for array in known):
        return Likely(np.zeros(count), np.eye(count))
    mean, scale, weights, bias, errors = (np.asarray(array, np.float64) for array in known)
    if any(f.shape != mean.shape for f in seen):
        raise UserError(
            "E_PACK_FORMAT",
            f"head.safetensors knows {len(mean)} features of a face, landmarks.onnx gives {len(seen[0])}.",
            "The pack's files do not belong together. Use another copy of it.",
        )
    standard = [(f - mean) / scale for f in seen]
    # a photograph unlike those that were learnt from says less
    trust = np.array([1 / max(1.0, float((z**2).mean())) for z in standard])
    said = trust @ np.stack([z @ weights for z in standard]) / trust.sum() + bias
    shared, own = errors
    sure = BELIEF * np.linalg.inv(shared / trust.max() + own / trust.sum())
    precision = (1 - BELIEF) * np.eye(count) + sure
    return Likely(np.linalg.solve(precision, sure @ said), precision)
