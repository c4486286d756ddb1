# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic skin where no photograph shows any: the tone as it usually varies over a head, with detail like that of the
seen skin.

Patches vary in blood and melanin (their axes in log linear RGB after Tsumura et al. 2003); detail has the seen skin's
variance, band by band, within the limits of photographed skins, and their hue; it comes from solid noise, so that it
continues over the UV seams.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..headmodel import HeadModel
from ..mesh.solid_noise import solid_noise
from ..mesh.texels import Texels
from ..photos.landmarks import LIPS
from .blend import smooth_within

BLOOD, MELANIN = np.array([-0.10, -0.62, -0.46]), np.array([-0.42, -0.60, -0.85])
BANDS = (0.0016, 0.0045, 0.012)  # metres: wavelengths of the detail
PLAIN = (0.010, 0.010, 0.013)  # its standard deviations (logarithm), as the head kit's skins have on cheeks and throats
LIMITS = (0.6, 1.6)  # times PLAIN: more is beard or a camera's noise, less is a picture without detail
DETAIL = np.array([0.61, 1.03, 1.36])  # of red, green and blue over their mean: that of the kit's skins
# in patches of 15 and of 30 mm: deviation of the amounts of blood and of melanin (measured on the head kit's skins)
PATCHES, MOTTLED_BLOOD, MOTTLED_MELANIN = (0.015, 0.03), 0.014, 0.025
# inside of the mouth: its part, added blood, melanin at the lips and for every metre behind them, as light falls off
ORAL_CAVITY, CAVITY_BLOOD, CAVITY_DARK, DARKER = "mouth_socket", 1.2, 0.9, 30.0
LIPS_BLOOD, FEWEST = 0.5, 50  # where too few of their texels are seen
RIM, SOFT_RIM = 0.004, 0.003  # metres from texels to the lips' rim at most; blur of the rim, of a map's side


def unseen_skin(model: HeadModel, at: Texels, tone: Array, deviations: Array, lips: tuple[Array, Array]) -> Array:
    """(N,3) linear albedo at texels, from the tone (3,) and the detail's standard deviations by band (as BANDS).

    lips: where they are (N,) 0..1, and their colour (3,)."""
    points, on_lips = at.at(model.neutral), lips[0][:, None]
    away = at.at(usual_complexion(model, tone)) * (1 - on_lips) + on_lips * np.log(lips[1] / tone)
    for n, patch in enumerate(PATCHES):
        away = away + MOTTLED_BLOOD * solid_noise(points, patch, 11 + 2 * n)[:, None] * BLOOD
        away = away + MOTTLED_MELANIN * solid_noise(points, patch, 12 + 2 * n)[:, None] * MELANIN
    for n, (wavelength, deviation) in enumerate(zip(BANDS, deviations, strict=True)):
        away = away + deviation * solid_noise(points, wavelength, n)[:, None] * DETAIL
    return (tone * np.exp(away)).astype(np.float32)


def usual_complexion(model: HeadModel, tone: Array) -> Array:
    """(P,3) logarithm of albedo over the tone (3,), as it usually is; inside the mouth redder and darker."""
    out: Array = np.zeros((len(model.neutral), 3))
    if model.complexion_mean is not None and model.complexion_slope is not None:
        out = model.complexion_mean + model.complexion_slope * np.log(tone).mean()
    inside, behind = oral_cavity(model)
    out[inside] = CAVITY_BLOOD * BLOOD + (CAVITY_DARK + DARKER * behind)[:, None] * MELANIN
    return out


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


def oral_cavity(model: HeadModel) -> tuple[Array, Array]:
    """(P,) bool: vertices of the inside of the mouth; and how many metres they lie behind the lips (N,)."""
    inside = model.vertices_of(ORAL_CAVITY) & ~model.vertices_of("face")
    return inside, np.clip(model.landmarks(model.neutral)[13, 2] - model.neutral[inside, 2], 0, None)
