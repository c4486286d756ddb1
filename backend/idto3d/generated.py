# SPDX-License-Identifier: GPL-3.0-or-later
"""What a generation gives: bundle, preview sheet and evaluation are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .head.finish import Atlas, HeadMesh


@dataclass(frozen=True)
class Head:
    """A generated head and how it came about. maps (S,S,5) 0..1; own_albedo (S/2,S/2,3) uint8 sRGB of the expressions
    that visibly have one; skin (P,3): neutral control surface, without hair; start_*: what the photographs gave
    before distillation, on the same mesh."""

    mesh: HeadMesh
    atlas: Atlas
    maps: Tensor
    own_albedo: Mapping[str, NDArray[np.uint8]]
    skin: Tensor
    start_skin: Tensor
    start_neutral: Tensor
    start_offsets: Tensor
    start_maps: Tensor
    names: tuple[str, ...]
    report: dict[str, Any]
