# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyelashes: single hairs painted on the model's lash cards."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ..arrays import Array
from ..headmodel import HeadModel
from ..mesh.texels import Texels

SHEETS = (2, 1)
"""Number of overlapping card sheets that are kept on the upper and the lower lid. Renderers trace few transparent
layers (Cycles: eight): with more, closed eyes would have black bands."""
LOWER_LID = -0.003  # metres over the eyeball's middle below which lashes belong to the lower lid
STRAY = 0.3  # random offset of roots, and again of tips, of the distance between two strands


@dataclass(frozen=True)
class Row:
    """Lashes of one lid. strands: across the map; root: width at the lid, of the distance between two; shortest,
    longest: of the card; opacity: of a hair."""

    strands: int
    root: float
    shortest: float
    longest: float
    opacity: float


UPPER = Row(strands=84, root=0.34, shortest=0.55, longest=1.0, opacity=0.9)
LOWER = Row(strands=150, root=0.3, shortest=0.2, longest=0.38, opacity=0.6)


def lash_sheets(model: HeadModel, cards: Array) -> Array:
    """(N,) bool: which of the lashes' faces (N,) are in a sheet that is kept."""
    quads = model.quads[cards]
    corners = np.where(quads >= 0, quads, quads[:, :1])
    links = coo_matrix(
        (np.ones(3 * len(cards)), (np.repeat(corners[:, 0], 3), corners[:, 1:].ravel())), [len(model.neutral)] * 2
    )
    sheet = connected_components(links, directed=False)[1][corners[:, 0]]
    kept = np.zeros(len(cards), bool)
    so_far: dict[tuple[bool, bool], int] = {}
    for own in (sheet == n for n in dict.fromkeys(sheet)):
        middle = model.neutral[corners[own]].mean((0, 1))
        lid = (bool(middle[0] > 0), bool(_is_lower(model, middle)))
        kept[own] = so_far.get(lid, 0) < SHEETS[lid[1]]
        so_far[lid] = so_far.get(lid, 0) + 1
    return kept


def _is_lower(model: HeadModel, points: Array) -> Array:
    """(...,) whether points (...,3) of lashes belong to a lower lid."""
    return points[..., 1] < np.median(model.neutral[model.vertices_of("sclera"), 1]) + LOWER_LID


def lash_opacity(model: HeadModel, texels: Texels) -> Array:
    """(S,S) float32 opacity of the lash map: single hairs of uneven length that taper to a point.

    Root and tip of a card are found by the distance to the skin, so no UV layout is assumed.
    """
    skin = model.neutral[model.vertices_of("face", "back_head")]
    points = texels.at(model.neutral)
    away = cKDTree(skin).query(points)[0]
    along = np.clip(away / max(1e-6, float(np.quantile(away, 0.98))), 0, 1)
    below = _is_lower(model, points)
    across = texels.index % texels.size / texels.size
    value = np.zeros(len(points), np.float32)
    for row, own in ((UPPER, ~below), (LOWER, below)):
        value[own] = _hairs(row, across[own], along[own], texels.size)
    return texels.spread(value)


def _hairs(row: Row, across: Array, along: Array, size: int) -> Array:
    """(N,) opacity at places (N,) 0..1 across a map of size texels, and (N,) 0..1 from root to tip of the card."""
    rng = np.random.default_rng(0)
    root, tip = rng.uniform(-STRAY, STRAY, (2, row.strands))
    length = rng.uniform(row.shortest, row.longest, row.strands)
    at, soft = across * row.strands, row.strands / size  # a texel
    value = np.zeros(len(at))
    for neighbour in (-1, 0, 1):
        strand = np.clip(np.floor(at).astype(int) + neighbour, 0, row.strands - 1)
        gone = along / length[strand]
        middle = strand + 0.5 + root[strand] + tip[strand] * gone**2
        half = 0.5 * row.root * np.clip(1 - gone, 0, 1) ** 0.7
        hair = np.clip((half - np.abs(at - middle)) / soft + 0.5, 0, 1) * (gone < 1)
        value = np.maximum(value, hair)
    return row.opacity * value
