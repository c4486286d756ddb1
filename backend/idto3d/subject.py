# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is on the photographs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .arrays import Array
from .identity import agreement, disagreement, embed, load_recogniser, pool
from .notices import Notice
from .photos import Face, read_faces
from .photos.nets import FaceNets
from .prior.manifest import Pack


@dataclass(frozen=True, eq=False)
class Subject:
    """faces: one a usable photo; notices of reading them; vectors (N,512): the identity that each shows; mirrored
    (N,512): that its mirror image does. Both together tell people apart better than one."""

    faces: tuple[Face, ...]
    notices: tuple[Notice, ...]
    vectors: Array
    mirrored: Array

    @property
    def scores(self) -> tuple[float, ...]:
        """Of each photo how well its identity agrees with the others'."""
        return tuple(float(score) for score in agreement(self.vectors + self.mirrored))

    @property
    def y_id(self) -> Tensor:
        """(512,) pooled, unit length."""
        return torch.from_numpy(pool(self.vectors))

    def only(self, faces: Sequence[Face]) -> "Subject":
        """Of these of the faces alone, since a photo that is left out says nothing of the person either."""
        rows = [k for k, face in enumerate(self.faces) if any(face is kept for kept in faces)]
        vectors, mirrored = self.vectors[rows], self.mirrored[rows]
        return replace(self, faces=tuple(self.faces[k] for k in rows), vectors=vectors, mirrored=mirrored)


def read_subject(photos: Sequence[str | Path], pack: Pack, nets: FaceNets) -> Subject:
    """Find the face in every photo, embed and pool. Raises the photos' own errors (E_NO_FACE, E_PHOTO_...)."""
    faces, notices = read_faces([str(p) for p in photos], nets)
    recogniser, crops = load_recogniser(pack.file("recognition.onnx")), np.stack([f.crop for f in faces])
    subject = Subject(tuple(faces), (), embed(recogniser, crops), embed(recogniser, crops[:, :, ::-1]))
    pool(subject.vectors)  # vectors that cancel out are refused before anything is made of them
    return replace(subject, notices=(*notices, *disagreement([f.name for f in faces], subject.scores)))
