# SPDX-License-Identifier: GPL-3.0-or-later
"""The finished head: one mesh of several parts, displacements for expressions, a material for each kind of surface."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..arrays import Array
from ..headmodel import HeadModel, Material
from ..mesh.surface import split_quads
from ..mesh.texels import make_texels
from .lashes import lash_cards, lash_opacity
from .mouth import has_mouth_map, mouth_map

HIDDEN = ("iris", "lacrimal", "eye_blend", "eye_occlusion")
"""Parts that do not ship: the iris is painted on the ball's front, and the films would hide it in Solid views."""
SEE_THROUGH = "lashes"
HAIR, BEARD = "hair", "beard"
"""Materials; both are of the part hair."""
PLAIN_SIZE = 64
LASH_SIZE = 2048


@dataclass(frozen=True, eq=False)
class HairPiece:
    """Hair's shell or a beard's strands. vertices (V,3), offsets (E,V,3), triangles (F,3), uv (V,2), maps (S,S,5)
    albedo sRGB, roughness, specular, alpha (S,S) or None where it is opaque, seen (V,)."""

    vertices: Array
    offsets: Array
    triangles: Array
    uv: Array
    maps: Array
    alpha: Array | None
    seen: Array


@dataclass(frozen=True, eq=False)
class Head:
    """Head frame, metres. vertices (V,3); offsets (E,V,3) of `names` (E,), neutral left out; quads (F,4), -1 last in a
    triangle; uv (T,2); quads_uv (F,4); part (F,) into parts; material (F,) into materials, whose maps (S,S,5) hold
    albedo sRGB, roughness and specular 0..1, and whose alpha (S,S) is absent where they are opaque; seen (V,)."""

    vertices: Array
    offsets: Array
    names: tuple[str, ...]
    quads: Array
    uv: Array
    quads_uv: Array
    part: Array
    parts: tuple[str, ...]
    material: Array
    materials: tuple[str, ...]
    maps: Mapping[str, Array]
    alpha: Mapping[str, Array]
    seen: Array

    @property
    def triangles(self) -> Array:
        """(F',3) every quad as two triangles."""
        return split_quads(self.quads, self.quads)

    @property
    def triangles_uv(self) -> Array:
        """(F',3) corners of `triangles` in `uv`."""
        return split_quads(self.quads_uv, self.quads)

    @property
    def triangle_material(self) -> Array:
        """(F',) the material of each of `triangles`."""
        return np.concatenate([self.material, self.material[self.quads[:, 3] >= 0]])

    def points_of(self, part: str) -> Array:
        """(N,3) of a part, in the vertices' order; none of a part that the head does not have."""
        number = self.parts.index(part) if part in self.parts else -1
        corners = self.quads[self.part == number]
        return self.vertices[np.unique(corners[corners >= 0])]


def shipped_faces(model: HeadModel) -> Array:
    """(T,) bool: the model's faces that a finished head has."""
    out = ~model.faces_of(*HIDDEN)
    if SEE_THROUGH in model.part_names:
        out &= ~model.faces_of(SEE_THROUGH)
        out[lash_cards(model)] = True
    return out


def shipped_vertices(model: HeadModel) -> Array:
    """(K,) indices of the model's vertices that a finished head has, in its order."""
    quads = model.quads[shipped_faces(model)]
    return np.unique(quads[quads >= 0])


def assemble(
    model: HeadModel,
    neutral: Array,
    expressions: Mapping[str, Array],
    seen: Array,
    maps: Mapping[str, Array],
    hair: HairPiece | None,
    beard: HairPiece | None = None,
) -> Head:
    """A head from neutral (P,3), offsets of each expression (P,3), seen (P,), maps by material (those of a mouth are
    painted here, others without a map are plain), hair and beard."""
    rows, used = shipped_faces(model), shipped_vertices(model)
    quads, quads_uv = model.quads[rows], model.quads_uv[rows]
    place = np.full(len(model.neutral) + 1, -1)
    place[used] = np.arange(len(used))
    used_uv = np.unique(quads_uv[quads_uv >= 0])
    place_uv = np.full(len(model.uv) + 1, -1)
    place_uv[used_uv] = np.arange(len(used_uv))
    materials = [m for n, m in enumerate(model.materials) if (model.material[rows] == n).any()]
    index = {n: k for k, n in enumerate(n for n in range(len(model.materials)) if model.materials[n] in materials)}
    material = np.array([index[n] for n in model.material[rows]])
    all_maps = {m.name: maps[m.name] if m.name in maps else _own_map(model, m) for m in materials}
    alpha = {SEE_THROUGH: _lash_alpha(model)} if any(m.name == SEE_THROUGH for m in materials) else {}
    names = tuple(expressions)
    offsets = np.stack([expressions[n][used] for n in names]) if names else np.zeros((0, len(used), 3))
    head = Head(
        neutral[used], offsets, names, place[quads], model.uv[used_uv], place_uv[quads_uv], model.part[rows],
        model.part_names, material, tuple(m.name for m in materials), all_maps, alpha, seen[used],
    )  # fmt: skip
    for name, piece in ((HAIR, hair), (BEARD, beard)):
        head = head if piece is None else _with_hair(head, piece, name)
    return head


def draw_shared(model: HeadModel) -> None:
    """Draw the maps that all heads of a model share. They are kept: the first head need not wait for them."""
    for material in model.materials:
        if material.name == SEE_THROUGH:
            _lash_alpha(model)
        elif has_mouth_map(model, material):
            mouth_map(model, material)


def _own_map(model: HeadModel, material: Material) -> Array:
    return mouth_map(model, material) if has_mouth_map(model, material) else plain_map(material)


def plain_map(material: Material) -> Array:
    """(PLAIN_SIZE, PLAIN_SIZE, 5) of one colour."""
    values = np.array([*material.albedo, material.roughness, material.specular], np.float32)
    return np.broadcast_to(values, (PLAIN_SIZE, PLAIN_SIZE, 5)).copy()


@lru_cache(maxsize=1)
def _lash_alpha(model: HeadModel) -> Array:
    """(S,S); the same for every head of a model."""
    wanted = next(n for n, m in enumerate(model.materials) if m.name == SEE_THROUGH)
    rows = model.material[model.triangle_quad] == wanted
    texels = make_texels(model.uv, model.triangles_uv[rows], model.triangles[rows], LASH_SIZE)
    return lash_opacity(model, texels)


def _with_hair(head: Head, hair: HairPiece, material: str) -> Head:
    def padded(triangles: Array, first: int) -> Array:
        return np.c_[triangles + first, np.full(len(triangles), -1)]

    count = len(hair.triangles)
    parts = head.parts if HAIR in head.parts else (*head.parts, HAIR)
    return Head(
        np.concatenate([head.vertices, hair.vertices]),
        np.concatenate([head.offsets, hair.offsets], 1),
        head.names,
        np.concatenate([head.quads, padded(hair.triangles, len(head.vertices))]),
        np.concatenate([head.uv, hair.uv]),
        np.concatenate([head.quads_uv, padded(hair.triangles, len(head.uv))]),
        np.concatenate([head.part, np.full(count, parts.index(HAIR))]),
        parts,
        np.concatenate([head.material, np.full(count, len(head.materials))]),
        (*head.materials, material),
        {**head.maps, material: hair.maps},
        head.alpha if hair.alpha is None else {**head.alpha, material: hair.alpha},
        np.concatenate([head.seen, hair.seen]),
    )
