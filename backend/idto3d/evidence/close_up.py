# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps at twice the resolution that the stages work on, with the fine detail of a close-up (pores, hairs) added."""

import cv2
import numpy as np

from ..arrays import Array
from ..fit.projection import Projected, sample, seen_weights, srgb_to_linear
from ..headmodel import HeadModel, Material
from ..photos import align
from ..photos.faces import Face
from ..photos.picture import CloseUp
from .gather import Evidence, material_texels

GAMMA = 2.2  # of sRGB, about
MOST = 0.35  # log brightness over its surround; a larger difference is an edge that the small picture shows, too


def enlarged(
    image: Array, material: Material, model: HeadModel, evidence: Evidence, shown: tuple[Face, Projected]
) -> Array:
    """(2S,2S,5) from a material's map (S,S,5): sRGB albedo, roughness, specular; shown: the photograph of the most
    weight, whose close-up, if it has one, gives the detail."""
    size = 2 * len(image)
    out = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
    np.clip(out, 0, 1, out=out)
    face, photo = shown
    if face.close is None:
        return out
    texels = material_texels(model, material, size)
    at = texels.at(np.c_[photo.pixel, photo.height, photo.facing])
    pixel = align.apply(face.close.from_picture, at[:, :2])
    inside = np.all((pixel > 0) & (pixel < len(face.close.picture) - 1), 1)
    seen = cv2.resize(evidence.seen_best[material.name], (size, size), interpolation=cv2.INTER_LINEAR)
    # Of the map's own, finer places.
    seen = np.minimum(seen, texels.image(seen_weights(photo, at[:, :2], at[:, 2], at[:, 3])))
    detail = texels.image(sample(_detail(face.close), pixel) * inside) * seen
    out[..., :3] = np.minimum(out[..., :3] * np.exp(detail / GAMMA)[..., None], 1)
    return out


def _detail(close: CloseUp) -> Array:
    """(C,C) log brightness of the detail that the picture of the whole head is too small to hold."""
    bright = np.log(np.maximum(srgb_to_linear(close.picture).mean(2), 2e-3))
    small = max(1, round(len(bright) / close.scale))
    coarse = cv2.resize(bright, (small, small), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(coarse, bright.shape, interpolation=cv2.INTER_CUBIC)
    return np.clip(bright - coarse, -MOST, MOST)
