# SPDX-License-Identifier: GPL-3.0-or-later
"""Texture coordinates: unwrap, rasterise in texture space, and pad the seams.

uv runs 0..1 with u to the right and v up; image row 0 is the top, so texel (row, column) of a square texture of S
texels has its centre at u = (column + 0.5) / S, v = 1 - (row + 0.5) / S.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from idto3d.head.charts import pack
from idto3d.head.flatten import face_neighbours, flatten
from idto3d.head.progress import Progress, between, ignored

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Unwrap:
    """uv (T,2) float32; faces_uv (F,3) int64, in the order of the faces; vertex (T,) int64: the mesh vertex of each
    uv, so vertex[faces_uv] equals faces; charts: the number of pieces; utilization: the share of the texture that is
    covered."""

    uv: NDArray[np.float32]
    faces_uv: NDArray[np.int64]
    vertex: NDArray[np.int64]
    charts: int
    utilization: float


def unwrap(
    vertices: ArrayLike,
    faces: ArrayLike,
    resolution: int = 1024,
    padding: int = 4,
    group: ArrayLike | None = None,
    density: ArrayLike | None = None,
    progress: Progress = ignored,
) -> Unwrap:
    """Cut a mesh, vertices (V,3) and faces (F,3), into charts (`flatten`) and pack them into one square (xatlas).

    Charts lie at least about `padding` texels apart at `resolution` texels. group (F,): from 0, charts end where it
    changes; density (F,): side of a texel's worth of surface, by the chart's mean; default 1. Texels stay square: the
    shorter side of the packing leaves a free margin. 30,000 faces take about four seconds. Raises ValueError where the
    mesh is empty.
    """
    points, triangles = np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64)
    if not len(triangles):
        raise ValueError("unwrap: the mesh has no faces")
    groups = np.zeros(len(triangles), np.int64) if group is None else np.asarray(group, dtype=np.int64)
    uv, faces_uv, vertex, chart = flatten(points, triangles, groups, between(progress, 0.0, 0.3))
    if density is not None:
        mean = np.bincount(chart, np.asarray(density)) / np.bincount(chart)
        of_uv = np.zeros(len(uv), np.int64)
        of_uv[faces_uv] = chart[:, None]
        uv = uv * mean[of_uv][:, None]
    uv = uv / np.ptp(uv)  # metres are too small for the packer's tolerances
    packed = pack(uv.astype(np.float32), faces_uv.astype(np.uint32), resolution, padding, between(progress, 0.3, 1.0))
    texels = packed["uv"].astype(np.float64) * packed["texels"]
    moved, faces_uv, origin, charts = _moved_charts(uv, faces_uv, chart, texels, packed["faces_uv"].astype(np.int64))
    return Unwrap(
        np.clip(moved / packed["texels"].max(), 0, 1).astype(np.float32),
        faces_uv,
        vertex[origin],
        charts,
        float(packed["utilization"]),
    )


def _moved_charts(
    uv: NDArray[Any], faces_uv: NDArray[Any], chart: NDArray[Any], packed: NDArray[Any], packed_faces: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], int]:
    """uv (T',2) where the packer put each piece of a chart, faces_uv (F,3), the uv (T',) that each came from, and the
    number of pieces.

    The packer parts a chart where it overlaps itself, and leaves faces of next to no area out, anywhere in the texture:
    those go with a neighbour.
    """
    before, after = _doubled_areas(uv, faces_uv), _doubled_areas(packed, packed_faces)
    scale = np.sqrt(np.median(after[before > np.median(before)] / before[before > np.median(before)]))
    edges = np.concatenate([packed_faces[:, [0, 1]], packed_faces[:, [1, 2]]])
    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(len(packed), len(packed)))
    piece = connected_components(graph, directed=False)[1][packed_faces[:, 0]].astype(np.int64)
    sizes = np.bincount(piece, after) / np.maximum(np.bincount(piece, before) * scale**2, 1e-30)
    lost = np.abs(np.log(np.maximum(sizes, 1e-9))) > 0.2
    piece[lost[piece]] = -1
    pairs = face_neighbours(faces_uv)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    while True:
        reached = pairs[(piece[pairs[:, 0]] < 0) & (piece[pairs[:, 1]] >= 0)]
        if not len(reached):
            break
        piece[reached[:, 0]] = piece[reached[:, 1]]
    piece[piece < 0] = piece.max() + 1 + chart[piece < 0]  # a chart without area: nothing to see, anywhere
    piece = np.unique(piece, return_inverse=True)[1]
    count = int(piece.max()) + 1
    origin, new = np.unique(faces_uv + len(uv) * piece[:, None], return_inverse=True)
    new = new.reshape(-1, 3)
    of_corner, origin = origin // len(uv), origin % len(uv)
    source, target = uv @ [1, 1j], packed @ [1, 1j]
    out = np.zeros(len(origin), complex)
    for k in range(count):
        rows = np.nonzero(piece == k)[0]
        large = rows[before[rows] >= np.median(before[rows])]
        z, w = source[faces_uv[large]].reshape(-1), target[packed_faces[large]].reshape(-1)
        turn = np.vdot(z - z.mean(), w - w.mean())
        turn *= scale / max(abs(turn), 1e-30)
        corners = of_corner == k
        out[corners] = w.mean() + turn * (source[origin[corners]] - z.mean())
    return np.stack([out.real, out.imag], 1), new, origin, count


def _doubled_areas(uv: NDArray[Any], faces: NDArray[Any]) -> NDArray[Any]:
    a, b, c = (uv[faces[:, k]] for k in range(3))
    out: NDArray[Any] = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    return out


@numba.njit(cache=True, nogil=True)
def _rasterize(uv, faces, size, tri_id, bary, strict_hits):  # type: ignore[no-untyped-def]
    for f in range(len(faces)):
        # In units of texels with centres on whole numbers; rows go down while v goes up.
        x0, y0 = uv[faces[f, 0], 0] * size - 0.5, (1.0 - uv[faces[f, 0], 1]) * size - 0.5
        x1, y1 = uv[faces[f, 1], 0] * size - 0.5, (1.0 - uv[faces[f, 1], 1]) * size - 0.5
        x2, y2 = uv[faces[f, 2], 0] * size - 0.5, (1.0 - uv[faces[f, 2], 1]) * size - 0.5
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0:
            continue
        left, right = max(0, int(np.ceil(min(x0, x1, x2)))), min(size - 1, int(np.floor(max(x0, x1, x2))))
        top, bottom = max(0, int(np.ceil(min(y0, y1, y2)))), min(size - 1, int(np.floor(max(y0, y1, y2))))
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                a = ((x1 - column) * (y2 - row) - (x2 - column) * (y1 - row)) / area
                b = ((x2 - column) * (y0 - row) - (x0 - column) * (y2 - row)) / area
                c = 1.0 - a - b
                if a < 0.0 or b < 0.0 or c < 0.0:
                    continue
                if tri_id[row, column] < 0:
                    tri_id[row, column] = f
                    bary[row, column, 0], bary[row, column, 1], bary[row, column, 2] = a, b, c
                if min(a, b, c) > 1e-4:
                    strict_hits[row, column] += 1


def _rasterized(
    uv: ArrayLike, faces_uv: ArrayLike, size: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int32]]:
    tri_id = np.full((size, size), -1, dtype=np.int64)
    bary = np.zeros((size, size, 3), dtype=np.float32)
    hits = np.zeros((size, size), dtype=np.int32)
    _rasterize(np.asarray(uv, dtype=np.float64), np.asarray(faces_uv, dtype=np.int64), size, tri_id, bary, hits)
    return tri_id, bary, hits


def rasterize_uv(uv: ArrayLike, faces_uv: ArrayLike, size: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The face under each texel's centre: tri_id (S,S), -1 = none, and its barycentric coordinates (S,S,3), 0 where
    none.

    uv (T,2), faces_uv (F,3), either winding. Where faces overlap or share an edge, the lowest face number wins.
    """
    tri_id, bary, _ = _rasterized(uv, faces_uv, size)
    return tri_id, bary


def overlap_share(uv: ArrayLike, faces_uv: ArrayLike, size: int = 1024) -> float:
    """Share of the covered texels (size x size) whose centre lies strictly inside two faces or more; 0 for a sound
    unwrap."""
    tri_id, _, hits = _rasterized(uv, faces_uv, size)
    return float((hits > 1).sum() / max(1, (tri_id >= 0).sum()))


def pad_seams(image: NDArray[Scalar], mask: NDArray[np.bool_], n: int) -> NDArray[Scalar]:
    """A copy of image (H,W) or (H,W,C) in which texels outside mask (H,W) within n texels take the nearest masked
    value.

    Distance is Euclidean between texel centres. Texture filtering reads past the charts' borders; without this it would
    bring in the background as visible seams.
    """
    if not mask.any():
        return image.copy()
    distance, (rows, columns) = distance_transform_edt(~mask, return_indices=True)
    near = (distance > 0) & (distance <= n)
    padded = image.copy()
    padded[near] = image[rows[near], columns[near]]
    return padded
