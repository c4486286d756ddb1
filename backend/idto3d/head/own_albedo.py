# SPDX-License-Identifier: GPL-3.0-or-later
"""The albedo that an expression has for itself: flushed cheeks, pale lips; written only where one could see it.

With the starter pack and the portrait of the demo no expression passes the threshold at the qualities draft (largest
change 0.5 / 255) and standard (1.5 / 255); at fine four of twelve do, barely (3 / 255).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..bundle import to_uint8
from .finish import Atlas, texel_values

VISIBLE = 2.0 / 255
"""Mean absolute change of the albedo (sRGB 0..1, over the channels) within one region, above which it shows."""
REGIONS = 32  # along a side of the maps


def own_albedo(atlas: Atlas, faces: Tensor, albedo: Tensor, change: Tensor) -> NDArray[np.uint8] | None:
    """(S/2,S/2,3) uint8 sRGB: the albedo with `change`, or None where no region changes by more than VISIBLE.

    albedo (S,S,3) 0..1, padded; change (V,3) logits at the mesh's vertices; faces (F,3).
    """
    if float(change.abs().max()) / 4 <= VISIBLE:  # a sigmoid is nowhere steeper than a quarter
        return None
    size = atlas.tri.shape[0]
    logits, index = texel_values(atlas, change, faces)
    before = albedo.reshape(-1, 3)[index].clamp(0.005, 0.995)
    after = torch.sigmoid(torch.logit(before) + logits)
    if not visible((after - before).abs().mean(1), index, size):
        return None
    image = albedo.reshape(-1, 3).clone()
    image[index] = after
    padded = torch.from_numpy(atlas.pad(image.view(size, size, 3).numpy()))
    half = F.interpolate(padded.permute(2, 0, 1)[None], scale_factor=0.5, mode="area")[0].permute(1, 2, 0)
    return to_uint8(half.numpy())


def visible(change: Tensor, index: Tensor, size: int) -> bool:
    """Whether the mean of change (N,) at texels `index` (N,) of a map of side `size` exceeds VISIBLE in one of
    REGIONS x REGIONS regions. Regions of which under a tenth is covered do not count."""
    side = max(1, size // REGIONS)
    columns = -(-size // side)
    region = (index // size // side) * columns + index % size // side
    total = torch.bincount(region, weights=change.double(), minlength=columns**2)
    count = torch.bincount(region, minlength=columns**2)
    mean = total / count.clamp(min=1)
    return bool((mean[count >= side * side / 10] > VISIBLE).any())
