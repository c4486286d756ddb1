# SPDX-License-Identifier: GPL-3.0-or-later
"""Triangle pairs of one mesh that intersect: sweep along the longest axis, then exact-style tests in double
precision."""

import numba
import numpy as np
from numpy.typing import NDArray

from ..arrays import Array


@numba.njit(cache=True, nogil=True)
def _plane(p, q, r):  # type: ignore[no-untyped-def]
    """Unit normal and offset of the plane through p, q, r; a zero normal where they are collinear."""
    n = np.empty(3)
    n[0] = (q[1] - p[1]) * (r[2] - p[2]) - (q[2] - p[2]) * (r[1] - p[1])
    n[1] = (q[2] - p[2]) * (r[0] - p[0]) - (q[0] - p[0]) * (r[2] - p[2])
    n[2] = (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])
    length = np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2])
    if length > 0.0:
        n /= length
    return n


@numba.njit(cache=True, nogil=True)
def _side(s, e, p, q):  # type: ignore[no-untyped-def]
    """Six times the signed volume of s, e, p, q: on which side of the edge pq the line se passes."""
    ax, ay, az = e[0] - s[0], e[1] - s[1], e[2] - s[2]
    bx, by, bz = p[0] - s[0], p[1] - s[1], p[2] - s[2]
    cx, cy, cz = q[0] - s[0], q[1] - s[1], q[2] - s[2]
    return ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)


@numba.njit(cache=True, nogil=True)
def _pierces(s, e, hs, he, t, tolerance):  # type: ignore[no-untyped-def]
    """Does segment se (heights hs, he over t's plane) pass through t? Ends must clear the plane by the tolerance."""
    if not ((hs > tolerance and he < -tolerance) or (hs < -tolerance and he > tolerance)):
        return False
    u, v, w = _side(s, e, t[0], t[1]), _side(s, e, t[1], t[2]), _side(s, e, t[2], t[0])
    # Rims count: a segment that runs exactly through the edge between two faces must hit one of them.
    return (u >= 0.0 and v >= 0.0 and w >= 0.0) or (u <= 0.0 and v <= 0.0 and w <= 0.0)


@numba.njit(cache=True, nogil=True)
def _overlap_in_plane(a, b, n, tolerance):  # type: ignore[no-untyped-def]
    """Separating axes in the common plane with normal n: do the flat triangles overlap by more than the tolerance?"""
    for which in range(2):
        t = a if which == 0 else b
        for i in range(3):
            edge = t[(i + 1) % 3] - t[i]
            ax = edge[1] * n[2] - edge[2] * n[1]
            ay = edge[2] * n[0] - edge[0] * n[2]
            az = edge[0] * n[1] - edge[1] * n[0]
            length = np.sqrt(ax * ax + ay * ay + az * az)
            if length == 0.0:
                return False
            low_a, high_a, low_b, high_b = np.inf, -np.inf, np.inf, -np.inf
            for k in range(3):
                da = (ax * a[k, 0] + ay * a[k, 1] + az * a[k, 2]) / length
                db = (ax * b[k, 0] + ay * b[k, 1] + az * b[k, 2]) / length
                low_a, high_a = min(low_a, da), max(high_a, da)
                low_b, high_b = min(low_b, db), max(high_b, db)
            if min(high_a, high_b) - max(low_a, low_b) <= tolerance:
                return False
    return True


@numba.njit(cache=True, nogil=True)
def _heights(t, plane, n):  # type: ignore[no-untyped-def]
    h = np.empty(3)
    for k in range(3):
        h[k] = (t[k, 0] - plane[0, 0]) * n[0] + (t[k, 1] - plane[0, 1]) * n[1] + (t[k, 2] - plane[0, 2]) * n[2]
    return h


@numba.njit(cache=True, nogil=True)
def _triangles_intersect(a, b, shared, tolerance):  # type: ignore[no-untyped-def]
    """shared: number of vertices that the two faces have in common by index."""
    nb = _plane(b[0], b[1], b[2])
    ha = _heights(a, b, nb)
    if (ha > -tolerance).all() and (ha < tolerance).all():
        return _overlap_in_plane(a, b, nb, tolerance) if nb.any() else False
    if shared >= 2:
        return False  # two different planes meet in the shared edge only
    if (ha > tolerance).all() or (ha < -tolerance).all():
        return False
    na = _plane(a[0], a[1], a[2])
    hb = _heights(b, a, na)
    # Two triangles in different planes meet in a segment; each of its ends is where an edge of one pierces the other.
    # With a shared corner one end is that corner, and the other end is still such a piercing.
    for i in range(3):
        j = (i + 1) % 3
        if nb.any() and _pierces(a[i], a[j], ha[i], ha[j], b, tolerance):
            return True
        if na.any() and _pierces(b[i], b[j], hb[i], hb[j], a, tolerance):
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _sweep(points, faces, order, low, high, axis, tolerance):  # type: ignore[no-untyped-def]
    found = [(np.int64(0), np.int64(0)) for _ in range(0)]
    second, third = (axis + 1) % 3, (axis + 2) % 3
    n = len(faces)
    for x in range(n):
        i = order[x]
        for y in range(x + 1, n):
            j = order[y]
            if low[j, axis] > high[i, axis]:
                break
            if low[j, second] > high[i, second] or high[j, second] < low[i, second]:
                continue
            if low[j, third] > high[i, third] or high[j, third] < low[i, third]:
                continue
            shared = 0
            for p in range(3):
                for q in range(3):
                    if faces[i, p] == faces[j, q]:
                        shared += 1
            if _triangles_intersect(points[faces[i]], points[faces[j]], shared, tolerance):
                found.append((i, j))
    pairs = np.empty((len(found), 2), dtype=np.int64)
    for k in range(len(found)):
        pairs[k, 0], pairs[k, 1] = found[k]
    return pairs


def intersecting_pairs(points: NDArray[np.float64], faces: NDArray[np.int64], tolerance: float) -> NDArray[np.int64]:
    """Unsorted pairs (K,2) of intersecting faces; points (V,3), faces (F,3); see `self_intersections`.

    Sweep and prune over bounding boxes: near-linear for small even triangles, at worst F^2/2 box comparisons.
    """
    corners = points[faces]
    low, high = corners.min(1), corners.max(1)
    axis = int(np.ptp(points[faces.reshape(-1)], axis=0).argmax())
    order = np.argsort(low[:, axis], kind="stable")
    return _sweep(points, faces, order, low, high, axis, tolerance)


def self_intersections(vertices: Array, faces: Array, tolerance: float | None = None) -> Array:
    """Pairs (K,2) of faces of one mesh that cross or overlap, each pair once, i < j, sorted.

    vertices (V,3), faces (F,3). Faces must cross by more than `tolerance` (the vertices' unit; default a millionth of
    the bounding box's diagonal), so mere contact, shared corners, shared edges and coincident vertices do not count.
    """
    points = np.ascontiguousarray(vertices, dtype=np.float64)
    triangles = np.ascontiguousarray(faces, dtype=np.int64)
    if not len(triangles):
        return np.zeros((0, 2), dtype=np.int64)
    if tolerance is None:
        tolerance = 1e-6 * float(np.linalg.norm(np.ptp(points[triangles.reshape(-1)], axis=0)))
    pairs = np.sort(intersecting_pairs(points, triangles, tolerance), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
