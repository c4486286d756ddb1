# SPDX-License-Identifier: GPL-3.0-or-later
"""Accuracy of heads of synthetic people who are not in the training set.

Heads are made from image files as by the product: `read_subject`, `understand`, `distil`. The people's skins are new
mixtures of the head kit's scans with melanin, blood, freckles and beards, but training uses all of the scans, too.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..arrays import Array
from ..clock import Clock
from ..distill.config import DistillationConfig
from ..distill.guidance import condition_on
from ..errors import UserError
from ..finish import Head
from ..finish.head import shipped_vertices
from ..headmodel import HeadModel
from ..photos.nets import FaceNets
from ..pipeline import GenerateConfig, Sketch, distill, understand
from ..prior.manifest import Pack
from ..prior.model import Prior
from ..start import Start, head_from, head_of, recarved, scene_of
from ..subject import read_subject
from ..training.photographs import Photograph, random_setting, take_photograph
from ..training.population import EVAL_SEED, Population
from ..training.regions import Regions, skin_of
from .metrics import facing, turn_between
from .prior_samples import paint_samples
from .sheets import person_sheet
from .truth import (
    Truth,
    bare_skin,
    crossings,
    face_apart,
    hair_overlap,
    skin_apart,
    skin_errors,
    surface_ratio,
    truth_of,
)

SAMPLES = "prior's own samples"
SMILE = 0.8
SMILING = 9  # parts the seeds of the pair of photographs from those of the others


@dataclass(frozen=True)
class Study:
    """people: how many, from a seed on; config: of the product; stages: distil too, and again with these many times
    the steps; samples: paint by the prior's own samples, too; pictures: folder for sheets, None for none."""

    people: int
    seed: int
    config: GenerateConfig
    stages: tuple[int, ...] = ()
    samples: bool = False
    pictures: Path | None = None


@dataclass(frozen=True, eq=False)
class Instruments:
    """What all measurements share."""

    pack: Pack
    nets: FaceNets
    population: Population
    regions: Regions


Figures = dict[str, Any]


def evaluate_people(tools: Instruments, study: Study, tell: Callable[[str], None]) -> list[Figures]:
    """One row of figures a person."""
    return [_person(tools, study, study.seed + EVAL_SEED + n, tell) for n in range(study.people)]


def _person(tools: Instruments, study: Study, seed: int, tell: Callable[[str], None]) -> Figures:
    population, size = tools.population, study.config.working_size
    naked = population.person(seed)
    dressed = population.dressed(naked)
    rng = np.random.default_rng([seed, 1])
    photographs = [take_photograph(population, dressed, random_setting(rng)) for _ in range(3)]
    truth = truth_of(tools.regions, naked, dressed, photographs[:1], size)
    figures: Figures = {"seed": seed, "traits": vars(naked.traits)}
    one = _attempt(tools, study, photographs[:1], figures, "one")
    if one is not None:
        figures["one"] |= _measures(tools, truth, one, size)
        figures["one"] |= _fit_errors(one, photographs[0])
        if study.pictures is not None:
            study.pictures.mkdir(parents=True, exist_ok=True)
            sheet = person_sheet(photographs[0].image, one.start, truth, head_of(one.start, {}))
            Image.fromarray(sheet).save(study.pictures / f"person_{seed}.png")
        for times in study.stages:
            figures[f"distilled x{times}"] = _distilled(tools, study, truth, one, times)
        if study.samples:
            figures[SAMPLES] = _painted_by_samples(tools, study, truth, one)
    three = _attempt(tools, study, photographs, figures, "three")
    if three is not None:
        bare = bare_skin(tools.regions, truth.skin, dressed, photographs, size)
        figures["three"] |= _measures(tools, replace(truth, bare=bare), three, size)
    figures["smile"] = _smile(tools, study, seed)
    tell(_line(figures))
    return figures


def _attempt(
    tools: Instruments, study: Study, photographs: list[Photograph], figures: Figures, name: str
) -> Sketch | None:
    """The head of some photographs; its refusal goes into the figures."""
    try:
        sketch, seconds = make(tools, study.config, photographs)
    except UserError as error:
        figures[name] = {"refused": error.code}
        return None
    figures[name] = {"left out": len(photographs) - len(sketch.start.fitted.faces), "seconds": seconds}
    return sketch


def make(tools: Instruments, config: GenerateConfig, photographs: list[Photograph]) -> tuple[Sketch, dict[str, float]]:
    """The head before distillation, made from files as `generate` makes it, and the seconds of each stage."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for n, photograph in enumerate(photographs):
            files.append(Path(folder) / f"{n}.png")
            Image.fromarray(photograph.image).save(files[-1], compress_level=1)
        clock = Clock(lambda event: None)
        clock("reading photos")
        subject = read_subject(files, tools.pack, tools.nets)
        sketch = understand(subject, tools.pack, tools.nets, config, clock, None)
        clock.close()
    return sketch, clock.timings


def _measures(tools: Instruments, truth: Truth, sketch: Sketch, size: int) -> Figures:
    """Of the head as it ships, whose lids have given way to the eyes."""
    start = sketch.start
    head = head_of(start, {}, whole=True)
    return measure_head(tools, truth, start, neutral_of(tools.regions.model, start.neutral, head), head, size)


def measure_head(tools: Instruments, truth: Truth, start: Start, neutral: Array, head: Head, size: int) -> Figures:
    """Every distance of a head from the truth; neutral (P,3) of the head model."""
    own, mean = surface_ratio(tools.regions, neutral, truth.person.neutral)
    skin = skin_of(tools.regions, head.maps, start.evidence.seen, size)
    return {
        "surface_mm": own,
        "mean_head_mm": mean,
        "skin": skin_errors(truth, skin),
        "hair_iou": hair_overlap(head, truth),
        "crossings": crossings(tools.regions, neutral),
        "true_crossings": crossings(tools.regions, truth.person.neutral),
    }


def _fit_errors(sketch: Sketch, photograph: Photograph) -> Figures:
    fitted = sketch.start.fitted.fit.photos[0]
    own, true = fitted.camera, photograph.camera
    return {
        "pose_error": turn_between(own.rotation, facing(true, own.centre)),
        "angles": own.angles,
        "true_angles": true.angles,
        "residual_mm": 1000 * fitted.residual,
        "distance_m": (1 / own.inverse_distance, 1 / true.inverse_distance),
        "setting": vars(photograph.setting),
    }


def _distilled(tools: Instruments, study: Study, truth: Truth, sketch: Sketch, times: int) -> Figures:
    """The same figures after both stages with so many times the steps."""
    block = {**tools.pack.distillation}
    for stage in ("geometry", "texture"):
        steps = {quality: times * number for quality, number in block[stage]["steps"].items()}
        block[stage] = {**block[stage], "steps": steps}
    pack, clock = replace(tools.pack, distillation=block), Clock(lambda event: None)
    with tempfile.TemporaryDirectory() as work:
        head, report = distill(sketch, pack, study.config, Path(work), clock, None)
    clock.close()
    neutral = neutral_of(tools.regions.model, sketch.start.neutral, head)
    figures = measure_head(tools, truth, sketch.start, neutral, head, study.config.working_size)
    return {**figures, "seconds": clock.timings, "report": report}


def _painted_by_samples(tools: Instruments, study: Study, truth: Truth, sketch: Sketch) -> Figures:
    """The same figures where the prior's own samples paint what was not seen."""
    prior = Prior.load(tools.pack, "albedo")
    names = (next(iter(tools.pack.expressions)), *sketch.offsets)
    who = condition_on(tools.pack, sketch.subject.y_id, names, study.config.prompt)
    wanted = DistillationConfig.from_pack(tools.pack.distillation)
    start, scene = recarved(sketch.start, scene_of(sketch.start, sketch.offsets))
    head = head_from(start, paint_samples(scene, prior, who, wanted, study.config.seed))
    return measure_head(tools, truth, start, start.neutral, head, study.config.working_size)


def neutral_of(model: HeadModel, before: Array, head: Head) -> Array:
    """(P,3) of a finished head; parts that do not ship stay as they were before."""
    used = shipped_vertices(model)
    out = before.copy()
    out[used] = head.vertices[: len(used)]
    return out


def _smile(tools: Instruments, study: Study, seed: int) -> Figures:
    """One person twice in the same place, smiling and not."""
    person = tools.population.dressed(tools.population.person(seed))
    setting = random_setting(np.random.default_rng([seed, SMILING]))
    starts: list[Start] = []
    changes: tuple[dict[str, Any], ...] = ({"expression": "neutral"}, {"expression": "smile", "strength": SMILE})
    for change in changes:
        photograph = take_photograph(tools.population, person, replace(setting, **change))
        try:
            starts.append(make(tools, study.config, [photograph])[0].start)
        except UserError as error:
            return {"refused": error.code}
    skins = [skin_of(tools.regions, s.evidence.maps, s.evidence.seen, study.config.working_size) for s in starts]
    return {
        "apart_mm": face_apart(tools.regions, starts[0].neutral, starts[1].neutral),
        "albedo_de": skin_apart(*skins),
        "resting": [float(np.abs(s.fitted.fit.resting).max()) for s in starts],
        "setting": vars(setting),
    }


def _line(figures: Figures) -> str:
    """One line a person, while the others are still being made."""
    one, smile = figures["one"], figures["smile"]
    if "refused" in one:
        return f"{figures['seed']}: refused {one['refused']}"
    skin = one["skin"]
    text = (
        f"{figures['seed']}: surface {one['surface_mm']:.2f} mm of {one['mean_head_mm']:.2f}, pose off"
        f" {one['pose_error']:.1f}, skin dE seen {skin.get('seen', np.nan):.1f}"
        f" (even {skin.get('seen_even', np.nan):.1f})"
        f" unseen {skin.get('unseen', np.nan):.1f} cheek {skin['cheek']:.1f}, hair IoU {one['hair_iou']}"
    )
    if "apart_mm" in smile:
        text += f"; smile apart {smile['apart_mm']:.2f} mm dE {smile['albedo_de']:.1f}"
    three = figures["three"]
    if "surface_mm" in three:
        text += f"; three photos {three['surface_mm']:.2f} mm dE {three['skin'].get('seen', np.nan):.1f}"
    return text + f"; {time.strftime('%H:%M:%S')}"
