# SPDX-License-Identifier: GPL-3.0-or-later
"""Identity: a recogniser turns aligned crops into vectors; one person's vectors are pooled into y_id (512,)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from idto3d.errors import PACK_AGAIN, UserError
from idto3d.notices import Notice

DIMENSIONS = 512

# Mean cosine to the others under which a photo is not taken for the same person. Of 30 pairs of photos of one person
# (development photographs, starter pack) 1 is below, of 831 pairs of two people 75 %; of four photos, one of them of a
# stranger, 87 %. Full packs' recognisers give pairs of one person mostly 0.4 to 0.8, of two mostly under 0.2.
DISAGREEMENT = 0.28


def load_recogniser(file: Path) -> Any:
    """insightface's ArcFaceONNX of an ONNX file, on the CPU. Nothing is ever downloaded.

    Raises UserError: E_PACK_MISSING (no such file), E_PACK_FORMAT (no recogniser, or one whose vectors are not of 512
    numbers).
    """
    if not file.is_file():
        raise UserError("E_PACK_MISSING", f"There is no recogniser at {file}.", PACK_AGAIN)
    from insightface.model_zoo import get_model  # brings onnx, onnxruntime and OpenCV: only when needed

    try:
        model = get_model(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # insightface and onnxruntime raise without a common base
        raise UserError("E_PACK_FORMAT", f"{file.name} cannot be loaded: {error}.", PACK_AGAIN) from error
    known = getattr(model, "taskname", None) == "recognition"
    if not known or not (isinstance(model.output_shape[-1], str) or model.output_shape[-1] in (DIMENSIONS, None)):
        raise UserError(
            "E_PACK_FORMAT",
            f"{file.name} is no recogniser that gives {DIMENSIONS} numbers from an aligned face.",
            "Choose another pack.",
        )
    return model


def embed(recogniser: Any, crops: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Unit vectors (N, 512) float32 of aligned crops (N, 112, 112, 3), RGB, uint8 or float in 0..1.

    Raises UserError E_RECOGNITION when the net gives vectors that are not finite, zero or of another width.
    """
    images = np.asarray(crops)
    if images.ndim != 4 or images.shape[3] != 3:
        raise ValueError("crops must be (N, H, W, 3)")
    if images.dtype != np.uint8:
        images = np.round(np.clip(images, 0.0, 1.0) * 255.0).astype(np.uint8)
    # One at a time: published recognisers often have a fixed batch of one. insightface takes OpenCV's BGR.
    vectors = [recogniser.get_feat(cv2.cvtColor(image, cv2.COLOR_RGB2BGR)).reshape(-1) for image in images]
    if any(vector.shape != (DIMENSIONS,) for vector in vectors):
        raise UserError("E_RECOGNITION", f"The recogniser does not give {DIMENSIONS} numbers.", "Choose another pack.")
    return _normalised(np.asarray(vectors, dtype=np.float64).reshape(-1, DIMENSIONS)).astype(np.float32)


def pool(embeddings: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """y_id (512,) float32: the normalised mean of the normalised vectors (N, 512) of one person's photos.

    Raises ValueError for no vectors, UserError E_RECOGNITION for vectors that cancel out or are not finite.
    """
    vectors = np.asarray(embeddings, dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) == 0:
        raise ValueError("embeddings must be (N, 512) with N >= 1")
    return _normalised(_normalised(vectors).mean(axis=0)).astype(np.float32)


def agreement(embeddings: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Scores (N,) float32: the mean of each vector's cosines to the others; [1] for a single one."""
    vectors = _normalised(np.asarray(embeddings, dtype=np.float64))
    if len(vectors) < 2:
        return np.ones(len(vectors), dtype=np.float32)
    others = vectors.sum(axis=0) - vectors
    scores: npt.NDArray[np.float64] = np.sum(others * vectors, axis=1) / (len(vectors) - 1)
    return scores.astype(np.float32)


def disagreement(names: Sequence[str], scores: npt.ArrayLike) -> list[Notice]:
    """W_PHOTOS_DISAGREE with every photo's score when any score is under DISAGREEMENT; else nothing."""
    values = [float(score) for score in np.asarray(scores)]
    if len(values) < 2 or min(values) >= DISAGREEMENT:
        return []
    listed = ", ".join(f"{name} {value:.2f}" for name, value in zip(names, values, strict=True))
    return [
        Notice(
            "W_PHOTOS_DISAGREE",
            f"The photos may not show one person. Agreement with the others (1 is best, under {DISAGREEMENT:.2f} is "
            f"doubtful): {listed}.",
        )
    ]


def _normalised(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths < 1e-9).any():
        raise UserError("E_RECOGNITION", "The recogniser gave no usable identity.", "Use other photos or another pack.")
    return vectors / lengths
