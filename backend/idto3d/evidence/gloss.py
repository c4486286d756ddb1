# SPDX-License-Identifier: GPL-3.0-or-later
"""The skin's gloss: roughness and specular as they vary over a head, and how glossy photographs show it."""

import numpy as np

from ..arrays import Array
from ..fit.projection import Projected, sample
from ..headmodel import HeadModel
from ..mesh.solid_noise import solid_noise
from ..mesh.texels import Texels
from ..ramps import ramp
from .complexion import BANDS, DARKER, oral_cavity

# landmarks, reach, roughness and specular on top of the material's: T of forehead and nose, chin, lids, cheeks
GLOSSY = (
    ((9, 151, 10), 0.020, -0.04, 0.03),
    ((6, 197, 5, 4), 0.010, -0.06, 0.04),
    ((48, 278), 0.008, -0.04, 0.02),
    ((199,), 0.012, -0.02, 0.0),
    ((159, 386), 0.009, -0.03, 0.0),
    ((205, 425), 0.022, 0.03, -0.02),
)
LIPS_GLOSS = (-0.10, 0.06)
AWAY = 0.04  # added roughness away from the face
USUAL_SHINE, SHINES = 0.65, (0.6, 1.4)  # log between the brightest and the median skin; limits
COVERED = 0.1, 0.6  # albedo over the tone: where hair covers the skin's coat, where it is bare
PORES = 0.035  # deviation of roughness from pore to pore


def gloss_of(model: HeadModel, at: Texels, plain: tuple[float, float], lips: Array, shine: float) -> Array:
    """(N,2) roughness and specular at texels. plain: the material's; lips (N,) 0..1; shine: of the photographs' skin,
    1 as usual, see `shine_of`."""
    points = at.at(model.neutral)
    rough, bright = at.at(_gloss(model)).T
    rough = rough + LIPS_GLOSS[0] * lips + PORES * solid_noise(points, BANDS[0], 0) * (1 - lips)
    bright = bright + LIPS_GLOSS[1] * lips - 0.5 * PORES * solid_noise(points, BANDS[0], 0) * (1 - lips)
    out = np.stack([plain[0] / shine**0.5 + rough, plain[1] * shine**0.25 + bright], 1)
    return np.clip(out, 0.05, 0.95).astype(np.float32)


def dulled(gloss: Array, albedo: Array, tone: Array, lips: Array) -> Array:
    """(N,2) of gloss (N,2) with less specular where albedo (N,3) linear is darker than the skin's tone (3,), other than
    lips (N,) 0..1: brows and beards cover the skin's coat, and no light gets into folds. Otherwise it greys them."""
    bare = np.maximum(ramp((albedo / tone).mean(1), *COVERED), lips)
    return np.stack([gloss[:, 0], gloss[:, 1] * bare], 1).astype(np.float32)


def shine_of(model: HeadModel, photo: Projected) -> float:
    """How much brighter the brightest skin of a photograph is than its median skin; 1 is usual."""
    rows = model.vertices_of("face") & (photo.facing > 0.5)
    if rows.sum() < 50:
        return 1.0
    seen = sample(photo.linear, photo.pixel[rows]) / photo.shade[rows] / photo.tone
    light = np.log(np.maximum(seen, 0.02)).mean(1)
    usable = sample(photo.usable, photo.pixel[rows]) > 0.5
    if usable.sum() < 50:
        return 1.0
    middle, bright = np.quantile(light[usable], (0.5, 0.96))
    return float(np.clip((bright - middle) / USUAL_SHINE, *SHINES))


def _gloss(model: HeadModel) -> Array:
    """(P,2) added roughness and specular."""
    out = np.zeros((len(model.neutral), 2))
    for landmarks, reach, rough, bright in GLOSSY:
        out += _around(model, landmarks, reach)[:, None] * [rough, bright]
    nearest = np.min([np.linalg.norm(model.neutral - m, axis=1) for m in model.landmarks(model.neutral)[:468:9]], 0)
    out[:, 0] += AWAY * np.clip((nearest - 0.02) / 0.03, 0, 1)
    inside, behind = oral_cavity(model)
    out[inside, 1] -= DARKER * behind  # light that does not reach it is not mirrored either
    return out


def _around(model: HeadModel, landmarks: tuple[int, ...], reach: float) -> Array:
    """(P,) 1 at the landmarks, a Gaussian of reach (metres) around them."""
    middles = model.landmarks(model.neutral)[list(landmarks)]
    squared = np.min([((model.neutral - m) ** 2).sum(1) for m in middles], 0)
    return np.exp(-squared / reach**2)
