# SPDX-License-Identifier: GPL-3.0-or-later
"""The population's skin: kit albedo with the brows painted on, as a linear basis in the kit's UV layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from .population import TRAIN_SEED, Population, triangulate
from .store import stored

Array = NDArray[Any]
REACH = 0.004  # metres from a brow card to the skin beneath it


def surface_samples(
    vertices: Array, tri: Array, uv: Array, uv_tri: Array, per_triangle: int, seed: int = 0
) -> tuple[Array, Array]:
    """Points (N,3) on a mesh and their texture coordinates (N,2), the same number on every triangle."""
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, len(tri), per_triangle, 1))
    flip = a + b > 1
    a, b = np.where(flip, 1 - a, a), np.where(flip, 1 - b, b)
    weights = np.concatenate([1 - a - b, a, b], -1)
    points = np.einsum("tsk,tkc->tsc", weights, vertices[tri]).reshape(-1, 3)
    return points, np.einsum("tsk,tkc->tsc", weights, uv[uv_tri]).reshape(-1, 2)


def texel_positions(population: Population, size: int) -> tuple[Array, Array]:
    """3D position on the mean head of each texel of the skin texture (size,size,3), and which texels are covered."""
    from ..head.uv import rasterize_uv

    _, faces, uv, uv_faces = population.kit.mesh(population.person(TRAIN_SEED), parts=("head",)).head
    tri, uv_tri = triangulate(faces, uv_faces)
    ids, bary = rasterize_uv(uv, uv_tri, size)
    covered = ids >= 0
    corners = population.mean_head[tri[np.maximum(ids, 0)]]
    return np.einsum("hwk,hwkc->hwc", bary, corners) * covered[..., None], covered


class BrowPainter:
    """Paints brow and lash cards into the skin texture beneath them."""

    def __init__(self, population: Population, size: int) -> None:
        self.population, self.size = population, size
        positions, covered = texel_positions(population, size)
        x, y, z = np.moveaxis(positions, -1, 0)
        region = covered & (y > -0.025) & (y < 0.05) & (z > 0.04) & (np.abs(x) < 0.075)
        self.texels = np.nonzero(region)
        self.positions = positions[region]
        self._cards: dict[str, tuple[Array, Array]] = {}

    def _card(self, part: Any) -> tuple[Array, Array]:
        """For one style of card, on the mean head: texels (indices into self.texels) near it, and their card uv."""
        if part.name not in self._cards:
            # A style's place relative to the skin hardly depends on the person: carry it from this person's
            # skin to the mean head by the motion of the nearest skin vertices.
            tri, uv_tri = triangulate(part.faces, part.uv_faces)
            points, uv = surface_samples(part.vertices, tri, part.uv, uv_tri, 60)
            distance, near = cKDTree(points).query(self.positions)
            close = np.nonzero(distance < REACH)[0]
            self._cards[part.name] = (close, uv[near[close]])
        return self._cards[part.name]

    def paint(self, texture: Array, identity: Array) -> Array:
        """texture (size,size,3) float sRGB 0..1 -> the same with brows of the identity's style and colour."""
        out = texture.copy()
        kit, names = self.population.kit, self.population.kit.identity_names
        on_mean = self.population.mean_identity.copy()
        for name in ("brow_style", "hair_r", "hair_g", "hair_b"):
            on_mean[names.index(name)] = identity[names.index(name)]
        mesh = kit.mesh(on_mean, parts=("head", "brows"))
        align = self.population.alignment(on_mean)
        for part in mesh.parts[1:]:
            part.vertices = align(part.vertices)
            chosen, uv = self._card(part)
            image = kit.part_texture(on_mean, part).astype(np.float32) / 255
            h, w = image.shape[:2]
            at = np.stack([(1 - uv[:, 1]) * h - 0.5, uv[:, 0] * w - 0.5])
            rgba = np.stack([map_coordinates(image[..., c], at, order=1, mode="nearest") for c in range(4)], 1)
            rows, cols = self.texels[0][chosen], self.texels[1][chosen]
            alpha = rgba[:, 3:]
            out[rows, cols] = out[rows, cols] * (1 - alpha) + rgba[:, :3] * alpha
        return out


@dataclass(frozen=True)
class TextureModel:
    """mean (S,S,3) sRGB 0..1; basis (T,S,S,3), a standard deviation a mode; coefficients (N,T) of the people."""

    mean: Array
    basis: Array
    coefficients: Array


def fit_texture(
    population: Population, people: int, fitted: int = 500, modes: int = 32, size: int = 256
) -> TextureModel:
    """PCA over `fitted` painted skins, then projected for all people."""
    painter = BrowPainter(population, size)

    def skin(i: int) -> Array:
        identity = population.person(TRAIN_SEED + i)
        return painter.paint(population.kit.texture(identity, size).astype(np.float32) / 255, identity)

    weight = np.full((size, size, 1), 0.15, np.float32)
    positions, covered = texel_positions(population, size)
    face = covered & (positions[..., 2] > 0.03) & (positions[..., 1] > -0.12) & (positions[..., 1] < 0.06)
    weight[face] = 1.0
    skins = np.stack([skin(i) for i in range(fitted)])
    mean = skins.mean(0)
    from scipy.sparse.linalg import eigsh

    centred = ((skins - mean) * weight).reshape(fitted, -1)
    values, vectors = eigsh(
        (centred @ centred.T).astype(np.float64), k=modes, v0=np.random.default_rng(0).standard_normal(len(centred))
    )
    order = np.argsort(values)[::-1]
    scores = (vectors[:, order] * np.sqrt(fitted)).astype(np.float32)
    weighted = (scores.T / fitted) @ centred
    norm = (weighted**2).sum(1)
    rest = [((skin(i) - mean) * weight).reshape(-1) @ weighted.T / norm for i in range(fitted, people)]
    coefficients = np.concatenate([scores, np.array(rest, np.float32).reshape(-1, modes)])
    basis = weighted.reshape(modes, size, size, 3) / weight
    return TextureModel(mean, basis.astype(np.float32), coefficients)


def load_or_fit(path: Path, population: Population, people: int) -> TextureModel:
    """The texture model, fitted once a data folder."""
    return TextureModel(**stored(path, lambda: vars(fit_texture(population, people))))
