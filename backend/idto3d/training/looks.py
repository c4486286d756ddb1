# SPDX-License-Identifier: GPL-3.0-or-later
"""Augmentation of rendered faces: other cameras, files and backgrounds, at the size at which features are taken.

What a net's features tell of a person must not depend on these (domain randomisation, Tobin et al. 2017). An augmented
copy costs a tenth of another render.
"""

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..arrays import Array
from ..fit.photometric import smaller
from ..photos import Face
from ..photos.landmarks import describe, extent
from ..photos.nets import FaceNets
from .augment import backdrop, degrade

LOOKS = 2  # copies of each photograph; the first is unchanged
ELSEWHERE = 0.5  # share of the copies with another background
QUALITY = (35, 95)  # of JPEG
SHIFT, SCALE, TURN = 0.012, 0.025, 1.5  # standard deviations of the detection's error: sides, share, degrees


def looks_of(face: Face, nets: FaceNets, rng: np.random.Generator) -> Array:
    """(LOOKS,F) features."""
    assert face.features is not None
    out, small = [face.features], smaller(face)
    for _ in range(LOOKS - 1):
        out.append(describe(_elsewhere(small.picture, small.person, rng), _found_off(small.landmarks, rng), nets))
    return np.stack(out)


def _elsewhere(picture: NDArray[np.uint8], person: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture (S,S,3) by a worse camera, in half of the cases with another background outside person (S,S)."""
    g = torch.Generator().manual_seed(int(rng.integers(2**31)))
    seen, cover = torch.from_numpy(picture).float()[None] / 255, torch.from_numpy(person)[None, ..., None]
    if rng.random() < ELSEWHERE:
        seen = seen * cover + backdrop(1, len(picture), g) * (1 - cover)
    stream = io.BytesIO()
    worse = (degrade(seen, g)[0] * 255 + 0.5).byte().numpy()
    Image.fromarray(worse).save(stream, "JPEG", quality=int(rng.uniform(*QUALITY)))
    return np.array(Image.open(stream).convert("RGB"))


def _found_off(points: Array, rng: np.random.Generator) -> Array:
    """Landmarks (478,2) moved by a random similarity."""
    centre, side = extent(points)
    turned = (points - centre) @ [1, 1j] * np.exp(rng.normal(0, SCALE) + 1j * np.radians(rng.normal(0, TURN)))
    return np.asarray(centre + side * rng.normal(0, SHIFT, 2) + np.stack([turned.real, turned.imag], 1))
