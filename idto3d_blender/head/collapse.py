# SPDX-License-Identifier: GPL-3.0-or-later
"""Fewer triangles, for hair: short and flat edges are closed, one end going to the other, so that a place that is left
is where it was (half-edge collapse with the link condition: Hoppe et al., Mesh optimization, SIGGRAPH 1993). No bpy."""

import numpy as np

from .net import Ints, costs, edges_of, move_corners, removable, turned_over, vertex_normals
from .thinning import State

_AT_ONCE = 1.6  # what costs more than so often the cheapest tenth waits for the next round


def close_edges(now: State) -> tuple[Ints, Ints] | None:
    """A round of edges that have no neighbour in common, the cheapest first."""
    points, faces, corners = now.points, now.faces, now.corners
    piece, left, wanted = now.piece, now.left.copy(), now.wanted
    count = len(points)
    edges = edges_of(faces, corners, now.group)
    may = removable(faces, edges, count)
    ends = np.concatenate([edges.ends, edges.ends[:, ::-1]])  # first goes to second
    number = np.flatnonzero(may.T.ravel() & (left > wanted)[piece[ends[:, 0]]])
    if not len(number):
        return None
    cost = costs(points, vertex_normals(points, faces), now.usual, ends[number, 1], ends[number, 0])
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
    stay = faces[turned_over(points, faces, to_vertex)]
    to_vertex[stay[stay >= 0]] = stay[stay >= 0]
    table = table[to_vertex[table[:, 1]] == table[:, 2]]
    if not len(table):
        return None
    to_corner = np.arange(corners.max() + 1)
    move_corners(faces, corners, edges, table[:, 0], to_vertex, to_corner)
    return to_vertex, to_corner
