# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a mesh sound? Closedness, components, flipped faces. (Self-intersections: `self_intersections`.)"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from idto3d.head.intersections import intersecting_pairs

ArrayLike = NDArray[np.generic] | Tensor


def _numpy(values: ArrayLike) -> NDArray[np.generic]:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


@dataclass(frozen=True)
class MeshTopology:
    """What the face list alone says. boundary_edges: edges of one face; nonmanifold_edges: edges of three or more
    faces, or of two faces that run along it in the same direction; euler: V - E + F over the vertices in use;
    components: pieces that are connected through vertices."""

    boundary_edges: int
    nonmanifold_edges: int
    euler: int
    components: int

    @property
    def watertight(self) -> bool:
        """Closed and consistently wound: every edge has exactly two faces, which run along it in opposite
        directions."""
        return self.boundary_edges == 0 and self.nonmanifold_edges == 0


def mesh_topology(faces: ArrayLike) -> MeshTopology:
    """Boundary, non-manifold edges, Euler number and components of faces (F,3)."""
    f = _numpy(faces).astype(np.int64)
    if not len(f):
        return MeshTopology(0, 0, 0, 0)
    start, end = f.reshape(-1), np.roll(f, -1, axis=1).reshape(-1)
    base = int(f.max()) + 1
    _, edge = np.unique(np.minimum(start, end) * base + np.maximum(start, end), return_inverse=True)
    uses = np.bincount(edge)
    direction = np.bincount(edge, weights=np.where(start < end, 1, -1))
    boundary = uses == 1
    bad = ~boundary & ((uses > 2) | (direction != 0))
    used = np.unique(f)
    labels = _vertex_components(f)[used]
    return MeshTopology(int(boundary.sum()), int(bad.sum()), len(used) - len(uses) + len(f), len(np.unique(labels)))


def _vertex_components(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Component label by vertex; unused vertices are components of their own."""
    n = int(faces.max()) + 1
    start, end = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
    graph = coo_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def connected_pieces(faces: ArrayLike) -> NDArray[np.int64]:
    """(F,) number of the piece, connected through vertices, that each of faces (F,3) belongs to."""
    f = _numpy(faces).astype(np.int64)
    return _vertex_components(f)[f[:, 0]]


def keep_largest_component(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The piece with the largest surface area: vertices (V',3), faces (F',3) renumbered, index (V',) long.

    vertices' = vertices[index], differentiable; index increases, and faces keep their order, so meshes that share a
    face list keep sharing one. Unused vertices go. An empty mesh comes back empty.
    """
    if not len(faces):
        index = torch.zeros(0, dtype=torch.long, device=vertices.device)
        return vertices[index], faces, index
    f = _numpy(faces).astype(np.int64)
    face_label = _vertex_components(f)[f[:, 0]]
    a, b, c = _numpy(vertices).astype(np.float64)[f].transpose(1, 0, 2)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    kept = f[face_label == np.bincount(face_label, weights=areas).argmax()]
    used, local = np.unique(kept, return_inverse=True)
    index = torch.from_numpy(used).to(vertices.device)
    return vertices[index], torch.from_numpy(local.reshape(-1, 3)).to(faces), index


def area_ratio(vertices: Tensor, reference: Tensor, faces: Tensor) -> Tensor:
    """Signed change of area (...,F): area vector of vertices (...,V,3) along the reference normal, over reference area.

    1 = unchanged, <= 0 = turned over. It is the triangle's Jacobian determinant in the reference tangent plane, so it
    also falls with a true rotation (cosine). Differentiable. Faces without area in the reference (V,3) give 1: no
    side to turn from.
    """

    def area_vectors(points: Tensor) -> Tensor:
        a, b, c = (points.index_select(-2, faces[:, i]) for i in range(3))
        return torch.linalg.cross(b - a, c - a)

    rest = area_vectors(reference)
    squared = (rest * rest).sum(-1)
    flat = squared == 0
    ratio = (area_vectors(vertices) * rest).sum(-1) / squared.masked_fill(flat, 1.0)
    return ratio.masked_fill(flat, 1.0)


def flipped_faces(vertices: ArrayLike, reference: ArrayLike, faces: ArrayLike) -> NDArray[np.bool_]:
    """Mask (F,): faces whose normal in vertices (V,3) is turned by 90 degrees or more from that in reference (V,3)."""
    ratio = area_ratio(
        torch.as_tensor(_numpy(vertices)).double(),
        torch.as_tensor(_numpy(reference)).double(),
        torch.as_tensor(_numpy(faces)).long(),
    )
    return (ratio <= 0).numpy()


def self_intersections(vertices: ArrayLike, faces: ArrayLike, tolerance: float | None = None) -> NDArray[np.int64]:
    """Pairs (K,2) of faces of one mesh that cross or overlap, each pair once, i < j, sorted.

    vertices (V,3), faces (F,3). Faces must cross by more than `tolerance` (the vertices' unit; default a millionth of
    the bounding box's diagonal), so mere contact, shared corners, shared edges and coincident vertices do not count.
    """
    points = np.ascontiguousarray(_numpy(vertices), dtype=np.float64)
    triangles = np.ascontiguousarray(_numpy(faces), dtype=np.int64)
    if not len(triangles):
        return np.zeros((0, 2), dtype=np.int64)
    if tolerance is None:
        tolerance = 1e-6 * float(np.linalg.norm(np.ptp(points[triangles.reshape(-1)], axis=0)))
    pairs = np.sort(intersecting_pairs(points, triangles, tolerance), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
