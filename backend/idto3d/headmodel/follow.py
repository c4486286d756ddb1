# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not the skin goes where the skin goes: eyes, teeth, lashes, hair."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ..arrays import Array
from ..mesh.surface import pieces_of
from ..render.gather import blend_rows, gather_rows
from .model import SKIN_PARTS, HeadModel

FILMS = ("lacrimal", "eye_blend", "eye_occlusion", "lashes")
"""Parts thinner than what they lie on: they bend with it."""
NEIGHBOURS = 8


@dataclass(frozen=True, eq=False)
class Anchor:
    """Points that move with a surface: near (N,K) its vertices, weight (N,K)."""

    near: Tensor
    weight: Tensor

    def __call__(self, motion: Tensor) -> Tensor:
        """The points' motion (N,3) for that of the surface's vertices (Q,3)."""
        return blend_rows(motion, self.near, self.weight)

    def __getitem__(self, rows: Tensor) -> "Anchor":
        return Anchor(self.near[rows], self.weight[rows])


@dataclass(frozen=True, eq=False)
class Body:
    """The vertices (Q,) of the skin and of all that hangs on it by faces, and how the others follow them; place (P,)
    brings the two together in the model's order."""

    vertices: Tensor
    others: Anchor
    place: Tensor

    def whole(self, motion: Tensor) -> Tensor:
        """(P,3) motion of the head model for that of the body (Q,3)."""
        return gather_rows(torch.cat([motion, self.others(motion)]), self.place)


def anchor(points: Array, surface: Array) -> Anchor:
    """points (N,3) to the nearest vertices of surface (Q,3), by inverse squared distance."""
    count = min(NEIGHBOURS, len(surface))
    distance, near = cKDTree(surface).query(points, k=[*range(1, count + 1)])
    weight = 1.0 / (distance**2 + 1e-10)
    weight /= weight.sum(1, keepdims=True)
    return Anchor(torch.from_numpy(near.astype(np.int64)), torch.from_numpy(weight.astype(np.float32)))


def find_body(model: HeadModel, neutral: Array) -> Body:
    """The body of a head of shape neutral (P,3). Pieces apart from it, such as eyeballs and teeth, follow as rigid
    ones: they turn into nothing else."""
    count = len(neutral)
    piece = pieces_of(model.triangles, count)
    body = np.isin(piece, piece[model.vertices_of(*SKIN_PARTS)])
    others = np.flatnonzero(~body)
    number = np.maximum(np.bincount(piece), 1)[:, None]
    middle = np.stack([np.bincount(piece, neutral[:, c]) for c in range(3)], 1) / number
    thin = model.vertices_of(*FILMS)[others, None]
    where = np.where(thin, neutral[others], middle[piece[others]])
    place = np.empty(count, np.int64)
    place[body] = np.arange(body.sum())
    place[others] = body.sum() + np.arange(len(others))
    return Body(torch.from_numpy(np.flatnonzero(body)), anchor(where, neutral[body]), torch.from_numpy(place))
