# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that the photographs show of a head's surface: colours, and for each place how well it was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..headmodel import HeadModel, Material
from ..mesh.texels import Texels, make_texels
from ..photos.faces import Face
from .blend import lay_over, smooth_within
from .eyes import lay_photo_on_eyes, measure_eyes, paint_eyes
from .projection import OVAL, Projected, linear_to_srgb, polygon_mask, project_texels, sample, vertex_seen
from .result import HeadFit

Array = NDArray[Any]

MIRRORED = 0.85  # of its own weight is what the other side's colour counts
SKIN_CHROMA, SKIN_LIGHTNESS = 0.28, 0.7  # logarithms by which skin outside the face may differ from the tone of it
WIDE, FINE = 0.06, 0.012  # of a map's side: what is light rather than skin, and what is a highlight's surround
HIGHLIGHT = 1.1  # over its surround from where on brightness is taken for gloss


@dataclass(frozen=True, eq=False)
class Evidence:
    """maps: material to (S,S,5) float32: albedo sRGB, roughness, specular, 0..1; seen: material to (S,S) 0..1;
    vertex_seen (P,); tone (3,) linear, the skin's; texels: material to where its texels lie."""

    maps: Mapping[str, Array]
    seen: Mapping[str, Array]
    vertex_seen: Array
    tone: Array
    texels: Mapping[str, Texels]


def material_texels(model: HeadModel, material: Material, size: int) -> Texels:
    """The texels of one material's map."""
    wanted = next(n for n, m in enumerate(model.materials) if m.name == material.name)
    rows = model.material[model.triangle_quad] == wanted
    return make_texels(model.uv, model.triangles_uv[rows], model.triangles[rows], size)


@dataclass(frozen=True, eq=False)
class HairOver:
    """What hides skin: of each photo the mask of hair (S,S) 0..1; tone (3,) linear of the hair."""

    masks: Sequence[Array]
    tone: Array


def gather_evidence(
    model: HeadModel, faces: Sequence[Face], fit: HeadFit, photos: Sequence[Projected], size: int,
    hair: HairOver | None = None,
) -> Evidence:  # fmt: skip
    """Photographs, laid on the head and freed of their light, joined over what the other side lends and the tone.

    size: of the maps with evidence; eyes get half of it. Photos are matched in tone to what they have in the median.
    """
    shown = photos
    if hair is not None:
        photos = [replace(p, usable=p.usable * (1 - m)) for p, m in zip(photos, hair.masks, strict=True)]
    weights = np.array([photo.weight for photo in fit.photos])
    # light differs from photo to photo, and each is wrong about the tone in its own way
    tone = np.exp(np.median([np.log(photo.tone) for photo in photos], 0))
    gains = [np.clip(tone / photo.tone, 0.2, 5.0) for photo in photos]
    maps, seen, texels = {}, {}, {}
    for material in model.materials:
        if not material.evidence:
            continue
        at = texels[material.name] = material_texels(model, material, size)
        albedo, weight = _paint(model, at, faces, photos, gains, weights, (tone, tone if hair is None else hair.tone))
        plain = np.broadcast_to(np.array([material.roughness, material.specular], np.float32), (size, size, 2))
        maps[material.name] = np.concatenate([at.padded(linear_to_srgb(albedo)), plain], 2)
        seen[material.name] = weight
    look = measure_eyes(faces, [p.camera for p in fit.photos], photos)
    for material in model.materials:
        if material.name == EYES_MATERIAL:
            at = texels[material.name] = material_texels(model, material, max(256, size // 2))
            painted = at.padded(at.image(paint_eyes(model, at, look).astype(np.float32)))
            albedo = lay_photo_on_eyes(painted, at, faces, shown, weights)
            plain = np.broadcast_to(
                np.array([material.roughness, material.specular], np.float32), (*albedo.shape[:2], 2)
            )
            maps[material.name] = np.concatenate([at.padded(linear_to_srgb(albedo)), plain], 2)
    all_seen = np.max([vertex_seen(model, photo) for photo in photos], 0)
    return Evidence(maps, seen, all_seen, tone, texels)


EYES_MATERIAL = "eyes"


def _paint(
    model: HeadModel, at: Texels, faces: Sequence[Face], photos: Sequence[Projected], gains: Sequence[Array],
    weights: Array, tones: tuple[Array, Array],
) -> tuple[Array, Array]:  # fmt: skip
    """Linear albedo (S,S,3) and how well each texel was seen (S,S); tones of skin and hair."""
    tone = tones[0]
    outside = at.at(np.c_[1 - np.maximum(model.scalp, 0), _socket(model)])
    own: list[tuple[Array, Array]] = []
    lent: list[tuple[Array, Array]] = []
    for face, photo, gain in zip(faces, photos, gains, strict=True):
        for mirror, layers in ((None, own), (model.mirror, lent)):
            colour, weight = project_texels(at, photo, mirror)
            colour = colour * gain.astype(np.float32)
            weight = weight * _skin_like(at, face, photo, colour, tone, outside[:, 0], mirror) * (1 - outside[:, 1])
            layers.append((at.image(colour), at.image(weight)))
    light = [_one_sided(a, b, tone) for a, b in zip(own, lent, strict=True)]
    scalp = (1 - outside[:, :1]) ** 2
    picture = at.padded(at.image((1 - scalp) * tone.astype(np.float32) + scalp * tones[1].astype(np.float32)))
    order = np.argsort(weights)
    for k in order:
        (colour, weight), other = lent[k], np.exp(-light[k])[..., None]
        picture = lay_over(picture, _without_gloss(colour * other, weight), MIRRORED * weight)
    total = np.zeros((at.size, at.size), np.float32)
    for k in order:
        colour, weight = own[k]
        share = weight * weights[k] / np.maximum(total + weight * weights[k], 1e-6)
        share = np.where(total > 0.02, share, np.minimum(weight, 1.0))
        picture = lay_over(picture, _without_gloss(colour * np.exp(light[k])[..., None], weight), share)
        total = np.maximum(total, weight * weights[k])
    return np.clip(picture, 0.0, 1.0), np.max([w for _, w in own], 0)


def _socket(model: HeadModel) -> Array:
    """(P,) 1 on what no photograph is laid on: the insides of mouth and eyes."""
    inner = [name for name in model.part_names if name not in ("face", "back_head")]
    return model.vertices_of(*inner).astype(np.float64)


def _skin_like(
    at: Texels, face: Face, photo: Projected, colour: Array, tone: Array, bare: Array, mirror: Array | None
) -> Array:
    """(N,) 0..1: outside the face's outline only what looks like skin is taken for it, unless hair may grow there."""
    size = len(face.picture)
    inner = polygon_mask(size, face.landmarks, OVAL).astype(np.float32)
    soft = cv2.GaussianBlur(inner, (0, 0), size / 200)
    pixel = at.at(photo.pixel) if mirror is None else at.at_mirrored(photo.pixel, mirror)
    away = np.log(np.maximum(colour, 1e-3) / tone.astype(np.float32))
    lightness = away.mean(1)
    chroma = np.abs(away - lightness[:, None]).max(1)
    like = np.exp(-((chroma / SKIN_CHROMA) ** 2) - (lightness / SKIN_LIGHTNESS) ** 4)
    free = np.maximum(sample(soft, pixel), 1 - bare)
    out: Array = free + (1 - free) * like
    return out


def _one_sided(own: tuple[Array, Array], lent: tuple[Array, Array], tone: Array) -> Array:
    """(S,S) logarithm to add to the own side's lightness: half of what is darker on one side than on the other, where
    it is wide. Faces are alike on both sides at this scale; light is not."""
    (a, wa), (b, wb) = own, lent
    both = np.minimum(wa, wb)
    floor = 0.05 * float(tone.mean())
    difference = np.log(np.maximum(_grey(b), floor) / np.maximum(_grey(a), floor))
    both = both * (np.abs(difference) < 1.5)
    mean, known = smooth_within(difference, both, WIDE * len(a))
    out: Array = 0.5 * mean * np.clip(known * 6, 0, 1)
    return out


def _without_gloss(colour: Array, weight: Array) -> Array:
    """Colours whose bright spots, whiter than their surround, are taken back towards it."""
    mean, _ = smooth_within(colour, weight, FINE * len(colour))
    ratio = _grey(colour) / np.maximum(_grey(mean), 1e-4)
    excess = np.clip(ratio - HIGHLIGHT, 0, None)
    out: Array = colour * ((ratio - 0.7 * excess) / np.maximum(ratio, 1e-4))[..., None]
    return out


def _grey(colour: Array) -> Array:
    """(S,S) mean of the channels; numpy's own is slow over so short an axis."""
    out: Array = (colour[..., 0] + colour[..., 1] + colour[..., 2]) * (1 / 3)
    return out
