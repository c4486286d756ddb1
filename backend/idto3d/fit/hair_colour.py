# SPDX-License-Identifier: GPL-3.0-or-later
"""The photographs laid on a mesh of hair: strands where they are seen, what the other side lends, then its tone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mesh.surface import vertex_normals
from ..mesh.texels import Texels
from .blend import lay_over, smooth_within
from .camera import PhotoCamera
from .light import shading
from .projection import DEPTH_SIZE, FACING, Projected, linear_to_srgb, sample
from .visibility import draw_depth, resized

Array = NDArray[Any]

BEHIND = 0.02  # metres that mirrored hair may lie behind the frontmost: it is alike on both sides, not the same
LIT = 0.5  # exponent of the skin's shading that hair, which scatters, is taken to follow
ROUGHNESS, SPECULAR = 0.6, 0.3
GLINT = (0.45, 0.35)  # share of it that strands have, and how much they differ: else a highlight lies on a helmet
SMOOTH = 0.05  # of the map's side: how wide the tone is spread where no strand was seen
STRANDS = 0.18  # contrast of the strands drawn there, as a logarithm


@dataclass(frozen=True, eq=False)
class HairPhoto:
    """What one photograph has of the hair: posed (V,3) the mesh as in it, hair (S,S) 0..1 the mask of hair, skin (P,3)
    the head as in it."""

    camera: PhotoCamera
    photo: Projected
    posed: Array
    hair: Array
    skin: Array


def paint_hair(
    texels: Texels, triangles: Array, photos: Sequence[HairPhoto], skin_triangles: Array, tone: Array, pattern: Array
) -> tuple[Array, Array]:
    """Maps (S,S,5) albedo sRGB, roughness, specular, and seen (S,S), of a hair mesh with triangles (F,3).

    skin_triangles: of what hair may be hidden behind. tone (3,) linear. pattern (S,S): strands, of deviation 1.
    """
    size = texels.size
    picture = np.broadcast_to(tone.astype(np.float32), (size, size, 3)).copy()
    own, lent = [], []
    for photo in photos:
        own.append(_project(texels, triangles, photo, skin_triangles, False))
        lent.append(_project(texels, triangles, photo, skin_triangles, True))
    known = _mixed([*own, *((c, 0.5 * w) for c, w in lent)])
    mean, reach = smooth_within(texels.image(known[0]), texels.image(known[1]), SMOOTH * size)
    picture += np.clip(reach * 3, 0, 1)[..., None] * (mean - picture)
    picture *= np.exp(STRANDS * pattern)[..., None]
    for colour, weight in (*lent, *own):
        picture = lay_over(picture, texels.image(colour), texels.image(weight))
    seen = texels.image(np.max([w for _, w in own], 0))
    albedo = texels.padded(linear_to_srgb(picture))
    gloss = SPECULAR * np.clip(GLINT[0] + GLINT[1] * pattern, 0.0, 1.0)
    return np.dstack([albedo, np.full_like(gloss, ROUGHNESS), gloss]).astype(np.float32), seen


def hair_tone(photos: Sequence[tuple[Projected, Array]], fallback: Array) -> Array:
    """(3,) linear: the median colour under the masks of hair (S,S), lit as the face is on average."""
    colours = [photo.linear[mask > 0.8] for photo, mask in photos]
    found = np.concatenate(colours) if colours else np.zeros((0, 3))
    out: Array = np.median(found, 0) if len(found) > 50 else fallback
    return out


def _project(
    texels: Texels, triangles: Array, photo: HairPhoto, skin_triangles: Array, mirrored: bool
) -> tuple[Array, Array]:
    """De-lit colours (N,3) and weights (N,) of the texels, or of their mirror images."""
    camera, size = photo.camera, len(photo.photo.linear)
    posed = photo.posed
    normal = vertex_normals(posed, triangles)
    buffer = draw_depth(
        resized(camera, DEPTH_SIZE / size),
        np.concatenate([photo.skin, posed]),
        np.concatenate([skin_triangles, triangles + len(photo.skin)]),
        DEPTH_SIZE,
    )
    points = posed * [-1, 1, 1] if mirrored else posed
    normals = normal * [-1, 1, 1] if mirrored else normal
    pixel, height = camera.project(points)
    facing = (normals * camera.towards(points)).sum(1)
    shade = shading(photo.photo.light, normals) ** LIT
    at = texels.at(np.c_[pixel, height, facing, shade])
    tolerance = BEHIND if mirrored else 0.008
    factor = DEPTH_SIZE / size
    rows, columns = (np.clip(np.rint((at[:, k] + 0.5) * factor - 0.5), 0, DEPTH_SIZE - 1).astype(int) for k in (1, 0))
    front = buffer.height[rows, columns]
    ramp = np.clip((at[:, 3] - FACING[0]) / (FACING[1] - FACING[0]), 0, 1)
    weight = ramp * ramp * (3 - 2 * ramp) * (front - at[:, 2] < tolerance) * np.isfinite(front)
    weight *= ((at[:, :2] > 1) & (at[:, :2] < size - 2)).all(1)
    weight *= np.clip((sample(photo.hair, at[:, :2]) - 0.4) / 0.4, 0, 1)
    colour = sample(photo.photo.linear, at[:, :2]) / at[:, 4:7]
    return colour, (weight * (0.8 if mirrored else 1.0)).astype(np.float32)


def _mixed(layers: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    total = np.sum([w for _, w in layers], 0)
    colour = np.sum([c * w[:, None] for c, w in layers], 0) / np.maximum(total, 1e-6)[:, None]
    return colour.astype(np.float32), np.clip(total, 0, 1).astype(np.float32)
