# SPDX-License-Identifier: GPL-3.0-or-later
"""A fit corrected by a person: points of the head are pinned to places in the photographs, and the head follows.

Two steps. First Gauss-Newton as in `landmarks`, but with priors around the current fit: landmarks and skin far from the
pins resist, and the modes' prior makes a pinned chin give a plausible jaw. Then a smooth displacement of the skin for
the remaining distance, exact at the pins and gone a few edges away (a thin plate on springs: (L^2 + SCREEN^-4) d = 0
off the pins). The result depends on the pins only; without pins nothing changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import coo_array, eye_array

from ..arrays import Array
from ..errors import UserError
from ..headmodel import HeadModel
from ..headmodel.follow import find_body
from ..headmodel.model import SKIN_PARTS
from ..mesh.smooth import factorise
from ..mesh.surface import uniform_laplacian
from .camera import PhotoCamera
from .check import check_identity
from .distance import SIGMA_INVERSE_DISTANCE
from .landmarks import HUBER, POSE, LandmarkModel, PhotoState, linearise, moved
from .result import HeadFit

SIGMA = 0.001  # metres: standard deviation of a pin in the first step
SIGMA_EXPRESSION = 0.08  # of expression coefficients around the current ones: pins should change identity first
SIGMA_LANDMARK = 0.003  # metres: of landmarks around where they are
NEAR = 0.02  # metres round a pin within which landmarks lose their weight
SIGMA_FAR, FAR, SAMPLES = 0.002, 0.04, 300
"""Standard deviation of the skin far from pins (metres), where far begins, and at how many vertices it is evaluated."""
SCREEN = 6.0  # edges over which a pin's displacement fades
EXACT, SHARED = 1e-6, 0.02
"""Of pins' responses, added to them: for a field that meets its pins, and for the one that photos share. That one
would turn a millimetre by which pins of one place disagree in two views into a spike of centimetres in depth."""
EXPRESSIVE = 0.006  # metres of expression at a pin at which half of the displacement goes to that photo's pose only
STEPS = 4
FARTHEST = 0.015  # metres that the displacement may have to bridge
FOLDED = 0.004  # share of the skin's triangles that may flip
TORN, LONG = 3.0, 0.0005
"""By how much an edge of the skin may grow; a shorter one than LONG (metres) counts as that long. Single pins as far as
they go and fifteen that were a hundredth of the face off, on five heads, made 2.0 of heads and 2.7 of mouths in photos;
two that lie millimetres apart and go opposite ways made spikes of 12."""
_FIX = "Move the last pin nearer to where it was, or remove it."


@dataclass(frozen=True, eq=False)
class Pin:
    """A point of the skin, a triangle's corners (3,) and barycentric weights (3,), and the pixel (2,) of a photo where
    it should be."""

    photo: int
    corners: Array
    weights: Array
    pixel: Array


@dataclass(frozen=True, eq=False)
class Posed:
    """A head in its photograph: camera, expression (E,), pose (P,3) metres, head frame."""

    camera: PhotoCamera
    expression: Array
    pose: Array


@dataclass(frozen=True, eq=False)
class Pulled:
    """identity (M,); motion (P,3) of the neutral head; photos: as they are now."""

    identity: Array
    motion: Array
    photos: tuple[Posed, ...]


class Pinning:
    """A fitted head to be corrected: identity (M,), neutral (P,3) and its photographs. Factorises once; `pull` is
    fast."""

    def __init__(self, model: HeadModel, identity: Array, neutral: Array, photos: Sequence[Posed]) -> None:
        self.model, self.identity, self.neutral, self.photos = model, identity, neutral, tuple(photos)
        self._at = LandmarkModel.of(model)
        self._landmarks = model.landmark_triangle[self._at.index], model.landmark_barycentric[self._at.index]
        self._body = find_body(model, neutral)
        body = self._body.vertices.numpy()
        place = np.full(len(neutral), -1)
        place[body] = np.arange(len(body))
        self._place = place
        own = model.triangles[(place[model.triangles] >= 0).all(1)]
        laplacian = uniform_laplacian(place[own], len(body))
        self._solver = factorise(laplacian @ laplacian + SCREEN**-4 * eye_array(len(body)))
        self._skin = model.triangles_of(*SKIN_PARTS)
        self._edges = np.unique(np.sort(self._skin[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
        self._lengths = [self._length(points) for points in (neutral, *(photo.pose for photo in photos))]
        rows = np.unique(self._skin)
        self._far = rows[:: max(1, len(rows) // SAMPLES)]
        self._far_modes = model.identity[:, self._far].astype(np.float64)
        self.on_skin = np.zeros(len(neutral), bool)
        self.on_skin[self._skin] = True

    def pull(self, pins: Sequence[Pin]) -> Pulled:
        """The head with its pins in place. Raises UserError E_FIT_PINS for pins that no plausible head meets."""
        if not pins:
            return Pulled(self.identity, np.zeros_like(self.neutral), self.photos)
        if not all(self.on_skin[pin.corners].all() for pin in pins):
            raise UserError("E_FIT_PINS", "A pin is not on the skin.", "Remove it.")
        identity, states = self._solve(pins)
        try:
            check_identity(HeadFit(identity, np.zeros(1), np.zeros(1), ()))
        except UserError as error:
            raise UserError("E_FIT_PINS", "The pins ask for a head that nobody has.", _FIX) from error
        motion = self.model.shape(identity) - self.model.shape(self.identity)
        photos = []
        for state, old in zip(states, self.photos, strict=True):
            mood = self.model.motion(state.expression - old.expression)
            photos.append(Posed(state.camera, state.expression, old.pose + motion + mood))
        shared, own = self._bend(pins, photos)
        photos = [replace(photo, pose=photo.pose + shared + one) for photo, one in zip(photos, own, strict=True)]
        self._check(motion + shared, photos)
        return Pulled(identity, motion + shared, tuple(photos))

    def _solve(self, pins: Sequence[Pin]) -> tuple[Array, list[PhotoState]]:
        """Identity and each photo's camera and expression by Gauss-Newton, with priors around the current values."""
        parts = [self._observed(k, pins) for k in range(len(self.photos))]
        states = [PhotoState(photo.camera, photo.expression, photo.expression) for photo in self.photos]
        m, e = self.model.identity.shape[0], self.model.expression.shape[0]
        block = POSE + e
        size = m + block * len(states)
        a = self.identity
        still = np.eye(m) + self._stillness(pins)
        for _ in range(STEPS):
            normal, gradient = np.zeros((size, size)), np.zeros(size)
            normal[:m, :m] += still
            gradient[:m] += still @ (a - self.identity)
            for k, ((at, q, sigma), state) in enumerate(zip(parts, states, strict=True)):
                jac, res = linearise(at, a, state, q, True)
                pixels = sigma * state.camera.scale
                off = np.linalg.norm(res, axis=1) / pixels
                # pins are quadratic, landmarks Huber: a landmark far off pulls no harder
                robust = np.where(sigma == SIGMA, 1.0, np.minimum(1.0, HUBER / np.maximum(off, 1e-9)))
                w = np.repeat(at.trust / pixels**2 * robust, 2)
                first = m + k * block
                rows = np.r_[0:m, first : first + block]
                j = jac.reshape(-1, jac.shape[-1])
                normal[np.ix_(rows, rows)] += j.T @ (j * w[:, None])
                gradient[rows] += j.T @ (w * res.ravel())
                prior = np.r_[np.zeros(POSE - 1), SIGMA_INVERSE_DISTANCE**-2, np.full(e, SIGMA_EXPRESSION**-2)]
                offset = np.zeros(block)
                offset[POSE - 1] = state.camera.inverse_distance - self.photos[k].camera.inverse_distance
                offset[POSE:] = state.expression - state.expected
                own = np.arange(first, first + block)
                normal[own, own] += prior
                gradient[own] += prior * offset
            normal[np.diag_indices(size)] += 1e-9
            delta = -np.linalg.solve(normal, gradient)
            a = a + delta[:m]
            states = [moved(s, delta[m + k * block :][:block]) for k, s in enumerate(states)]
        return a, states

    def _stillness(self, pins: Sequence[Pin]) -> Array:
        """(M,M) precision on the identity that keeps skin far from all pins in place, also away from landmarks."""
        where = np.stack([pin.weights @ self.neutral[pin.corners] for pin in pins])
        distance = np.linalg.norm(self.neutral[self._far][:, None] - where, axis=2).min(1)
        weight = (1 - np.exp(-((distance / FAR) ** 2))) / SIGMA_FAR**2
        flat = (self._far_modes * np.sqrt(weight)[:, None]).reshape(len(self._far_modes), -1)
        return flat @ flat.T

    def _observed(self, k: int, pins: Sequence[Pin]) -> tuple[LandmarkModel, Array, Array]:
        """For photo k: the model at landmarks and pins, their pixels (K,2) and standard deviations (K,) in metres."""
        photo, at = self.photos[k], self._at
        own = [pin for pin in pins if pin.photo == k]
        where = _at(self.neutral, *self._landmarks)
        faded = at.trust.copy()
        for pin in pins:
            distance = np.linalg.norm(where - pin.weights @ self.neutral[pin.corners], axis=1)
            faded *= 1 - np.exp(-((distance / NEAR) ** 2))
        corners = np.concatenate([self._landmarks[0], *(pin.corners[None] for pin in own)])
        weights = np.concatenate([self._landmarks[1], *(pin.weights[None] for pin in own)]).astype(np.float64)
        pinned = slice(len(at.index), None)
        identity = np.concatenate([at.identity, _at(self.model.identity, corners[pinned], weights[pinned])], 1)
        expression = np.concatenate([at.expression, _at(self.model.expression, corners[pinned], weights[pinned])], 1)
        # the linear model's neutral is set so that it gives the current pose, which has other displacements, too
        shown = _at(photo.pose, corners, weights)
        neutral = shown - np.tensordot(self.identity, identity, 1) - np.tensordot(photo.expression, expression, 1)
        pixel, _ = photo.camera.project(shown)
        for n, pin in enumerate(own):
            pixel[len(at.index) + n] = pin.pixel
        sigma = np.r_[np.full(len(at.index), SIGMA_LANDMARK), np.full(len(own), SIGMA)]
        trust = np.r_[faded, np.ones(len(own))]
        return replace(at, neutral=neutral, identity=identity, expression=expression, trust=trust), pixel, sigma

    def _bend(self, pins: Sequence[Pin], photos: Sequence[Posed]) -> tuple[Array, list[Array]]:
        """Smooth displacements (P,3) for the remaining distances: of the head, and of each photo's pose only."""
        axes = np.stack([photos[pin.photo].camera.rotation[:2] for pin in pins])
        left = np.stack([_missed(pin, photos[pin.photo]) for pin in pins])
        far = float(np.linalg.norm(left, axis=1).max())
        if not far <= FARTHEST:
            what = f"The pins ask for a head that nobody has: it would have to bend by {far * 1000:.0f} mm."
            raise UserError("E_FIT_PINS", what, _FIX)
        green = self._green(pins)
        corners, weights = np.stack([p.corners for p in pins]), np.stack([p.weights for p in pins])
        mood = [np.linalg.norm(p.weights @ self.model.motion(photos[p.photo].expression)[p.corners]) for p in pins]
        share = 1 / (1 + (np.array(mood) / EXPRESSIVE) ** 2)
        shared = self._field(green, axes, share[:, None] * left, corners, weights, SHARED)
        left = left - np.einsum("nic,nc->ni", axes, _at(shared, corners, weights))
        own = []
        for k in range(len(photos)):
            rows = np.array([n for n, pin in enumerate(pins) if pin.photo == k], int)
            own.append(self._field(green[rows], axes[rows], left[rows], corners[rows], weights[rows]))
        return shared, own

    def _green(self, pins: Sequence[Pin]) -> Array:
        """(N,Q) the body's response (Green's function) to a unit force at each pin."""
        rows = np.repeat(np.arange(len(pins)), 3)
        columns = self._place[np.stack([pin.corners for pin in pins])].ravel()
        values = np.stack([pin.weights for pin in pins]).ravel()
        pushes = coo_array((values, (rows, columns)), shape=(len(pins), len(self._body.vertices))).toarray()
        return self._solver.solve(np.ascontiguousarray(pushes.T, np.float64)).T

    def _field(
        self, green: Array, axes: Array, wanted: Array, corners: Array, weights: Array, ridge: float = EXACT
    ) -> Array:
        """(P,3) of least energy that moves pins by wanted (N,2) metres along axes (N,2,3); ridge: see `EXACT`."""
        n = len(wanted)
        if not n:
            return np.zeros_like(self.neutral)
        answer = np.einsum("qpk,pk->pq", green[:, self._place[corners]], weights)
        matrix = np.einsum("pq,pic,qjc->piqj", answer, axes, axes).reshape(2 * n, 2 * n)
        matrix[np.diag_indices(2 * n)] *= 1 + ridge
        push = np.linalg.solve(matrix, wanted.ravel()).reshape(n, 2)
        motion = torch.from_numpy(np.ascontiguousarray(green.T @ np.einsum("ni,nic->nc", push, axes)))
        return self._body.whole(motion).numpy().astype(np.float64)

    def _check(self, motion: Array, photos: Sequence[Posed]) -> None:
        """Raises UserError E_FIT_PINS where triangles of the skin flip, or edges are drawn out."""
        before, after = (_normals(points, self._skin) for points in (self.neutral, self.neutral + motion))
        turned = float(((before * after).sum(1) < 0).mean())
        if turned > FOLDED or not all(np.isfinite(photo.pose).all() for photo in photos):
            raise UserError("E_FIT_PINS", "The pins fold the face over itself.", _FIX)
        now = (self.neutral + motion, *(photo.pose for photo in photos))
        for old, points in zip(self._lengths, now, strict=True):
            if (self._length(points) > TORN * np.maximum(old, LONG)).any():
                raise UserError("E_FIT_PINS", "Pins that lie side by side tear the face apart.", _FIX)

    def _length(self, points: Array) -> Array:
        """(E,) metres, of the skin's edges."""
        return np.linalg.norm(points[self._edges[:, 0]] - points[self._edges[:, 1]], axis=1)


def _missed(pin: Pin, photo: Posed) -> Array:
    """(2,) metres along the camera's axes from where the pinned point is to where it should be."""
    pixel, height = photo.camera.project(pin.weights @ photo.pose[pin.corners])
    away = (1 - photo.camera.inverse_distance * height) / photo.camera.scale
    return (pin.pixel - pixel) * [1, -1] * away


def _at(values: Array, corners: Array, weights: Array) -> Array:
    """(...,N,3) a field (...,P,3) at points of triangles."""
    return np.einsum("...kjc,kj->...kc", values[..., corners, :].astype(np.float64), weights)


def _normals(points: Array, triangles: Array) -> Array:
    a, b, c = points[triangles].transpose(1, 0, 2)
    return np.cross(b - a, c - a)
