# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages that the fit's priors are learnt by, from nothing by the real command, on a made-up head, kit and net."""

from dataclasses import replace
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.expressions import EXPRESSIONS
from idto3d.fit.landmarks import fit_landmarks
from idto3d.headmodel import HeadModel, load_head_model
from idto3d.photos import Face, Photo
from idto3d.training import (
    camera_distance,
    command,
    data,
    landmark_errors,
    landmark_places,
    photographs,
    photometric,
    population,
    run,
)
from idto3d.training.feature_identity import FOLDS
from idto3d.training.photographs import Photograph, Setting, take_photograph
from idto3d.training.population import Person, Population
from idto3d.training.transfer import build_transfer
from tests.synthetic_face import at_landmarks, face_of
from tests.tiny_head import tiny_head_model
from tests.tiny_kit import SKINS, TinyKit, tiny_landmarks

PEOPLE, FEATURES, LOW = 8, 40, 0.002
STAGES = ["head", "places", "complexion", "errors", "distance", "shading"]


class Net:
    """Knows what it is shown: landmarks a little too low, and features that tell the face's shape."""

    def __init__(self, model: HeadModel) -> None:
        self._model, self._rest = model, at_landmarks(model, model.neutral)
        self._map = np.random.default_rng(0).normal(size=(self._rest.size, FEATURES)) * 50
        self._shown: Photograph | None = None

    def take(self, people: Population, person: Person, setting: Setting, size: int = 0) -> Photograph:
        self._shown = take_photograph(people, person, setting, 128)
        return self._shown

    def find(self, photo: Photo, nets: None) -> Face:
        shown = self._shown
        assert shown is not None and shown.image is photo.image and nets is None
        face = face_of(self._model, shown.camera, shown.posed, photo.image)
        away = at_landmarks(self._model, shown.posed) - self._rest
        features = np.tile(away.ravel() @ self._map, 2).astype(np.float32)
        return replace(face, landmarks=face.landmarks + [0, LOW * shown.camera.scale], features=features)

    @staticmethod
    def looks(face: Face, nets: None, rng: np.random.Generator) -> Array:
        assert face.features is not None
        return np.stack([face.features, face.features + rng.normal(size=2 * FEATURES)])


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    tiny, kit = tiny_head_model(), TinyKit()
    net = Net(tiny)
    for module in (landmark_errors, landmark_places, camera_distance):
        monkeypatch.setattr(module, "take_photograph", net.take)
        monkeypatch.setattr(module, "find_face", net.find)
    monkeypatch.setattr(landmark_errors, "looks_of", net.looks)
    monkeypatch.setattr(landmark_errors, "SIBLINGS", 1)
    monkeypatch.setattr(camera_distance, "PEOPLE", 2)
    monkeypatch.setattr(landmark_places, "FEWEST", 2)
    monkeypatch.setattr(data, "get_context", lambda _: SimpleNamespace(Pool=lambda workers, _: ThreadPool(workers)))
    monkeypatch.setattr(data, "load_face_nets", lambda _: None)
    monkeypatch.setattr(population, "load_kit", lambda _: kit)
    monkeypatch.setattr(population, "find_landmarks", lambda kit, skin, _: tiny_landmarks(kit, skin.triangles))
    monkeypatch.setattr(population, "build_transfer", partial(build_transfer, size=64))
    monkeypatch.setattr(run, "write_face_nets", lambda *_: None)
    monkeypatch.setattr(run, "build_head_model", lambda _, places: tiny)
    able = {name: kind for name, kind in EXPRESSIONS.items() if "cheekRaiser" not in kind.weights}  # as the head is
    for module in (landmark_errors, photographs):
        monkeypatch.setattr(module, "EXPRESSIONS", able)
    monkeypatch.setattr(landmark_places, "OPEN_MOUTHS", ("mouth_stretch", "lip_funneler"))
    named = {"ictkit": "kit", "headkit": "kit", "facenets": "nets", "recogniser": "net", "work": str(tmp_path / "work")}
    settings = [word for name, value in named.items() for word in (f"--{name}", value)]
    return [*STAGES, *settings, "--people", str(PEOPLE), "--workers", "1"]


def test_places_that_were_found_before_a_kill_reach_the_head(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, used = tiny_head_model(), list[Path]()

    def killed(_: Path, places: Path) -> HeadModel:
        used.append(places)
        if len(used) == 2:
            raise KeyboardInterrupt
        return head

    monkeypatch.setattr(run, "build_head_model", killed)
    line = ["head", "places", *arguments[len(STAGES) :]]
    with pytest.raises(KeyboardInterrupt):
        command.main(line)
    found = tmp_path / "work" / "places.npz"
    assert found.exists()
    for _ in range(2):
        command.main(line)
        assert used[2:] == [found], "once, with what was found"


def test_a_fit_knows_its_priors_from_nothing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knew: list[Array] = []

    def watched(model: HeadModel, faces: list[Face]) -> Any:
        assert model.feature_weights is not None
        knew.append(model.feature_weights)
        return fit_landmarks(model, faces)

    monkeypatch.setattr(photometric, "fit_landmarks", watched)
    command.main(arguments)
    work = tmp_path / "work"
    model = load_head_model(work / "head.safetensors")
    assert model.feature_weights is not None and model.shading_points is not None
    assert model.complexion_mean is not None and model.complexion_slope is not None
    neck = model.vertices_of("face") & (model.neutral[:, 1] < model.neutral[:, 1].min() + 0.02)
    for albedo, share in (SKINS["pale.jpg"], SKINS["dark.jpg"]):
        over = np.exp(model.complexion_mean + model.complexion_slope * np.log(albedo))
        np.testing.assert_allclose(np.median(over[neck], 0), share, rtol=0.05)
        assert np.median(over[model.landmark_triangle[[50, 280, 9]]]) == pytest.approx(1, abs=0.05)
    low = float(np.median(model.landmark_shift[model.landmark_trust > 0, 1]))
    assert low == pytest.approx(-LOW, rel=0.3), "how the net errs was learnt"
    assert model.landmark_distance is not None and model.landmark_distance[1] > 0, "nearer cameras look nearer"
    without = np.load(work / landmark_errors.WITHOUT)
    seen = [int(np.argmin([np.abs(weights - fold).max() for fold in without])) for weights in knew]
    people = range(landmark_errors.FIRST_SEED, landmark_errors.FIRST_SEED + PEOPLE)
    assert seen == [seed % FOLDS for seed in people for _ in range(landmark_errors.PHOTOS)], "nobody was known before"
    assert all(np.abs(model.feature_weights - fold).max() > 1e-4 for fold in without)
    # a killed run goes on: all is there
    before = {file: file.stat().st_mtime_ns for file in work.rglob("*.np?")}
    command.main(arguments)
    assert {file: file.stat().st_mtime_ns for file in work.rglob("*.np?")} == before
    assert load_head_model(work / "head.safetensors").shading_residual == model.shading_residual
