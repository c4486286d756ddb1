# SPDX-License-Identifier: GPL-3.0-or-later
"""Seeds, checkpoints, stopping and resuming, of both stages alike."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from idto3d.distill import geometry, texture
from idto3d.distill.config import DistillationConfig
from idto3d.distill.geometry import run_geometry
from idto3d.distill.guidance import condition_on
from idto3d.distill.loop import SILENT, Callbacks, RunConfig
from idto3d.distill.scene import Scene
from idto3d.distill.texture import run_texture
from idto3d.errors import Cancelled
from idto3d.prior.model import Prior
from idto3d.prior.pack import read_pack
from tests.known_prior import SIZE, KnownPrior, quick_config, someone, tiny_scene
from tests.tiny_head import tiny_head_model
from tests.tiny_pack import make_pack

STEPS = 6
STAGES: dict[str, Callable[..., tuple[Scene, Any]]] = {"geometry": run_geometry, "texture": run_texture}
stages = pytest.mark.parametrize("stage", list(STAGES))


def grey(views: Any, expression: int) -> Tensor:
    return torch.full((len(views), SIZE, SIZE, 3), 0.4)


def state(scene: Scene) -> list[Tensor]:
    return [scene.neutral, scene.displacements, *(scene.maps[name] for name in sorted(scene.maps))]


def same(one: Scene, other: Scene) -> bool:
    return all(torch.equal(a, b) for a, b in zip(state(one), state(other), strict=True))


class Job:
    """One stage with the known prior; `steps` counts those that were really done."""

    def __init__(self, stage: str, monkeypatch: pytest.MonkeyPatch, folder: Path | None = None) -> None:
        self.stage, self.monkeypatch, self.folder = stage, monkeypatch, folder
        self.scene = tiny_scene(tiny_head_model(16, 9))
        self.steps = 0

    def __call__(self, callbacks: Callbacks = SILENT, seed: int = 3) -> Scene:
        prior: Any = KnownPrior(grey, self.monkeypatch)
        run = RunConfig("standard", seed, self.folder)
        try:
            out, _ = STAGES[self.stage](self.scene, prior, someone(), quick_config(STEPS), run, callbacks)
        finally:
            self.steps = prior.encoded
        return out


def stop_before(step: int) -> Callbacks:
    def tell(now: int, steps: int, current: Callable[[], Scene]) -> None:
        assert steps == STEPS
        if now == step:
            raise Cancelled

    return Callbacks(tell)


@stages
def test_a_seed_decides_and_looking_on_changes_nothing(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(stage, monkeypatch)
    whole = job()
    assert not same(whole, job.scene)
    assert not same(job(seed=4), whole)
    shown: list[Scene] = []
    assert same(job(Callbacks(lambda step, steps, current: shown.append(current()))), whole)
    assert len(shown) == STEPS and same(shown[0], job.scene) and not same(shown[-1], shown[1])


@stages
@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_run_that_was_stopped_goes_on_bit_by_bit(
    stage: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Job(stage, monkeypatch)()
    job = Job(stage, monkeypatch, tmp_path)
    with pytest.raises(Cancelled):
        job(stop_before(step))
    assert job.steps == step
    assert same(job(), whole) and job.steps == STEPS - step
    assert same(job(), whole) and job.steps == 0  # finished already


@stages
def test_a_run_is_stopped_within_a_step(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def poll() -> None:
        nonlocal asked
        asked += 1
        if asked == 8:  # three times a step
            raise Cancelled

    job = Job(stage, monkeypatch, tmp_path)
    with pytest.raises(Cancelled):
        job(Callbacks(poll=poll))
    assert same(job(), Job(stage, monkeypatch)()) and job.steps == STEPS - 2


@stages
def test_what_does_not_belong_here_is_left_alone(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(stage, monkeypatch, tmp_path)
    with pytest.raises(Cancelled):
        job(stop_before(4))
    monkeypatch.setattr({"geometry": geometry, "texture": texture}[stage], "LAYOUT", 999)  # the code has changed
    with pytest.raises(Cancelled):
        job(stop_before(2))
    assert job.steps == 2
    monkeypatch.undo()
    other = Job(stage, monkeypatch, tmp_path)
    other.scene = replace(other.scene, neutral=other.scene.neutral * 1.01)  # another head
    other()
    assert other.steps == STEPS


@stages
@pytest.mark.parametrize("rest", [0, 1])
def test_half_a_checkpoint_is_left_alone(
    stage: str, rest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a disk that lost the rest, or never wrote it and gives zeros."""
    job = Job(stage, monkeypatch, tmp_path)
    with pytest.raises(Cancelled):
        job(stop_before(4))
    (checkpoint,) = tmp_path.rglob("checkpoint.safetensors")
    stored = checkpoint.read_bytes()
    half = len(stored) // 2
    checkpoint.write_bytes(stored[:half] + bytes(rest * (len(stored) - half)))
    assert same(job(), Job(stage, monkeypatch)()) and job.steps == STEPS


def test_both_stages_run_with_a_packs_own_nets(tmp_path: Path) -> None:
    """From pack.json to a report, one prior for both; the weights are random."""
    config = quick_config(2, geometry={"views": 1}, texture={"views": 1})
    folder = make_pack(tmp_path / "pack")
    pack = read_pack(folder)
    config = DistillationConfig.from_pack(config.to_pack())
    prior = Prior.load(pack)
    names = ("neutral", "jaw_open")
    who = condition_on(pack, torch.nn.functional.normalize(torch.ones(512), dim=0), names, "an old man")
    assert who.y_exp.shape == (2, 16) and who.texts == ("relaxed, closed mouth", "mouth wide open")
    scene = tiny_scene(names=names)
    moved, by_region = run_geometry(scene, prior, who, config, RunConfig())
    painted, by_colour = run_texture(moved, prior, who, config, RunConfig())
    assert all(bool(torch.isfinite(t).all()) for t in state(painted))
    assert not torch.equal(moved.neutral, scene.neutral) or not torch.equal(moved.displacements, scene.displacements)
    assert not torch.equal(painted.maps["skin"], scene.maps["skin"])
    assert {"face_seen", "face_unseen", "crown_back", "neck", "expression jaw_open"} == set(by_region)
    assert {"face_seen", "face_unseen", "crown_back", "neck"} == set(by_colour)
