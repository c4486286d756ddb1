# SPDX-License-Identifier: GPL-3.0-or-later
"""ARKit's tongueOut, which no head model brings: the mouth opens a little, and the tongue comes out over the lower
teeth and lip, flatter and narrower as it does, its tip hanging down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..headmodel import HeadModel

Array = NDArray[Any]

TONGUE, TEETH, LIPS = "tongue", "teeth", "face"
MOUTH = {"jawOpen": 0.4, "mouthLowerDown": 0.35, "mouthUpperUp": 0.15}
"""How the mouth opens for it."""
BEYOND = 0.013  # metres that the tip comes out beyond the lips
DROOP, BEND = 0.6, 0.02  # it falls beyond the teeth, at last by 0.6 m for each metre, bending within 2 cm
FLAT, NARROW = 0.5, 0.72  # of its thickness and width, where it is out
ABOVE = 0.003  # metres between the tongue's underside and the lower teeth: half way out it is lower
ROOT = 0.016  # metres from where it has grown to the gums within which it is held there
MIDDLE = 0.006  # metres from the middle within which front teeth and lips are looked for


def tongue_out(model: HeadModel, neutral: Array, opened: Array) -> Array:
    """(P,3) the key for a head (P,3) and what `MOUTH` adds to it (P,3); a head without a tongue only opens its
    mouth."""
    own = np.flatnonzero(model.vertices_of(TONGUE))
    out = opened.copy()
    lower = _lower_teeth(model, neutral, opened)
    if not len(own) or not len(lower):
        return out
    posed = neutral + opened
    tongue = posed[own]
    back, tip = float(tongue[:, 2].min()), float(tongue[:, 2].max())
    along = np.clip((tongue[:, 2] - back) / (tip - back), 0, 1)
    teeth = posed[lower[posed[lower, 1].argmax()]]
    lips = posed[model.vertices_of(LIPS) & (np.abs(neutral[:, 0]) < MIDDLE)]
    lip = float(lips[np.abs(lips[:, 1] - teeth[1]) < 4 * MIDDLE, 2].max())
    share = _smooth(along)
    z = tongue[:, 2] + (lip + BEYOND - tip) * share
    middle = _middle_line(tongue, along)
    flat = 1 - (1 - FLAT) * share
    half = float(np.abs(tongue[:, 1] - middle)[along > 0.75].max()) * FLAT
    over = teeth[1] + ABOVE + half
    # The line goes from where it was at the root up to the height of the teeth's edge, and falls beyond them.
    rise = _smooth(np.clip((z - back) / (teeth[2] - back), 0, 1))
    beyond = np.clip(z - teeth[2], 0, None)
    fall = DROOP * beyond**2 / (beyond + BEND)
    line = middle * (1 - rise) + over * rise - fall
    goal = np.stack([tongue[:, 0] * (1 + (NARROW - 1) * share), line + (tongue[:, 1] - middle) * flat, z], 1)
    out[own] += _free(model, neutral, own)[:, None] * (goal - tongue)
    return out


def opening(names: tuple[str, ...]) -> Mapping[str, float]:
    """`MOUTH` as far as a head model has it."""
    bases = {name.partition("_")[0] for name in names}
    return {name: weight for name, weight in MOUTH.items() if name in bases}


def _free(model: HeadModel, neutral: Array, own: Array) -> Array:
    """(N,) 0 where the tongue (N,) has grown to the gums, 1 from `ROOT` away from there."""
    others = model.triangles[~model.faces_of(TONGUE)[model.triangle_quad]]
    grown = own[np.isin(own, others)]
    if not len(grown):
        return np.ones(len(own))
    away, _ = cKDTree(neutral[grown]).query(neutral[own])
    return _smooth(np.clip(away / ROOT, 0, 1))


def _lower_teeth(model: HeadModel, neutral: Array, opened: Array) -> Array:
    """The front teeth's vertices that go along with the jaw."""
    teeth = model.vertices_of(TEETH) & (np.abs(neutral[:, 0]) < MIDDLE)
    moved = np.linalg.norm(opened, axis=1)
    out: Array = np.flatnonzero(teeth & (moved > 0.5 * moved[teeth].max(initial=0)) & (moved > 0))
    return out


def _middle_line(tongue: Array, along: Array) -> Array:
    """(N,) the height half way between top and underside, at each vertex's place along the tongue."""
    bins = np.linspace(0, 1, 9)
    heights = []
    for at in bins:
        near = np.abs(along - at) < 0.09
        heights.append((tongue[near, 1].max() + tongue[near, 1].min()) / 2 if near.any() else np.nan)
    known = ~np.isnan(heights)
    out: Array = np.interp(along, bins[known], np.array(heights)[known])
    return out


def _smooth(t: Array) -> Array:
    out: Array = t * t * (3 - 2 * t)
    return out
