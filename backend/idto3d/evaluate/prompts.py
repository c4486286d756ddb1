# SPDX-License-Identifier: GPL-3.0-or-later
"""`idto3d evaluate --prompts`: what a user's words change in finished heads, beside the same head without words."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ..arrays import Array
from ..bundle import to_uint8
from ..clock import Clock
from ..errors import UserError
from ..finish import Head
from ..finish.picture import portrait, render_head
from ..pipeline import Sketch, distill
from ..render.lights import EnvironmentLight, FlatLight, lobe
from ..training.photographs import random_setting, take_photograph
from ..training.population import EVAL_SEED
from .metrics import colour_difference
from .synthetic import Instruments, Study, make

PROMPTS = (
    "very old, wrinkled",
    "young",
    "fat",
    "very thin",
    "white hair",
    "long blonde hair",
    "bald",
    "full beard",
    "freckles",
    "glasses",
)
SIZE = 224
VISIBLE = 2.3
"""CIEDE2000, mean over the head, from which a change is taken for visible: about one just noticeable difference."""


def evaluate_prompts(
    tools: Instruments, study: Study, tell: Callable[[str], None]
) -> tuple[dict[str, list[float]], Array]:
    """Of each prompt and person the mean CIEDE2000 (over the head, seen from the front, flat albedo) between the heads
    with and without the words; and a sheet: a column a person, a line a prompt, the first without."""
    columns: list[Array] = []
    changes: dict[str, list[float]] = {words: [] for words in PROMPTS}
    for n in range(study.people):
        seed = EVAL_SEED + study.seed + n
        person = tools.population.dressed(tools.population.person(seed))
        photograph = take_photograph(tools.population, person, random_setting(np.random.default_rng([seed, 1])))
        try:
            sketch, _ = make(tools, study.config, [photograph])
        except UserError as error:
            tell(f"{seed}: refused, {error.code}")
            continue
        plain = _head(tools, study, sketch, "")
        base = albedo(plain, plain)
        column = [lit(plain, plain)]
        for words in PROMPTS:
            head = _head(tools, study, sketch, words)
            shown = albedo(head, plain)
            changes[words].append(picture_change(base, shown))
            column.append(lit(head, plain))
            tell(f"{seed}, {words}: {changes[words][-1]:.1f}")
        columns.append(np.concatenate(column, 0))
    return changes, np.concatenate(columns, 1) if columns else np.zeros((0, 0, 3), np.uint8)


def _head(tools: Instruments, study: Study, sketch: Sketch, words: str) -> Head:
    config = replace(study.config, prompt=words)
    with tempfile.TemporaryDirectory() as work:
        clock = Clock(lambda event: None)
        head, _ = distill(sketch, tools.pack, config, Path(work), clock, None)
    return head


def albedo(head: Head, like: Head) -> Array:
    """(SIZE,SIZE,3) flat colours from the front on black; like: the head that the camera is set up for."""
    return render_head(head, portrait(like, 0.0, SIZE), SIZE, FlatLight(), 0.0)


def lit(head: Head, like: Head) -> Array:
    """(SIZE,SIZE,3) uint8 from slightly aside."""
    towards = F.normalize(torch.tensor([0.4, 0.5, 0.8]), dim=0)
    light = EnvironmentLight(lobe(towards, 0.8, 0.2)[:, None].expand(9, 3).contiguous())
    return to_uint8(render_head(head, portrait(like, 20.0, SIZE), SIZE, light))


def picture_change(a: Array, b: Array) -> float:
    """Mean CIEDE2000 of two pictures on black (H,W,3) where either shows something."""
    shown = (a.max(-1) > 0) | (b.max(-1) > 0)
    return float(colour_difference(a[shown], b[shown]).mean()) if shown.any() else 0.0


def print_changes(changes: dict[str, list[float]]) -> str:
    """A line a prompt: mean change and on how many people it is visible."""
    lines = []
    for words, values in changes.items():
        visible = sum(v >= VISIBLE for v in values)
        mean = np.mean(values) if values else np.nan
        lines.append(f"{words:20s} dE {mean:5.1f}, visible on {visible} of {len(values)}")
    return "\n".join(lines)
