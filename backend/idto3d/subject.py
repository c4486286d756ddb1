# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is on the photographs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .identity import agreement, disagreement, embed, load_recogniser, pool
from .photos import Face, read_faces
from .photos.load import Notice
from .photos.nets import FaceNets
from .prior.pack import Pack


@dataclass(frozen=True, eq=False)
class Subject:
    """faces: one a usable photo; notices of reading them; scores: of each photo the cosine of its identity to the
    others'; y_id (512,) pooled, unit length."""

    faces: tuple[Face, ...]
    notices: tuple[Notice, ...]
    scores: tuple[float, ...]
    y_id: Tensor


def read_subject(photos: Sequence[str | Path], pack: Pack, nets: FaceNets) -> Subject:
    """Find the face in every photo, embed and pool. Raises the photos' own errors (E_NO_FACE, E_PHOTO_...)."""
    faces, notices = read_faces([str(p) for p in photos], nets)
    vectors = embed(load_recogniser(pack.file("recognition.onnx")), np.stack([f.crop for f in faces]))
    scores = agreement(vectors)
    notices = [*notices, *disagreement([f.name for f in faces], scores)]
    return Subject(tuple(faces), tuple(notices), tuple(float(s) for s in scores), torch.from_numpy(pool(vectors)))
