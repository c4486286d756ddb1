# SPDX-License-Identifier: GPL-3.0-or-later
"""Dense landmarks of a face, with how sure the net is of each (Wood et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from . import align
from .faces import PORTRAIT_SIZE, Face

LANDMARKS_FILE = "landmarks.onnx"
NET_SIZE = 112


@dataclass(frozen=True)
class Landmarks:
    """Of one photograph: points (K,2) and sigma (K,), their standard deviation, in pixels of the portrait; shape (M,):
    the net's own guess of the identity coefficients."""

    points: NDArray[np.float64]
    sigma: NDArray[np.float64]
    shape: NDArray[np.float64]


def read_landmarks(path: Path, faces: Sequence[Face]) -> list[Landmarks]:
    """What the pack's landmarks.onnx finds in each face's portrait.

    Raises UserError E_PACK_FORMAT when the file is not such a net.
    """
    import onnxruntime

    to_portrait, crops = [], []
    for face in faces:
        portrait = align.crop_transform(face.keypoints, PORTRAIT_SIZE, "head")
        keypoints = align.apply(portrait, face.keypoints)
        crop = align.crop_transform(keypoints, NET_SIZE, "face")
        to_portrait.append(align.invert(crop))
        crops.append(align.warp(np.ascontiguousarray(face.portrait[..., :3]), crop, NET_SIZE))
    try:
        session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        batch = np.stack(crops).astype(np.float32).transpose(0, 3, 1, 2) / 127.5 - 1
        points, log_sigma, shape = session.run(["points", "log_sigma", "shape"], {"image": batch})
        out = []
        for p, s, c, back in zip(points.astype(np.float64), log_sigma, shape, to_portrait, strict=True):
            scale = float(np.sqrt(abs(np.linalg.det(back[:, :2]))))
            at = align.apply(back, align.unit_to_pixels(p, NET_SIZE))
            out.append(Landmarks(at, np.exp(s.astype(np.float64)) * NET_SIZE * scale, c.astype(np.float64)))
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise UserError("E_PACK_FORMAT", f"{path.name} cannot be used ({error}).", "Install the pack again.") from error
    return out
