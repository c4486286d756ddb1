# SPDX-License-Identifier: GPL-3.0-or-later
"""Shading says where normals point: how bright skin is in a photograph, against the fitted head in its fitted light.

log luminance = log(harmonics(normal) @ light) + what complexions, shadows and gloss add. A normal turns with the
identity, by a Jacobian that is known; what is added is a Gaussian field whose mean and covariance were learnt from
rendered people whose truth is known (training/photometric.py). So each photograph is one more observation of the
identity, and says the more the harder its light and the plainer its skin are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.sparse import coo_array

from ..arrays import Array
from ..headmodel import HeadModel
from ..photos import align
from ..photos.faces import Face
from ..photos.landmarks import DESCRIBED
from .camera import PhotoCamera
from .landmarks import LandmarkFit, refit_with
from .light import harmonics
from .outline import outlines
from .priors import IdentityPrior, identity_prior
from .projection import project_photo, sample, seen_weights
from .visibility import resized

CHANNELS = np.array([0.3, 0.6, 0.1])  # weights of linear RGB
MEAN = 0.28209479  # of band 0
DARKEST = 0.2  # of the mean light: no skin is taken to be lit less
BRIGHTEST = 4.25  # of the mean light: what light from one direction alone gives, in harmonics to second order
SHADE = 1.0  # of the mean light: where reflected light adds as much variance to the logarithm as skin does
OUTLIER = 0.6  # logarithms are clipped to this
BLUR = 0.7  # pixels of the small picture
FACING, LEAST_SEEN = 0.2, 0.3  # cosine to the camera, and share of a point that is seen, from which on it counts
FEWEST = 0.05  # share of the points: fewer tell nothing
DARK = 0.002  # linear: darker is noise
TAILS, ROUNDS = 4.0, 4  # degrees of freedom of a point's error; rounds of weighing
LEAST = 0.4  # of the usual residual: the least assumed of a photograph


@dataclass(frozen=True, eq=False)
class Shading:
    """Of N points of a head in one photograph, in units of the error there: logs (N,) log luminance less that of the
    shaded head, slopes (N,M) by the identity; seen (N,) bool."""

    logs: Array
    slopes: Array
    seen: Array


def fit_shading(model: HeadModel, faces: Sequence[Face], before: LandmarkFit) -> LandmarkFit:
    """Go on from a fit to landmarks and outlines with shading, too. `before` itself where nothing is known of it."""
    if model.shading_points is None:
        return before
    prior = identity_prior(model, faces)
    precision, information = prior.precision, prior.precision @ prior.mean
    told = []
    for face, state in zip(faces, before.states, strict=True):
        posed = model.shape(before.identity) + model.motion(state.expression)
        equations = normal_equations(model, read_shading(model, face, state.camera, posed, model.shading_points))
        if equations[0].any():
            told.append(equations)
    for normal, gradient in told:
        # What skin is darker of itself is the same in each photo, and no photo's error: together they tell as one.
        precision = precision + normal / len(told)
        information = information + (normal @ before.identity + gradient) / len(told)
    prior = IdentityPrior(np.linalg.solve(precision, information), precision)
    return refit_with(model, faces, before, outlines(model, faces, before), prior)


def normal_equations(model: HeadModel, shading: Shading) -> tuple[Array, Array]:
    """Normal matrix (M,M) and gradient (M,) of the identity's change: slopes @ change = logs, less the skin's field.

    A photograph whose residuals stay large counts for less by their square.
    """
    modes = shading.slopes.shape[1]
    if shading.seen.mean() < FEWEST:
        return np.zeros((modes, modes)), np.zeros(modes)
    matrix = whitened(model, shading)
    weight, usual = (float(np.asarray(number)) for number in (model.shading_weight, model.shading_residual))
    badly = float(matrix[-1, -1]) / int(shading.seen.sum()) / usual
    share = weight / max(LEAST, badly) ** 2
    return share * matrix[:-1, :-1], share * matrix[:-1, -1]


def whitened(model: HeadModel, shading: Shading) -> Array:
    """(M+1,M+1): products of slopes and, last, of logs less the field's mean, over the points' covariance.

    Points that the field does not explain (a spot, a strand, gloss) are downweighted as outliers of Student's t
    (Lange et al. 1989).
    """
    seen = shading.seen
    mean, ways, noise = (
        np.asarray(array, np.float64)[seen] for array in (model.shading_mean, model.shading_ways, model.shading_noise)
    )
    both = np.c_[shading.slopes[seen], shading.logs[seen] - mean]
    off, inverse_variance = both[:, -1], 1 / noise
    for _ in range(ROUNDS):
        left = off - ways @ _solve(ways, inverse_variance, off)
        inverse_variance = (TAILS + 1) / (TAILS + left**2 / noise) / noise
    weighted = both * inverse_variance[:, None]
    return np.asarray(both.T @ weighted - (weighted.T @ ways) @ _solve(ways, inverse_variance, both))


def _solve(ways: Array, inverse_variance: Array, values: Array) -> Array:
    """How much of each of ways (N,W) is in values (N[,C]) whose inverse variances besides are inverse_variance (N,)."""
    weighted = ways.T * inverse_variance
    return np.linalg.solve(np.eye(ways.shape[1]) + weighted @ ways, weighted @ values)


def read_shading(model: HeadModel, face: Face, camera: PhotoCamera, posed: Array, points: Array) -> Shading:
    """What a photograph says of a posed head (P,3) at vertices `points` (N,)."""
    laid = project_photo(model, smaller(face), resized(camera, DESCRIBED / len(face.picture)), posed)
    pixel, normal, light = laid.pixel[points], laid.normal[points], laid.light @ CHANNELS
    colour = sample(cv2.GaussianBlur(laid.linear, (0, 0), BLUR), pixel) @ CHANNELS
    weight = seen_weights(laid, pixel, laid.height[points], laid.facing[points])
    usual, raw = MEAN * light[0], harmonics(normal) @ light
    seen = (weight > LEAST_SEEN) & (laid.facing[points] > FACING)
    # brightness that falls off faster than any distant light's, as by a flash in the dark, does not say where normals
    # point
    seen &= raw[seen].max(initial=0.0) <= BRIGHTEST * usual
    shade = np.maximum(raw, max(DARKEST * usual, DARK))
    logs = np.log(np.maximum(colour, DARK) / shade)
    slope = (_harmonics_by(normal) @ light[:, None])[..., 0] * ((raw >= shade) / shade)[:, None]
    slopes = _normals_by_identity(model, posed, points, slope)
    inverse_variance = 1 / (1 + (SHADE * usual / shade) ** 2)
    mean = weight * seen * inverse_variance / max(float((weight * seen * inverse_variance).sum()), 1e-9)
    logs, slopes = logs - mean @ logs, slopes - mean @ slopes
    weight = seen * np.sqrt(inverse_variance)
    return Shading(np.clip(logs, -OUTLIER, OUTLIER) * weight, slopes * weight[:, None], seen)


def smaller(face: Face) -> Face:
    """The face in a picture as large as that which features are taken of."""
    size, factor = (DESCRIBED, DESCRIBED), DESCRIBED / len(face.picture)
    reduced = np.array([[factor, 0, 0.5 * factor - 0.5], [0, factor, 0.5 * factor - 0.5]])  # from edges, not centres
    return replace(
        face,
        picture=np.asarray(cv2.resize(face.picture, size, interpolation=cv2.INTER_AREA), np.uint8),
        inside=cv2.resize(face.inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0,
        person=np.asarray(cv2.resize(face.person, size, interpolation=cv2.INTER_AREA), np.float32),
        landmarks=align.apply(reduced, face.landmarks),
        to_picture=align.compose(reduced, face.to_picture),
    )


def _normals_by_identity(model: HeadModel, posed: Array, points: Array, slope: Array) -> Array:
    """(N,M): slope (N,3) along the derivative of the points' unit normals by the identity.

    A triangle's area normal a x b + b x c + c x a changes by (c - b) x da, and so on round it.
    """
    row = np.full(len(posed), -1)
    row[points] = np.arange(len(points))
    around = model.triangles[(row[model.triangles] >= 0).any(1)]
    used, local = np.unique(around, return_inverse=True)
    corner = local.reshape(-1, 3)
    edge = np.stack([posed[around[:, (j + 2) % 3]] - posed[around[:, (j + 1) % 3]] for j in range(3)], 1)
    area = np.cross(edge[:, 0], edge[:, 1])
    whole = np.zeros((len(points), 3))
    own = [np.flatnonzero(row[around[:, k]] >= 0) for k in range(3)]
    for k, at in enumerate(own):
        np.add.at(whole, row[around[at, k]], area[at])
    length = np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-20)
    unit = whole / length
    slope = (slope - unit * (slope * unit).sum(1, keepdims=True)) / length
    rows, columns, values = [], [], []
    for k, at in enumerate(own):
        n = row[around[at, k]]
        for j in range(3):
            rows.append(np.repeat(n, 3))
            columns.append((3 * corner[at, j][:, None] + np.arange(3)).ravel())
            values.append(np.cross(slope[n], edge[at, j]).ravel())
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    by_place = coo_array(entries, shape=(len(points), 3 * len(used))).tocsr()
    modes = model.identity[:, used].astype(np.float64).reshape(len(model.identity), -1)
    return by_place @ modes.T


def _harmonics_by(normal: Array) -> Array:
    """(N,3,9) derivative of `harmonics` by the normal (N,3)."""
    x, y, z = normal.T
    out = np.zeros((len(normal), 3, 9))
    out[:, 1, 1] = out[:, 2, 2] = out[:, 0, 3] = 0.48860251
    out[:, 0, 4], out[:, 1, 4] = 1.09254843 * y, 1.09254843 * x
    out[:, 1, 5], out[:, 2, 5] = 1.09254843 * z, 1.09254843 * y
    out[:, 2, 6] = 6 * 0.31539157 * z
    out[:, 0, 7], out[:, 2, 7] = 1.09254843 * z, 1.09254843 * x
    out[:, 0, 8], out[:, 1, 8] = 2 * 0.54627422 * x, -2 * 0.54627422 * y
    return out
