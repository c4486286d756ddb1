# SPDX-License-Identifier: GPL-3.0-or-later
"""The head kit (synthetic people made from MakeHuman's CC0 assets): skins, brows, hair, and how age and build shape a
head. Its own topology; `registration` brings it to the head model's."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import UserError

_AVERAGE = {
    "gender": 0.5,
    "age_years": 28.0,
    "african": 0.25,
    "asian": 0.25,
    "caucasian": 0.5,
    "muscle": 0.5,
    "weight": 0.5,
}


def load_kit(path: str | Path) -> Any:
    """Import the head kit (a folder with headkit.py and its data). Raises E_KIT_MISSING."""
    folder = Path(path)
    source = folder / "headkit.py"
    if not source.is_file():
        raise UserError("E_KIT_MISSING", f"There is no head kit at {folder}.", "Pass --headkit with its folder.")
    spec = importlib.util.spec_from_file_location("headkit", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["headkit"] = module
    spec.loader.exec_module(module)
    return module.load(str(folder))


def average_identity(kit: Any, **fields: float) -> Array:
    """The kit's code of nobody in particular, with the named fields as given."""
    code: Array = np.zeros(len(kit.identity_names), np.float32)
    for name, value in {**_AVERAGE, "hair_style": -1.0, **fields}.items():
        code[kit.identity_names.index(name)] = value
    return code


def triangulate(quads: Array, quads_uv: Array) -> tuple[Array, Array]:
    """(F,4) faces and uv faces, a triangle repeating its last corner -> (T,3), (T,3)."""
    t = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    u = np.concatenate([quads_uv[:, [0, 1, 2]], quads_uv[:, [0, 2, 3]]])
    keep = (t[:, 0] != t[:, 1]) & (t[:, 1] != t[:, 2]) & (t[:, 0] != t[:, 2])
    return t[keep].astype(np.int64), u[keep].astype(np.int64)


@dataclass(frozen=True, eq=False)
class Skin:
    """The kit's head: vertices (V,3) metres, triangles (F,3) of the outer skin alone, uv (N,2), triangles_uv (F,3)."""

    vertices: Array
    triangles: Array
    uv: Array
    triangles_uv: Array


def kit_skin(kit: Any, identity: Array) -> Skin:
    """The outer skin of an identity."""
    vertices, quads, uv, quads_uv = kit.mesh(identity, parts=("head",)).head
    # The UV layout keeps mouth bag and eye sockets apart from skin, below and to the right of it.
    centre = uv[quads_uv].mean(1)
    outer = (centre[:, 1] > 0.463) | (centre[:, 0] < 0.5)
    triangles, triangles_uv = triangulate(quads[outer], quads_uv[outer])
    return Skin(vertices.astype(np.float64), triangles, uv.astype(np.float64), triangles_uv)


@dataclass(frozen=True, eq=False)
class Cards:
    """A see-through card mesh made opaque: small triangles (F,3) where it shows, as places on the card's own corners.

    parents (V,3) card vertices and weights (V,3): vertex = sum of weights * parents; uv (V,2).
    """

    parents: Array
    weights: Array
    uv: Array
    triangles: Array

    def vertices(self, card: Array) -> Array:
        """(V,3) of the card's own vertices (K,3)."""
        return np.einsum("vk,vkc->vc", self.weights, card[self.parents])


def cut_cards(part: Any, alpha: Array, edge: float) -> Cards:
    """Cut a kit part's triangles to edges of about `edge` metres and keep those where alpha (S,S) 0..1 of its texture
    is above a threshold that varies from place to place around one half, so that thin hair stays thin."""
    triangles, triangles_uv = triangulate(part.faces, part.uv_faces)
    corners, corners_uv = part.vertices[triangles], part.uv[triangles_uv]
    longest = np.linalg.norm(corners - np.roll(corners, 1, 1), axis=2).max(1)
    cuts = np.clip(np.ceil(longest / edge), 1, 24).astype(int)
    pieces = []
    for n in np.unique(cuts):
        own = np.flatnonzero(cuts == n)
        kept = _shown(corners_uv[own], alpha, int(n))
        whole = kept.all(1)  # nothing to cut away
        pieces.append(_pieces(triangles[own[whole]], corners_uv[own[whole]], 1, np.ones((int(whole.sum()), 1), bool)))
        pieces.append(_pieces(triangles[own[~whole]], corners_uv[own[~whole]], int(n), kept[~whole]))
    starts = np.cumsum([0] + [len(p.uv) for p in pieces])
    return Cards(
        np.concatenate([p.parents for p in pieces]),
        np.concatenate([p.weights for p in pieces]),
        np.concatenate([p.uv for p in pieces]),
        np.concatenate([p.triangles + start for p, start in zip(pieces, starts[:-1], strict=True)]),
    )


def _shown(corners_uv: Array, alpha: Array, n: int) -> Array:
    """(F,n*n) which of the small triangles show; corners_uv (F,3,2)."""
    grid, small = _subdivision(n)
    middle = np.einsum("gk,fkc->fgc", grid[small].mean(1), corners_uv)
    rows = np.clip(((1 - middle[..., 1]) * len(alpha)).astype(int), 0, len(alpha) - 1)
    columns = np.clip((middle[..., 0] * len(alpha)).astype(int), 0, len(alpha) - 1)
    threshold = 0.3 + 0.4 * ((rows * 7919 + columns * 104729) % 97) / 96
    return alpha[rows, columns] > threshold


def _pieces(triangles: Array, corners_uv: Array, n: int, kept: Array) -> Cards:
    grid, small = _subdivision(n)
    face, which = np.nonzero(kept)
    used, inverse = np.unique(small[which] + (face * len(grid))[:, None], return_inverse=True)
    return Cards(
        np.repeat(triangles, len(grid), 0)[used],
        np.tile(grid, (len(triangles), 1))[used],
        np.einsum("gk,fkc->fgc", grid, corners_uv).reshape(-1, 2)[used],
        inverse.reshape(-1, 3).astype(np.int64),
    )


def _subdivision(n: int) -> tuple[Array, Array]:
    """Barycentric grid ((n+1)(n+2)/2, 3) of a triangle cut into n*n, and their corners (n*n,3)."""
    index = {(i, j): k for k, (i, j) in enumerate((i, j) for i in range(n + 1) for j in range(n + 1 - i))}
    grid = np.array([((n - i - j) / n, i / n, j / n) for i, j in index])
    small = []
    for i in range(n):
        for j in range(n - i):
            small.append((index[i, j], index[i + 1, j], index[i, j + 1]))
            if i + j < n - 1:
                small.append((index[i + 1, j], index[i + 1, j + 1], index[i, j + 1]))
    return grid, np.array(small)
