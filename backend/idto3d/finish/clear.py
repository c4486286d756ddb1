# SPDX-License-Identifier: GPL-3.0-or-later
"""Corrects keys so that neither they nor their mixtures push skin into eyeballs and teeth.

A key moves a lid along a straight line through the ball that it should slide over, and a mixture of keys reaches places
that no single key was made for. So in sampled poses (each key at several weights, and natural mixtures) every vertex
inside an obstacle is moved out of it by the least change of the keys active there, spread smoothly over the skin
around. Repeated, like projections onto constraints (Kaczmarz 1937; Müller et al. 2007).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import dijkstra

from ..arrays import Array
from .obstacles import RESTING, Obstacle, Place, affine, pushes

Look = Callable[[Array], tuple[Array, Array, Array]]

ROUNDS = 24
PASSES = 3  # of adding the remaining shortfall of a smooth motion
SPREAD_AT_REST = 48  # steps of diffusion over edges: a lid's fold has to go along with its rim, or the two cross
ALONE = (0.35, 0.7, 1.0)
"""Weights at which each key alone is checked."""
SLID = 8e-3  # metres that a key moves skin over the obstacle at which it takes its full share of a correction there
LEAST = 1e-3  # of a full share: all keys of a pose may move it by next to nothing
AT_ONCE = 64  # poses checked in one batch
MENDED = 400  # poses, the deepest, that are corrected in one round
MOVES = 5e-5  # metres of motion below which a key does not affect an obstacle or the skin near it


@dataclass(frozen=True, eq=False)
class Skin:
    """The skin near an obstacle: vertices (S,) of the head model, smooth (S,S) a step of diffusion over it, held (S,)
    bool: vertices that may not enter it, margins (H,): metres that those keep from it."""

    vertices: Array
    smooth: csr_array
    held: Array
    margins: Array


@dataclass(frozen=True, eq=False)
class Moving:
    """An obstacle, its points (N,3) at rest, and its affine motion by each of K keys: matrix (K,3,3), shift (K,3)."""

    obstacle: Obstacle
    points: Array
    matrix: Array
    shift: Array

    @staticmethod
    def of(obstacle: Obstacle, neutral: Array, keys: Array) -> "Moving":
        """With the motion by keys (K,P,3) of a head (P,3)."""
        points = neutral[obstacle.vertices]
        return Moving(obstacle, points, *affine(points, keys[:, obstacle.vertices]))

    def slides(self, skin: Array, keys: Array) -> Array:
        """(K,S) metres that each of keys (K,S,3) moves skin at rest (S,3) relative to the obstacle."""
        along = skin @ self.matrix.swapaxes(1, 2) + self.shift[:, None]
        return np.linalg.norm(keys - along, axis=2)

    def place(self, weights: Array) -> Place:
        """Where it is in poses of weights (N,K)."""
        return np.eye(3) + np.einsum("nk,kij->nij", weights, self.matrix), weights @ self.shift


def near_skin(points: Array, triangles: Array, seeds: Array, held: Array, reach: float, margins: Array) -> Skin:
    """The surface of triangles (F,3) within a geodesic distance of `reach` metres of the vertices seeds (N,); held (P,)
    bool and margins (P,): see `Skin`."""
    ends = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    length = np.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1)
    pair, first = np.unique(np.sort(ends, 1), axis=0, return_index=True)
    graph = coo_array((length[first] + 1e-9, tuple(pair.T)), shape=(len(points),) * 2).tocsr()
    away = dijkstra(graph, directed=False, indices=seeds, limit=reach, min_only=True)
    vertices = np.flatnonzero(np.isfinite(away))
    both = (graph + graph.T)[vertices][:, vertices]
    linked = csr_array((np.ones(both.nnz), both.indices, both.indptr), shape=both.shape)
    degree = np.maximum(linked.sum(1), 1)
    step = 0.5 * (diags_array(np.ones(len(vertices))) + diags_array(1 / degree) @ linked)
    # Fades to nothing at the rim.
    fade = diags_array(np.clip((reach - away[vertices]) / (0.4 * reach), 0, 1))
    return Skin(vertices, csr_array(fade @ step), held[vertices], margins[vertices][held[vertices]])


def clear_rest(rest: Array, skin: Skin, obstacles: list[Obstacle]) -> Array:
    """(S,3) displacement that moves skin at rest (S,3) out of obstacles at rest."""
    moved = np.zeros_like(rest)
    for _ in range(ROUNDS):
        push, size = pushes((rest + moved)[skin.held][None], skin.margins, [(o, RESTING) for o in obstacles])
        if not size.any():
            break
        change = np.zeros_like(rest)
        change[skin.held] = push[0]
        moved += spread(change[None], skin, SPREAD_AT_REST)[0]
    return moved


def clear_keys(rest: Array, keys: Array, skin: Skin, obstacles: list[Moving], weights: Array, steps: int) -> Array:
    """(K,S,3) correction of keys (K,S,3) on skin at rest (S,3) that keeps it out of obstacles in poses of weights
    (N,K); steps: of diffusion over edges, which spread it."""
    held = np.flatnonzero(skin.held)
    places = [(o.obstacle, o.place(weights)) for o in obstacles]
    few = csr_array(weights)  # most of a pose's weights are zero
    added = np.zeros_like(keys)
    every = left = np.arange(len(weights))
    whole = True
    # A key answers for a collision as far as it moves the skin over what it goes along with: cheeks that are squinted
    # shift lips by half a millimetre, and are not what brings rolled lips into the teeth.
    slid = np.min([o.slides(rest[held], keys[:, held]) for o in obstacles], axis=0)
    answers = np.clip(slid / SLID, LEAST, 1)
    for _ in range(ROUNDS):
        posed = (keys + added)[:, held].reshape(len(keys), -1)
        look = partial(_look, rest[held], posed, places, skin.margins, few)
        with ThreadPoolExecutor() as pool:
            seen = list(pool.map(partial(_depths, look), _chunks(left)))
        left, depth = (np.concatenate(part) for part in zip(*seen, strict=True))
        if not len(left):
            # Only poses with collisions are checked again; once there are none, all are checked a last time.
            if whole:
                break
            left, whole = every, True
            continue
        whole = False
        # The pushes of all poses would fill a gigabyte: only depths were kept, and the deepest are computed again.
        deep, push, size = look(left[np.argsort(-depth, kind="stable")[:MENDED]])
        met = np.flatnonzero(size.any(0))
        push, size, own = push[:, met], size[:, met], weights[deep]
        scale = np.maximum(own**2 @ answers[:, met], 1e-9)
        need = size / scale
        change = np.zeros_like(keys)
        for k in range(len(keys)):
            worst = (own[:, k, None] * need).argmax(0)
            at = (worst, np.arange(len(met)))
            share = own[worst, k] * answers[k, met] / scale[at] * (size[at] > 0)
            change[k, held[met]] = share[:, None] * push[at]
        added += spread(change, skin, steps)
    return added


def _chunks(rows: Array) -> list[Array]:
    return np.array_split(rows, max(1, -(-len(rows) // AT_ONCE)))


def _depths(look: Look, rows: Array) -> tuple[Array, Array]:
    """The poses with skin in an obstacle, and the greatest depth in each."""
    own, _, size = look(rows)
    return own, size.max(1)


def _look(
    rest: Array, keys: Array, places: list[tuple[Obstacle, Place]], margins: Array, weights: csr_array, rows: Array
) -> tuple[Array, Array, Array]:
    """Those of the poses `rows` of weights (N,K) in which skin at rest (H,3) with keys (K,3 H) is in an obstacle:
    their numbers (M,), the pushes that move it out (M,H,3) and their lengths (M,H)."""
    points = rest + (weights[rows] @ keys).reshape(len(rows), -1, 3)
    push, size = pushes(points, margins, [(o, (turn[rows], shift[rows])) for o, (turn, shift) in places])
    own = size.any(1)
    return rows[own], push[own], size[own]


def spread(wanted: Array, skin: Skin, steps: int) -> Array:
    """Smooth motions (K,S,3) that go at least as far as those wanted, in their direction, spread by steps of
    diffusion."""
    every, wanted = np.zeros_like(wanted), wanted[some := wanted.any((1, 2))]
    out = np.zeros_like(wanted)
    length = np.maximum((wanted**2).sum(2), 1e-18)
    for _ in range(PASSES):
        lacking = wanted * np.clip(1 - (out * wanted).sum(2) / length, 0, 1)[..., None]
        flat = lacking.transpose(1, 0, 2).reshape(len(skin.vertices), -1)
        for _ in range(steps):
            flat = skin.smooth @ flat
        out += flat.reshape(len(skin.vertices), -1, 3).transpose(1, 0, 2)
    every[some] = out
    return every
