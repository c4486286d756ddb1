# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks of one frame to the head's pose and expression, the person and the lens known.

Gauss-Newton as in fit/landmarks.py, but the camera is the whole pinhole: a head at the picture's side shows itself from
the side, and must not be taken for a turned one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ..arrays import Array
from ..fit.landmarks import procrustes
from ..fit.pose_step import by_turn, huber_weights, turned
from .person import Person

# Standard deviation of a fully trusted landmark, metres on the face, and where Huber's loss turns, in these.
SIGMA, _HUBER = 0.002, 2.0
# Of the expression's coefficients around what the net says.
SIGMA_EXPRESSION = 0.2
LIMITS = (-0.15, 1.1)
# Focal lengths in the picture's longer side: telephones and webcams have 0.7 to 1.1, cameras up to 3.
_FOCALS = (0.55, 0.7, 0.85, 1.0, 1.25, 1.6, 2.2, 3.0)
_USUAL_FOCAL, _SPREAD_FOCAL = 1.0, 0.4
_POSE = 6


@dataclass(frozen=True, eq=False)
class Lens:
    """focal: pixels; centre (2,): pixel of the optical axis."""

    focal: float
    centre: Array


@dataclass(frozen=True, eq=False)
class Pose:
    """A point x of the head frame lies at rotation (x - person.centre) + place (3,), metres, in the camera's axes: x
    right, y up, z towards the camera."""

    rotation: Array
    place: Array

    @property
    def angles(self) -> Array:
        """(3,) yaw, pitch, roll in radians as the table has them (idto3d_shared/live_link.py). The camera's axes are
        the head's where it looks straight into it."""
        return Rotation.from_matrix(self.rotation).as_euler("YXZ")


@dataclass(frozen=True, eq=False)
class Solved:
    """expression (E,); residual (K,2) pixels, projected minus seen; error: its trusted root mean square, metres."""

    pose: Pose
    expression: Array
    residual: Array
    error: float


def project(points: Array, person: Person, pose: Pose, lens: Lens) -> Array:
    """Points (...,3) of the head frame to pixels (...,2)."""
    x = (points - person.centre) @ pose.rotation.T + pose.place
    return lens.centre + lens.focal * x[..., :2] * [1.0, -1.0] / -x[..., 2:]


def first_pose(person: Person, lens: Lens, points: Array, depth: Array) -> Pose:
    """A pose to begin with, from landmarks (478,2) and the net's depths (478,): the rotation between two clouds
    (Kabsch 1976) under a parallel projection."""
    q = points[person.index]
    deep = np.c_[q * [1.0, -1.0], -depth[person.index]]
    w = person.trust / person.trust.sum()
    a, b = person.neutral - w @ person.neutral, deep - w @ deep
    rotation = procrustes(person.neutral, deep, w)
    scale = float(np.linalg.norm(b[:, :2]) / np.linalg.norm((a @ rotation.T)[:, :2]))
    away = lens.focal / scale
    middle = (w @ q - lens.centre) * [1.0, -1.0] / lens.focal * away
    return Pose(rotation, np.array([*middle, -away]))


def solve(
    person: Person, lens: Lens, q: Array, start: tuple[Pose, Array], prior: tuple[Array, Array] | None, steps: int
) -> Solved:
    """Landmarks q (K,2) to a pose and an expression. start: of both; prior: mean and standard deviation (E,) of the
    expression, or None: it is held and only the pose is sought."""
    pose, expression = start
    for _ in range(steps):
        jacobian, residual, depth = _linearise(person, lens, q, pose, expression, prior is not None)
        weight = np.repeat(_weights(person, lens, residual, depth), 2)
        j = jacobian.reshape(-1, jacobian.shape[-1])
        normal, gradient = j.T @ (j * weight[:, None]), j.T @ (weight * residual.ravel())
        normal[np.diag_indices(len(normal))] += 1e-9
        if prior is not None:
            mean, sigma = prior
            own = np.arange(_POSE, len(normal))
            normal[own, own] += sigma**-2
            gradient[_POSE:] += (expression - mean) / sigma**2
        step = -np.linalg.solve(normal, gradient)
        pose = _moved(pose, step)
        if prior is not None:
            expression = np.clip(expression + step[_POSE:], *LIMITS)
    _, residual, depth = _linearise(person, lens, q, pose, expression, False)
    square = (residual**2).sum(1) * (depth / lens.focal) ** 2
    return Solved(pose, expression, residual, float(np.sqrt(person.trust @ square / person.trust.sum())))


def find_lens(person: Person, size: tuple[int, int], looks: Sequence[tuple[Array, Array, Array]]) -> Lens:
    """The lens of a video of (width, height) pixels, from some of its frames: landmarks (478,2), depth (478,), and the
    expression (E,) that the net reads in each. What a face tells of a lens is little: it is weighed against what lenses
    are usual."""
    centre, long = (np.array(size) - 1) / 2, float(max(size))
    costs = []
    for share in _FOCALS:
        lens = Lens(share * long, centre)
        cost = 0.5 * (np.log(share / _USUAL_FOCAL) / _SPREAD_FOCAL) ** 2
        for points, depth, expected in looks:
            start = (first_pose(person, lens, points, depth), expected)
            prior = (expected, np.full(len(expected), SIGMA_EXPRESSION))
            solved = solve(person, lens, points[person.index], start, prior, 6)
            cost += 0.5 * person.trust.sum() * (solved.error / SIGMA) ** 2 / len(looks)
            cost += 0.5 * float((((solved.expression - expected) / SIGMA_EXPRESSION) ** 2).sum()) / len(looks)
        costs.append(cost)
    return Lens(_FOCALS[int(np.argmin(costs))] * long, centre)


def _linearise(
    person: Person, lens: Lens, q: Array, pose: Pose, expression: Array, free: bool
) -> tuple[Array, Array, Array]:
    """Jacobian (K,2,6) or (K,2,6+E) by rotation, place and expression; residual (K,2); depth (K,) metres."""
    y = (person.moved(expression) - person.centre) @ pose.rotation.T
    x = y + pose.place
    by_point, depth = _by_point(lens, x)
    flat = x[:, :2] / depth[:, None] * [1.0, -1.0]
    parts = [by_turn(by_point, y), by_point]
    if free:
        parts.append((by_point @ pose.rotation) @ person.basis)
    return np.concatenate(parts, 2), lens.centre + lens.focal * flat - q, depth


def by_head_point(person: Person, lens: Lens, solved: Solved) -> tuple[Array, Array]:
    """Jacobian (K,2,3) of the pixels by the landmarks in the head frame, and their depths (K,) in metres."""
    x = (person.moved(solved.expression) - person.centre) @ solved.pose.rotation.T + solved.pose.place
    by_point, depth = _by_point(lens, x)
    return by_point @ solved.pose.rotation, depth


def _by_point(lens: Lens, x: Array) -> tuple[Array, Array]:
    """Jacobian (K,2,3) of the pixels by points (K,3) in the camera's axes, and their depths (K,)."""
    depth = np.maximum(-x[:, 2], 1e-3)
    out = np.zeros((len(x), 2, 3))
    out[:, 0, 0], out[:, 1, 1] = lens.focal / depth, -lens.focal / depth
    out[:, :, 2] = lens.focal * x[:, :2] * [1.0, -1.0] / (depth**2)[:, None]
    return out, depth


def _weights(person: Person, lens: Lens, residual: Array, depth: Array) -> Array:
    """(K,) inverse variances in pixels, Huber's by iterative reweighting."""
    sigma = SIGMA * lens.focal / depth
    distance = np.linalg.norm(residual, axis=1) / sigma
    return person.trust / sigma**2 * huber_weights(distance, _HUBER)


def _moved(pose: Pose, step: Array) -> Pose:
    """Never through the camera."""
    place = pose.place + step[3:_POSE]
    place[2] = np.clip(place[2], 2.0 * pose.place[2], 0.5 * pose.place[2])
    return Pose(turned(pose.rotation, step[:3]), place)
