# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled kernels of the rasteriser: what is visible, and where its outline runs. No gradients here.

Screen coordinates are in pixels, x right, y down, with the centre of pixel (row i, column j) at (x=j, y=i).
All kernels release the GIL, so that views can run on threads.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Vertices snap to this fraction of a pixel: products of such numbers are exact in float64, hence two triangles that
# share an edge never both own, or both miss, a pixel centre on it.
SUBPIXEL = 4096.0

# A face narrower than this many pixels has no useful barycentric gradient: it grows as one over the width.
THIN = 1.0 / 64.0


def to_screen(clip: NDArray[np.floating], size: int) -> NDArray[np.float64]:
    """OpenGL clip (V,4) to screen (V,3): x, y in pixels and NDC depth; NaN in front of the near plane."""
    c = clip.astype(np.float64)
    w = c[:, 3]
    with np.errstate(all="ignore"):
        screen = np.stack(
            [(c[:, 0] / w + 1.0) * (0.5 * size) - 0.5, (1.0 - c[:, 1] / w) * (0.5 * size) - 0.5, c[:, 2] / w], axis=1
        )
        # Written so that a NaN fails it.
        visible = (w > 0.0) & (c[:, 2] >= -w)
    screen[~visible] = np.nan
    return screen


@njit(cache=True, nogil=True)
def zbuffer(screen, faces, triangle, depth, thin):  # type: ignore[no-untyped-def]
    """Fill triangle (H,W) int64, depth (H,W) float32, thin (H,W) bool: the nearest face, its depth, whether it is
    narrower than THIN. Top-left fill rule, no culling.

    screen (V,3) float64 from ``to_screen``; faces (F,3) int64. A face with a vertex in front of the near plane is
    dropped whole. Of two faces at one depth the lower index stays.
    """
    height, width = triangle.shape
    triangle[:] = -1
    depth[:] = np.inf
    for f in range(faces.shape[0]):
        i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
        x0 = np.rint(screen[i0, 0] * SUBPIXEL) / SUBPIXEL
        y0 = np.rint(screen[i0, 1] * SUBPIXEL) / SUBPIXEL
        x1 = np.rint(screen[i1, 0] * SUBPIXEL) / SUBPIXEL
        y1 = np.rint(screen[i1, 1] * SUBPIXEL) / SUBPIXEL
        x2 = np.rint(screen[i2, 0] * SUBPIXEL) / SUBPIXEL
        y2 = np.rint(screen[i2, 1] * SUBPIXEL) / SUBPIXEL
        z0, z1, z2 = screen[i0, 2], screen[i1, 2], screen[i2, 2]
        area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
        if not abs(area) > 0.0:  # also drops NaN
            continue
        if area < 0.0:
            x1, y1, z1, x2, y2, z2 = x2, y2, z2, x1, y1, z1
            area = -area
        left, right = max(0.0, np.ceil(min(x0, x1, x2))), min(width - 1.0, np.floor(max(x0, x1, x2)))
        top, bottom = max(0.0, np.ceil(min(y0, y1, y2))), min(height - 1.0, np.floor(max(y0, y1, y2)))
        if not (left <= right and top <= bottom):
            continue
        # Edge i runs opposite corner i; its function is positive inside.
        ex0, ey0 = x2 - x1, y2 - y1
        ex1, ey1 = x0 - x2, y0 - y2
        ex2, ey2 = x1 - x0, y1 - y0
        own0 = ey0 < 0.0 or (ey0 == 0.0 and ex0 > 0.0)
        own1 = ey1 < 0.0 or (ey1 == 0.0 and ex1 > 0.0)
        own2 = ey2 < 0.0 or (ey2 == 0.0 and ex2 > 0.0)
        length = max(abs(ex0), abs(ey0), abs(ex1), abs(ey1), abs(ex2), abs(ey2))
        narrow = area < THIN * length
        dz1, dz2 = (z1 - z0) / area, (z2 - z0) / area
        for y in range(int(top), int(bottom) + 1):
            for x in range(int(left), int(right) + 1):
                e0 = ex0 * (y - y1) - ey0 * (x - x1)
                if e0 < 0.0 or (e0 == 0.0 and not own0):
                    continue
                e1 = ex1 * (y - y2) - ey1 * (x - x2)
                if e1 < 0.0 or (e1 == 0.0 and not own1):
                    continue
                e2 = ex2 * (y - y0) - ey2 * (x - x0)
                if e2 < 0.0 or (e2 == 0.0 and not own2):
                    continue
                z = np.float32(z0 + e1 * dz1 + e2 * dz2)
                if z < depth[y, x] and z <= 1.0:
                    depth[y, x] = z
                    triangle[y, x] = f
                    thin[y, x] = narrow


@njit(cache=True, nogil=True)
def edge_neighbours(faces, vertex_count):  # type: ignore[no-untyped-def]
    """For each half-edge (F,3), corner k to k+1, the opposite half-edge as 3*face+corner; -1 unless exactly one exists.

    Bucket sort on the lower vertex: linear in the number of faces, cheap enough to redo when the topology changes.
    """
    count = faces.shape[0]
    start = np.zeros(vertex_count + 1, np.int64)
    for f in range(count):
        for k in range(3):
            start[min(faces[f, k], faces[f, (k + 1) % 3]) + 1] += 1
    for v in range(vertex_count):
        start[v + 1] += start[v]
    fill = start[:-1].copy()
    half_edge = np.empty(3 * count, np.int64)
    upper = np.empty(3 * count, np.int64)
    for f in range(count):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            slot = fill[min(a, b)]
            fill[min(a, b)] += 1
            half_edge[slot] = 3 * f + k
            upper[slot] = max(a, b)
    neighbour = np.full(3 * count, -1, np.int64)
    for v in range(vertex_count):
        for i in range(start[v], start[v + 1]):
            matches, found = 0, -1
            for j in range(start[v], start[v + 1]):
                if upper[j] == upper[i] and j != i:
                    matches += 1
                    found = half_edge[j]
            if matches == 1:
                neighbour[half_edge[i]] = found
    return neighbour.reshape(count, 3)


@njit(cache=True, nogil=True)
def _side(screen, a, b, c):  # type: ignore[no-untyped-def]
    return (screen[b, 0] - screen[a, 0]) * (screen[c, 1] - screen[a, 1]) - (screen[b, 1] - screen[a, 1]) * (
        screen[c, 0] - screen[a, 0]
    )


@njit(cache=True, nogil=True)
def _find_outline(t, target, x, y, axis, direction, screen, faces, neighbour):  # type: ignore[no-untyped-def]
    """Walk over the surface from face t at pixel (x, y) one pixel along the axis; the outline half-edge met, or -1.

    The line through two pixel centres crosses two edges of each face it meets; leaving by the one not entered by, the
    walk ends at the face seen by the other pixel (no outline), or at an edge where the surface stops or folds back.
    """
    u, v = (x, y) if axis == 0 else (y, x)
    entry = -1
    for _ in range(256):
        leave, furthest = -1, -np.inf
        for k in range(3):
            if k == entry:
                continue
            a, b = faces[t, k], faces[t, (k + 1) % 3]
            va, vb = screen[a, 1 - axis], screen[b, 1 - axis]
            if (va > v) == (vb > v):
                continue
            ua, ub = screen[a, axis], screen[b, axis]
            distance = (ua + (v - va) * (ub - ua) / (vb - va) - u) * direction
            if distance > furthest:
                leave, furthest = k, distance
        if leave < 0 or not furthest < 1.0:
            return -1
        a, b = faces[t, leave], faces[t, (leave + 1) % 3]
        across = neighbour[t, leave]
        outline = across < 0
        if not outline:
            own = _side(screen, a, b, faces[t, (leave + 2) % 3])
            other = _side(screen, a, b, faces[across // 3, (across % 3 + 2) % 3])
            outline = own * other >= 0.0
        if outline:
            # An edge belongs to the pixel pairs that it is mostly perpendicular to. Counting a slanted edge in both
            # directions would double the gradient of the covered area; at 45 degrees it is the horizontal pair's.
            width, height = abs(screen[b, 0] - screen[a, 0]), abs(screen[b, 1] - screen[a, 1])
            return 3 * t + leave if (height >= width) == (axis == 0) else -1
        t, entry = across // 3, across % 3
        if t == target:
            return -1
    return -1


@njit(cache=True, nogil=True)
def outline_pairs(triangle, depth, screen, faces, neighbour, out):  # type: ignore[no-untyped-def]
    """Neighbouring pixels with an outline edge between their centres; returns how many rows of out were filled.

    Rows of out (2*H*W,4) int64: flat index of the pixel on the nearer surface, of the other pixel, and the edge's two
    vertices.
    """
    height, width = triangle.shape
    n = 0
    for y in range(height):
        for x in range(width):
            for axis in range(2):
                x2, y2 = x + 1 - axis, y + axis
                if x2 >= width or y2 >= height or triangle[y, x] == triangle[y2, x2]:
                    continue
                if depth[y, x] <= depth[y2, x2]:
                    nx, ny, fx, fy, direction = x, y, x2, y2, 1
                else:
                    nx, ny, fx, fy, direction = x2, y2, x, y, -1
                h = _find_outline(triangle[ny, nx], triangle[fy, fx], nx, ny, axis, direction, screen, faces, neighbour)
                if h >= 0:
                    out[n, 0] = ny * width + nx
                    out[n, 1] = fy * width + fx
                    out[n, 2] = faces[h // 3, h % 3]
                    out[n, 3] = faces[h // 3, (h % 3 + 1) % 3]
                    n += 1
    return n


@njit(cache=True, nogil=True)
def blended(out, values, index, weights):  # type: ignore[no-untyped-def]
    """out[i] += weights[i,k] values[index[i,k]]; out (N,C), values (M,C), index and weights (N,K)."""
    for i in range(index.shape[0]):
        for k in range(index.shape[1]):
            for c in range(out.shape[1]):
                out[i, c] += weights[i, k] * values[index[i, k], c]


@njit(cache=True, nogil=True)
def add_blended(out, rows, index, weights):  # type: ignore[no-untyped-def]
    """The transpose: out[index[i,k]] += weights[i,k] rows[i]; out (M,C), rows (N,C), index and weights (N,K)."""
    for i in range(index.shape[0]):
        for k in range(index.shape[1]):
            for c in range(out.shape[1]):
                out[index[i, k], c] += weights[i, k] * rows[i, c]


@njit(cache=True, nogil=True)
def add_rows(out, index, rows):  # type: ignore[no-untyped-def]
    """out[index[i]] += rows[i]; out (N,C), index (K,), rows (K,C)."""
    for i in range(index.shape[0]):
        j = index[i]
        for c in range(rows.shape[1]):
            out[j, c] += rows[i, c]
