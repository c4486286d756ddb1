# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a fit: one identity, and for each photograph camera, expression and light."""

from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..headmodel import HeadModel
from .camera import PhotoCamera


@dataclass(frozen=True, eq=False)
class PhotoFit:
    """One photograph. expression (E,) coefficients; correction (P,3) metres: displacement of this pose only; light
    (9,3): irradiance over pi in `render.lights.sh_basis`, linear RGB, head frame, fitted so that colour = albedo *
    basis(normal) @ light, and again by `evidence.relight` once the maps are known; residual: root mean square distance
    of landmarks weighted by trust, metres on the face; weight: of this photo among others, 0..1; cut: its edge cuts the
    face."""

    name: str
    camera: PhotoCamera
    expression: Array
    correction: Array
    light: Array
    residual: float
    weight: float
    cut: bool = False


@dataclass(frozen=True, eq=False)
class HeadFit:
    """identity (M,) standard deviations; displacement (P,3) metres: smooth, beyond the identity modes; resting (E,):
    expression coefficients of the face at rest, such as how far its lids hang."""

    identity: Array
    displacement: Array
    resting: Array
    photos: tuple[PhotoFit, ...]

    def neutral(self, model: HeadModel) -> Array:
        """(P,3) float64, head frame: the face at rest."""
        return model.shape(self.identity) + self.displacement + model.motion(self.resting)

    def posed(self, model: HeadModel, photo: PhotoFit) -> Array:
        """(P,3) float64: the head as on a photograph."""
        moved = model.motion(photo.expression)
        return model.shape(self.identity) + self.displacement + moved + photo.correction

    def offset(self, model: HeadModel, weights: Array) -> Array:
        """(P,3) from the face at rest to an expression of weights (E,), less what the resting face has of it."""
        return model.motion(np.where(weights != 0, weights - self.resting, 0.0))
