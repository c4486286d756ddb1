# SPDX-License-Identifier: GPL-3.0-or-later
"""Fewer quads out of quads: whole strips of them are closed, so that what is left is quads again, and a place that is
left is where it was. No bpy.

A strip is a chord: quads joined over opposite edges, from rim to rim or round and round (Daniels et al., Quadrilateral
mesh simplification, ACM TOG 27(5), 2008). To close it, one end of each edge across goes to the other end. Strips are
closed where edges are short as compared with what they were, and flat; thus eyes and lips, which have short edges
since they need them, are thinned out like the rest. Seams, rims and borders between materials and parts keep their run.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .net import Edges, Ints, costs, edges_of, faces_around, move_corners, removable, sound, vertex_normals
from .thinning import State


def close_strips(now: State) -> tuple[Ints, Ints] | None:
    """A round of strips that do not lie side by side, the cheapest first."""
    edges = edges_of(now.faces, now.corners, now.group)
    normal = vertex_normals(now.points, now.faces)
    may_go = removable(now.faces, edges, len(now.points))
    table = []
    for strip in _strips(now.faces, edges):
        plan = _plan(strip, edges, may_go)
        if plan is not None:
            keep, gone, _ = plan
            table.append((float(costs(now.points, normal, now.usual, keep, gone).mean()), *plan))
    table.sort(key=lambda row: row[0])
    return _chosen(now, table, edges)


def _chosen(now: State, table: list[Any], edges: Edges) -> tuple[Ints, Ints] | None:
    points, faces, left = now.points, now.faces, now.left.copy()
    to_vertex = np.arange(len(points))
    to_corner = np.arange(now.corners.max() + 1)
    around = faces_around(faces, len(points))
    used = np.zeros(len(points), bool)
    lost = np.zeros(len(faces), bool)
    highest = None
    any_chosen = False
    for cost, keep, gone, across in table:
        own = np.unique(edges.sides[across, :, 0])
        own = own[own >= 0]
        number = now.piece[gone[0]]
        removed = int((~lost[own]).sum())
        if left[number] - removed < 0.98 * now.wanted[number]:
            continue
        # What costs half as much again as the cheapest waits for the next round, where all is weighed anew.
        highest = highest if highest is not None else 1.5 * cost
        if cost > highest and any_chosen:
            continue
        if used[keep].any() or used[gone].any():
            continue
        trial = to_vertex.copy()
        trial[gone] = keep
        near = np.unique(np.concatenate([around[v] for v in gone.tolist()]))
        if not sound(points, faces, near, trial, lost):
            continue
        to_vertex = trial
        used[keep] = used[gone] = True
        lost[own] = True
        left[number] -= removed
        move_corners(faces, now.corners, edges, across, trial, to_corner)
        any_chosen = True
    return (to_vertex, to_corner) if any_chosen else None


def _plan(strip: tuple[Ints, Ints], edges: Edges, may_go: NDArray[np.bool_]) -> tuple[Ints, Ints, Ints] | None:
    """(keep, gone, edges across) of a strip, or None where it may not be closed. strip: its edges, and for each whether
    its ends are to be swapped for the first ones to lie all on one side."""
    across, swapped = strip
    ends, may = edges.ends[across], may_go[across]
    a, b = np.where(swapped[:, None], ends[:, ::-1], ends).T
    may_a, may_b = np.where(swapped[:, None], may[:, ::-1], may).T
    if len(np.unique(ends)) < 2 * len(across):
        return None  # It lies beside itself.
    if not (may_a | may_b).all():
        return None
    # All to one side, so that the rows of quads beside it stay straight.
    go_a = np.where(may_a & may_b, may_a.sum() > may_b.sum(), may_a)
    return np.where(go_a, b, a), np.where(go_a, a, b), across


def _strips(faces: Ints, edges: Edges) -> list[tuple[Ints, Ints]]:
    """Each chord: its edges, and which of them run the other way. Walked quad by quad."""
    done = np.zeros(len(edges.ends), bool)
    of_side, sides, ends, corners = edges.of_side.tolist(), edges.sides.tolist(), edges.ends.tolist(), faces.tolist()

    def walk(edge: int, first: int, face_slot: int) -> list[tuple[int, int]]:
        """(edge, vertex on the first side) from here on, over the face in this slot of the edge."""
        out = []
        face, side = sides[edge][face_slot]
        while face >= 0 and corners[face][3] >= 0:
            other = (side + 2) % 4
            # Opposite edges of a quad run opposite ways: the first's begin lies beside the other's end.
            begins = corners[face][side] == first
            following = of_side[face][other]
            if done[following]:
                break
            first = corners[face][(other + 1) % 4] if begins else corners[face][other]
            done[following] = True
            out.append((following, first))
            face, side = sides[following][1] if sides[following][0][0] == face else sides[following][0]
        return out

    strips = []
    for edge in range(len(ends)):
        if done[edge]:
            continue
        done[edge] = True
        first = ends[edge][0]
        ahead = walk(edge, first, 0)
        back = walk(edge, first, 1)
        row = [*reversed(back), (edge, first), *ahead]
        if len(row) > 1:
            numbers = np.array([number for number, _ in row])
            strips.append((numbers, edges.ends[numbers, 0] != np.array([v for _, v in row])))
    return strips
