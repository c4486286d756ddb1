# SPDX-License-Identifier: GPL-3.0-or-later
"""The light of a photograph, from skin of known shape: second-order spherical harmonics (Ramamoorthi and Hanrahan 2001)
times one skin colour. On measured skin the albedo's own harmonics are a few per cent of its constant, so one colour is
enough; shadows, highlights, brows and beards are outliers and get little weight."""

import numpy as np
import torch

from ..arrays import Array
from ..render.lights import sh_basis
from ..render.shading import coat_albedo

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of linear RGB (ITU-R BT.709)
RIDGE = (0.0, 0.02, 0.3)
"""Regularization of bands 0, 1 and 2 as shares of the sum of weights: only half of all normals are visible."""
OUTLIER = 0.3  # log of colour over prediction at which a pixel's weight is halved
USUAL = (0.08, 0.96)  # quantiles of lightness that count for the tone: neither beard nor gloss
FLOOR = 0.25  # of the mean shading: the least that visible skin is taken to be lit by
ROUNDS = 6
COAT = (0.48, 0.03)  # roughness, and reflectance at normal incidence, of the skin's specular coat


def harmonics(normals: Array) -> Array:
    """`render.lights.sh_basis` of unit normals (N,3): (N,9)."""
    return sh_basis(torch.from_numpy(np.ascontiguousarray(normals))).numpy()


def fit_light(colours: Array, normals: Array, weights: Array) -> tuple[Array, Array]:
    """The skin's tone (3,), its mean linear colour, and the light (9,3) in harmonics, so that colour = tone *
    (harmonics(normal) @ light) for skin of just this tone.

    colours (N,3) linear, normals (N,3) in the head frame, weights (N,).
    """
    order = np.argsort(colours @ LUMINANCE)
    share = np.cumsum(weights[order]) / weights.sum()
    usual = order[(share > USUAL[0]) & (share < USUAL[1])]
    # a mean, not a median: when a face is lit from one side, the median may lie in the shade
    tone = np.maximum(np.average(colours[usual], axis=0, weights=weights[usual] + 1e-9), 1e-3)
    basis = harmonics(normals)
    target = colours / tone
    light = np.zeros((9, 3))
    light[0] = 1 / 0.28209479
    w = weights.copy()
    bands = np.repeat(RIDGE, (1, 3, 5))
    for _ in range(ROUNDS):
        shade = np.maximum(basis @ light, 0.05)
        off = np.abs(np.log(np.maximum(target, 0.01) / shade)).max(1)
        w = weights / (1 + (off / OUTLIER) ** 2) / np.maximum(shade.mean(1), 0.2)
        normal = basis.T @ (basis * w[:, None]) + np.diag(bands * w.sum() * 0.08)
        light = np.linalg.solve(normal, basis.T @ (target * w[:, None]))
    return tone, light


def coat(facing: Array) -> Array:
    """(N,) directional albedo of the skin's specular coat, for cosines (N,) to the camera."""
    cosine = torch.from_numpy(np.clip(np.asarray(facing, np.float32), 1e-3, 1.0))
    return coat_albedo(cosine, torch.tensor(COAT[0]), torch.tensor(COAT[1])).numpy()


def under_coat(tone: Array, facing: Array) -> Array:
    """(N,3) diffuse share of the light that skin of a tone (3,) reflects at cosines (N,) to the camera; the rest is its
    coat's."""
    mirrored = coat(facing)[:, None]
    out: Array = tone / ((1 - mirrored) * tone + mirrored)
    return out.astype(np.float32)


def shading(light: Array, normals: Array) -> Array:
    """Irradiance over pi (N,3) of normals (N,3) under light (9,3), kept away from zero."""
    mean = 0.28209479 * light[0]
    return np.maximum(harmonics(normals) @ light, FLOOR * np.maximum(mean, 1e-3))


def spiral(count: int) -> Array:
    """(count,3) directions spread evenly over the sphere (Fibonacci's spiral)."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn = np.pi * (3 - 5**0.5) * np.arange(count)
    wide = np.sqrt(1 - height**2)
    return np.stack([wide * np.cos(turn), height, wide * np.sin(turn)], 1)
