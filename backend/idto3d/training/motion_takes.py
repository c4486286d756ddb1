# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes of moving synthetic people with the landmark net's output, for `motion`.

Shading is simple, a lamp and a sky without shadows: thousands of frames are needed, and landmarks depend little on
light.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ..arrays import Array
from ..capture.shapes import read_shapes
from ..finish.arkit import ARKIT
from ..finish.keys import arkit_shapes
from ..finish.mixtures import draw as draw_mixtures
from ..finish.mixtures import limited
from ..finish.visemes import VISEMES
from ..mesh.surface import vertex_normals
from ..photos import align
from ..photos.landmarks import extent, upright
from ..photos.nets import LANDMARK_SIZE, FaceNets
from ..render.cameras import Camera, make_camera
from ..render.shading import linear_to_srgb, srgb_to_linear
from .photographs import photo_camera
from .pictures import draw
from .population import Population

FIRST_SEED = 1_700_000  # people used neither for training nor for evaluation
FRAMES = 32
SIZE, RATE = 320, 30.0  # pixels; frames a second
STILL, SPOKEN = 0.15, 0.45  # shares of frames at rest and of speech; the others are mixtures
LOOKS, BLINKS = 0.6, 0.15  # shares of frames of speech with a gaze, and with (partly) closed lids
YAW, PITCH, MOST = 14.0, 8.0, (40.0, 22.0)  # degrees: standard deviations and limits
MARGIN = 1.5  # of a face's box that is cropped for the net, see photos/landmarks.py


@dataclass(frozen=True, eq=False)
class Moves:
    """A synthetic take: weights (T,52) of ARKIT; points (T,478,2) and depth (T,478) in pixels of SIZE; scores (T,52);
    neutral (P,3) the person at rest."""

    weights: Array
    points: Array
    depth: Array
    scores: Array
    neutral: Array


def random_weights(rng: np.random.Generator, count: int) -> Array:
    """(count,52) of ARKIT: faces at rest, natural mixtures, and speech with a gaze and brows that go with it."""
    out = draw_mixtures(rng, count)
    kind = rng.random(count)
    out[kind < STILL] = 0.0
    spoken = np.array([[weights.get(name, 0.0) for name in ARKIT] for weights in VISEMES.values()])
    upper = draw_mixtures(rng, count)
    lower = [n for n, name in enumerate(ARKIT) if not name.startswith(("eye", "brow"))]
    upper[:, lower] = 0.0
    upper[rng.random(count) > LOOKS] = 0.0
    blinks = [ARKIT.index("eyeBlinkLeft"), ARKIT.index("eyeBlinkRight")]
    for n in np.flatnonzero((kind >= STILL) & (kind < STILL + SPOKEN)):
        one, other = rng.integers(0, len(spoken), 2)
        out[n] = rng.uniform(0, 1.3) * spoken[one] + rng.uniform(0, 0.7) * spoken[other] + upper[n]
        if rng.random() < BLINKS:
            out[n, blinks] = rng.uniform(0.3, 1)
    tongue = ARKIT.index("tongueOut")
    out[:, tongue] = 0.0  # which no landmark shows
    return limited(out)


def make_moves(population: Population, nets: FaceNets, seed: int) -> Moves:
    """The take of a person."""
    rng = np.random.default_rng([seed, 12])
    person = population.dressed(population.person(seed))
    model = population.model
    shapes = np.stack(arkit_shapes(model, person.neutral, np.zeros(len(model.expression_names)))).astype(np.float32)
    weights = random_weights(rng, FRAMES)
    cameras = _cameras(rng)
    paint = _Paint(rng)
    still = population.drawing(person)
    triangles = still.triangles.numpy()[: len(population.model.triangles)]
    triangles = triangles[(triangles < len(model.neutral)).all(1)]
    points, depth, scores = np.zeros((FRAMES, 478, 2)), np.zeros((FRAMES, 478)), np.zeros((FRAMES, 52))
    for n, (row, camera) in enumerate(zip(weights, cameras, strict=True)):
        posed = person.neutral + np.tensordot(row.astype(np.float32), shapes, 1)
        vertices, normals = still.vertices.clone(), still.normals.clone()
        vertices[: len(posed)] = torch.from_numpy(posed).float()
        normals[: len(posed)] = torch.from_numpy(vertex_normals(posed, triangles)).float()
        image = paint(draw(replace(still, vertices=vertices, normals=normals), [camera], SIZE))
        at = model.landmarks(posed)
        guess, _ = photo_camera(camera, SIZE).project(at)
        points[n], depth[n] = _seen(rng, image, guess, nets)
        scores[n] = read_shapes(points[n], nets)
    return Moves(weights, points, depth, scores, person.neutral)


def _cameras(rng: np.random.Generator) -> list[Camera]:
    fov, frame = rng.uniform(10, 45), rng.uniform(0.26, 0.36)
    out = []
    for _ in range(FRAMES):
        yaw, pitch = (float(np.clip(rng.normal(0, s), -m, m)) for s, m in zip((YAW, PITCH), MOST, strict=True))
        target = (*rng.normal(0, 0.008, 2), 0.05)
        out.append(make_camera(yaw, pitch, fov, frame, target))
    return out


class _Paint:
    """Light, background and camera noise, the same for all frames of a take."""

    def __init__(self, rng: np.random.Generator) -> None:
        towards = rng.normal([0, 0.4, 1.2], [0.8, 0.5, 0.2])
        self._lamp = torch.from_numpy(towards / np.linalg.norm(towards)).float()
        self._sky = float(rng.uniform(0.3, 0.8))
        self._level, self._noise = float(rng.uniform(0.6, 1.2)), float(rng.uniform(0.003, 0.02))
        self._soft = int(rng.integers(0, 3))
        room = torch.from_numpy(rng.uniform(0.05, 0.6, (1, 3, 5, 5))).float()
        self._room = F.interpolate(room, size=SIZE, mode="bicubic", align_corners=False)[0].permute(1, 2, 0)
        self._rng = rng

    def __call__(self, picture: Any) -> NDArray[np.uint8]:
        cover = picture.coverage[0, ..., None]
        albedo = srgb_to_linear((picture.albedo[0] / cover.clamp(min=1e-3)).clamp(0, 1))
        normal = F.normalize(picture.normal[0], dim=-1, eps=1e-6)
        facing = (normal @ self._lamp).clamp(min=0)[..., None]
        light = self._sky * (0.75 + 0.25 * normal[..., 1:2]) + (1 - self._sky) * 1.4 * facing
        image = linear_to_srgb((self._level * albedo * light).clamp(0, 1)) * cover + self._room * (1 - cover)
        if self._soft:
            image = F.avg_pool2d(image.permute(2, 0, 1)[None], 2 * self._soft - 1 + 2, 1, self._soft)[0]
            image = image.permute(1, 2, 0)
        noisy = image.numpy() + self._rng.normal(0, self._noise, image.shape)
        return (noisy.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _seen(rng: np.random.Generator, image: NDArray[np.uint8], guess: Array, nets: FaceNets) -> tuple[Array, Array]:
    """Landmarks (478,2) and depth (478,) as tracking finds them, from a crop near the guess (478,2)."""
    centre, side = extent(guess)
    centre, side = centre + side * rng.normal(0, 0.015, 2), side * rng.uniform(0.96, 1.08)
    to_net = align.box_transform(centre, MARGIN * side, LANDMARK_SIZE, upright(guess) + rng.normal(0, 2))
    found = nets.find_landmarks(align.warp(image, to_net, LANDMARK_SIZE)[None])[0][0]
    back = align.invert(to_net)
    scale = float(np.sqrt(abs(np.linalg.det(back[:, :2]))))
    return align.apply(back, found[:, :2]), found[:, 2] * scale
