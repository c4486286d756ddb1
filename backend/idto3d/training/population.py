# SPDX-License-Identifier: GPL-3.0-or-later
"""The synthetic people that the starter pack is trained on.

Every head is brought to one size and place by the similarity transform (Umeyama 1991) that best maps its neutral face
onto the mean face, because a photo tells neither size nor pose; an expression of a person uses the person's own
neutral transform, so it never moves the skull.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError

Array = NDArray[Any]

# The 13 expressions by their pack names -> head-kit recipes (weights 0..1).
RECIPES: dict[str, dict[str, float]] = {
    "neutral": {},
    "smile": {"smile": 1.0},
    "grin": {"grin": 1.0},
    "mouth_stretch": {"mouth_stretch": 1.0},
    "anger": {"anger": 1.0},
    "sadness": {"sadness": 1.0},
    "brow_raiser": {"brow_raiser": 1.0},
    "lip_puckerer": {"lip_puckerer": 1.0},
    "lip_funneler": {"lip_funneler": 1.0},
    "cheek_blowing": {"cheek_blowing": 1.0},
    "eye_closed": {"eyes_closed": 1.0},
    "mouth_left": {"mouth_left": 1.0},
    "jaw_right": {"jaw_right": 1.0},
}
# Lips parted, eyes open: the pose whose surface has lips and lids apart (architecture.md, "choices already weighed").
CANONICAL: dict[str, float] = {"mouth_stretch": 0.22}
SOLID_PARTS = ("head", "eyes", "teeth", "tongue")

TRAIN_SEED = 1_000_000
EVAL_SEED = 9_000_000  # people that no training run ever draws


def load_kit(path: str | Path) -> Any:
    """Import the head kit (a folder with headkit.py and its data). Raises E_KIT_MISSING."""
    folder = Path(path)
    source = folder / "headkit.py"
    if not source.is_file():
        raise UserError("E_KIT_MISSING", f"There is no head kit at {folder}.", "Pass --headkit with its folder.")
    spec = importlib.util.spec_from_file_location("headkit", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["headkit"] = module
    spec.loader.exec_module(module)
    return module.load(str(folder))


@dataclass(frozen=True)
class Similarity:
    """x -> scale * x @ rotation.T + translation, rotation (3,3), translation (3,) metres."""

    scale: float
    rotation: Array
    translation: Array

    def __call__(self, points: Array) -> Array:
        moved: Array = (self.scale * points @ self.rotation.T + self.translation).astype(np.float32)
        return moved


def similarity(source: Array, target: Array) -> Similarity:
    """Least-squares similarity from source (N,3) to target (N,3) (Umeyama 1991)."""
    ms, mt = source.mean(0), target.mean(0)
    s, t = (source - ms).astype(np.float64), (target - mt).astype(np.float64)
    u, d, vt = np.linalg.svd(t.T @ s)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((d * sign).sum() / (s**2).sum())
    return Similarity(scale, rotation, mt - scale * rotation @ ms)


def triangulate(quads: Array, uv_quads: Array) -> tuple[Array, Array]:
    """(F,4) faces and uv faces -> (T,3), (T,3), degenerate halves dropped."""
    t = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    u = np.concatenate([uv_quads[:, [0, 1, 2]], uv_quads[:, [0, 2, 3]]])
    keep = (t[:, 0] != t[:, 1]) & (t[:, 1] != t[:, 2]) & (t[:, 0] != t[:, 2])
    return t[keep].astype(np.int64), u[keep].astype(np.int64)


def front_of_face(vertices: Array, outer: Array) -> Array:
    """Indices of the skin vertices on the front of the face (used to align and to measure): a fixed region of the
    fixed topology, chosen on the mean head: in front of the ears, from hairline to chin, without the mouth bag."""
    x, y, z = vertices.T
    return np.nonzero((z > 0.045) & (y > -0.115) & (y < 0.055) & (np.abs(x) < 0.065) & outer)[0]


def outer_skin(head: tuple[Array, Array, Array, Array]) -> Array:
    """Mask (V,) of skin vertices outside the mouth; the kit's UV layout keeps the mouth bag apart from the face."""
    vertices, faces, uv, uv_faces = head
    centre = uv[uv_faces].mean(1) * 1024
    bag = (1024 - centre[:, 1] >= 550) & (centre[:, 0] > 515) & (centre[:, 0] < 790)
    mask = np.zeros(len(vertices), bool)
    mask[np.unique(faces[~bag])] = True
    return mask


class Population:
    """Deterministic people: `person(seed)` draws one identity code."""

    def __init__(self, kit: Any, mean_people: int = 200) -> None:
        self.kit = kit
        seeds = range(TRAIN_SEED + 900_000, TRAIN_SEED + 900_000 + mean_people)
        heads = np.stack([kit.mesh(self.person(s), parts=("head",)).head[0] for s in seeds])
        self.mean_identity: Array = np.mean([self.person(s) for s in seeds], 0).astype(np.float32)
        self.outer: Array = outer_skin(kit.mesh(self.person(TRAIN_SEED), parts=("head",)).head)
        mean = heads.mean(0)
        for _ in range(3):  # generalised Procrustes
            face = front_of_face(mean, self.outer)
            mean = np.mean([similarity(h[face], mean[face])(h) for h in heads], 0)
        self.mean_head: Array = mean.astype(np.float32)
        self.face: Array = front_of_face(mean, self.outer)

    def person(self, seed: int) -> Array:
        identity: Array = self.kit.sample_identity(np.random.default_rng(seed))
        return identity

    def alignment(self, identity: Array) -> Similarity:
        neutral = self.kit.mesh(identity, parts=("head",)).head[0]
        return similarity(neutral[self.face], self.mean_head[self.face])

    def attribute(self, identity: Array, name: str) -> float:
        return float(self.kit.get(identity, name))
