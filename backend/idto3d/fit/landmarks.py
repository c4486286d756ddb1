# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks of one person's photographs to one identity and, for each photo, camera and expression.

Gauss-Newton on a linear head model under a pinhole camera. The loss of the data is Huber's, so that a wrong landmark
pulls no harder than a doubtful one; the priors stay quadratic, so that nothing makes an implausible head cheap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..arrays import Array
from ..headmodel import HeadModel
from ..photos.faces import Face, fineness
from .camera import PhotoCamera
from .distance import (
    INVERSE_DISTANCE,
    INVERSE_DISTANCE_LIMITS,
    DistancePrior,
    agrees,
    likely_distance,
    noted_distance,
)
from .pose_step import by_turn, huber_weights, turned
from .priors import IdentityPrior, identity_prior, landmark_error_prior

MOUTH_NAMES, GAZE = ("mouth", "jaw", "cheek", "noseSneer"), "eyeLook"
POSE = 7
"""Rotation (3), log scale, shift (2), inverse distance."""
SIGMA = 0.001  # metres on the face, of a landmark that the model trusts fully: what it errs by for itself
SIGMA_OUTLINE = 0.012  # of the person's outline, at each of the points that it is asked at: neighbours err together
HUBER = 2.0  # sigmas where the loss turns from square to straight
SIGMA_EXPRESSION = 0.3  # of the expression's coefficients around what the blendshape net says
SCORE_FLOOR, FLOORS = 0.08, {"browDown": 0.6, "eyeSquint": 0.5}
"""Scores of the blendshape net up to which there is no expression: neutral faces have up to 0.2 in most. It takes brows
that lie low for a frown, and narrow eyes for a squint: a fifth of calm faces have more than these."""
EXPRESSION_LIMITS = -0.25, 1.2
RESTING_SHARE, RESTING_MOUTH = 0.7, 0.5
"""Of what the blendshape net does not see as an expression, how much is how the face is at rest; around the mouth, with
cheeks and jaw, of a calm photo: a mouth that does something says little of how it rests. Of 39 photographs of 20
people, what two of one person have in common (.69 and .50, jackknife's errors .10 and .16)."""
POSE_STEPS, STEPS, MORE_STEPS = 8, 8, 4  # of the camera alone, of everything, of everything from another fit


@dataclass(frozen=True, eq=False)
class LandmarkModel:
    """The head model at its landmarks only. index (K,): which of the 478; neutral (K,3), identity (M,K,3), expression
    (E,K,3) metres; trust (K,); centre (3,); mouth and gaze (E,) bool: the expressions that are of
    mouth and jaw, and where the eyes look; error_modes (R,K,2) metres, right and down in the picture: how
    landmarks err together, one standard deviation each; bias (1+M,K,2) likewise: what they err by on the mean head
    and for each mode besides, or empty."""

    index: Array
    neutral: Array
    identity: Array
    expression: Array
    trust: Array
    centre: Array
    mouth: Array
    gaze: Array
    error_modes: Array = field(default_factory=lambda: np.zeros((0, 0, 2)))
    bias: Array = field(default_factory=lambda: np.zeros((0, 0, 2)))

    @classmethod
    def reported(cls, model: HeadModel, face: Face) -> "LandmarkModel":
        """Where the landmark net says that they are in a photograph, by what its features say of how it errs."""
        at, seen, erring = cls.of(model), model.landmark_identity, landmark_error_prior(model, face)
        ways = model.landmark_scatter[:, at.index].astype(np.float64) * [1.0, -1.0]
        return replace(
            at,
            neutral=at.neutral + model.landmark_shift[at.index],
            identity=at.identity if seen is None else seen[:, at.index].astype(np.float64),
            error_modes=np.tensordot(erring.root.T, ways, 1),
            bias=np.tensordot(np.c_[erring.mean, erring.slope].T, ways, 1),
        )

    def bias_of(self, a: Array) -> Array:
        """(K,2) metres, right and down in the picture: what landmarks of an identity (M,) are taken to err by."""
        return np.tensordot(np.r_[1.0, a], self.bias, 1) if len(self.bias) else np.zeros(2)

    @classmethod
    def of(cls, model: HeadModel) -> "LandmarkModel":
        index = np.flatnonzero(model.landmark_trust > 0)
        neutral, identity, expression = (
            model.landmarks(field)[..., index, :] for field in (model.neutral, model.identity, model.expression)
        )
        trust = model.landmark_trust[index].astype(np.float64)
        mouth, gaze = (
            np.array([name.startswith(names) for name in model.expression_names], bool) for names in (MOUTH_NAMES, GAZE)
        )
        return cls(index, neutral, identity, expression, trust, neutral.mean(0), mouth, gaze)


@dataclass(frozen=True, eq=False)
class Lines:
    """Points of the head that should lie on lines in a picture. at: the model at the points, trust 0..1 how much each
    counts; normal (N,2) of its line, place (N,2) pixels on it; one_sided (N,) bool: only beyond the line, where the
    normal points, is wrong."""

    at: LandmarkModel
    normal: Array
    place: Array
    one_sided: Array


@dataclass(frozen=True, eq=False)
class Observed:
    """What a photograph shows: place (K,2) pixels of the points of `at`, and lines for the head's outline, if any."""

    at: LandmarkModel
    place: Array
    lines: Lines | None = None

    @classmethod
    def of(cls, model: HeadModel, face: Face, fine: float, lines: Lines | None = None) -> "Observed":
        """fine: see `fineness`."""
        at = LandmarkModel.reported(model, face)
        return cls(replace(at, trust=at.trust * fine**2), face.landmarks[at.index], lines)


@dataclass(frozen=True, eq=False)
class PhotoState:
    """Camera, and expression (E,) with the mean of its prior (E,); distance: what is known of the camera's."""

    camera: PhotoCamera
    expression: Array
    expected: Array
    distance: DistancePrior = DistancePrior()


@dataclass(frozen=True, eq=False)
class LandmarkFit:
    """identity (M,); resting (E,): what the photos' expressions have beyond what the blendshape net sees in them;
    states, one a photo; residual: of each photo, trusted root mean square, metres on the face; cost."""

    identity: Array
    resting: Array
    states: tuple[PhotoState, ...]
    residual: tuple[float, ...]
    cost: float


def fit_landmarks(model: HeadModel, faces: Sequence[Face]) -> LandmarkFit:
    """One identity for all faces. Of several starts of each photo's camera the cheapest is kept."""
    prior = identity_prior(model, faces)
    photos = [Observed.of(model, face, fine) for face, fine in zip(faces, fineness(faces), strict=True)]
    starts = tuple(_start(model, photo, face, prior) for photo, face in zip(photos, faces, strict=True))
    near = _gauss_newton(photos, starts, prior, STEPS)
    states = tuple(
        replace(state, distance=_distance_prior(model, photo, face, state, near.identity, prior))
        for photo, face, state in zip(photos, faces, near.states, strict=True)
    )
    return _gauss_newton(photos, states, prior, MORE_STEPS, near.identity)


def refit_with(
    model: HeadModel, faces: Sequence[Face], before: LandmarkFit, lines: Sequence[Lines | None] | None = None,
    prior: IdentityPrior | None = None,
) -> LandmarkFit:  # fmt: skip
    """Go on from another fit, for example of fewer photos, or with lines on which the head's outline should lie.

    prior: what is known of the identity beside landmarks and lines, by default `identity_prior`.
    """
    given = zip(faces, fineness(faces), lines or [None] * len(faces), strict=True)
    photos = [Observed.of(model, *one) for one in given]
    return _gauss_newton(photos, before.states, prior or identity_prior(model, faces), MORE_STEPS, before.identity)


def _expected(model: HeadModel, face: Face) -> Array:
    """The expression that the blendshape net reads in the photo, by ARKit's names in the model's."""
    out = np.zeros(len(model.expression_names))
    for n, name in enumerate(model.expression_names):
        side = {"_L": "Left", "_R": "Right"}.get(name[-2:], "")
        stem = name[:-2] if side else name
        score = face.blendshapes.get(stem + side, face.blendshapes.get(stem, 0.0))
        floor = FLOORS.get(stem, SCORE_FLOOR)
        out[n] = max(0.0, score - floor) / (1 - floor)
    return out


def _start(model: HeadModel, photo: Observed, face: Face, prior: IdentityPrior) -> PhotoState:
    """The camera that fits the likely face best from three guesses of how the head is turned."""
    expected, at, q = _expected(model, face), photo.at, photo.place
    shape = at.neutral + np.tensordot(prior.mean, at.identity, 1) + np.tensordot(expected, at.expression, 1)
    flat = q * [1.0, -1.0]
    deep = np.c_[flat, -face.landmark_depth[at.index]]
    turns = [np.eye(3), procrustes(shape, deep, at.trust), procrustes(shape, deep * [1, 1, -1], at.trust)]
    best: tuple[float, PhotoState] | None = None
    for turn in turns:
        y = (shape - at.centre) @ turn.T
        scale = float(np.linalg.norm(flat - flat.mean(0)) / np.linalg.norm((y - y.mean(0))[:, :2]))
        shift = q.mean(0) - scale * y[:, :2].mean(0) * [1.0, -1.0]
        camera = PhotoCamera(turn, at.centre, scale, shift, INVERSE_DISTANCE)
        state = PhotoState(camera, expected, expected)
        posed = _gauss_newton([photo], (state,), prior, 0)
        if best is None or posed.cost < best[0]:
            best = posed.cost, posed.states[0]
    assert best is not None
    return best[1]


def procrustes(source: Array, target: Array, weight: Array) -> Array:
    """Rotation (3,3) that turns source (K,3) to target (K,3) best under weights (K,) (Kabsch 1976)."""
    w = weight / weight.sum()
    a, b = source - w @ source, target - w @ target
    u, _, vt = np.linalg.svd((b * w[:, None]).T @ a)
    return u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt


def _gauss_newton(
    photos: Sequence[Observed], states: tuple[PhotoState, ...], prior: IdentityPrior, steps: int,
    identity: Array | None = None,
) -> LandmarkFit:  # fmt: skip
    """Cameras alone for POSE_STEPS where no identity is given, then everything for `steps`."""
    m, e = len(photos[0].at.identity), len(photos[0].at.expression)
    a = prior.mean if identity is None else identity
    pose_steps = POSE_STEPS if identity is None else 0
    for step in range(pose_steps + steps):
        free = step >= pose_steps
        block = POSE + (e if free else 0)
        first = m if free else 0
        size = first + block * len(photos)
        normal, gradient = np.zeros((size, size)), np.zeros(size)
        if free:
            normal[:m, :m] += prior.precision
            gradient[:m] += prior.precision @ (a - prior.mean)
        for k, (photo, state) in enumerate(zip(photos, states, strict=True)):
            both = _equations(photo, state, a, free)
            rows = np.r_[0:first, first + k * block : first + (k + 1) * block]
            normal[np.ix_(rows, rows)] += both[:, :-1]
            gradient[rows] += both[:, -1]
            near, precision = first + k * block + POSE - 1, state.distance.sigma**-2
            normal[near, near] += precision
            gradient[near] += (state.camera.inverse_distance - state.distance.mean) * precision
            if free:
                own = slice(near + 1, near + 1 + e)
                normal[own, own] += np.eye(e) * SIGMA_EXPRESSION**-2
                gradient[own] += (state.expression - state.expected) * SIGMA_EXPRESSION**-2
        normal[np.diag_indices(size)] += 1e-9
        delta = -np.linalg.solve(normal, gradient)
        if free:
            a = a + delta[:m]
        states = tuple(
            moved(state, delta[first + k * block : first + (k + 1) * block]) for k, state in enumerate(states)
        )
    return _finished(photos, a, states, prior.cost(a))


def _equations(photo: Observed, state: PhotoState, a: Array, free: bool) -> Array:
    """(C,C+1) of what a photograph shows: Gauss-Newton's matrix, and its gradient in the last column; see `linearise`
    for their order."""
    at = photo.at
    jac, res = linearise(at, a, state, photo.place, free)
    lone = res - common_error(at, res, state.camera)
    w = np.repeat(_weights(at, lone, state.camera), 2)
    j, r = jac.reshape(-1, jac.shape[-1]), res.ravel()
    if free and photo.lines is not None:
        extra = _linearise_lines(photo.lines, a, state)
        j, r, w = (np.concatenate(pair) for pair in zip((j, r, w), extra, strict=True))
    both = j.T @ (np.c_[j, r] * w[:, None])
    # errors that landmarks have together are unknowns of no interest: eliminated (Schur's complement)
    ways, n = _error_modes(at, state.camera), 2 * len(at.index)
    seen = (ways * w[:n]) @ np.c_[j, r][:n]
    both -= seen[:, :-1].T @ np.linalg.solve(np.eye(len(ways)) + (ways * w[:n]) @ ways.T, seen)
    return np.asarray(both)


def _distance_prior(
    model: HeadModel, photo: Observed, face: Face, state: PhotoState, a: Array, prior: IdentityPrior
) -> DistancePrior:
    """By the focal length that the camera noted, where landmarks do not contradict; else by these, near a fit."""
    noted = noted_distance(state.camera.scale, face.focal)
    if model.landmark_distance is None:
        return noted or state.distance
    offset, slope = model.landmark_distance.tolist()
    told = offset + slope * distance_alone(photo, state, a, prior)
    return noted if noted and agrees(noted, told) else likely_distance(told)


def distance_alone(photo: Observed, state: PhotoState, a: Array, prior: IdentityPrior) -> float:
    """The inverse distance that a photograph would have without a prior of it, in Gauss-Newton's step from a fit."""
    both, m = _equations(photo, state, a, True), len(a)
    normal, gradient = both[:, :-1] + 1e-9 * np.eye(len(both)), both[:, -1]
    normal[:m, :m] += prior.precision
    gradient[:m] += prior.precision @ (a - prior.mean)
    own = np.arange(m + POSE, len(both))
    normal[own, own] += SIGMA_EXPRESSION**-2
    gradient[own] += (state.expression - state.expected) * SIGMA_EXPRESSION**-2
    return state.camera.inverse_distance - float(np.linalg.solve(normal, gradient)[m + POSE - 1])


def linearise(at: LandmarkModel, a: Array, state: PhotoState, q: Array, free: bool) -> tuple[Array, Array]:
    """Jacobian (K,2,C) of the pixels by identity and expression (if free), the camera's between; residual (K,2)."""
    cam = state.camera
    x = at.neutral + np.tensordot(a, at.identity, 1) + np.tensordot(state.expression, at.expression, 1)
    y = (x - cam.centre) @ cam.rotation.T
    d = 1.0 - cam.inverse_distance * y[:, 2]
    flat = y[:, :2] / d[:, None] * [1.0, -1.0]
    bias = at.bias_of(a)
    res = cam.shift + cam.scale * (flat + bias) - q
    # by the point in camera axes (K,2,3)
    by_point = np.zeros((len(x), 2, 3))
    by_point[:, 0, 0], by_point[:, 1, 1] = cam.scale / d, -cam.scale / d
    by_point[:, :, 2] = cam.scale * flat * (cam.inverse_distance / d)[:, None]
    camera = np.concatenate(
        [
            by_turn(by_point, y),
            (cam.scale * (flat + bias))[:, :, None],
            np.broadcast_to(np.eye(2), (len(x), 2, 2)),
            (cam.scale * flat * (y[:, 2] / d)[:, None])[:, :, None],
        ],
        2,
    )
    if not free:
        return camera, res
    to_camera = by_point @ cam.rotation
    identity = np.einsum("kpc,mkc->kpm", to_camera, at.identity)
    if len(at.bias):
        identity += cam.scale * at.bias[1:].transpose(1, 2, 0)
    expression = np.einsum("kpc,ekc->kpe", to_camera, at.expression)
    return np.concatenate([identity, camera, expression], 2), res


def common_error(at: LandmarkModel, res: Array, camera: PhotoCamera) -> Array:
    """(K,2) pixels: what of residuals (K,2) is likely to be errors that landmarks have together."""
    ways, w = _error_modes(at, camera), np.repeat(at.trust / (SIGMA * camera.scale) ** 2, 2)
    share = np.linalg.solve(np.eye(len(ways)) + (ways * w) @ ways.T, (ways * w) @ res.ravel())
    return (share @ ways).reshape(res.shape)


def _error_modes(at: LandmarkModel, camera: PhotoCamera) -> Array:
    """(R,2K) `at.error_modes` in pixels."""
    return at.error_modes.reshape(len(at.error_modes), 2 * len(at.index)) * camera.scale


def _linearise_lines(lines: Lines, a: Array, state: PhotoState) -> tuple[Array, Array, Array]:
    """Jacobian (N,C) and residual (N,) across the lines in pixels, weight (N,)."""
    jac, res = linearise(lines.at, a, state, lines.place, True)
    across = (res * lines.normal).sum(1)
    sigma = SIGMA_OUTLINE * state.camera.scale
    weight = lines.at.trust / sigma**2 * huber_weights(np.abs(across) / sigma, HUBER)
    weight = np.where(lines.one_sided & (across < 0), 0.0, weight)
    return np.einsum("npc,np->nc", jac, lines.normal), across, weight


def _weights(at: LandmarkModel, res: Array, camera: PhotoCamera) -> Array:
    """(K,) inverse variances in pixels, Huber's by iterative reweighting."""
    sigma = SIGMA * camera.scale
    distance = np.linalg.norm(res, axis=1) / sigma
    return at.trust / sigma**2 * huber_weights(distance, HUBER)


def moved(state: PhotoState, delta: Array) -> PhotoState:
    """A photo's state after a step."""
    cam = state.camera
    near = float(np.clip(cam.inverse_distance + delta[6], *INVERSE_DISTANCE_LIMITS))
    camera = PhotoCamera(
        turned(cam.rotation, delta[:3]),
        cam.centre,
        cam.scale * float(np.exp(np.clip(delta[3], -0.5, 0.5))),
        cam.shift + delta[4:6],
        near,
    )
    if len(delta) == POSE:
        return replace(state, camera=camera)
    expression = np.clip(state.expression + delta[POSE:], *EXPRESSION_LIMITS)
    return replace(state, camera=camera, expression=expression)


def _finished(photos: Sequence[Observed], a: Array, states: tuple[PhotoState, ...], cost: float) -> LandmarkFit:
    residual = []
    for photo, state in zip(photos, states, strict=True):
        at = photo.at
        _, res = linearise(at, a, state, photo.place, False)
        distance = np.linalg.norm(res, axis=1) / (SIGMA * state.camera.scale)
        huber = np.where(distance < HUBER, 0.5 * distance**2, HUBER * (distance - 0.5 * HUBER))
        cost += float(at.trust @ huber)
        cost += 0.5 * float(((state.expression - state.expected) ** 2).sum()) / SIGMA_EXPRESSION**2
        cost += 0.5 * ((state.camera.inverse_distance - state.distance.mean) / state.distance.sigma) ** 2
        square = (res**2).sum(1) / state.camera.scale**2
        residual.append(float(np.sqrt(at.trust @ square / at.trust.sum())))
    mouth, gaze = photos[0].at.mouth, photos[0].at.gaze
    calm = [np.where(mouth, (1 - s.expected[mouth].max(initial=0.0)) ** 2 + 1e-9, 1.0) for s in states]
    beyond = [share * ~gaze * (s.expression - s.expected) for share, s in zip(calm, states, strict=True)]
    resting = np.where(mouth, RESTING_MOUTH, RESTING_SHARE) * np.average(beyond, 0, calm)
    return LandmarkFit(a, resting, states, tuple(residual), cost)
