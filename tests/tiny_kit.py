# SPDX-License-Identifier: GPL-3.0-or-later
"""A made-up head kit with the face of the real one: an ellipsoid with a nose in another topology than the head model's,
two hair styles, two brows. Its average head is `SCALE` times as large as the tiny head model and lies elsewhere."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from idto3d.arrays import Array
from idto3d.fit.projection import linear_to_srgb
from idto3d.mesh.surface import vertex_normals
from idto3d.training.registration import Landmarks
from tests.tiny_head import tiny_head_model

SKINS = {"pale.jpg": (0.6, 0.8), "dark.jpg": (0.1, 0.6), "derived.jpg": (0.9, 0.1)}
"""Linear albedo, and the neck's share of it."""
NECK = 0.62  # v of the kit's map below which the neck begins
SCALE, SHIFT = 1.1, np.array([0.0, -0.02, -0.01])
NAMES = (
    "gender", "age_years", "african", "asian", "caucasian", "muscle", "weight", "stubble", "eye_style", "brow_style",
    "skin_melanin", "hair_style", "hair_r", "hair_g", "hair_b",
)  # fmt: skip


class TinyKit:
    """What `training` asks of a kit."""

    identity_names = list(NAMES)
    hair_names = ["short01", "long01"]
    meta = {"skins": {"pale": ["pale.jpg"], "dark": ["dark.jpg", "derived.jpg"]}}
    by_kind = {"brows": ["brow0", "brow1"], "hair": hair_names}

    def __init__(self) -> None:
        self.model = tiny_head_model(32, 20, eyes=False)
        face = self.model.part == 0
        # one layout for both tiles, in the half of the kit's map that is skin
        corner = self.model.quads_uv
        left = np.zeros(len(self.model.uv), bool)
        left[corner[face][corner[face] >= 0]] = True
        self.uv = self.model.uv * [0.5, 0.5] + np.where(left[:, None], [0.0, 0.5], [0.5, 0.5])

    def get(self, identity: Array, name: str) -> float:
        return float(identity[NAMES.index(name)])

    def sample_identity(self, rng: np.random.Generator, **fixed: float) -> Array:
        values = {name: float(rng.random()) for name in NAMES}
        values.update(eye_style=float(rng.integers(9)), brow_style=float(rng.integers(2)), hair_style=-1.0, **fixed)
        return np.array([values[name] for name in NAMES], np.float32)

    def mesh(self, identity: Array, expression: Any = None, parts: tuple[str, ...] = ("head",)) -> Any:
        """Weight widens the head, by a fifth from one end to the other."""
        wide = [1.0 + 0.2 * (self.get(identity, "weight") - 0.5), 1.0, 1.0]
        head = SCALE * self.model.neutral * wide + SHIFT
        quads = np.where(self.model.quads < 0, self.model.quads[:, 2:3], self.model.quads)
        quads_uv = np.where(self.model.quads_uv < 0, self.model.quads_uv[:, 2:3], self.model.quads_uv)
        found = {"head": (head, quads, self.uv, quads_uv)}
        style = int(self.get(identity, "hair_style"))
        triangles = self.model.triangles
        if style >= 0:
            shell = head + (0.008 + 0.01 * style) * vertex_normals(head, triangles)
            scalp = triangles[(self.model.scalp[triangles] > 0.5).all(1)]
            found["hair"] = self._card(shell, scalp)
        if "brows" in parts:
            at = self.model.landmark_triangle[[70, 63, 105, 66, 107]]
            line = head[at[:, 0]] + 0.002 * vertex_normals(head, triangles)[at[:, 0]]
            low = np.array([[n, n + 1, n + 6] for n in range(4)])
            found["brows"] = self._card(np.concatenate([line, line + [0, 0.006, 0]]), low)
        made = [
            SimpleNamespace(kind=kind, name=kind, tex=kind, vertices=v, faces=f, uv=u, uv_faces=w)
            for kind, (v, f, u, w) in found.items()
            if kind in parts
        ]
        return _Mesh(made)

    def texture(self, identity: Array, size: int = 512) -> Array:
        """Red grows with u and green with v: a texel tells where it is from."""
        v, u = np.meshgrid(1 - (np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size, indexing="ij")
        return (255 * np.stack([u, v, 0 * u + 0.3], -1)).astype(np.uint8)

    def part_texture(self, identity: Array, part: Any) -> Array:
        colour = [255 * self.get(identity, f"hair_{c}") for c in "rgb"]
        return np.broadcast_to(np.array([*colour, 255]), (32, 32, 4)).clip(0, 255).astype(np.uint8)

    def _pooled(self, name: str, size: int, log: bool) -> Array:
        if name not in SKINS:
            return np.full((size, size), 255.0, np.float32)
        (tone, neck), v = SKINS[name], 1 - (np.arange(size) + 0.5) / size
        light = np.where(v < NECK, neck, 1.0) * tone
        return np.tile(255 * linear_to_srgb(light)[:, None, None], (1, size, 3))

    @staticmethod
    def _card(vertices: Array, triangles: Array) -> tuple[Array, Array, Array, Array]:
        quads = triangles[:, [0, 1, 2, 2]]
        return vertices, quads, np.full((len(vertices), 2), 0.5), quads


class _Mesh:
    def __init__(self, parts: list[Any]) -> None:
        self.parts = parts

    @property
    def head(self) -> tuple[Array, Array, Array, Array]:
        p = self.parts[0]
        return p.vertices, p.faces, p.uv, p.uv_faces

    def __getitem__(self, kind: str) -> Any:
        return next(p for p in self.parts if p.kind == kind)


def tiny_landmarks(kit: TinyKit, triangles: Array) -> Landmarks:
    """The places of the 468 landmarks on the kit's skin triangles (F,3), as its own model has them."""
    from idto3d.training.surface import closest_places

    own = kit.model
    points = np.einsum("nk,nkc->nc", own.landmark_barycentric[:468], own.neutral[own.landmark_triangle[:468]])
    places = closest_places(points, own.neutral.astype(np.float64), triangles)
    return Landmarks(places.triangle, places.barycentric, np.ones(468))
