# SPDX-License-Identifier: GPL-3.0-or-later
"""Fewer triangles, for hair: short and flat edges are closed, one end going to the other, so that a place that is left
is where it was (half-edge collapse with the link condition: Hoppe et al., Mesh optimization, SIGGRAPH 1993). No bpy."""

from __future__ import annotations

from typing import Any

import numpy as np

from .net import (
    Closed,
    Ints,
    Net,
    applied,
    costs,
    edges_of,
    move_corners,
    pieces,
    removable,
    turned_over,
    usual_lengths,
    vertex_normals,
)
from .stepwise import Steps

_ROUNDS = 24
_AT_ONCE = 1.6  # what costs more than so often the cheapest tenth waits for the next round


def thin(net: Net, share: float) -> Steps[Closed]:
    """Close edges until of each connected piece about ``share`` of its triangles is left; a step a round."""
    faces: Ints = net.faces.astype(np.int64)
    corners: Ints = net.corners.astype(np.int64)
    vertex: Ints = np.arange(len(net.points))
    corner: Ints = np.arange(corners.max() + 1)
    origin: Ints = np.arange(len(faces))
    piece = pieces(faces, len(vertex))
    left = np.bincount(piece[faces[:, 0]], minlength=len(vertex))
    wanted = np.ceil(left * share).astype(int)
    usual = usual_lengths(net)
    for number in range(_ROUNDS):
        yield number / _ROUNDS
        chosen = _round(net, (faces, corners, origin), (piece, left.copy(), wanted, usual))
        if chosen is None:
            break
        to_vertex, to_corner = chosen
        vertex, corner = to_vertex[vertex], to_corner[corner]
        faces, corners, origin = applied(faces, corners, origin, to_vertex, to_corner)
        left = np.bincount(piece[faces[:, 0]], minlength=len(vertex))
    return Closed(vertex, corner, faces, corners, origin)


def _round(net: Net, state: Any, budget: Any) -> tuple[Ints, Ints] | None:
    faces, corners, origin = state
    piece, left, wanted, usual = budget
    count = len(net.points)
    edges = edges_of(faces, corners, net.group[origin])
    may = removable(faces, edges, count)
    ends = np.concatenate([edges.ends, edges.ends[:, ::-1]])  # first goes to second
    number = np.flatnonzero(may.T.ravel() & (left > wanted)[piece[ends[:, 0]]])
    if not len(number):
        return None
    cost = costs(net.points, vertex_normals(net.points, faces), usual, ends[number, 1], ends[number, 0])
    number = number[(order := np.argsort(cost, kind="stable"))]
    number = number[cost[order] <= _AT_ONCE * np.quantile(cost, 0.1)]
    around: list[set[int]] = [set() for _ in range(count)]
    for a, b in edges.ends.tolist():
        around[a].add(b)
        around[b].add(a)
    beside = ((edges.sides[:, :, 0] >= 0).sum(axis=1)).tolist()
    used = np.zeros(count, bool)
    chosen = []
    for one, (gone, keep) in zip(number.tolist(), ends[number].tolist(), strict=True):
        edge = one % len(edges.ends)
        ring = around[gone]
        if used[gone] or used[keep] or left[piece[gone]] <= wanted[piece[gone]]:
            continue
        if len(ring & around[keep]) != beside[edge] or any(used[v] for v in ring):
            continue
        used[list(ring)] = used[gone] = True
        left[piece[gone]] -= beside[edge]
        chosen.append((edge, gone, keep))
    table = np.array(chosen, dtype=int).reshape(-1, 3)
    to_vertex = np.arange(count)
    to_vertex[table[:, 1]] = table[:, 2]
    # A face that would turn over keeps its corners.
    stay = faces[turned_over(net.points, faces, to_vertex)]
    to_vertex[stay[stay >= 0]] = stay[stay >= 0]
    table = table[to_vertex[table[:, 1]] == table[:, 2]]
    if not len(table):
        return None
    to_corner = np.arange(corners.max() + 1)
    move_corners(faces, corners, edges, table[:, 0], to_vertex, to_corner)
    return to_vertex, to_corner
