# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyelashes: single hairs painted on the model's lash cards."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..headmodel import HeadModel
from ..mesh.surface import pieces_of
from ..mesh.texels import Texels

SHEETS = (2, 1)
"""Number of overlapping card sheets that are kept on the upper and the lower lid. Renderers trace few transparent
layers (Cycles: eight): with more, closed eyes would have black bands."""
LOWER_LID = -0.003  # metres over the eyeball's middle below which lashes belong to the lower lid
ROOTED = 0.0006  # metres from the skin, beyond its nearest one, within which a vertex is a root
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


UPPER = Row(strands=150, root=0.34, shortest=0.6, longest=1.0, opacity=0.9)
LOWER = Row(strands=150, root=0.3, shortest=0.2, longest=0.38, opacity=0.6)


@dataclass(frozen=True, eq=False)
class Sheet:
    """Lash cards that hang together: quads (N,) of the model; on the left eye or not, of the lower lid or the upper."""

    quads: Array
    left: bool
    lower: bool


def sheets_of(model: HeadModel) -> list[Sheet]:
    """The lashes' sheets, in the model's order."""
    cards = np.flatnonzero(model.faces_of("lashes"))
    piece = pieces_of(model.triangles, len(model.neutral))[model.quads[cards, 0]]
    lowest = np.median(model.neutral[model.vertices_of("sclera"), 1]) + LOWER_LID
    out = []
    for own in (cards[piece == n] for n in dict.fromkeys(piece)):
        corners = model.quads[own]
        middle = model.neutral[corners[corners >= 0]].mean(0)
        out.append(Sheet(own, bool(middle[0] > 0), bool(middle[1] < lowest)))
    return out


def lash_cards(model: HeadModel) -> Array:
    """(N,) the model's quads of those sheets that are kept."""
    kept: list[Sheet] = []
    for sheet in sheets_of(model):
        if sum((s.left, s.lower) == (sheet.left, sheet.lower) for s in kept) < SHEETS[sheet.lower]:
            kept.append(sheet)
    return np.concatenate([np.zeros(0, np.int64), *(sheet.quads for sheet in kept)])


def lash_opacity(model: HeadModel, texels: Texels) -> Array:
    """(S,S) float32 opacity of the lash map: single hairs of uneven length that taper to a point.

    Root and tip of a card are found by the distance to the skin, so no UV layout is assumed.
    """
    skin = cKDTree(model.neutral[model.vertices_of("face", "back_head")])
    away, number = np.zeros(len(model.neutral), np.float32), np.full(len(model.neutral), -1)
    sheets = sheets_of(model)
    for n, sheet in enumerate(sheets):
        own = np.unique(model.quads[sheet.quads])
        points = model.neutral[own]
        depth = skin.query(points)[0]
        away[own], _ = cKDTree(points[depth <= depth.min() + ROOTED]).query(points)
        number[own] = n
    along = texels.at(away[:, None])[:, 0]
    along = np.clip(along / max(1e-6, float(np.quantile(along, 0.98))), 0, 1)
    across = texels.index % texels.size / texels.size
    value = np.zeros(len(along), np.float32)
    for n, sheet in enumerate(sheets):
        rows = number[texels.corners[:, 0]] == n
        value[rows] = _hairs(LOWER if sheet.lower else UPPER, across[rows], along[rows], texels.size, n)
    return texels.spread(value)


def _hairs(row: Row, across: Array, along: Array, size: int, seed: int) -> Array:
    """(N,) opacity at places (N,) 0..1 across a map of size texels, and (N,) 0..1 from root to tip of the card."""
    rng = np.random.default_rng(seed)
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
