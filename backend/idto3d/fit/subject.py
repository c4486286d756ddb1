# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs of one person to a fit that explains them, or to a refusal."""

from __future__ import annotations

from collections.abc import Sequence

from ..headmodel import HeadModel
from ..photos.faces import Face
from .freeform import free_form
from .landmarks import FitConfig, fit_landmarks
from .projection import Projected, project_photo
from .result import HeadFit, PhotoFit


def fit_subject(
    model: HeadModel, faces: Sequence[Face], config: FitConfig = FitConfig()
) -> tuple[HeadFit, tuple[Projected, ...]]:
    """One head for all photographs, and each of them laid on it."""
    fitted = fit_landmarks(model, faces, config)
    displacement, corrections = free_form(model, faces, fitted)
    neutral = model.shape(fitted.identity) + displacement
    photos, projected = [], []
    for face, state, residual, correction in zip(faces, fitted.states, fitted.residual, corrections, strict=True):
        posed = neutral + correction + model.motion(state.expression)
        laid = project_photo(model, face, state.camera, posed)
        weight = 1.0 / (1.0 + (residual / 0.0015) ** 2)
        projected.append(laid)
        photos.append(
            PhotoFit(face.name, state.camera, state.expression, correction, laid.light, residual, weight)
        )
    return HeadFit(fitted.identity, displacement, tuple(photos)), tuple(projected)
