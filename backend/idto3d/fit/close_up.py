# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps as they ship, in twice the side that the stages work on: a close-up's pores and hairs on top of them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..headmodel import HeadModel, Material
from ..photos import align
from ..photos.faces import Face
from ..photos.picture import CloseUp
from .evidence import Evidence, material_texels
from .projection import Projected, sample, srgb_to_linear

Array = NDArray[Any]

GAMMA = 2.2  # of sRGB, about
MOST = 0.35  # logarithm: what differs more from its surround is an edge that the small picture has, too


def enlarged(
    image: Array, material: Material, model: HeadModel, evidence: Evidence, shown: tuple[Face, Projected]
) -> Array:
    """(2S,2S,5) of a material's map (S,S,5), sRGB albedo, roughness and specular; shown: the photograph of whose
    close-up detail comes, where it has one."""
    size = 2 * len(image)
    out = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
    np.clip(out, 0, 1, out=out)
    face, photo = shown
    if face.close is None:
        return out
    texels = material_texels(model, material, size)
    pixel = align.apply(face.close.from_picture, texels.at(photo.pixel))
    inside = np.all((pixel > 0) & (pixel < len(face.close.picture) - 1), 1)
    seen = cv2.resize(evidence.seen[material.name], (size, size), interpolation=cv2.INTER_LINEAR)
    detail = texels.image(sample(_detail(face.close), pixel) * inside) * seen
    out[..., :3] = np.minimum(out[..., :3] * np.exp(detail / GAMMA)[..., None], 1)
    return out


def _detail(close: CloseUp) -> Array:
    """(C,C) logarithm of brightness, of what the whole head's picture is too small for."""
    bright = np.log(np.maximum(srgb_to_linear(close.picture).mean(2), 2e-3))
    small = max(1, round(len(bright) / close.scale))
    coarse = cv2.resize(bright, (small, small), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(coarse, bright.shape, interpolation=cv2.INTER_CUBIC)
    return np.clip(bright - coarse, -MOST, MOST)
