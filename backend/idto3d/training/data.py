# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the head kit into two data sets, shard by shard, so that a killed run goes on where it stopped.

views: whole heads and close-ups from all sides with the pack's expressions: normals and albedo for the priors.
faces: photo-like frontal views with keypoints and a shadowed light: for the recogniser and the keypoint net.
landmarks: where many more points of the control surface fall in the pictures of `faces`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..distill.views import random_view
from ..render.cameras import Camera, make_camera
from .distillation import STARTER
from .gbuffer import build_scene, draw, person_look, project
from .landmarks import SHOWN, choose_landmarks
from .population import RECIPES, TRAIN_SEED, Population, load_kit
from .shape import control_vertices

Array = NDArray[Any]
EXPRESSIONS = list(RECIPES)


@dataclass(frozen=True)
class DataConfig:
    """How much to render."""

    headkit: str
    # where the shards go
    out: str
    # people in `views`, and pictures of each
    view_people: int = 2000
    views_per_person: int = 10
    view_size: int = 128
    # people in `faces`, and pictures of each
    face_people: int = 4000
    faces_per_person: int = 3
    face_size: int = 160
    # people a shard, and the seed of the first one
    shard: int = 100
    first_seed: int = TRAIN_SEED
    workers: int = 2


def _byte(a: Array) -> Array:
    out: Array = np.clip(a * 255 + 0.5, 0, 255).astype(np.uint8)
    return out


class _Worker:
    """One process's kit; kept between shards because the mean head takes seconds."""

    population: Population | None = None


def _population(config: DataConfig) -> Population:
    if _Worker.population is None:
        _Worker.population = Population(load_kit(config.headkit))
    return _Worker.population


def landmark_vertices(population: Population) -> tuple[int, Array]:
    """Skin vertex of the nose tip, and of the mouth corners (image left = the person's right first)."""
    head = population.mean_head
    x, y, z = head.T
    middle = (np.abs(x) < 0.004) & (y > -0.06) & (y < 0.0)
    nose = int(np.nonzero(middle)[0][np.argmax(z[middle])])
    identity = population.person(TRAIN_SEED)
    rest = population.kit.mesh(identity, parts=("head",)).head[0]
    corners = []
    for side in ("Right", "Left"):
        moved = population.kit.mesh(identity, {f"Mouth{side}PullSide": 1.0}, parts=("head",)).head[0] - rest
        reach = np.abs(moved[:, 0]) * (z > 0.05) * (np.abs(x) < 0.034) * (np.abs(x) > 0.018)
        corners.append(int(np.argmax(reach)))
    return nose, np.array(corners)


def _views_shard(config: DataConfig, index: int, path: Path) -> None:
    population = _population(config)
    rows: dict[str, list[Any]] = {
        k: [] for k in ("albedo", "normal", "coverage", "person", "expression", "camera", "close")
    }
    for i in range(index * config.shard, min((index + 1) * config.shard, config.view_people)):
        seed = config.first_seed + i
        rng = np.random.default_rng([seed, 1])
        identity = population.person(seed)
        align = population.alignment(identity)
        look = None
        for _ in range(config.views_per_person):
            e = 0 if rng.random() < 0.15 else int(rng.integers(len(EXPRESSIONS)))
            mesh = population.kit.mesh(identity, RECIPES[EXPRESSIONS[e]])
            look = look or person_look(population.kit, identity, mesh)
            view = random_view(rng, STARTER.views)
            camera = view.camera
            picture = draw(build_scene(mesh, align, look), camera, config.view_size)
            rows["albedo"].append(_byte(picture.albedo))
            rows["normal"].append(_byte((picture.normal + picture.coverage[..., None]) / 2))
            rows["coverage"].append(_byte(picture.coverage))
            rows["person"].append(seed)
            rows["expression"].append(e)
            rows["camera"].append((camera.azimuth, camera.elevation, camera.distance, camera.fov, *camera.target))
            rows["close"].append(view.close)
    _save(path, rows)


@dataclass(frozen=True)
class Shot:
    """How one picture of `faces` was taken: the kit's expression weights, the camera, unit vector (3,) to the light."""

    expression: dict[str, float]
    camera: Camera
    light: Array


def draw_shot(rng: np.random.Generator, kit: Any) -> Shot:
    """A casual portrait: mostly from the front, often smiling. The same generator state gives the same shot, so that
    what a picture shows can be told again without drawing it."""
    sample_expression = import_module("headkit").sample_expression
    expression = sample_expression(rng, kit) if rng.random() < 0.7 else {}
    if rng.random() < 0.4:
        expression = {("smile" if rng.random() < 0.5 else "grin"): float(rng.uniform(0.3, 1))}
    expression.pop("tongue_out", None)
    azimuth = float(np.clip(rng.normal(0, 20), -55, 55))
    elevation = float(np.clip(rng.normal(2, 9), -25, 25))
    fov = float(rng.uniform(8, 32))
    camera = make_camera(azimuth, elevation, fov, rng.uniform(0.33, 0.36), np.array([0, -0.02, 0.02]))
    light = np.array([rng.normal(0, 0.9), rng.uniform(-0.2, 1.2), rng.uniform(0.1, 1.2)])
    return Shot(expression, camera, light / np.linalg.norm(light))


def face_people(config: DataConfig, index: int) -> Iterator[tuple[int, np.random.Generator]]:
    """Seeds of the people in one shard of `faces`, and the generator of each one's shots."""
    for i in range(index * config.shard, min((index + 1) * config.shard, config.face_people)):
        yield config.first_seed + i, np.random.default_rng([config.first_seed + i, 2])


def _faces_shard(config: DataConfig, index: int, path: Path) -> None:
    population = _population(config)
    nose, corners = landmark_vertices(population)
    rows: dict[str, list[Any]] = {
        k: [] for k in ("albedo", "normal", "coverage", "lit", "hair", "light", "keypoints", "person", "camera")
    }
    for seed, rng in face_people(config, index):
        identity = population.person(seed)
        align = population.alignment(identity)
        look = None
        for _ in range(config.faces_per_person):
            shot = draw_shot(rng, population.kit)
            camera = shot.camera
            mesh = population.kit.mesh(identity, shot.expression)
            look = look or person_look(population.kit, identity, mesh)
            picture = draw(build_scene(mesh, align, look), camera, config.face_size, shot.light)
            skin = align(mesh.head[0])
            eyes = align(mesh["eyes"].vertices)
            points = np.stack([eyes[eyes[:, 0] < 0].mean(0), eyes[eyes[:, 0] > 0].mean(0), skin[nose], *skin[corners]])
            points[:2, 2] += 0.010  # the pupil, not the ball's centre
            pixels, _ = project(points.astype(np.float64), camera, config.face_size)
            rows["albedo"].append(_byte(picture.albedo))
            rows["normal"].append(_byte((picture.normal + picture.coverage[..., None]) / 2))
            rows["coverage"].append(_byte(picture.coverage))
            rows["lit"].append(_byte(picture.lit))
            rows["hair"].append(_byte(picture.hair))
            rows["light"].append(shot.light)
            rows["keypoints"].append(pixels)
            rows["person"].append(seed)
            rows["camera"].append((camera.azimuth, camera.elevation, camera.distance, camera.fov, *camera.target))
    _save(path, rows)


def _landmarks_shard(config: DataConfig, index: int, path: Path) -> None:
    """Where the landmarks fall in the pictures of a shard of `faces`: points (N,K,2) pixels."""
    population = _population(config)
    chosen = choose_landmarks(population)
    points = []
    for seed, rng in face_people(config, index):
        identity = population.person(seed)
        align = population.alignment(identity)
        for _ in range(config.faces_per_person):
            shot = draw_shot(rng, population.kit)
            surface = control_vertices(population.kit.mesh(identity, shot.expression, parts=SHOWN), align)
            points.append(project(surface[chosen].astype(np.float64), shot.camera, config.face_size)[0])
    _save(path, {"points": points})


def _save(path: Path, rows: dict[str, list[Any]]) -> None:
    arrays: dict[str, Any] = {k: np.asarray(v) for k, v in rows.items()}
    single = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in arrays.items()}
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as f:
        np.savez(f, **single)
    os.replace(partial, path)


def _job(args: tuple[DataConfig, str, int]) -> str:
    config, kind, index = args
    path = Path(config.out) / kind / f"{index:04d}.npz"
    if not path.exists():
        {"views": _views_shard, "faces": _faces_shard, "landmarks": _landmarks_shard}[kind](config, index, path)
    return str(path)


def render_all(config: DataConfig, kinds: tuple[str, ...] = ("faces", "landmarks", "views")) -> None:
    """Render what is missing. Prints one line a shard."""
    jobs = []
    for kind in kinds:
        (Path(config.out) / kind).mkdir(parents=True, exist_ok=True)
        people = config.view_people if kind == "views" else config.face_people
        jobs += [(config, kind, i) for i in range(-(-people // config.shard))]
    with get_context("spawn").Pool(config.workers) as pool:
        for n, path in enumerate(pool.imap(_job, jobs)):
            print(f"rendered {n + 1}/{len(jobs)} {path}", flush=True)


def load_shards(folder: str | Path, names: tuple[str, ...], limit: int | None = None) -> dict[str, Array]:
    """Concatenate the named arrays of a folder's finished shards, of the first `limit` of them."""
    shards = [np.load(p) for p in sorted(Path(folder).glob("*.npz"))[:limit]]
    return {n: np.concatenate([s[n] for s in shards]) for n in names}
