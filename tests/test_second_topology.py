# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way with another head model, in a pack of tiny nets: nothing depends on one topology, UV or list of parts.

Nets that find faces know people only, so what they would say of a made-up head stands in for them.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idto3d import pipeline, preview
from idto3d.bundle import read_bundle, validate
from idto3d.errors import UserError
from idto3d.finish import assemble
from idto3d.finish.picture import portrait
from idto3d.fit.camera import PhotoCamera
from idto3d.headmodel import HeadModel
from idto3d.pipeline import GenerateConfig, generate
from idto3d.preview import LOOK_BACK_SIZE
from idto3d.subject import Subject
from idto3d.training.distillation import STARTER
from tests.quick_pack import short
from tests.synthetic_face import camera_of, face_of, landmarks_of, photograph
from tests.tiny_head import tiny_head_model
from tests.tiny_pack import make_pack, write

Event = dict[str, Any]
IDENTITY = np.array([0.8, -0.6, 0.3, 0.7, -0.4, 0.2])


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return tiny_head_model(48, 32)


@pytest.fixture(scope="module")
def config(model: HeadModel, tmp_path_factory: pytest.TempPathFactory) -> GenerateConfig:
    pack = make_pack(tmp_path_factory.mktemp("packs") / "tiny", model=model)
    write(pack, distillation=short(STARTER.to_pack()))
    return GenerateConfig(pack, seed=1, quality="draft", texture_size=128)


@pytest.fixture
def photos(model: HeadModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Two photographs of somebody with the nets' knowledge of them."""
    head = model.shape(IDENTITY)
    faces = []
    for name, yaw in (("front.png", 0.0), ("side.png", 30.0)):
        camera = camera_of(model, yaw)
        picture, person = photograph(model, camera, head)
        faces.append(face_of(model, camera, head, picture, name, person=person))
        (tmp_path / name).write_bytes(name.encode())
    vectors = np.full((2, 512), 512**-0.5, np.float32)
    subject = Subject(tuple(faces), (), vectors, vectors)

    cameras: list[PhotoCamera] = []

    def landmarks_in(nets: object, picture: np.ndarray) -> np.ndarray:
        """Of the true head, from the front and then as the photo has it."""
        return landmarks_of(model, cameras.pop(), head)[0]

    def photo_portrait(*given: Any) -> tuple[PhotoCamera, Any]:
        camera, picture = preview.photo_portrait(*given)
        cameras[:] = [camera, portrait(assemble(model, head, {}, np.zeros(len(head)), {}, None), 0.0, LOOK_BACK_SIZE)]
        return camera, picture

    monkeypatch.setattr(pipeline, "photo_portrait", photo_portrait)
    monkeypatch.setattr(pipeline, "load_face_nets", lambda folder: None)
    monkeypatch.setattr(pipeline, "read_subject", lambda photos, pack, nets: subject)
    monkeypatch.setattr(pipeline, "landmarks_in", landmarks_in)
    return [tmp_path / face.name for face in faces]


def test_another_head_model_becomes_a_valid_bundle(
    model: HeadModel, config: GenerateConfig, photos: list[Path], tmp_path: Path
) -> None:
    events: list[Event] = []
    bundle = generate(photos, tmp_path / "head", config, events.append, tmp_path / "previews")
    validate(bundle)
    head = read_bundle(bundle)
    assert head.expressions[:2] == ("smile", "jaw_open") and len(head.expressions) == 2 + 52 + 15
    assert {"skin", "head", "eyes"} <= {m.name for m in head.materials}
    assert "iris" not in {head.parts[n] for n in np.unique(head.part)}
    # in the bundle's frame the head is where it was photographed: x, -z, y
    skin = np.flatnonzero(model.vertices_of("face"))
    there = model.shape(IDENTITY)[skin] @ np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    rows = np.unique(head.faces[head.part == head.parts.index("face")])
    found = head.vertices[rows[rows >= 0]]
    np.testing.assert_allclose(found.mean(0), there.mean(0), atol=0.006)
    np.testing.assert_allclose(np.ptp(found, axis=0), np.ptp(there, axis=0), rtol=0.08)
    fits = [e for e in events if e["type"] == "fit"]
    assert [f["photo"] for f in fits] == ["front.png", "side.png"]
    assert fits[0]["yaw"] == pytest.approx(0, abs=4) and fits[1]["yaw"] == pytest.approx(30, abs=4)
    assert all(f["verdict"] in ("good", "fair") for f in fits)
    assert [p.identity_score for p in head.photos] == [1.0, 1.0]
    validate(next(e["bundle"] for e in events if e["type"] == "sketch"))


def test_without_expressions_a_head_has_apples_shapes_and_visemes(
    config: GenerateConfig, photos: list[Path], tmp_path: Path
) -> None:
    head = read_bundle(generate(photos, tmp_path / "head", replace(config, expressions="neutral"), lambda event: None))
    assert len(head.expressions) == 52 + 15 and "expression" not in head.expression_groups


@pytest.mark.parametrize("found", ["nothing", "another"])
def test_a_head_that_does_not_look_like_the_face_is_refused(
    model: HeadModel, config: GenerateConfig, photos: list[Path], tmp_path: Path, found: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    other = None if found == "nothing" else np.random.default_rng(0).uniform(0, LOOK_BACK_SIZE, (478, 2))
    monkeypatch.setattr(pipeline, "landmarks_in", lambda nets, picture: other)
    with pytest.raises(UserError) as refused:
        generate(photos, tmp_path / "head", config, lambda event: None)
    assert refused.value.code == "E_FIT_LOOK_BACK" and not (tmp_path / "head").exists()
