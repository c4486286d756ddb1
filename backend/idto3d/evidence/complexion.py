# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic skin where no photograph shows any, and gloss: the tone as it varies over a head, with detail like that of
the seen skin.

Hue varies with blood and melanin (their axes in log linear RGB after Tsumura et al. 2003); detail has the seen skin's
variance, band by band, and comes from solid noise, so that it continues over the UV seams.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..fit.projection import LIPS, Projected, sample
from ..headmodel import HeadModel
from ..mesh.solid_noise import solid_noise
from ..mesh.texels import Texels
from ..ramps import ramp
from .blend import smooth_within

BLOOD, MELANIN = np.array([-0.10, -0.62, -0.46]), np.array([-0.42, -0.60, -0.85])
BANDS = (0.0016, 0.0045, 0.012)  # metres: wavelengths of the detail
PLAIN = (0.018, 0.022, 0.02)  # its standard deviations (logarithm), where too little skin was seen
LIMITS = (0.6, 1.6)  # times PLAIN: more is beard, less is a picture without detail
MOTTLED = 0.03  # deviation of blood and melanin, in patches of 15 and 30 mm
# landmarks, reach in metres, added blood and melanin
TINTS = (
    ((205, 425, 50, 280), 0.022, 0.06, 0.0),  # cheeks
    ((1, 4), 0.014, 0.05, 0.0),  # the nose's tip
    ((159, 386, 145, 374), 0.014, 0.03, 0.05),  # lids
    ((10, 151), 0.03, -0.02, 0.02),  # forehead
)
EARS, NECK = 0.12, -0.03  # added blood of ears, and of what lies below the chin
# inside of the mouth: its part, added blood, melanin at the lips and for every metre behind them, as light falls off
ORAL_CAVITY, CAVITY_BLOOD, CAVITY_DARK, DARKER = "mouth_socket", 1.2, 0.9, 30.0
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
LIPS_BLOOD, FEWEST = 0.5, 50  # where too few of their texels are seen
RIM, SOFT_RIM = 0.004, 0.003  # metres from texels to the lips' rim at most; blur of the rim, of a map's side
AWAY = 0.04  # added roughness away from the face
USUAL_SHINE, SHINES = 0.65, (0.6, 1.4)  # log between the brightest and the median skin; limits
COVERED = 0.1, 0.6  # albedo over the tone: where hair covers the skin's coat, where it is bare
PORES = 0.035  # deviation of roughness from pore to pore


def unseen_skin(model: HeadModel, at: Texels, tone: Array, deviations: Array, lips: tuple[Array, Array]) -> Array:
    """(N,3) linear albedo at texels, from the tone (3,) and the detail's standard deviations by band (as BANDS).

    lips: where they are (N,) 0..1, and their colour (3,)."""
    points = at.at(model.neutral)
    blood, melanin = at.at(_tints(model)).T
    blood = blood + MOTTLED * (solid_noise(points, 0.03, 11) + 0.6 * solid_noise(points, 0.015, 12))
    melanin = melanin + 0.7 * MOTTLED * (solid_noise(points, 0.03, 13) + 0.6 * solid_noise(points, 0.015, 14))
    detail = sum(d * solid_noise(points, w, n) for n, (w, d) in enumerate(zip(BANDS, deviations, strict=True)))
    away = blood[:, None] * BLOOD + melanin[:, None] * MELANIN + np.asarray(detail)[:, None]
    away = away + lips[0][:, None] * np.log(lips[1] / tone)
    return (tone * np.exp(away)).astype(np.float32)


def lips_at(model: HeadModel, at: Texels) -> Array:
    """(N,) 0..1: which texels are of the lips, inside of their outer rim on the map."""
    points, marks = at.at(model.neutral), model.landmarks(model.neutral)[list(LIPS)]
    around = np.flatnonzero(((points > marks.min(0) - RIM) & (points < marks.max(0) + RIM)).all(1))
    away, nearest = cKDTree(points[around]).query(marks, distance_upper_bound=RIM)
    inside: Array = np.zeros((at.size, at.size), np.float32)
    if away.max() < RIM:
        rows, columns = np.divmod(at.index[around[nearest]], at.size)
        cv2.fillPoly(inside, [np.stack([columns, rows], 1).astype(np.int32)], 1.0)
        inside = cv2.GaussianBlur(inside, (0, 0), SOFT_RIM * at.size)
    return at.of_image(inside)


def lips_colour(layers: Sequence[tuple[Array, Array]], lips: Array, tone: Array) -> Array:
    """(3,) linear colour of the lips (S,S) 0..1, from layers of albedo (S,S,3) and its weight (S,S); from the skin's
    tone (3,) where hardly any of them is seen."""
    seen = [colour[(weight > 0.6) & (lips > 0.9)] for colour, weight in layers]
    seen = [colours for colours in seen if len(colours) > FEWEST]
    if not seen:
        return tone * np.exp(LIPS_BLOOD * BLOOD)
    return np.exp(np.mean([np.log(np.maximum(np.median(colours, 0), 1e-3)) for colours in seen], 0))


def detail_of(albedo: Array, weight: Array, texel: float) -> Array:
    """Standard deviations (logarithm) by band of detail in seen skin, albedo (S,S,3), weight (S,S); texel: metres."""
    light = np.log(np.maximum(albedo, 1e-4)).mean(2)
    known = (weight > 0.6).astype(np.float32)
    out = np.array(PLAIN)
    if known.sum() < 2000:
        return out
    finer = light
    for n, wavelength in enumerate(BANDS):
        if wavelength < 2.5 * texel:
            continue
        coarser, _ = smooth_within(light, known, 0.35 * wavelength / texel)
        band = np.abs(finer - coarser)[known > 0]
        # a median is robust to brows, lips and lines
        out[n] = np.clip(np.median(band) / 0.674, LIMITS[0] * PLAIN[n], LIMITS[1] * PLAIN[n])
        finer = coarser
    return out


def texel_length(model: HeadModel, at: Texels) -> float:
    """Metres between the middles of neighbouring texels, in the median."""
    points = at.image(at.at(model.neutral))
    covered = at.image(np.ones(len(at.index), bool))
    both = covered[:, 1:] & covered[:, :-1]
    return float(np.median(np.linalg.norm(points[:, 1:] - points[:, :-1], axis=2)[both]))


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


def _tints(model: HeadModel) -> Array:
    """(P,2) added blood and melanin."""
    out = np.zeros((len(model.neutral), 2))
    for landmarks, reach, blood, melanin in TINTS:
        out += _around(model, landmarks, reach)[:, None] * [blood, melanin]
    points = model.neutral
    marks = model.landmarks(model.neutral)
    sides = np.abs(marks[[234, 454], 0]).mean()
    if sides:  # a model may have no place for them
        out[:, 0] += EARS * np.clip((np.abs(points[:, 0]) - 0.97 * sides) / (0.08 * sides), 0, 1)
    out[:, 0] += NECK * np.clip((marks[152, 1] - 0.01 - points[:, 1]) / 0.03, 0, 1)
    inside, behind = _cavity(model)
    out[inside] += np.c_[np.full(len(behind), CAVITY_BLOOD), CAVITY_DARK + DARKER * behind]
    return out


def _gloss(model: HeadModel) -> Array:
    """(P,2) added roughness and specular."""
    out = np.zeros((len(model.neutral), 2))
    for landmarks, reach, rough, bright in GLOSSY:
        out += _around(model, landmarks, reach)[:, None] * [rough, bright]
    nearest = np.min([np.linalg.norm(model.neutral - m, axis=1) for m in model.landmarks(model.neutral)[:468:9]], 0)
    out[:, 0] += AWAY * np.clip((nearest - 0.02) / 0.03, 0, 1)
    inside, behind = _cavity(model)
    out[inside, 1] -= DARKER * behind  # light that does not reach it is not mirrored either
    return out


def _cavity(model: HeadModel) -> tuple[Array, Array]:
    """(P,) bool: vertices of the inside of the mouth; and how many metres they lie behind the lips (N,)."""
    inside = model.vertices_of(ORAL_CAVITY) & ~model.vertices_of("face")
    return inside, np.clip(model.landmarks(model.neutral)[13, 2] - model.neutral[inside, 2], 0, None)


def _around(model: HeadModel, landmarks: tuple[int, ...], reach: float) -> Array:
    """(P,) 1 at the landmarks, a Gaussian of reach (metres) around them."""
    middles = model.landmarks(model.neutral)[list(landmarks)]
    squared = np.min([((model.neutral - m) ** 2).sum(1) for m in middles], 0)
    return np.exp(-squared / reach**2)
