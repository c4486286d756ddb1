# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the synthetic people in shards, so that a killed run continues.

Of each person `views` (whole heads and close-ups from all sides with the pack's expressions: normals and albedo, for
the priors) and `crops` (casual portraits, aligned for the recogniser, for y_id).
"""

import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from ..arrays import Array
from ..distill.views import random_view
from ..expressions import EXPRESSIONS
from ..headmodel import load_head_model
from ..photos.align import arcface_transform
from ..photos.nets import FaceNets, load_face_nets
from ..prior.starter import IMAGE_SIZE
from ..render.cameras import Camera, make_camera, to_clip
from .augment import Renders, degrade, sample_crops, take_photo
from .distillation import STARTER
from .pictures import draw
from .population import TRAIN_SEED, Person, Population, load_population
from .store import Arrays, stored

_KEYPOINTS = (468, 473, 1, 61, 291)  # irises, nose tip, corners of the mouth; the person's right first
_PORTRAIT = 160  # pixels
HEAD = "head.safetensors"
VIEWS, CROPS = 8, 3  # of each person
_SHARD = 25  # people a file


@dataclass(frozen=True)
class DataConfig:
    """How much to draw."""

    # where files go, and head model, registration and face nets are; people, families: see `settings.Budget`
    work: Path
    headkit: str
    facenets: str
    people: int
    families: int
    workers: int


def population_of(config: DataConfig) -> Population:
    """Kept in each process while the head model stays, because it takes seconds."""
    return load_population(load_head_model(config.work / HEAD), config.headkit, config.facenets, config.work)


def nets_of(config: DataConfig) -> FaceNets:
    return load_face_nets(config.work / "photos")


def each(config: DataConfig, folder: str, numbers: range, make: Callable[[DataConfig, int], Arrays]) -> list[Path]:
    """A file of arrays for each number, in a folder of `work`. What is there stays, so that a killed run continues."""
    (config.work / folder).mkdir(parents=True, exist_ok=True)
    files = [config.work / folder / f"{number:04d}.npz" for number in numbers]
    population_of(config)  # so that the registration is made once
    job, missing = partial(_make, config, make), [file for file in files if not file.exists()]
    with get_context("spawn").Pool(config.workers, _settle) as pool:
        for n, _ in enumerate(pool.imap_unordered(job, missing), 1):
            print(f"{folder} {n}/{len(missing)}", flush=True)
    return files


def _settle() -> None:
    """Begin a process of the pool. Ctrl-C reaches all of them; the first one ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _make(config: DataConfig, make: Callable[[DataConfig, int], Arrays], file: Path) -> None:
    stored(file, partial(make, config, int(file.stem)))


def draw_views(
    population: Population, person: Person, count: int, size: int, rng: np.random.Generator
) -> dict[str, Array]:
    """Views of one person, each a row: albedo, normal (on black) and coverage as bytes; expression; azimuth and
    elevation; whether it is a close-up."""
    names = list(EXPRESSIONS)
    chosen = np.where(rng.random(count) < 0.15, 0, rng.integers(0, len(names), count))
    views = [random_view(rng, STARTER.views) for _ in chosen]
    pictures = []
    for expression, view in zip(chosen, views, strict=True):
        weights = population.model.expression_vector(EXPRESSIONS[names[expression]].weights)
        pictures.append(draw(population.drawing(person, weights), [view.camera], size))
    cover = torch.cat([p.coverage for p in pictures])
    normal = (torch.cat([p.normal for p in pictures]) + cover[..., None]) / 2
    return {
        "albedo": _bytes(torch.cat([p.albedo for p in pictures])),
        "normal": _bytes(normal),
        "coverage": _bytes(cover),
        "expression": chosen,
        "camera": np.array([(v.camera.azimuth, v.camera.elevation) for v in views], np.float32),
        "close": np.array([v.close for v in views]),
    }


def draw_portraits(population: Population, person: Person, count: int, size: int, rng: np.random.Generator) -> Renders:
    """Casual portraits of one person: mostly from the front, with some of an expression, under a lamp."""
    model = population.model
    rows = []
    cameras: list[Camera] = []
    for _ in range(count):
        azimuth, elevation = np.clip(rng.normal(0, 22), -60, 60), np.clip(rng.normal(2, 9), -25, 25)
        camera = make_camera(azimuth, elevation, rng.uniform(8, 32), rng.uniform(0.3, 0.36), STARTER.views.target)
        name = str(rng.choice(list(EXPRESSIONS))) if rng.random() < 0.6 else "neutral"
        weights = rng.uniform(0.3, 1.0) * model.expression_vector(EXPRESSIONS[name].weights)
        drawing = population.drawing(person, weights)
        marks = model.landmarks(drawing.vertices.numpy())
        clip = to_clip(torch.from_numpy(marks[list(_KEYPOINTS)]).float(), [camera])[0]
        ndc = clip[:, :2] / clip[:, 3:]
        points = torch.stack([(ndc[:, 0] + 1) * size / 2 - 0.5, (1 - ndc[:, 1]) * size / 2 - 0.5], 1)
        rows.append((draw(drawing, [camera], size), points))
        cameras.append(camera)
    light = torch.from_numpy(
        np.stack([rng.normal(0, 0.9, count), rng.uniform(-0.2, 1.2, count), rng.uniform(0.1, 1.2, count)], 1)
    ).float()
    cover = torch.cat([p.coverage for p, _ in rows])
    return Renders(
        torch.cat([p.albedo for p, _ in rows]),
        torch.cat([p.normal for p, _ in rows]),
        cover,
        torch.nn.functional.normalize(light, dim=1),
        torch.tensor([c.azimuth for c in cameras]),
        torch.tensor([c.elevation for c in cameras]),
        torch.stack([q for _, q in rows]),
    )


def draw_crops(population: Population, person: Person, count: int, rng: np.random.Generator) -> Array:
    """(count,112,112,3) uint8 crops for the recogniser, of portraits as a camera takes them."""
    renders = draw_portraits(population, person, count, _PORTRAIT, rng)
    g = torch.Generator().manual_seed(int(rng.integers(2**62)))
    photos = take_photo(renders, g)
    keypoints = renders.keypoints.numpy() + rng.normal(0, 0.8, (count, 5, 2))
    transforms = torch.from_numpy(np.stack([arcface_transform(k) for k in keypoints])).float()
    return _bytes(degrade(sample_crops(photos, transforms, 112), g))


def _shard(config: DataConfig, index: int) -> Arrays:
    population = population_of(config)
    rows: dict[str, list[Array]] = {}
    for n in range(index * _SHARD, min((index + 1) * _SHARD, config.people)):
        seed = TRAIN_SEED + n
        rng = np.random.default_rng([seed, 1])
        person, edited = population.person(seed), population.person(seed, edit=1)
        half = VIEWS // 2
        own = draw_views(population, person, VIEWS - half, IMAGE_SIZE, rng)
        other = draw_views(population, edited, half, IMAGE_SIZE, rng)
        found = {key: np.concatenate([own[key], other[key]]) for key in own}
        found["person"] = np.full(VIEWS, seed)
        traits = [person.traits] * len(own["close"]) + [edited.traits] * half
        found["traits"] = np.array([[int(v) for v in asdict(t).values()] for t in traits])
        found["own_traits"] = np.array([[int(v) for v in asdict(person.traits).values()]] * len(traits))
        # y_id is always that of the person as they are
        found["crops"] = draw_crops(population, population.dressed(person), CROPS, rng)
        for key, value in found.items():
            rows.setdefault(key, []).append(value)
    return {k: np.concatenate(v) for k, v in rows.items()}


def render_all(config: DataConfig) -> None:
    """Draw what is missing, some people a shard."""
    each(config, "views", range(-(-config.people // _SHARD)), _shard)


def load_shards(folder: Path, names: tuple[str, ...]) -> dict[str, Array]:
    """Concatenate the named arrays of a folder's finished shards."""
    shards = [np.load(p) for p in sorted(folder.glob("*.npz"))]
    return {n: np.concatenate([s[n] for s in shards]) for n in names}


def _bytes(a: torch.Tensor) -> Array:
    return (a.clamp(0, 1) * 255 + 0.5).byte().numpy()
