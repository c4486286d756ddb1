# SPDX-License-Identifier: GPL-3.0-or-later
"""`idto3d evaluate --real PEOPLE.json HEADS`: likeness of heads by a recogniser that took no part in making them.

PEOPLE.json: {"name": ["photo that the head was made from", "another photo", ...], ...}, paths relative to the file.
HEADS/name holds the bundle. Each head, neutral and turned by each of YAWS, is compared with the mean descriptor of the
person's other photos; people with one photo are not scored.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from ..errors import UserError
from ..photos import read_photo
from .bundle_picture import read_glb, render
from .recogniser import THRESHOLD, as_shown, load_recogniser
from .table import Row

YAWS = (0, 30, -30)


@dataclass(frozen=True)
class Score:
    """At one yaw. distances: of each person to their other photos, None where no face was found or no head made;
    accepted: nearer than THRESHOLD; first: of whom nobody else of the gallery is nearer."""

    yaw: int
    distances: dict[str, float | None]
    accepted: int
    first: int

    @property
    def mean(self) -> float:
        known = [d for d in self.distances.values() if d is not None]
        return float(np.mean(known)) if known else float("nan")


def score(yaw: int, heads: Mapping[str, Array | None], gallery: Mapping[str, Array]) -> Score:
    """heads: name to the descriptor (128,) of the picture of the head; gallery: name to that of the other photos."""
    distances: dict[str, float | None] = {}
    first = 0
    for name in gallery:
        own = heads.get(name)
        distances[name] = None if own is None else float(np.linalg.norm(own - gallery[name]))
        if own is not None:
            nearest = min(float(np.linalg.norm(own - other)) for other in gallery.values())
            first += float(np.linalg.norm(own - gallery[name])) <= nearest + 1e-9
    accepted = sum(d is not None and d < THRESHOLD for d in distances.values())
    return Score(yaw, distances, accepted, first)


def read_people(path: Path) -> dict[str, list[Path]]:
    """The photographs of each person. Raises UserError E_EVALUATE_PEOPLE."""
    try:
        people = json.loads(path.read_text(encoding="utf-8"))
        if any(isinstance(files, str) for files in people.values()):
            raise TypeError("a person has one photo, and not a list")
        return {str(name): [path.resolve().parent / file for file in files] for name, files in people.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(
            "E_EVALUATE_PEOPLE", f"{path} is not a list of people ({error}).", 'Write {"name": ["photo", ...], ...}.'
        ) from error


def evaluate_real(people_file: Path, heads: Path) -> list[Score]:
    """One score a yaw. Raises UserError E_EVALUATE_RULER without the optional packages, E_EVALUATE_PEOPLE."""
    recogniser = load_recogniser()
    people = read_people(people_file)
    gallery: dict[str, Array] = {}
    for name, files in people.items():
        others = [recogniser.embed(_photograph(file)) for file in files[1:]]
        if any(o is not None for o in others):
            gallery[name] = np.mean([o for o in others if o is not None], 0)
    # person by person: the descriptor's random crops depend on what it saw before
    found: dict[str, dict[int, Array | None]] = {}
    for name in gallery:
        if (heads / name / "head.json").exists():
            parts = read_glb(heads / name / "head.glb")
            found[name] = {yaw: recogniser.embed(render(parts, yaw)) for yaw in YAWS}
    return [score(yaw, {name: own[yaw] for name, own in found.items()}, gallery) for yaw in YAWS]


def _photograph(file: Path) -> NDArray[np.uint8]:
    try:
        return as_shown(read_photo(file).image)
    except UserError as error:
        raise UserError("E_EVALUATE_PEOPLE", error.message, "Name a photo, as seen from the list.") from error


def print_scores(scores: list[Score]) -> str:
    """Distances of all and counts, two lines a yaw."""
    lines = []
    for s in scores:
        each = "  ".join(f"{name} {'-' if d is None else f'{d:.2f}'}" for name, d in s.distances.items())
        found = sum(d is not None for d in s.distances.values())
        lines += [
            f"yaw {s.yaw:+d}: {each}",
            f"yaw {s.yaw:+d}: people {len(s.distances)}  heads with a face {found}  accepted {s.accepted}"
            f"  rank-1 {s.first}  distance {s.mean:.3f}",
        ]
    return "\n".join(lines)


def real_rows(scores: list[Score]) -> list[Row]:
    """What was promised, as rows. Shares are turned round, so that less is better throughout."""
    front, *turned = scores
    sides = [d for s in turned for d in s.distances.values() if d is not None]
    rows = []
    for name, group, bound, goal in (("0", [front], 0.44, 0.36), ("+-30", turned, 0.46, 0.36)):
        people = sum(len(s.distances) for s in group)
        missed = 1 - sum(s.accepted for s in group) / max(people, 1)
        rows.append(Row(f"ruler, yaw {name}: people not accepted", missed, 0.05, 0.0))
        wrong = max((len(s.distances) - s.first for s in group), default=0)
        rows.append(Row(f"ruler, yaw {name}: not the nearest of all", wrong, 1, 0, "people"))
        mean = front.mean if group[0] is front else float(np.mean(sides)) if sides else None
        rows.append(Row(f"ruler, yaw {name}: mean distance", mean, bound, goal))
    return rows


def as_json(scores: list[Score]) -> list[dict[str, Any]]:
    return [{**asdict(s), "mean": s.mean} for s in scores]
