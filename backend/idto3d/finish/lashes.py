# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyelashes: strands drawn on the model's lash cards, thick at the lid and thinner towards the tip."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..headmodel import HeadModel
from ..mesh.texels import Texels

Array = NDArray[Any]

STRANDS = 90  # across the map
ROOT, TIP = 0.45, 0.03  # share of the card that hair covers
LOWER, LOWER_LID = 0.4, -0.003  # of that on the lower lid, whose lashes lie so far (metres) under the eyeball's middle


def lash_opacity(model: HeadModel, texels: Texels) -> Array:
    """(S,S) float32 opacity of the lash map, 0 or nearly 1 with soft edges.

    Where a card is near the lid, and where its tip is, is read from its distance to the skin: no UV layout is assumed.
    """
    skin = model.neutral[model.vertices_of("face", "back_head")]
    points = texels.at(model.neutral)
    away = cKDTree(skin).query(points)[0]
    along = np.clip(away / max(1e-6, float(np.quantile(away, 0.98))), 0, 1)
    below = points[:, 1] < np.median(model.neutral[model.vertices_of("sclera"), 1]) + LOWER_LID
    thin = np.where(below, LOWER, 1.0)
    column = texels.index % texels.size / texels.size
    phase = column * STRANDS + 1.5 * along * np.sin(column * 40)
    inside = np.abs((phase % 1.0) - 0.5) * 2
    cover = thin * (ROOT + (TIP - ROOT) * along) * (along < np.where(below, 0.6, 1.0))
    value = np.clip((cover - inside) / 0.15 + 0.5, 0, 1).astype(np.float32)
    return texels.padded(texels.image(value))
