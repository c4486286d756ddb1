# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyelashes: single hairs drawn on the model's lash cards."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..headmodel import HeadModel
from ..mesh.texels import Texels

Array = NDArray[Any]

STRANDS = 84  # across the map
ROOT, LOWER_ROOT = 0.34, 0.24  # width of a strand at the lid, of the distance between two
LENGTH, LOWER_LENGTH = (0.55, 1.0), (0.22, 0.4)  # of the card, shortest and longest
LOWER_LID = -0.003  # the lower lid's lashes lie so far (metres) under the eyeball's middle
STRAY = 0.3  # of the distance between two strands by which their roots stray, and their tips once more
OPACITY = 0.9  # of a hair, which light shines through


def lash_opacity(model: HeadModel, texels: Texels) -> Array:
    """(S,S) float32 opacity of the lash map: single hairs of uneven length that taper to a point.

    Where a card is near the lid, and where its tip is, is read from its distance to the skin: no UV layout is assumed.
    """
    skin = model.neutral[model.vertices_of("face", "back_head")]
    points = texels.at(model.neutral)
    away = cKDTree(skin).query(points)[0]
    along = np.clip(away / max(1e-6, float(np.quantile(away, 0.98))), 0, 1)
    below = points[:, 1] < np.median(model.neutral[model.vertices_of("sclera"), 1]) + LOWER_LID
    at = texels.index % texels.size / texels.size * STRANDS
    rng = np.random.default_rng(0)
    root, tip, length = rng.uniform(-STRAY, STRAY, STRANDS), rng.uniform(-STRAY, STRAY, STRANDS), rng.random(STRANDS)
    soft = STRANDS / texels.size  # a texel
    value = np.zeros(len(points))
    for neighbour in (-1, 0, 1):
        strand = np.clip(np.floor(at).astype(int) + neighbour, 0, STRANDS - 1)
        ends = np.where(below, *(low + (high - low) * length[strand] for low, high in (LOWER_LENGTH, LENGTH)))
        gone = along / ends
        middle = strand + 0.5 + root[strand] + tip[strand] * gone**2
        half = 0.5 * np.where(below, LOWER_ROOT, ROOT) * np.clip(1 - gone, 0, 1) ** 0.7
        hair = np.clip((half - np.abs(at - middle)) / soft + 0.5, 0, 1) * (gone < 1)
        value = np.maximum(value, hair)
    return texels.padded(texels.image((OPACITY * value).astype(np.float32)))
