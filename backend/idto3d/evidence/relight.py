# SPDX-License-Identifier: GPL-3.0-or-later
"""Fits the light of a photograph again to the finished maps, so that the rendered head looks as in the photograph.

The maps differ from the photograph divided by the first light: tones were changed, shadows removed. So the renderer's
equation is solved for the light with the maps given, as a sum of lobes by non-negative least squares (Lawson and Hanson
1974), which keeps radiance nearly non-negative in all directions.
"""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import nnls

from ..arrays import Array
from ..fit.light import harmonics, spiral
from ..fit.projection import sample, seen_weights
from ..fit.subject import Fitted
from ..headmodel import HeadModel
from ..render.lights import lobe
from ..render.shading import MIN_ROUGHNESS, coat_albedo, diffuse_bands, glossy_bands, srgb_to_linear
from ..render.skin import F0_OF_SPECULAR
from .gather import Evidence

SAMPLES = 12000  # texels
LOBES = 48  # directions of light
SHARPEST = (2.2, 2.0)  # coefficients of bands 1 and 2 of a narrow lobe; its minimum is -.08 of its peak
EVENNESS = 0.005  # regularization towards even light, relative to the samples: half of all normals are never seen
OUTLIER = 0.6  # log of colour over prediction at which a sample's weight is halved
LEAST_SEEN = 0.3
FEWEST = 50  # samples (sum of weights) needed
ROUNDS = 5
DARKEST = 1e-4  # linear: keeps an empty channel from dividing by 0


def relit(model: HeadModel, fitted: Fitted, evidence: Evidence) -> Fitted:
    """The fit with new lights; photographs in which hardly any skin is seen keep the old one."""
    if not evidence.seen:
        return fitted
    name = max(evidence.seen, key=lambda n: float(evidence.seen[n].sum()))
    at, maps, seen = evidence.texels[name], evidence.maps[name], evidence.seen[name]
    rows = np.flatnonzero(at.of_image(seen) > LEAST_SEEN)
    rows = rows[:: max(1, len(rows) // SAMPLES)]
    few = at.only(rows)
    photos = []
    for photo, laid in zip(fitted.fit.photos, fitted.projected, strict=True):
        towards = photo.camera.towards(fitted.fit.posed(model, photo))
        pixel, height, facing, normal, to_eye = np.split(
            few.at(np.c_[laid.pixel, laid.height, laid.facing, laid.normal, towards]), (2, 3, 4, 7), axis=1
        )
        weight = seen_weights(laid, pixel, height[:, 0], facing[:, 0]) * few.of_image(seen)
        if weight.sum() > FEWEST:
            with suppress(RuntimeError, np.linalg.LinAlgError):  # no convergence: the first light will do
                light = solve_light(sample(laid.linear, pixel), few.of_image(maps), (normal, to_eye), weight)
                photo = replace(photo, light=light)
        photos.append(photo)
    return replace(fitted, fit=replace(fitted.fit, photos=tuple(photos)))


def solve_light(colours: Array, channels: Array, directions: tuple[Array, Array], weights: Array) -> Array:
    """(9,3) irradiance over pi, the light in which `render.shading.shade` gives the colours (N,3) linear.

    channels (N,5): albedo sRGB, roughness and specular; directions: normals (N,3), and those to the camera (N,3).
    """
    per_albedo, mirrored = _basis(channels, directions)
    albedo = srgb_to_linear(torch.from_numpy(channels[:, :3])).numpy()
    w = weights.astype(np.float64)
    lobes = _lobes()
    designs = [(albedo[:, c : c + 1] * per_albedo + mirrored) @ lobes for c in range(3)]
    even = np.eye(LOBES) - 1 / LOBES
    shares = [np.full(LOBES, _level(d.sum(1), colours[:, c], w)) for c, d in enumerate(designs)]
    for _ in range(ROUNDS):
        found = np.stack([d @ s for d, s in zip(designs, shares, strict=True)], 1)
        usual = np.maximum(np.average(found, axis=0, weights=weights), DARKEST)
        found = np.maximum(found, 0.1 * usual)
        off = np.abs(np.log(np.maximum(colours, 0.02 * usual) / found)).max(1)
        w = weights / (1 + (off / OUTLIER) ** 2)
        for c, design in enumerate(designs):
            # weighs differences as sRGB's gamma does
            rows = np.sqrt(w) * found[:, c] ** -0.55
            a, b = design * rows[:, None], colours[:, c] * rows
            scale = np.sqrt(EVENNESS * np.trace(a.T @ a) / LOBES)
            normal, target = a.T @ a + scale**2 * even, a.T @ b
            # the Cholesky factor of the normal equations replaces the many rows
            factor = np.linalg.cholesky(normal + 1e-9 * np.trace(normal) * np.eye(LOBES))
            shares[c], _ = nnls(factor.T, np.linalg.solve(factor, target))
    light = lobes @ np.stack(shares, 1)
    return light * diffuse_bands(torch.ones(1, dtype=torch.float64)).numpy()[:, None]


def _basis(channels: Array, directions: tuple[Array, Array]) -> tuple[Array, Array]:
    """(N,9) each: radiance per coefficient of the light, diffuse with an albedo of 1, and mirrored by the coat."""
    normal, towards = (d / np.linalg.norm(d, axis=1, keepdims=True) for d in directions)
    cosine = np.clip((normal * towards).sum(1, keepdims=True), 1e-4, 1)
    rough = torch.from_numpy(np.maximum(channels[:, 3:4], MIN_ROUGHNESS)).double()
    coat = coat_albedo(torch.from_numpy(cosine).double(), rough, F0_OF_SPECULAR * torch.from_numpy(channels[:, 4:5]))
    glossy = harmonics(2 * cosine * normal - towards) * glossy_bands(rough).numpy()
    return (1 - coat.numpy()) * harmonics(normal) * diffuse_bands(rough).numpy(), coat.numpy() * glossy


def _level(even: Array, colour: Array, weight: Array) -> float:
    return float(np.average(colour, weights=weight) / max(np.average(even, weights=weight), 1e-6))


def _lobes() -> Array:
    """(9,LOBES) coefficients of lobes in directions spread evenly."""
    return np.stack([lobe(torch.from_numpy(d), *SHARPEST).numpy() for d in spiral(LOBES)], 1)
