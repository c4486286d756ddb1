# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs of one person to a fit that explains them, or to a refusal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..headmodel import HeadModel
from ..notices import Notice
from ..photos.faces import Face
from .check import WRONG, check_identity, plausible, refuse_residual, weights_of
from .freeform import free_form
from .gaze import turn_eyes
from .landmarks import fit_landmarks
from .outline import fit_outlines
from .photometric import fit_shading
from .projection import Projected, project_photo, with_common_tone
from .result import HeadFit, PhotoFit


@dataclass(frozen=True, eq=False)
class Fitted:
    """fit; faces: those that were used; projected: each of them laid on the head; notices: of those left out."""

    fit: HeadFit
    faces: tuple[Face, ...]
    projected: tuple[Projected, ...]
    notices: tuple[Notice, ...]


def fit_subject(model: HeadModel, faces: Sequence[Face]) -> Fitted:
    """Fit one head to all photographs and project each onto it. Photos with a residual above WRONG are left out.

    Raises UserError E_FIT_RESIDUAL if none is left, E_FIT_IMPLAUSIBLE for an implausible identity.
    """
    notices: list[Notice] = []
    used = list(faces)
    fitted = fit_landmarks(model, used)
    while max(fitted.residual) > WRONG:
        worst = max(range(len(used)), key=lambda k: fitted.residual[k])
        error = refuse_residual(used[worst].name, fitted.residual[worst])
        if len(used) == 1:
            raise error
        notices.append(Notice("W_PHOTO_SKIPPED", f"Photo left out. {error}"))
        used.pop(worst)
        fitted = fit_landmarks(model, used)
    for step in (fit_outlines, fit_shading):
        further = step(model, used, fitted)
        if max(further.residual) <= WRONG and plausible(further.identity):  # masks and shades can mislead
            fitted = further
    displacement, corrections = free_form(model, used, fitted)
    fit = HeadFit(fitted.identity, displacement, fitted.resting, ())
    check_identity(fit)
    photos, projected = [], []
    for face, state, residual, correction in zip(used, fitted.states, fitted.residual, corrections, strict=True):
        dark, whole = np.zeros((9, 3)), 1.0
        photo = PhotoFit(face.name, state.camera, state.expression, correction, dark, residual, whole, face.cut)
        gaze = turn_eyes(model, fit.posed(model, photo), state.camera, face)
        photo = replace(photo, correction=correction + gaze)
        laid = project_photo(model, face, state.camera, fit.posed(model, photo))
        projected.append(laid)
        photos.append(photo)
    projected = with_common_tone(used, projected)
    weights = weights_of(used, [state.camera for state in fitted.states], fitted.residual)
    lit = tuple(
        replace(photo, light=laid.light, weight=float(weight))
        for photo, laid, weight in zip(photos, projected, weights, strict=True)
    )
    return Fitted(replace(fit, photos=lit), tuple(used), tuple(projected), tuple(notices))
