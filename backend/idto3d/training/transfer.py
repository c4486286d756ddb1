# SPDX-License-Identifier: GPL-3.0-or-later
"""What the head kit lends to the head model once it is registered: skins, brows, hair, and the motion of its shapes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from ..arrays import Array
from ..headmodel import HeadModel
from ..headmodel.model import SKIN_PARTS
from ..mesh.surface import vertex_normals
from ..mesh.texels import make_texels
from .kit import Cards, Skin, average_identity, cut_cards, kit_skin
from .surface import Places, closest_places

MAP_SIZE = 512
_HAIR_EDGE = 0.004  # metres: what a 128-pixel picture of a whole head can show
_BROW_REACH = 0.006  # metres between skin and the card of a brow
_BROW_ASIDE = 0.001  # metres that a texel may lie beside the card
_HAIR_GAP = 0.0015  # least metres between hair and skin


@dataclass(frozen=True, eq=False)
class Hairstyle:
    """One of the kit's styles on the model's neutral head: vertices (V,3), normals (V,3) of the volume that the cards
    stand for, triangles (F,3), uv (V,2), near (V,8) skin vertices of the model."""

    vertices: Array
    normals: Array
    triangles: Array
    uv: Array
    near: Array


@dataclass(frozen=True, eq=False)
class Transfer:
    """kit_uv: material -> (S,S,2) the kit's UV of each texel; position: material -> (S,S,3) texels on the neutral;
    brows (styles,S,S) 0..1 on the skin map; places: of the model's skin vertices `skin` (K,) on the kit's skin."""

    kit_uv: dict[str, Array]
    position: dict[str, Array]
    part: dict[str, Array]
    brows: Array
    skin: Array
    places: Places
    kit: Skin
    hairstyles: tuple[Hairstyle, ...]


def build_transfer(kit: Any, model: HeadModel, registered: Array, size: int = MAP_SIZE) -> Transfer:
    """Everything that needs the registration; registered (V,3): the kit's average skin on the model's neutral."""
    average = average_identity(kit)
    skin = kit_skin(kit, average)
    neutral = model.neutral.astype(np.float64)
    kit_uv, position, part = {}, {}, {}
    for name in sorted({model.materials[m].name for m in np.unique(model.material[model.faces_of(*SKIN_PARTS)])}):
        kit_uv[name], position[name], part[name] = _lookup(model, name, skin, registered, size)
    brows = _brows(kit, skin, position["skin"], registered)
    own = np.flatnonzero(model.vertices_of(*SKIN_PARTS))
    places = closest_places(neutral[own], registered, skin.triangles)
    styles = tuple(_hairstyle(kit, n, skin, registered, model) for n in range(len(kit.hair_names)))
    return Transfer(kit_uv, position, part, brows, own, places, skin, styles)


def sample_texture(texture: Array, uv: Array) -> Array:
    """Bilinear colours (...,C) of texture (S,S,C) at uv (...,2), v up."""
    size = len(texture)
    rows, columns = (1.0 - uv[..., 1]) * size - 0.5, uv[..., 0] * size - 0.5
    channels = [
        map_coordinates(texture[..., c], [rows, columns], order=1, mode="nearest") for c in range(texture.shape[2])
    ]
    return np.stack(channels, -1)


def skin_displacement(transfer: Transfer, model: HeadModel, moved: Array) -> Array:
    """(P,3) of the model for moved (V,3), displacements of the kit's skin vertices: skin by its places, everything
    inside the head by the mean of the nearest skin, so that eyes and teeth stay in one piece."""
    out = np.zeros((len(model.neutral), 3))
    out[transfer.skin] = transfer.places.of(transfer.kit.triangles, moved)
    neutral = model.neutral
    tree = cKDTree(neutral[transfer.skin])
    left = neutral[:, 0] > 0
    for names in (
        ("sclera", "iris", "lacrimal", "eye_blend", "eye_occlusion", "lashes", "eye_socket"),
        ("gums", "tongue", "teeth"),
    ):
        own = model.vertices_of(*names) & ~model.vertices_of(*SKIN_PARTS)
        for piece in (own & left, own & ~left) if "sclera" in names else (own,):
            if piece.any():
                near = tree.query(neutral[piece], k=4)[1]
                out[piece] = out[transfer.skin][near].mean((0, 1))
    socket = model.vertices_of("mouth_socket") & ~model.vertices_of(*SKIN_PARTS)
    if socket.any():
        near = tree.query(neutral[socket], k=16)[1]
        out[socket] = out[transfer.skin][near].mean(1)
    return out


def seat_hair(style: Hairstyle, model: HeadModel, head: Array) -> tuple[Array, Array]:
    """The style on a head (P,3): vertices (V,3), normals (V,3), pushed out where the skin would show through."""
    vertices = with_skin(style, style.vertices, head - model.neutral)
    triangles = model.triangles_of(*SKIN_PARTS)
    places = closest_places(vertices, head, triangles)
    foot, normal = places.of(triangles, head), places.of(triangles, vertex_normals(head, triangles))
    height = ((vertices - foot) * normal).sum(1)
    inside = (height < _HAIR_GAP) & (places.distance < 0.02)
    vertices[inside] += normal[inside] * (_HAIR_GAP - height[inside])[:, None]
    return vertices, style.normals


def with_skin(style: Hairstyle, vertices: Array, motion: Array) -> Array:
    """The style's vertices (V,3) where the head moves by motion (P,3): with the skin below, rigidly in the small."""
    return vertices + motion[style.near].mean(1)


def _lookup(model: HeadModel, material: str, skin: Skin, registered: Array, size: int) -> tuple[Array, Array, Array]:
    """The kit's UV, the position on the neutral and the part of every texel of a material; gaps take the nearest."""
    number = [m.name for m in model.materials].index(material)
    own = (model.material == number)[model.triangle_quad]
    triangles = model.triangles[own]
    texels = make_texels(model.uv, model.triangles_uv[own], triangles, size)
    points = texels.at(model.neutral).astype(np.float64)
    on_kit = closest_places(points, registered, skin.triangles)
    uv = texels.spread(on_kit.of(skin.triangles_uv, skin.uv))
    part = texels.spread(model.part[model.triangle_quad[own]][texels.triangle])
    return uv, texels.spread(points), part


def _brows(kit: Any, skin: Skin, position: Array, registered: Array) -> Array:
    """(styles,S,S) how much of a brow's hair covers each texel of the skin map; position (S,S,3) on the neutral."""
    rows = np.argwhere((position[..., 1] > 0.03) & (position[..., 1] < 0.09) & (position[..., 2] > 0.05))
    at = tuple(rows.T)
    on_kit = closest_places(position[at], registered, skin.triangles).of(skin.triangles, skin.vertices)
    out = []
    for n in range(len(kit.by_kind["brows"])):
        identity = average_identity(kit, brow_style=float(n))
        card = kit.mesh(identity, parts=("head", "brows"))["brows"]
        whole = cut_cards(card, np.ones((4, 4)), 1.0)
        surface = whole.vertices(card.vertices)
        places = closest_places(on_kit, surface, whole.triangles)
        offset = on_kit - places.of(whole.triangles, surface)
        normal = vertex_normals(surface, whole.triangles)[whole.triangles[places.triangle]].mean(1)
        aside = np.linalg.norm(offset - (offset * normal).sum(1, keepdims=True) * normal, axis=1)
        alpha = kit.part_texture(identity, card)[..., 3:].astype(np.float32) / 255
        cover = sample_texture(alpha, places.of(whole.triangles, whole.uv))[:, 0]
        brow = np.zeros(position.shape[:2], np.float32)
        brow[at] = cover**0.6 * ((places.distance < _BROW_REACH) & (aside < _BROW_ASIDE))
        out.append(brow)
    return np.stack(out)


def _hairstyle(kit: Any, number: int, skin: Skin, registered: Array, model: HeadModel) -> Hairstyle:
    identity = average_identity(kit, hair_style=float(number))
    part = kit.mesh(identity, parts=("head", "hair"))["hair"]
    alpha = kit.part_texture(identity, part)[..., 3].astype(np.float32) / 255
    cards: Cards = cut_cards(part, alpha, _HAIR_EDGE)
    vertices = cards.vertices(part.vertices)
    outer = np.unique(skin.triangles)
    distance, near = cKDTree(skin.vertices[outer]).query(vertices, k=16)
    weight = 1.0 / (distance + 0.01) ** 2
    weight /= weight.sum(1, keepdims=True)
    # Hair keeps its offset from the skin, scaled as the whole head is, or narrow styles would fall into a wider head.
    size = np.ptp(registered[outer], axis=0)[0] / np.ptp(skin.vertices[outer], axis=0)[0]
    foot, goal = (np.einsum("vk,vkc->vc", weight, p[outer][near]) for p in (skin.vertices, registered))
    vertices = goal + size * (vertices - foot)
    own = np.flatnonzero(model.vertices_of(*SKIN_PARTS))
    neutral = model.neutral.astype(np.float64)
    gap, below = cKDTree(neutral[own]).query(vertices, k=8)
    # A card's own normal is noise: near the skin the skin's normal, hanging hair turns away from the head's axis.
    hug = np.exp(-((gap.mean(1) / 0.015) ** 2))[:, None]
    away = vertices - neutral[own].mean(0) * [0.0, 1.0, 1.0]
    away[:, 1] = np.maximum(away[:, 1] - 0.02, 0.0)
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
    skin_normals = vertex_normals(neutral, model.triangles_of(*SKIN_PARTS))[own]
    normals = hug * skin_normals[below].mean(1) + (1.35 - hug) * away
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return Hairstyle(vertices, normals, cards.triangles, cards.uv, own[below])
