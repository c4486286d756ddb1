# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts a mesh into few large charts by the way its surface faces, and lays each flat with little stretch
(as rigid as possible: Liu et al. 2008, from Tutte's embedding, in which nothing overlaps)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array, eye_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from .fit import normals_of
from .parts import boundary_loops, with_lids
from .progress import Progress, ignored

Array = NDArray[Any]

# Front first: it takes what faces ahead up to 70 degrees, so that a face is one chart, ear to ear.
DIRECTIONS = np.array([[0, 0, 1], [0, 0, -1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], dtype=float)
FRONT = 0.45  # added to the cosine towards the front
VOTES = 12  # rounds in which a face takes the direction of most of its neighbours
SMALL = 60  # faces: smaller charts join a neighbour
ITERATIONS = 12
UNFOLDINGS = 100
SHARES: tuple[float, ...] = (0.92, 0.84, 0.76, 0.68, 0.5)  # of a chart with a handle that are tried to stay whole
TURNED = 2e-3  # share of a chart's area that may be turned over


def face_neighbours(faces: Array) -> Array:
    """(K,2) pairs of faces that share an edge of exactly two faces."""
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    key = np.sort(directed, axis=1) @ [int(faces.max()) + 1, 1]
    order = np.argsort(key, kind="stable")
    same = np.nonzero(key[order][1:] == key[order][:-1])[0]
    return np.stack([order[same], order[same + 1]], 1) % len(faces)


def segment(vertices: Array, faces: Array, group: Array) -> Array:
    """(F,) chart of each face: connected, and but for small patches of one group, group (F,) from 0."""
    pairs = face_neighbours(faces)
    n = len(faces)
    links = csr_array(coo_array((np.ones(2 * len(pairs)), (pairs.T.reshape(-1), pairs[:, ::-1].T.reshape(-1))), (n, n)))
    facing = normals_of(vertices, faces, rounds=6)[faces].sum(1)
    facing /= np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-30)
    score = facing @ DIRECTIONS.T + [FRONT, 0, 0, 0, 0, 0]
    groups = np.eye(int(group.max()) + 1)
    for _ in range(VOTES):
        group = (links @ groups[group] + 1.5 * groups[group]).argmax(1)
    way, ways = score.argmax(1), np.eye(len(DIRECTIONS))
    for _ in range(VOTES):
        way = (links @ ways[way] + 1.2 * ways[way] + 0.5 * score).argmax(1)
    label = group * len(DIRECTIONS) + way
    return _merge_small(_components(pairs, label), pairs, SMALL)


def _components(pairs: Array, label: Array) -> Array:
    same = pairs[label[pairs[:, 0]] == label[pairs[:, 1]]]
    n = len(label)
    graph = coo_array((np.ones(len(same), np.int8), (same[:, 0], same[:, 1])), shape=(n, n))
    out: Array = connected_components(graph, directed=False)[1]
    return out


def _merge_small(chart: Array, pairs: Array, small: int, closed: bool = True) -> Array:
    """Charts of fewer than `small` faces join the neighbour with which they share most edges, smallest first; where the
    surface may be closed, not the last two, or nothing would be cut."""
    whole = _components(pairs, np.zeros(len(chart), int))
    alone = {int(w): len(np.unique(chart[whole == w])) for w in np.unique(whole)}
    while True:
        size = np.bincount(chart)
        border = chart[pairs]
        border = border[border[:, 0] != border[:, 1]]
        for c in np.argsort(size, kind="stable"):
            if size[c] == 0 or size[c] >= small:
                continue
            touching = np.concatenate([border[border[:, 0] == c, 1], border[border[:, 1] == c, 0]])
            home = int(whole[np.argmax(chart == c)])
            if not len(touching) or (closed and alone[home] <= 2):
                continue
            chart = np.where(chart == c, np.bincount(touching).argmax(), chart)
            alone[home] -= 1
            break
        else:
            out: Array = np.unique(chart, return_inverse=True)[1]
            return out


def flatten(
    vertices: Array, faces: Array, group: Array, progress: Progress = ignored
) -> tuple[Array, Array, Array, Array]:
    """Lay a mesh flat chart by chart: uv (T,2) in the units of vertices (V,3), each chart about its own origin and as
    large as its surface; faces_uv (F,3); vertex (T,): the mesh vertex of each uv; chart (F,).

    Charts end where group (F,) does, but for small patches.
    """
    points = vertices.astype(np.float64)
    todo = [np.nonzero(row)[0] for row in _rows(segment(points, faces, group))]
    uv, vertex, faces_uv = [], [], np.zeros_like(faces)
    chart = np.zeros(len(faces), np.int64)
    count = number = 0
    while todo:
        progress(1 - sum(len(rows) for rows in todo) / len(faces))
        rows = todo.pop()
        used, local = without_pinches(faces[rows])
        flat = _flatten_chart(points, used, local)
        if flat is None:  # closed, with a handle, or too curved to lie flat
            todo += _divided(points, faces, rows)
            continue
        uv.append(flat)
        vertex.append(used)
        faces_uv[rows] = local + count
        chart[rows] = number
        count, number = count + len(used), number + 1
    return np.concatenate(uv), faces_uv, np.concatenate(vertex), chart


def _rows(chart: Array) -> Array:
    out: Array = chart[None] == np.arange(chart.max() + 1)[:, None]
    return out


def _divided(points: Array, faces: Array, rows: Array) -> list[Array]:
    """Connected pieces of a chart's faces, cut straight: as little as makes the larger side a disc, or else in half."""
    middle = points[faces[rows]].mean(1)
    middle = middle - middle.mean(0)
    axes = np.linalg.eigh(middle.T @ middle)[1][:, ::-1].T  # longest first
    pairs = face_neighbours(faces[rows])
    curved = _fill(points, without_pinches(faces[rows])) is not None
    shares = SHARES[-1:] if curved else SHARES
    for share in shares:
        for along in (middle @ axis * sign for axis in axes for sign in (1, -1)):
            side = (along > np.quantile(along, share)).astype(int)
            piece = _components(pairs, side)
            kept = piece == np.bincount(piece[side == 0]).argmax() if (side == 0).any() else side == 0
            if _fill(points, without_pinches(faces[rows][kept])) is not None or share == SHARES[-1]:
                for small in (SMALL, SMALL // 3, SMALL // 9):
                    joined = _merge_small(piece, pairs, small, closed=False)
                    if joined.max() > 0:  # else all is whole again, and the cut lost
                        piece = joined
                        break
                if piece.max() == 0:
                    piece = np.arange(len(rows))
                return [rows[piece == k] for k in range(piece.max() + 1)]
    raise AssertionError("the last share always divides")


def _fill(points: Array, chart: tuple[Array, Array]) -> tuple[Array, Array, Array, list[int]] | None:
    """A chart, (vertex (n,), faces (F,3)), with its holes closed: points, faces, edges and rim; None unless a disc."""
    vertex, faces = chart
    where = points[vertex]
    loops = boundary_loops(faces)
    if not loops:
        return None
    length = [np.linalg.norm(where[loop] - where[np.roll(loop, 1)], axis=1).sum() for loop in loops]
    rim = loops.pop(int(np.argmax(length)))
    filled, triangles = with_lids(where, faces, loops)
    directed = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = np.unique(np.sort(directed, axis=1), axis=0)
    if len(filled) - len(edges) + len(triangles) != 1:
        return None
    return filled, triangles, edges, rim


def without_pinches(faces: Array) -> tuple[Array, Array]:
    """A vertex for each fan of faces around it, so that fans that only touch come apart: the old vertex (n,) of each,
    and faces (F,3) renumbered."""
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    corners = np.arange(faces.size).reshape(-1, 3)
    ends = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    base = int(faces.max()) + 1
    forth, back = directed @ [base, 1], directed @ [1, base]
    order = np.argsort(back, kind="stable")
    at = np.minimum(np.searchsorted(back[order], forth), len(order) - 1)
    met = back[order][at] == forth
    a, b = ends[met], ends[order[at[met]]][:, ::-1]
    graph = coo_array((np.ones(a.size, np.int8), (a.reshape(-1), b.reshape(-1))), shape=(faces.size, faces.size))
    fan = connected_components(graph, directed=False)[1]
    _, first, local = np.unique(fan, return_index=True, return_inverse=True)
    return faces.reshape(-1)[first], local.reshape(-1, 3)


def _flatten_chart(points: Array, vertex: Array, faces: Array) -> Array | None:
    """(n,2) uv of a chart; None where it is no disc (with holes) or would be turned over in places."""
    disc = _fill(points, (vertex, faces))
    if disc is None:
        return None
    filled, triangles, edges, rim = disc
    start = _tutte(filled, edges, rim[::-1])
    flat = _unfolded(_as_rigid_as_possible(filled, triangles, start), triangles, edges, rim)
    if _turned(flat, triangles) > TURNED:
        if len(faces) > SMALL:
            return None
        flat = start
    flat = flat[: len(vertex)]
    p, q, r = points[vertex[faces]].transpose(1, 0, 2)
    size = np.linalg.norm(np.cross(q - p, r - p), axis=1).sum()
    out: Array = flat * np.sqrt(size / max(np.abs(_doubled_areas(flat, faces)).sum(), 1e-20))
    return out


def _turned(uv: Array, faces: Array) -> float:
    """Share of the area that is turned over."""
    signed = _doubled_areas(uv, faces)
    return float(-signed[signed < 0].sum() / max(np.abs(signed).sum(), 1e-30))


def _unfolded(uv: Array, faces: Array, edges: Array, rim: list[int]) -> Array:
    """The few faces that are still turned over laid flat: their inner vertices go between their neighbours."""
    links = coo_array(
        (np.ones(2 * len(edges)), (edges.T.reshape(-1), edges[:, ::-1].T.reshape(-1))), (len(uv), len(uv))
    )
    average = csr_array(csr_array(links).multiply(1 / np.asarray(csr_array(links).sum(1)).reshape(-1, 1)))
    inner = np.ones(len(uv), bool)
    inner[rim] = False
    for _ in range(UNFOLDINGS):
        turned = np.unique(faces[_doubled_areas(uv, faces) <= 0])
        turned = turned[inner[turned]]
        if not len(turned):
            break
        uv[turned] = (average @ uv)[turned]
    return uv


def _doubled_areas(uv: Array, faces: Array) -> Array:
    p, q, r = uv[faces].transpose(1, 0, 2)
    out: Array = (q - p)[:, 0] * (r - p)[:, 1] - (q - p)[:, 1] * (r - p)[:, 0]
    return out


def _tutte(points: Array, edges: Array, rim: list[int]) -> Array:
    """(n,2) Tutte's embedding: rim on a circle by its length, every other vertex in the middle of its neighbours."""
    n = len(points)
    step = np.linalg.norm(points[np.roll(rim, -1)] - points[rim], axis=1)
    step = np.maximum(step, 1e-3 * step.mean())
    angle = 2 * np.pi * np.concatenate([[0], np.cumsum(step)[:-1]]) / step.sum()
    radius = step.sum() / (2 * np.pi)
    fixed = np.zeros(n, bool)
    fixed[rim] = True
    weight = 1 / np.maximum(np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1), 1e-9)
    i, j = edges.T
    links = csr_array(coo_array((np.r_[weight, weight], (np.r_[i, j], np.r_[j, i])), shape=(n, n)))
    matrix = csc_array(links.multiply(-1)) + csc_array(
        coo_array((np.asarray(links.sum(1)).reshape(-1), (np.arange(n), np.arange(n))), shape=(n, n))
    )
    uv = np.zeros((n, 2))
    uv[rim] = radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    if not fixed.all():
        inner = ~fixed
        rows = matrix[inner]
        uv[inner] = splu(csc_array(rows[:, inner])).solve(-(rows[:, fixed] @ uv[fixed]))
    return uv


def _as_rigid_as_possible(points: Array, faces: Array, uv: Array) -> Array:
    """Local/global iterations from uv (n,2): the last state in which next to nothing is turned over, or the best."""
    a, b, c = points[faces].transpose(1, 0, 2)
    along = b - a
    length = np.maximum(np.linalg.norm(along, axis=1), 1e-12)
    x = along / length[:, None]
    normal = np.cross(along, c - a)
    area = np.linalg.norm(normal, axis=1)
    y = np.cross(normal / np.maximum(area, 1e-30)[:, None], x)
    rest = np.stack([np.zeros((len(a), 2)), np.stack([length, 0 * length], 1),
                     np.stack([((c - a) * x).sum(1), ((c - a) * y).sum(1)], 1)], 1)  # fmt: skip
    i, j = faces, np.roll(faces, -1, axis=1)  # edge k runs from corner k to k + 1, opposite corner k + 2
    edge = np.roll(rest, -1, axis=1) - rest
    u, v = -np.roll(edge, -1, axis=1), np.roll(edge, -2, axis=1)
    cotangent = np.abs((u * v).sum(2)) / np.maximum(area, 1e-12)[:, None]
    weight = np.clip(cotangent, 0.05, 5.0)
    n = len(points)
    w = weight.reshape(-1)
    links = coo_array((np.r_[w, w], (np.r_[i.reshape(-1), j.reshape(-1)], np.r_[j.reshape(-1), i.reshape(-1)])), (n, n))
    links = csr_array(links)
    total = np.asarray(links.sum(1)).reshape(-1)
    matrix = csc_array(coo_array((total * (1 + 1e-9), (np.arange(n), np.arange(n))), (n, n)) - links)
    factors = splu(csc_array(matrix + 1e-9 * eye_array(n)))
    best, least = uv, np.inf
    for _ in range(ITERATIONS):
        now = uv[j] - uv[i]
        s = np.einsum("fk,fkc,fkd->fcd", weight, now, edge)
        turn = np.arctan2(s[:, 1, 0] - s[:, 0, 1], s[:, 0, 0] + s[:, 1, 1])
        cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
        wanted = weight[..., None] * np.stack(
            [cos * edge[..., 0] - sin * edge[..., 1], sin * edge[..., 0] + cos * edge[..., 1]], -1
        )
        rhs = np.zeros((n, 2))
        for k in range(2):
            rhs[:, k] = np.bincount(j.reshape(-1), wanted[..., k].reshape(-1), n)
            rhs[:, k] -= np.bincount(i.reshape(-1), wanted[..., k].reshape(-1), n)
        uv = factors.solve(rhs)
        uv -= uv.mean(0)
        turned = max(_turned(uv, faces), TURNED)
        if turned <= least:
            best, least = uv.copy(), turned
    return best
