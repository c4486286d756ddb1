# SPDX-License-Identifier: GPL-3.0-or-later
"""The pack's nets for photographs: detector, landmarks, blendshape scores, person mask.

MediaPipe's (Lugaresi et al. 2019; BlazeFace, Bazarevsky et al. 2019; Attention Mesh, Grishchenko et al. 2020), as ONNX
with the names and shapes of `NETS`; training/face_nets_pack.py writes them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from idto3d.errors import PACK_AGAIN, UserError

DETECTOR_SIZE = 192
LANDMARK_SIZE = 256
MASK_SIZE = 256
CELLS = 48
LANDMARKS = 478
FEATURES = (128, 8, 8)
"""Shape of the landmark net's inner features: channels, rows, columns."""

_THREADS = 2


class Signature(NamedTuple):
    """Shapes of a net's inputs and outputs by name; -1: any size."""

    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]


NETS: Mapping[str, Signature] = MappingProxyType(
    {
        "detector": Signature(
            {"image": (1, DETECTOR_SIZE, DETECTOR_SIZE, 3)},
            {"boxes": (1, CELLS * CELLS, 16), "logits": (1, CELLS * CELLS, 1)},
        ),
        "landmarks": Signature(
            {"image": (-1, LANDMARK_SIZE, LANDMARK_SIZE, 3)},
            {"points": (-1, 1, 1, 3 * LANDMARKS), "presence": (-1, 1, 1, 1), "features": (-1, *FEATURES)},
        ),
        "blendshapes": Signature({"points": (1, 146, 2)}, {"scores": (52,)}),
        "mask": Signature({"image": (1, MASK_SIZE, MASK_SIZE, 3)}, {"person": (1, MASK_SIZE, MASK_SIZE, 1)}),
    }
)


@dataclass(frozen=True, eq=False)
class FaceNets:
    """onnxruntime sessions on the CPU. Images are RGB, rows from the top."""

    detector: Any
    landmarks: Any
    blendshapes: Any
    mask: Any

    def detect(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Image (192,192,3) to boxes (2304,16) and logits (2304,), one for each cell, rows first (see detect.py)."""
        boxes, logits = self.detector.run(["boxes", "logits"], {"image": _batch(image[None], -1.0, 1.0)})
        return boxes[0], logits[0, :, 0]

    def find_landmarks(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Images (N,256,256,3) to points (N,478,3), pixels, z away from the camera, and presence (N,) 0..1."""
        points, logits = self.landmarks.run(["points", "presence"], {"image": _batch(images, 0.0, 1.0)})
        points = points.reshape(-1, LANDMARKS, 3).astype(np.float64)
        # OpenCV's convention, which counts from the first pixel's centre: the net counts from its edge.
        points[..., :2] -= 0.5
        presence = 1.0 / (1.0 + np.exp(-np.clip(logits.reshape(-1).astype(np.float64), -50.0, 50.0)))
        return points, presence

    def describe(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Images (N,256,256,3) to the landmark net's features of them, (N,F) with FEATURES in one row."""
        (features,) = self.landmarks.run(["features"], {"image": _batch(images, 0.0, 1.0)})
        return np.asarray(features, np.float32).reshape(len(images), -1)

    def score_blendshapes(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (146,2) of an upright face, pixels, to scores (52,) 0..1."""
        (scores,) = self.blendshapes.run(["scores"], {"points": points[None].astype(np.float32)})
        return np.asarray(scores, np.float64)

    def find_person(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Image (256,256,3) to the share of each pixel (256,256) that belongs to a person: the mean of what the net
        says of it and of its mirror image. Alone it takes or leaves an ear as a border is put around the picture."""

        def person(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
            (out,) = self.mask.run(["person"], {"image": _batch(picture[None], 0.0, 1.0)})
            return np.asarray(out[0, ..., 0], np.float32)

        return np.asarray((person(image) + person(image[:, ::-1])[:, ::-1]) / 2, np.float32)


def load_face_nets(folder: Path) -> FaceNets:
    """The nets in a pack's folder ``photos``.

    Raises UserError: E_PACK_MISSING (a file is not there), E_PACK_FORMAT (a file is not the net of that name).
    """
    return FaceNets(**{name: _load(Path(folder) / f"{name}.onnx", signature) for name, signature in NETS.items()})


def _load(file: Path, signature: Signature) -> Any:
    if not file.is_file():
        raise UserError("E_PACK_MISSING", f"The pack has no photos/{file.name}.", PACK_AGAIN)
    import onnxruntime  # slow to import and only needed here

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = min(_THREADS, os.cpu_count() or 1)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no documented base
        raise UserError("E_PACK_FORMAT", f"photos/{file.name} is not a readable ONNX net.", PACK_AGAIN) from error
    for wanted, there in ((signature.inputs, session.get_inputs()), (signature.outputs, session.get_outputs())):
        shapes = {value.name: value.shape for value in there}
        if shapes.keys() != wanted.keys() or not all(_fits(shapes[name], shape) for name, shape in wanted.items()):
            raise UserError(
                "E_PACK_FORMAT",
                f"photos/{file.name} has {shapes} where {dict(wanted)} is expected.",
                "Use a pack made for this version.",
            )
    return session


def _fits(shape: list[int | str | None], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        not isinstance(n, int) if w < 0 else n == w for n, w in zip(shape, wanted, strict=True)
    )


def _batch(images: NDArray[np.uint8], black: float, white: float) -> NDArray[np.float32]:
    return images.astype(np.float32) * np.float32((white - black) / 255.0) + np.float32(black)
