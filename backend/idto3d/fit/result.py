# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fit is: one identity, and of each photograph the camera, the expression and the light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..headmodel import HeadModel
from .camera import PhotoCamera

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class PhotoFit:
    """One photograph. expression (E,) coefficients; correction (P,3) metres: what they missed of the face in it; light
    (9,3): irradiance over pi in `render.lights.sh_basis`, linear RGB, head frame, so that colour = albedo *
    basis(normal) @ light, and once the maps are known (`fit/relight.py`), so that the renderer gives the photograph;
    residual: root mean square distance of trusted landmarks, metres on the face; weight: how
    much this photo counts beside others, 0..1."""

    name: str
    camera: PhotoCamera
    expression: Array
    correction: Array
    light: Array
    residual: float
    weight: float


@dataclass(frozen=True, eq=False)
class HeadFit:
    """identity (M,) standard deviations; displacement (P,3) metres: what the modes cannot say, smooth, only where seen;
    resting (E,): the expression that the face has when it has none, such as how far its lids hang."""

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
        """(P,3) from the face at rest to an expression of full weights (E,): what already rests there is not added."""
        return model.motion(np.where(weights != 0, weights - self.resting, 0.0))
