# SPDX-License-Identifier: GPL-3.0-or-later
"""Quadric-error edge collapse (Garland and Heckbert 1997) that keeps a closed manifold a closed manifold.

An edge goes only where the link condition holds (Dey et al. 1999): its ends share no neighbours but the apexes of its
own faces. So topology never changes: no pinched vertex, no doubled face, no hole.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .progress import Progress, ignored, threaded

Array = NDArray[Any]

TURN = 0.3  # cosine: a collapse may not turn a face's normal further than this
SLIVER = 0.06  # of an equilateral triangle's quality: a collapse may not make worse faces unless they were
PULL = 1e-3  # share of a face's quadric that holds each vertex at its place: well-placed vertices in flat parts


def decimate(
    vertices: ArrayLike,
    faces: ArrayLike,
    target: int,
    weight: ArrayLike | None = None,
    held: ArrayLike | None = None,
    progress: Progress = ignored,
) -> tuple[Array, Array]:
    """vertices (V,3) and faces (F,3) with at most `target` faces where that is possible: (V',3) float32, (F',3) int64.

    weight (V,): detail where it is large costs more to take away; default 1. The surface must be a manifold; vertices
    on its boundary, where it has one, and those in held (V,) bool stay. Stops earlier when every collapse left would
    break topology or turn a face. 122,000 faces to 30,000 take about a second.
    """
    points = np.array(vertices, dtype=np.float64)
    triangles = np.array(faces, dtype=np.int64)
    if len(triangles) > target:
        w = np.ones(len(points)) if weight is None else np.asarray(weight, dtype=np.float64)
        # in units of the bounding box: the constants above then hold for any scale
        low, size = points.min(0), float(np.ptp(points, axis=0).max())
        unit = (points - low) / size
        fixed = _boundary(triangles, len(points))
        if held is not None:
            fixed |= np.asarray(held, dtype=bool)
        edges, count = _edges(triangles), len(triangles)
        state = np.array([count, 0])  # faces left; whether to stop
        alive = threaded(
            lambda: _collapse(unit, triangles, w, target, edges, fixed, state),
            lambda: float((count - state[0]) / (count - target)),
            lambda: state.__setitem__(1, 1),
            progress,
        )
        points, triangles = np.where(fixed[:, None], points, unit * size + low), triangles[alive]
    used, local = np.unique(triangles, return_inverse=True)
    return points[used].astype(np.float32), local.reshape(-1, 3)


def _edges(faces: Array) -> Array:
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges: Array = np.unique(np.sort(directed, axis=1), axis=0)
    return edges


def _boundary(faces: Array, n: int) -> Array:
    """(V,) bool: on an edge that does not have two faces."""
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges, uses = np.unique(np.sort(directed, axis=1), axis=0, return_counts=True)
    mask = np.zeros(n, bool)
    mask[edges[uses != 2].reshape(-1)] = True
    return mask


@numba.njit(cache=True, nogil=True)
def _normal(a, b, c, out):  # type: ignore[no-untyped-def]
    out[0] = (b[1] - a[1]) * (c[2] - a[2]) - (b[2] - a[2]) * (c[1] - a[1])
    out[1] = (b[2] - a[2]) * (c[0] - a[0]) - (b[0] - a[0]) * (c[2] - a[2])
    out[2] = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return np.sqrt(out[0] * out[0] + out[1] * out[1] + out[2] * out[2])


@numba.njit(cache=True, nogil=True)
def _quality(a, b, c, double_area):  # type: ignore[no-untyped-def]
    """1 for an equilateral triangle, 0 for a flat one."""
    total = 0.0
    for k in range(3):
        total += (a[k] - b[k]) ** 2 + (b[k] - c[k]) ** 2 + (c[k] - a[k]) ** 2
    return 2.0 * np.sqrt(3.0) * double_area / total if total > 0.0 else 0.0


@numba.njit(cache=True, nogil=True)
def _quadrics(points, faces, weight):  # type: ignore[no-untyped-def]
    """(V,10): xx xy xz x yy yz y zz z 1 of the squared distances to the planes around, weighted by area."""
    q = np.zeros((len(points), 10))
    n = np.empty(3)
    for f in range(len(faces)):
        length = _normal(points[faces[f, 0]], points[faces[f, 1]], points[faces[f, 2]], n)
        if length == 0.0:
            continue
        p = points[faces[f, 0]]
        x, y, z = n[0] / length, n[1] / length, n[2] / length
        d = -(x * p[0] + y * p[1] + z * p[2])
        for k in range(3):
            v = faces[f, k]
            s = length * weight[v]
            q[v, 0] += s * x * x
            q[v, 1] += s * x * y
            q[v, 2] += s * x * z
            q[v, 3] += s * x * d
            q[v, 4] += s * y * y
            q[v, 5] += s * y * z
            q[v, 6] += s * y * d
            q[v, 7] += s * z * z
            q[v, 8] += s * z * d
            q[v, 9] += s * d * d
            s *= PULL
            a = points[v]
            q[v, 0] += s
            q[v, 4] += s
            q[v, 7] += s
            q[v, 3] -= s * a[0]
            q[v, 6] -= s * a[1]
            q[v, 8] -= s * a[2]
            q[v, 9] += s * (a[0] * a[0] + a[1] * a[1] + a[2] * a[2])
    return q


@numba.njit(cache=True, nogil=True)
def _error(q, x, y, z):  # type: ignore[no-untyped-def]
    return (
        q[0] * x * x
        + q[4] * y * y
        + q[7] * z * z
        + 2.0 * (q[1] * x * y + q[2] * x * z + q[5] * y * z + q[3] * x + q[6] * y + q[8] * z)
        + q[9]
    )


@numba.njit(cache=True, nogil=True)
def _best_place(q, a, b, out):  # type: ignore[no-untyped-def]
    """Where the quadric is least, into `out`; returns its error. Where that is far from the edge: its best point."""
    c00, c01, c02 = q[4] * q[7] - q[5] * q[5], q[2] * q[5] - q[1] * q[7], q[1] * q[5] - q[2] * q[4]
    det = q[0] * c00 + q[1] * c01 + q[2] * c02
    scale = q[0] + q[4] + q[7]
    if abs(det) > 1e-12 * scale * scale * scale:
        c11, c12, c22 = q[0] * q[7] - q[2] * q[2], q[1] * q[2] - q[0] * q[5], q[0] * q[4] - q[1] * q[1]
        x = -(c00 * q[3] + c01 * q[6] + c02 * q[8]) / det
        y = -(c01 * q[3] + c11 * q[6] + c12 * q[8]) / det
        z = -(c02 * q[3] + c12 * q[6] + c22 * q[8]) / det
        span = 0.0
        away = 0.0
        for k, value in enumerate((x, y, z)):
            span += (a[k] - b[k]) ** 2
            away += (value - 0.5 * (a[k] + b[k])) ** 2
        if away <= 2.25 * span:
            out[0], out[1], out[2] = x, y, z
            return max(0.0, _error(q, x, y, z))
    best = np.inf
    for step in range(3):
        t = 0.5 * step
        x, y, z = a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), a[2] + t * (b[2] - a[2])
        e = max(0.0, _error(q, x, y, z))
        if e < best:
            best = e
            out[0], out[1], out[2] = x, y, z
    return best


@numba.njit(cache=True, nogil=True)
def _keeps_faces(points, faces, alive, first, following, u, v, place):  # type: ignore[no-untyped-def]
    """Would u's faces that do not go with the edge uv keep their side and a sound shape, with u at `place`?"""
    before, after = np.empty(3), np.empty(3)
    corner = first[u]
    while corner >= 0:
        f = corner // 3
        if alive[f] and faces[f, 0] != v and faces[f, 1] != v and faces[f, 2] != v:
            k = corner % 3
            b, c = points[faces[f, (k + 1) % 3]], points[faces[f, (k + 2) % 3]]
            was, new = _normal(points[u], b, c, before), _normal(place, b, c, after)
            if new == 0.0:
                return False
            if was > 0.0:
                dot = before[0] * after[0] + before[1] * after[1] + before[2] * after[2]
                if dot < TURN * was * new:
                    return False
            shape = _quality(place, b, c, new)
            if shape < SLIVER and shape < _quality(points[u], b, c, was):
                return False
        corner = following[corner]
    return True


@numba.njit(cache=True, nogil=True)
def _mark_neighbours(faces, alive, first, following, u, mark, token):  # type: ignore[no-untyped-def]
    """Returns the number of faces around u."""
    count = 0
    corner = first[u]
    while corner >= 0:
        f = corner // 3
        if alive[f]:
            count += 1
            for k in range(3):
                mark[faces[f, k]] = token
        corner = following[corner]
    return count


@numba.njit(cache=True, nogil=True)
def _link_holds(faces, alive, first, following, u, v, mark, token):  # type: ignore[no-untyped-def]
    """Exactly two common neighbours, the apexes of two faces; marks: token = next to u, token + 1 = counted.

    A tetrahedron passes that, and would end as two faces back to back: it stays.
    """
    around = _mark_neighbours(faces, alive, first, following, u, mark, token)
    common, shared = 0, 0
    corner = first[v]
    while corner >= 0:
        f = corner // 3
        if alive[f]:
            around += 1
            if faces[f, 0] == u or faces[f, 1] == u or faces[f, 2] == u:
                shared += 1
            for k in range(3):
                w = faces[f, k]
                if w != u and w != v and mark[w] == token:
                    mark[w] = token + 1
                    common += 1
        corner = following[corner]
    return shared == 2 and common == 2 and around > 6


@numba.njit(cache=True, nogil=True)
def _collapse(points, faces, weight, target, edges, fixed, state):  # type: ignore[no-untyped-def]
    """Collapses in place, cheapest first; returns the mask (F,) of the faces that are left. state (2,): how
    many those are, and 1 from outside to stop."""
    n = len(points)
    q = _quadrics(points, faces, weight)
    # corners of each vertex as linked lists: joining two vertices joins their lists
    first, last = np.full(n, -1), np.full(n, -1)
    following = np.full(3 * len(faces), -1)
    for corner in range(3 * len(faces)):
        v = faces[corner // 3, corner % 3]
        if first[v] < 0:
            first[v] = corner
        else:
            following[last[v]] = corner
        last[v] = corner
    alive = np.ones(len(faces), np.bool_)
    stamp = np.zeros(n, np.int64)  # entries of the queue made for an older state of a vertex are stale
    mark = np.zeros(n, np.int64)
    token = 1
    place = np.empty(3)
    queue = [(0.0, np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    for e in range(len(edges)):
        u, v = edges[e, 0], edges[e, 1]
        if not (fixed[u] or fixed[v]):
            queue.append((_best_place(q[u] + q[v], points[u], points[v], place), u, v, np.int64(0)))
    heapify(queue)
    left = len(faces)
    while left > target and len(queue) > 0 and state[1] == 0:
        state[0] = left
        _, u, v, when = heappop(queue)
        if first[u] < 0 or first[v] < 0 or stamp[u] + stamp[v] != when:
            continue
        token += 2
        if not _link_holds(faces, alive, first, following, u, v, mark, token):
            continue
        _best_place(q[u] + q[v], points[u], points[v], place)
        if not (
            _keeps_faces(points, faces, alive, first, following, u, v, place)
            and _keeps_faces(points, faces, alive, first, following, v, u, place)
        ):
            continue
        points[u] = place
        q[u] += q[v]
        corner = first[v]
        while corner >= 0:
            f = corner // 3
            if alive[f]:
                if faces[f, 0] == u or faces[f, 1] == u or faces[f, 2] == u:
                    alive[f] = False
                    left -= 1
                else:
                    faces[f, corner % 3] = u
            corner = following[corner]
        following[last[u]] = first[v]
        last[u] = last[v]
        first[v] = -1
        stamp[u] += stamp[v] + 1
        # the dead corners of u's own list go, or lists would only grow
        previous, corner = -1, first[u]
        while corner >= 0:
            after = following[corner]
            if alive[corner // 3]:
                previous = corner
            elif previous < 0:
                first[u] = after
            else:
                following[previous] = after
            corner = after
        last[u] = previous
        token += 2
        mark[u] = token
        corner = first[u]
        while corner >= 0:
            f = corner // 3
            for k in range(3):
                w = faces[f, k]
                if mark[w] != token:
                    mark[w] = token
                    if not (fixed[u] or fixed[w]):
                        cost = _best_place(q[u] + q[w], points[u], points[w], place)
                        queue_u, queue_w = min(u, w), max(u, w)
                        heappush(queue, (cost, queue_u, queue_w, stamp[u] + stamp[w]))
            corner = following[corner]
    return alive
