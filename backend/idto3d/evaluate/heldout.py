# SPDX-License-Identifier: GPL-3.0-or-later
"""`idto3d evaluate`: heads of synthetic people whom training never drew, from one rendered photograph each."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..distill.geometry_stage import GeometryStageConfig
from ..distill.texture_stage import TextureStageConfig
from ..errors import UserError
from ..generate import STARTER_PACK, Clock, GenerateConfig, make_head
from ..generated import Head
from ..head.geometry_net import GeometryNet, canonical_of
from ..mesh.attach import Surface, carry
from ..preview import render_head
from ..prior.pack import Pack, read_pack
from ..render.cameras import make_camera
from ..render.lights import FlatLight
from ..subject import read_subject
from ..training.gbuffer import build_scene, draw, person_look
from ..training.photos import Renders, degrade, take_photo
from ..training.population import EVAL_SEED, RECIPES, Population, load_kit
from ..training.shape import control_mesh, control_vertices
from ..volume.marching_tets import surface_vertices, topology
from .metrics import align, closest, colour_difference, correlation, surface_error

Array = NDArray[Any]
PHOTO_SIZE = 320
VISIBLE = 0.0007  # metres
POINTS = 900  # of the face, for the rulers


@dataclass(frozen=True)
class Truth:
    """A held-out person: neutral control vertices (P,3), offsets by expression, frontal flat albedo (S,S,3) sRGB."""

    neutral: Array
    offsets: dict[str, Array]
    albedo: Array
    covered: Array


def front_camera() -> Any:
    return make_camera(0.0, 0.0, 14.0, 0.2, np.array([0.0, -0.03, 0.05]))


def make_truth(population: Population, seed: int) -> Truth:
    identity = population.person(seed)
    to_mean = population.alignment(identity)
    neutral = control_vertices(control_mesh(population, identity, {}), to_mean)
    offsets = {
        name: control_vertices(control_mesh(population, identity, recipe), to_mean) - neutral
        for name, recipe in RECIPES.items()
        if recipe
    }
    mesh = population.kit.mesh(identity)
    picture = draw(build_scene(mesh, to_mean, person_look(population.kit, identity, mesh, 512)), front_camera(), 160)
    return Truth(neutral, offsets, picture.albedo, picture.coverage > 0.99)


def take_test_photo(population: Population, seed: int, path: Path) -> None:
    """One photograph with random light, background and camera, the face within 25 degrees of the front."""
    rng = np.random.default_rng([seed, 7])
    g = torch.Generator().manual_seed(seed)
    identity = population.person(seed)
    expression = {} if rng.random() < 0.5 else {"smile": float(rng.uniform(0.3, 0.9))}
    mesh = population.kit.mesh(identity, expression)
    camera = make_camera(
        rng.uniform(-25, 25), rng.uniform(-8, 10), rng.uniform(10, 28), 0.36, np.array([0, -0.02, 0.02])
    )
    light = np.array([rng.normal(0, 0.7), rng.uniform(0.1, 1.0), rng.uniform(0.4, 1.2)])
    light /= np.linalg.norm(light)
    scene = build_scene(mesh, population.alignment(identity), person_look(population.kit, identity, mesh, 512))
    p = draw(scene, camera, PHOTO_SIZE, light)

    def one(a: Array) -> torch.Tensor:
        return torch.from_numpy(np.asarray(a, np.float32))[None]

    renders = Renders(
        one(p.albedo),
        one(p.normal),
        one(p.coverage),
        one(p.lit),
        one(light),
        torch.tensor([camera.azimuth]),
        torch.tensor([camera.elevation]),
        torch.full((1, 5, 2), -1e4),
        one(p.hair),
    )
    photo = degrade(take_photo(renders, g), g)[0]
    Image.fromarray((photo.numpy() * 255).astype(np.uint8)).save(path)


def offsets_correlation(net: GeometryNet, head: Head, offsets: torch.Tensor, truth: Truth) -> float:
    """Mean over expressions of the correlation with the true displacement, over the vertices that lie on the skin."""
    on_skin = (head.mesh.attachment.gap < 0.003) & (head.mesh.canonical[:, 2] > 0.03)
    values = []
    for name, offset in zip(head.names[1:], offsets, strict=True):
        wanted = carry(torch.from_numpy(truth.offsets[name]), net.faces, head.mesh.attachment)
        values.append(correlation(offset[on_skin].numpy(), wanted[on_skin].numpy()))
    return float(np.mean(values))


def albedo_error(head: Head, vertices: torch.Tensor, maps: torch.Tensor, truth: Truth) -> float:
    picture = render_head(
        vertices, head.mesh.faces, head.atlas.uv, head.atlas.uv_faces, maps, front_camera(), 160, FlatLight()
    )
    return colour_difference(picture.numpy(), truth.albedo, truth.covered)


def evaluate_pack(
    pack: Pack, population: Population, people: int, config: GenerateConfig, folder: Path
) -> dict[str, Any]:
    """Every figure of the protocol, per person and on average: guess, what y_id alone says; start, with the fit to the
    photograph; result, distilled."""
    net = GeometryNet.load(pack.file("geometry.safetensors"))
    face = visible_face(net, population)
    mean = Surface(population_mean(net), net.faces.numpy())
    truths: list[Truth] = []
    rows: list[dict[str, Any]] = []
    surfaces: list[Surface | None] = []
    tiles: list[Array] = []
    for i in range(people):
        seed = EVAL_SEED + i
        photo = folder / f"person{i:02d}.png"
        take_test_photo(population, seed, photo)
        truth = make_truth(population, seed)
        truths.append(truth)
        began = time.monotonic()
        try:
            subject = read_subject([photo], pack)
        except UserError as error:
            rows.append({"person": i, "error": error.code})
            surfaces.append(None)
            continue
        head = make_head(subject, pack, config, folder / f"work{i}", Clock(lambda event: None))
        guess = net.control + net.identity_field(net.shape(subject.y_id[None])[0])
        result = Surface(head.skin.numpy(), net.faces.numpy())
        start = Surface(head.start_skin.numpy(), net.faces.numpy())
        shipped = Surface(head.mesh.neutral.numpy(), head.mesh.faces.numpy())
        surfaces.append(result)
        points = truth.neutral[face]
        row = {
            "person": i,
            "mean_mm": surface_error(points, mean),
            "guess_mm": surface_error(points, Surface(guess.numpy(), net.faces.numpy())),
            "start_mm": surface_error(points, start),
            "result_mm": surface_error(points, result),
            "mesh_mm": surface_error(points, shipped),
            "start_correlation": offsets_correlation(net, head, head.start_offsets, truth),
            "result_correlation": offsets_correlation(net, head, head.mesh.offsets, truth),
            "start_albedo_de": albedo_error(head, head.start_neutral, head.start_maps, truth),
            "result_albedo_de": albedo_error(head, head.mesh.neutral, head.maps, truth),
            "seconds": time.monotonic() - began,
            "moved": head.report["moved"],
        }
        rows.append(row)
        print(
            json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items() if k != "moved"}),
            flush=True,
        )
        tiles.append(_tile(photo, head, truth))
    right = 0
    for i, surface in enumerate(surfaces):
        if surface is not None:
            right += int(np.argmin([_distance(t.neutral[face], surface) for t in truths])) == i
    if tiles:
        Image.fromarray(np.concatenate(tiles, 0)).save(folder / "heldout.png")
    return summary(rows, right, people)


def visible_face(net: GeometryNet, population: Population) -> Array:
    """POINTS vertices of the front of the face that lie on the outside of the canonical head: not those behind the
    eyes or within the lips, which no photograph shows and a solid head does not have."""
    bald = torch.zeros(net.hair_sdf.shape[0])
    bald[0] = 1.0
    canonical = canonical_of(net, bald)
    faces, edges = topology(canonical.band.tets, canonical.sdf() < 0)
    outside = Surface(surface_vertices(canonical.band.points, canonical.sdf(), edges).numpy(), faces.numpy())
    gap = outside.attach(net.control[torch.from_numpy(population.face)].numpy()).gap.numpy()
    visible = population.face[gap < VISIBLE]
    return visible[np.linspace(0, len(visible) - 1, POINTS).astype(int)]


def _distance(points: Array, surface: Surface) -> float:
    chosen = points[::3]
    aligned = align(chosen, surface, rounds=8)
    return float(np.linalg.norm(aligned - closest(aligned, surface), axis=1).mean())


def population_mean(net: GeometryNet) -> Array:
    mean: Array = (net.control + net.closing).numpy()
    return mean


def summary(rows: list[dict[str, Any]], right: int, people: int) -> dict[str, Any]:
    done = [r for r in rows if "error" not in r]

    def mean(key: str) -> float:
        return round(float(np.mean([r[key] for r in done])), 4) if done else float("nan")

    return {
        "people": people,
        "failed": [r for r in rows if "error" in r],
        "nearest_right": right,
        "mean_head_mm": mean("mean_mm"),
        "guess_mm": mean("guess_mm"),
        "start_mm": mean("start_mm"),
        "result_mm": mean("result_mm"),
        "mesh_mm": mean("mesh_mm"),
        "start_ratio": round(mean("start_mm") / mean("mean_mm"), 4),
        "result_ratio": round(mean("result_mm") / mean("mean_mm"), 4),
        "start_correlation": mean("start_correlation"),
        "result_correlation": mean("result_correlation"),
        "start_albedo_de": mean("start_albedo_de"),
        "result_albedo_de": mean("result_albedo_de"),
        "seconds": mean("seconds"),
        "rows": rows,
    }


def _tile(photo: Path, head: Head, truth: Truth) -> Array:
    size = 160
    image = np.asarray(Image.open(photo).convert("RGB").resize((size, size)))
    shown = render_head(
        head.mesh.neutral,
        head.mesh.faces,
        head.atlas.uv,
        head.atlas.uv_faces,
        head.maps,
        front_camera(),
        size,
        FlatLight(),
    )
    parts = [image, (truth.albedo * 255).astype(np.uint8), (shown.numpy() * 255).astype(np.uint8)]
    tile: Array = np.concatenate(parts, 1)
    return tile


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="idto3d evaluate", description=__doc__)
    parser.add_argument("--headkit", required=True, help="folder of the head kit")
    parser.add_argument("--pack", type=Path, default=STARTER_PACK)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--steps", type=int, help="steps of both stages (the defaults of generate)")
    parser.add_argument("--out", type=Path, help="where photographs, picture and figures.json go")
    given = parser.parse_args(arguments)
    config = GenerateConfig(pack=given.pack, texture_size=512)
    if given.steps is not None:
        config = replace(
            config, geometry=GeometryStageConfig(steps=given.steps), texture=TextureStageConfig(steps=given.steps)
        )
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        figures = evaluate_pack(
            read_pack(given.pack), Population(load_kit(given.headkit)), given.people, config, folder
        )
        (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps({k: v for k, v in figures.items() if k != "rows"}, indent=1))
    return 0
