# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds where the landmark net's points lie on the head model, from renders of known geometry.

Places estimated by fits to real photographs would carry those fits' bias into every later fit. Of renders, camera and
surface are exact: a landmark's place is the point of the surface at its pixel.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..arrays import Array
from ..errors import UserError
from ..fit.camera import PhotoCamera
from ..fit.lips import CORNERS
from ..fit.projection import EYES, MOUTH, OVAL
from ..fit.visibility import DepthBuffer, draw_depth
from ..headmodel import HeadModel
from ..mesh.attach import ProximityQuery
from ..photos import FaceNets, Photo, align, find_face
from ..photos.landmarks import MESH
from .data import DataConfig, each, nets_of, population_of
from .photographs import random_setting, take_photograph
from .population import Population

FIRST_SEED = 1_600_000  # people used neither for training nor for evaluation
PEOPLE = 160
OPEN_MOUTHS = ("mouth_stretch", "grin", "lip_funneler")  # expressions that separate the inner rims of the lips
FRONTAL = 14.0  # degrees of yaw up to which the landmarks of the face's outline are fixed points of the skin
SPREAD = 0.002  # metres of scatter at which trust is halved
FEWEST = 8
REACH, OUTLINE_REACH = 2.0, 7.0  # pixels round a landmark within which its surface is searched
ASIDE = 0.002  # metres of height that weigh as much as a pixel of distance


@dataclass(frozen=True, eq=False)
class Sighting:
    """A render with detected landmarks: camera and posed (P,3), exact; landmarks (468,2) in its pixels."""

    camera: PhotoCamera
    posed: Array
    size: int
    expression: str
    landmarks: Array


def sight(population: Population, nets: FaceNets, seed: int) -> Sighting | None:
    """Detect the landmarks in a casual portrait of a person; None where no face is found."""
    rng = np.random.default_rng([seed, 4])  # 3 is the person's own
    setting = random_setting(rng)
    if rng.random() < 0.4:
        setting = replace(setting, expression=str(rng.choice(OPEN_MOUTHS)), strength=0.6)
    photograph = take_photograph(population, population.person(seed), setting)
    try:
        face = find_face(Photo(photograph.image, str(seed)), nets)
    except UserError:
        return None
    landmarks = align.apply(align.invert(face.to_picture), face.landmarks)
    size = len(photograph.image)
    return Sighting(photograph.camera, photograph.posed, size, setting.expression, landmarks[:MESH])


def vote(model: HeadModel, seen: Sighting) -> Array:
    """(468,3) the landmarks' places on the neutral mean head, metres; NaN where there is none."""
    face = model.triangles_of("face")
    others = model.triangles_of("back_head", "sclera", "teeth", "gums", "tongue", "mouth_socket", "eye_socket")
    triangles = np.concatenate([face, others])
    buffer = draw_depth(seen.camera, seen.posed, triangles, seen.size)
    pixel, _ = seen.camera.project(seen.posed)
    out = np.full((MESH, 3), np.nan)
    yaw, open_mouth = abs(seen.camera.angles[0]), seen.expression in OPEN_MOUTHS
    for k, (x, y) in enumerate(seen.landmarks):
        if (k in OVAL and yaw > FRONTAL) or (k in MOUTH and k not in CORNERS and not open_mouth):
            continue
        found = _hit(buffer, (x, y), len(face), OUTLINE_REACH if k in OVAL else REACH)
        if found >= 0:
            corners = triangles[found]
            weights = np.linalg.solve(np.c_[pixel[corners], np.ones(3)].T, [x, y, 1])
            out[k] = np.clip(weights, 0, 1) / np.clip(weights, 0, 1).sum() @ model.neutral[corners]
    return out


def _hit(buffer: DepthBuffer, place: tuple[float, float], faces: int, reach: float) -> int:
    """The face's triangle at a pixel, -1 for none. Landmarks of the outline may lie slightly outside the jaw, over the
    neck: of the pixels within reach the frontmost counts, less a penalty for its distance."""
    x, y = place
    best, highest = -1, -np.inf
    for row in range(int(y - reach), int(y + reach) + 2):
        for column in range(int(x - reach), int(x + reach) + 2):
            inside = 0 <= row < len(buffer.height) and 0 <= column < len(buffer.height)
            if not inside or not 0 <= buffer.triangle[row, column] < faces:
                continue
            aside = np.hypot(row - y, column - x)
            value = float(buffer.height[row, column]) - ASIDE * aside
            if aside <= reach and value > highest:
                best, highest = int(buffer.triangle[row, column]), value
    return best


def settle_votes(model: HeadModel, votes: Array) -> dict[str, Array]:
    """triangle (468,3), barycentric (468,3), weight (468,) of the geometric medians of the votes (N,468,3)."""
    triangles = model.triangles_of("face")
    surface = ProximityQuery(model.neutral, triangles)
    place, trust = np.zeros((MESH, 3)), np.zeros(MESH)
    for k in range(MESH):
        own = votes[:, k][np.isfinite(votes[:, k, 0])]
        if len(own) < FEWEST:
            continue
        middle = np.median(own, 0)
        for _ in range(20):
            weight = 1 / np.maximum(np.linalg.norm(own - middle, axis=1), 1e-5)
            middle = (own * weight[:, None]).sum(0) / weight.sum()
        scatter = float(np.median(np.linalg.norm(own - middle, axis=1)))
        place[k], trust[k] = middle, 1 / (1 + (scatter / SPREAD) ** 2)
    at = surface.attach(place)
    trust[np.isin(np.arange(MESH), np.concatenate([EYES[0], EYES[1]])) & (trust < 0.2)] = 0.0
    return {
        "triangle": np.where(trust[:, None] > 0, at.corners, -1).astype(np.int32),
        "barycentric": at.bary,
        "weight": trust.astype(np.float32),
    }


def find_places(config: DataConfig) -> dict[str, Array]:
    """The places that `head_model.build_head_model` takes."""
    seeds = range(FIRST_SEED, FIRST_SEED + min(PEOPLE, config.people))
    votes = [np.load(file)["votes"] for file in each(config, "sightings", seeds, _votes)]
    return settle_votes(population_of(config).model, np.concatenate(votes))


def _votes(config: DataConfig, seed: int) -> dict[str, Array]:
    population = population_of(config)
    seen = sight(population, nets_of(config), seed)
    return {"votes": np.zeros((0, MESH, 3)) if seen is None else vote(population.model, seen)[None]}
