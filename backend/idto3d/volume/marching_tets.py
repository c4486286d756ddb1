# SPDX-License-Identifier: GPL-3.0-or-later
"""Marching tetrahedra (Doi and Koide 1991; differentiable use as in DMTet, Shen et al. 2021).

The faces and the grid edges that carry the vertices follow from the signs alone (`topology`); positions follow from the
signed distances and the grid points (`surface_vertices`). Expressions that share signs share one topology.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class IsoSurface:
    """vertices (V,3), differentiable; faces (F,3) long, wound outwards (seen from sdf > 0 they turn anticlockwise).

    edges (V,2) long: vertex i lies on the grid edge from edges[i,0] to edges[i,1] (edges[i,0] < edges[i,1]);
    weight (V,) in 0..1, differentiable: vertex = (1-weight) * points[edges[:,0]] + weight * points[edges[:,1]].
    """

    vertices: Tensor
    faces: Tensor
    edges: Tensor
    weight: Tensor


def _case_tables() -> tuple[np.ndarray, np.ndarray]:
    """(16,4,2) corners of the crossed edges and (16,) triangles by case (bit i set = corner i inside), -1 padded.

    One triangle uses the first three crossed edges; two triangles are (0,1,2) and (0,2,3) of the four. Each case
    takes an even permutation (a,b,c,d) of the corners, which keeps the tetrahedron's positive orientation: with `a`
    alone inside, the triangle ab, ac, ad faces away from a; with a, b inside, the quad ac, ad, bd, bc faces away from
    ab.
    """
    crossed = np.full((16, 4, 2), -1, dtype=np.int64)
    triangles = np.zeros(16, dtype=np.int64)
    even = [p for p in permutations(range(4)) if sum(p[i] > p[j] for i in range(4) for j in range(i + 1, 4)) % 2 == 0]
    for case in range(1, 15):
        inside = [i for i in range(4) if case >> i & 1]
        lone = inside if len(inside) == 1 else [i for i in range(4) if i not in inside]
        if len(inside) == 2:
            a, b, c, d = next(p for p in even if sorted(p[:2]) == inside)
            crossed[case] = [(a, c), (a, d), (b, d), (b, c)]
            triangles[case] = 2
        else:
            a, b, c, d = next(p for p in even if p[0] == lone[0])
            fan = [(a, b), (a, c), (a, d)]
            crossed[case, :3] = fan if len(inside) == 1 else fan[::-1]
            triangles[case] = 1
    return crossed, triangles


_CROSSED, _TRIANGLES = _case_tables()


def topology(tets: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Faces (F,3) and vertex edges (V,2) of the surface, from signs only.

    tets (M,4) long, positively oriented; inside (N,) bool. Vertices are ordered by their edge (lower index first, then
    higher); faces by tetrahedron, those of one-triangle tetrahedra first. Empty where no edge is crossed.
    """
    device = tets.device
    bits = inside.to(torch.uint8).index_select(0, tets.reshape(-1)).reshape(-1, 4)
    case = (bits[:, 0] | bits[:, 1] << 1 | bits[:, 2] << 2 | bits[:, 3] << 3).int()
    n_points = len(inside)
    keys = []
    for count, n_edges in ((1, 3), (2, 4)):
        lookup = torch.from_numpy(_TRIANGLES == count).to(device)
        which = lookup.index_select(0, case).nonzero()[:, 0]
        corners = torch.from_numpy(_CROSSED[:, :n_edges].reshape(16, -1)).to(device)
        ends = tets.index_select(0, which).gather(1, corners.index_select(0, case.index_select(0, which)))
        first, second = ends[:, 0::2].reshape(-1), ends[:, 1::2].reshape(-1)
        keys.append(torch.minimum(first, second) * n_points + torch.maximum(first, second))
    unique, inverse = torch.unique(torch.cat(keys), sorted=True, return_inverse=True)
    single = inverse[: len(keys[0])].reshape(-1, 3)
    double = inverse[len(keys[0]) :].reshape(-1, 4)
    faces = torch.cat([single, double[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)])
    edges = torch.stack([unique // n_points, unique % n_points], 1)
    return faces, edges


def edge_weight(sdf: Tensor, edges: Tensor) -> Tensor:
    """Where sdf is zero on each edge, as a fraction (...,V) of the way from edges[:,0] to edges[:,1]; sdf (...,N)."""
    first = sdf.index_select(-1, edges[:, 0])
    second = sdf.index_select(-1, edges[:, 1])
    return first / (first - second)


def surface_vertices(points: Tensor, sdf: Tensor, edges: Tensor) -> Tensor:
    """Vertices (...,V,3) where sdf, linear along each edge, is zero; differentiable in points and sdf.

    points (...,N,3); sdf (...,N); leading dimensions (a batch of expressions that share signs) may broadcast. The
    sign of sdf must differ between the two ends of every edge, as `topology` ensures for the signs that it was given.
    """
    weight = edge_weight(sdf, edges)[..., None]
    first = points.index_select(-2, edges[:, 0])
    second = points.index_select(-2, edges[:, 1])
    return first + weight * (second - first)


def marching_tetrahedra(points: Tensor, tets: Tensor, sdf: Tensor) -> IsoSurface:
    """The zero level set of sdf (N,) on a tetrahedral grid, points (N,3) and tets (M,4); inside is sdf < 0.

    Watertight wherever the surface does not leave the grid. Same signs give the same faces and edges, whatever the
    magnitudes and point positions. A grid that no surface crosses gives empty tensors.
    """
    faces, edges = topology(tets, sdf < 0)
    return IsoSurface(surface_vertices(points, sdf, edges), faces, edges, edge_weight(sdf, edges))
