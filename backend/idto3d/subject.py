# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is on the photographs, as far as they say it by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .appearance import Appearance, read_appearance
from .identity import agreement, disagreement, embed, load_recogniser, pool
from .photos.detect import load_detector
from .photos.faces import Face, read_faces
from .photos.load import Notice
from .prior.pack import Pack


@dataclass(frozen=True)
class Subject:
    """What the photos say."""

    faces: list[Face]
    notices: list[Notice]
    scores: list[float]
    y_id: Tensor
    appearance: Appearance


def read_subject(photos: Sequence[str | Path], pack: Pack) -> Subject:
    """Find the face in every photo, embed and pool. Raises the photos' own errors (E_NO_FACE, E_PHOTO_...)."""
    faces, notices = read_faces([str(p) for p in photos], load_detector(pack.path))
    vectors = embed(load_recogniser(pack.path), np.stack([f.crop for f in faces]))
    scores = agreement(vectors)
    notices = [*notices, *disagreement([f.name for f in faces], scores)]
    appearance = read_appearance(pack.file("appearance.onnx"), np.stack([f.head for f in faces]))
    return Subject(faces, notices, [float(s) for s in scores], torch.from_numpy(pool(vectors)), appearance)
