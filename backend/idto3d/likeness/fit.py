# SPDX-License-Identifier: GPL-3.0-or-later
"""The head fitted to its photographs: one identity, and for each photograph a camera and an expression, such that the
control surface meets the dense landmarks (Wood et al. 2022; a maximum a posteriori fit of a linear face model).

What y_id and the landmark net guess of the identity is the prior, as exact as it proved on people that neither had
seen; the landmarks correct it. A smile on the photograph is thus told apart from a wide mouth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from scipy.optimize import least_squares
from torch import Tensor

from ..errors import UserError
from ..head.geometry_net import GeometryNet
from ..photos import align
from ..photos.faces import PORTRAIT_SIZE, Face
from ..photos.landmarks import Landmarks
from .pose import Pose, turned_axes

Array = NDArray[np.float64]

# Neighbouring landmarks err together: what one of them is worth, of an independent one.
WORTH = 0.4
FLOOR = 0.03  # smallest standard deviation of a landmark, in distances from eyes to mouth
TYPICAL_NEARNESS, NEARNESS_SPREAD = 1.0, 0.4  # 1 / metres
SEX_DECIDED = 2.5  # times the logit: a mean of woman and man is likelier than neither, but nobody's face
SEX_SPREAD = 0.15  # of the shapes of one sex, where 0 is the mean woman and 1 the mean man
ANGLE_SPREAD = (12.0, 8.0, 8.0)  # degrees of azimuth, elevation and roll around the keypoint net's
EYES_TO_MOUTH = 0.067  # metres, on the mean head
POSE = 7  # numbers of a pose: three angles, log scale, shift, nearness


@dataclass(frozen=True)
class FaceModel:
    """What the pack knows of landmarks (landmarks.safetensors): vertices (K,) of the control surface; expression
    (E,P,3) metres, one standard deviation of each mode; from_id, from_image and sigma (M,): the best guess of a
    coefficient is from_id * (that of y_id) + from_image * (that of landmarks.onnx), and errs by sigma; sex (M+1,):
    coefficients @ sex[:-1] + sex[-1] is what a shape says of it, 0 female, 1 male; sex_logit (3,): a, b, c of
    sigmoid(a + b * appearance + c * guessed shape), the likeliest."""

    vertices: Tensor
    expression: Tensor
    from_id: Tensor
    from_image: Tensor
    sigma: Tensor
    sex: Tensor
    sex_logit: Tensor

    @classmethod
    def load(cls, path: Path, points: int) -> FaceModel:
        """For a control surface of so many points; those that the file leaves out do not move.

        Raises UserError E_PACK_FORMAT when the file is something else.
        """
        try:
            stored = load_file(path)
            modes = stored["expression"].float() * stored["scale"][:, None, None]
            expression = torch.zeros(len(modes), points, 3)
            expression[:, : modes.shape[1]] = modes
            rest = ("from_id", "from_image", "sigma", "sex", "sex_logit")
            return cls(stored["vertices"].long(), expression, *(stored[name] for name in rest))
        except (SafetensorError, KeyError, RuntimeError, OSError) as error:
            message = f"{path.name} cannot be used ({error})."
            raise UserError("E_PACK_FORMAT", message, "Install the pack again.") from error

    def guess(self, from_id: Tensor, from_image: Tensor) -> Tensor:
        """(M,) identity coefficients before any landmark is looked at."""
        return self.from_id * from_id + self.from_image * from_image

    def sex_of(self, coefficients: Tensor) -> float:
        """What a shape says: about 0 female, 1 male."""
        return float(coefficients @ self.sex[:-1] + self.sex[-1])

    def likeliest_sex(self, guess: Tensor, masculine: float) -> float:
        """0 female to 1 male, from the guessed coefficients and from the appearance net's own 0 to 1."""
        logit = self.sex_logit @ torch.tensor([1.0, masculine, self.sex_of(guess)])
        return float(torch.sigmoid(SEX_DECIDED * logit))


@dataclass(frozen=True)
class Fitted:
    """The identity (M,), and of each photograph its camera and the (P,3) metres by which its expression moves the
    control surface. precision (M,M): inverse covariance of the identity, whatever cameras and expressions are;
    missed: root mean square distance of landmarks, in distances from eyes to mouth."""

    coefficients: Tensor
    precision: Tensor
    poses: tuple[Pose, ...]
    expressions: tuple[Tensor, ...]
    missed: float


def fit_photos(
    net: GeometryNet,
    model: FaceModel,
    from_id: Tensor,
    masculine: float,
    faces: Sequence[Face],
    seen: Sequence[Landmarks],
) -> Fitted:
    """Fit all photographs of one person at once.

    from_id (M,): identity coefficients guessed from y_id; masculine: the appearance net's 0..1. The more a photograph
    differs from the training's, the nearer both guesses come to the average, between woman and man, where nobody is:
    the likeliest sex therefore counts as something seen.
    """
    mean = (net.control + net.closing)[model.vertices].double().numpy()
    basis = net.basis[:, model.vertices].double().numpy()
    moves = model.expression[:, model.vertices].double().numpy()
    image = torch.from_numpy(np.mean([s.shape for s in seen], 0)).to(from_id)
    guess = model.guess(from_id, image)
    sex = model.likeliest_sex(guess, masculine)
    direction = model.sex.double().numpy()
    prior = guess.double().numpy()
    sigma = model.sigma.double().numpy()
    modes, each = len(basis), POSE + len(moves)
    units = [portrait_unit(face) for face in faces]

    def pose_of(x: Array, unit: float) -> Pose:
        scale = float(np.exp(x[3])) * unit / EYES_TO_MOUTH
        return Pose(turned_axes(*x[:3]), scale, x[4:6] * unit + PORTRAIT_SIZE / 2, float(x[6]))

    def residuals(x: Array) -> Array:
        c = x[:modes]
        neutral = mean + np.tensordot(c, basis, 1)
        parts = [(c - prior) / sigma, np.array([(c @ direction[:-1] + direction[-1] - sex) / SEX_SPREAD])]
        for i, (face, found, unit) in enumerate(zip(faces, seen, units, strict=True)):
            own = x[modes + i * each : modes + (i + 1) * each]
            posed = neutral + np.tensordot(own[POSE:], moves, 1)
            at = pose_of(own, unit).project(torch.from_numpy(posed))[0].numpy()
            spread = np.hypot(found.sigma, FLOOR * unit)[:, None]
            angles = (own[:3] - [face.yaw, face.pitch, 0]) / ANGLE_SPREAD
            tail = [*angles, own[3] / 0.3, (own[6] - TYPICAL_NEARNESS) / NEARNESS_SPREAD]
            parts += [np.sqrt(WORTH) * ((at - found.points) / spread).ravel(), np.array(tail), own[POSE:]]
        return np.concatenate(parts)

    start = [prior]
    for face in faces:
        start.append(np.array([face.yaw, face.pitch, 0, 0, 0, 0, TYPICAL_NEARNESS]))
        start.append(np.zeros(len(moves)))
    # A landmark that is wrong altogether (a hand, a strand of hair) must not pull the face.
    result = least_squares(residuals, np.concatenate(start), loss="soft_l1", f_scale=2.0, max_nfev=60)
    solved = result.x
    poses, fields, errors = [], [], []
    coefficients = torch.from_numpy(solved[:modes]).to(from_id)
    for i, (found, unit) in enumerate(zip(seen, units, strict=True)):
        own = solved[modes + i * each : modes + (i + 1) * each]
        poses.append(pose_of(own, unit))
        fields.append(torch.einsum("e,epc->pc", torch.from_numpy(own[POSE:]).to(from_id), model.expression))
        posed = mean + np.tensordot(solved[:modes], basis, 1) + np.tensordot(own[POSE:], moves, 1)
        at = poses[-1].project(torch.from_numpy(posed))[0].numpy()
        errors.append((((at - found.points) / unit) ** 2).sum(1).mean())
    precision = torch.from_numpy(marginal_precision(result.jac.T @ result.jac, modes)).to(from_id)
    return Fitted(coefficients, precision, tuple(poses), tuple(fields), float(np.sqrt(np.mean(errors))))


def marginal_precision(hessian: Array, count: int) -> Array:
    """(count,count) inverse covariance of a Gaussian's first variables when nothing is known of the others: the Schur
    complement of theirs in the inverse covariance of all, hessian (N,N)."""
    own, cross, others = hessian[:count, :count], hessian[:count, count:], hessian[count:, count:]
    return own - cross @ np.linalg.solve(others, cross.T)


def portrait_unit(face: Face) -> float:
    """Pixels from eyes to mouth in the face's portrait."""
    to_portrait = align.crop_transform(face.keypoints, PORTRAIT_SIZE, "head")
    return align.eye_mouth_distance(align.apply(to_portrait, face.keypoints))
