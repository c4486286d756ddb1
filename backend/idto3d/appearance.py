# SPDX-License-Identifier: GPL-3.0-or-later
"""What a head crop says that a recogniser is trained to ignore: skin, hair, sex, age."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import UserError
from .photos.align import HEAD_CROP
from .render.shading import linear_to_srgb, srgb_to_linear


@dataclass(frozen=True)
class Appearance:
    """texture (T,) coefficients of the skin basis; style (S,) shares of hair styles, summing to 1; hair (3,) sRGB;
    masculine, age (years), stubble: estimates that only the report uses."""

    texture: Tensor
    style: Tensor
    hair: Tensor
    masculine: float
    age: float
    stubble: float


def read_appearance(path: Path, heads: NDArray[np.uint8]) -> Appearance:
    """Average over head crops (N,128,128,3) uint8 by the pack's appearance.onnx.

    Raises UserError E_PACK_FORMAT when the file is not such a net.
    """
    import onnxruntime

    try:
        session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        batch = heads.astype(np.float32).transpose(0, 3, 1, 2) / 127.5 - 1
        texture, style, hair, person = session.run(["texture", "hair_style", "hair_colour", "person"], {"image": batch})
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise UserError("E_PACK_FORMAT", f"{path.name} cannot be used ({error}).", "Install the pack again.") from error
    who = person.mean(0)
    return Appearance(
        torch.from_numpy(texture).mean(0),
        torch.softmax(torch.from_numpy(style).mean(0), 0),
        torch.from_numpy(hair).mean(0),
        float(who[0]),
        float(100 * who[1]),
        float(who[2]),
    )


def measure_hair(heads: NDArray[np.uint8], skin: Tensor) -> Tensor:
    """Hair albedo (3,) sRGB seen in head crops (N,128,128,3) uint8, given the skin's albedo (3,) sRGB.

    Cheeks of known albedo tell the light's colour and strength; the strip above the forehead is divided by it. The crop
    is upright and scaled by the face (photos.align.HEAD_CROP), so both places are known. Only for heads with hair.
    """
    side, shift = HEAD_CROP
    d = heads.shape[1] / side
    eyes = heads.shape[1] / 2 - shift * d

    def patch(top: float, bottom: float, left: float, right: float) -> Tensor:
        rows = slice(max(0, int(eyes + top * d)), int(eyes + bottom * d))
        columns = slice(int(heads.shape[2] / 2 + left * d), int(heads.shape[2] / 2 + right * d))
        colours = torch.from_numpy(heads[:, rows, columns].reshape(-1, 3).astype(np.float32) / 255)
        return srgb_to_linear(colours).median(0).values

    cheeks = (patch(0.4, 0.75, -0.5, -0.25) + patch(0.4, 0.75, 0.25, 0.5)) / 2
    light = (cheeks / srgb_to_linear(skin)).clamp(0.05, 4.0)
    return linear_to_srgb((patch(-1.45, -1.15, -0.45, 0.45) / light).clamp(0.005, 0.8))
