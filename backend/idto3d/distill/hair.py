# SPDX-License-Identifier: GPL-3.0-or-later
"""Hair in a scene: the volume that the geometry stage carves, and the mesh of it that the texture stage paints."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..headmodel.follow import Anchor
from ..render.skin import Textured
from ..volume.marching_tets import edge_weight, topology


@dataclass(frozen=True, eq=False)
class Hair:
    """points (N,3), tets (M,4) and sdf (N,) of a tetrahedral grid, metres, negative inside; seen (N,) 0..1: how surely
    the photographs say whether there is hair; anchor: how the points follow the body."""

    points: Tensor
    tets: Tensor
    sdf: Tensor
    seen: Tensor
    anchor: Anchor


@dataclass(frozen=True, eq=False)
class SceneHair:
    """vertices (V,3) with neutral; faces with their places in the map of material "hair"; anchor to the body."""

    vertices: Tensor
    faces: Textured
    anchor: Anchor


def rim(tets: Tensor, count: int) -> Tensor:
    """(count,) bool: points on the outside of a grid. Were hair to pass there, its surface would have a hole."""
    faces = torch.cat([tets[:, corners] for corners in ([0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3])]).sort(1).values
    key = (faces[:, 0] * count + faces[:, 1]) * count + faces[:, 2]
    _, which, times = torch.unique(key, return_inverse=True, return_counts=True)
    out = torch.zeros(count, dtype=torch.bool, device=tets.device)
    out[faces[times[which] == 1].flatten()] = True
    return out


class Lattice:
    """A field on a grid's points from a few values in their bounding box, trilinear between them."""

    def __init__(self, points: Tensor, cells: int) -> None:
        low, high = points.amin(0), points.amax(0)
        extent = high - low
        shape = (extent / extent.max() * cells).round().long().clamp(min=2)
        self.shape = tuple(int(n) for n in shape.flip(0))  # z, y, x: the last runs fastest
        self._where = ((points - low) / extent * 2 - 1).view(1, 1, 1, -1, 3)

    def __call__(self, values: Tensor) -> Tensor:
        """(N,) for values of the lattice's shape."""
        return F.grid_sample(values[None, None], self._where, align_corners=True)[0, 0, 0, 0]


class HairSurface:
    """The surface of a volume whose distances change: its faces are found anew only where a sign did."""

    def __init__(self, hair: Hair) -> None:
        self._hair = hair
        self._inside: Tensor | None = None
        self._faces = self._edges = torch.zeros(0)
        self._ends: list[tuple[Tensor, Anchor]] = []

    def __call__(self, sdf: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices (V,3), differentiable in sdf (N,) and in the body's motion (Q,3), and triangles (F,3)."""
        inside = sdf.detach() < 0
        if self._inside is None or not torch.equal(inside, self._inside):
            self._inside = inside
            self._faces, self._edges = topology(self._hair.tets, inside)
            self._ends = [(self._hair.points[at], self._hair.anchor[at]) for at in self._edges.unbind(1)]
        first, second = (points + anchor(motion) for points, anchor in self._ends)
        share = edge_weight(sdf, self._edges)[:, None]
        return first + share * (second - first), self._faces
