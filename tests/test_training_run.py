# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of training one after the other, on four pictures and a made-up head model, to a pack that loads."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from idto3d.errors import UserError
from idto3d.expressions import EXPRESSIONS
from idto3d.headmodel import save_head_model
from idto3d.prior.adapters import Condition, denoise
from idto3d.prior.model import Prior, tokenize
from idto3d.prior.pack import read_pack
from idto3d.training import export
from idto3d.training.captions import Traits
from idto3d.training.command import STAGES, main
from idto3d.training.population import TRAIN_SEED
from idto3d.training.run import CAPTIONS, Run, TrainConfig
from tests.tiny_head import tiny_head_model

STARTER_PACK = Path(__file__).parents[1] / "backend" / "packs" / "starter"
PEOPLE, VIEWS, PHOTOS = 2, 2, 3


def _config(tmp_path: Path, **more: object) -> TrainConfig:
    work = tmp_path / "work"
    (work / "views").mkdir(parents=True)
    save_head_model(tiny_head_model(), work / "head.safetensors")
    rng = np.random.default_rng(0)
    count = PEOPLE * VIEWS
    traits = np.array([list(vars(Traits(0, 1, 2, 3, 1, 2, 0, False, True, False)).values())] * count, int)
    np.savez(
        work / "views" / "0000.npz",
        albedo=rng.integers(0, 255, (count, 128, 128, 3), np.uint8),
        normal=rng.integers(0, 255, (count, 128, 128, 3), np.uint8),
        coverage=np.full((count, 128, 128), 255, np.uint8),
        expression=np.array([0, 11, 3, 12]),
        camera=np.zeros((count, 2), np.float32),
        close=np.zeros(count, bool),
        person=TRAIN_SEED + np.repeat(np.arange(PEOPLE), VIEWS),
        traits=traits,
        own_traits=traits,
        crops=np.zeros((PEOPLE * PHOTOS, 112, 112, 3), np.uint8),
    )
    y_id = rng.normal(size=(PEOPLE * PHOTOS, 512))
    np.savez(work / "identities.npz", y_id=(y_id / np.linalg.norm(y_id, axis=1, keepdims=True)).astype(np.float32))
    ictkit = tmp_path / "ictkit"
    ictkit.mkdir()
    (ictkit / "LICENSE").write_text("MIT")
    return TrainConfig(
        str(ictkit), "nowhere", "nowhere", str(work), str(STARTER_PACK / "recognition.onnx"),
        people=PEOPLE, vae_steps=1, prior_steps=1, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def test_mirror_images_are_learnt_where_they_have_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idto3d.training.run.BUDGETS", {"cpu": _tiny_budget()})
    run = Run(_config(tmp_path))
    with pytest.raises(UserError, match="E_TRAIN_ORDER"):
        _ = run.latents
    run.vae()
    data = run.prior_data()
    assert len(data.person) == 4 + 2  # mouth_left and jaw_right have no mirrored name
    assert data.tokens["normal"].shape[:2] == (6, CAPTIONS) and data.latents["albedo"].shape == (6, 4, 32, 32)
    np.testing.assert_array_equal(data.person, [0, 0, 1, 1, 0, 1])
    plain = Run(TrainConfig(**{**vars(run.config), "mirror": 0, "work": str(tmp_path / "other")}))
    for made in ("views", "vae"):
        shutil.copytree(run.work / made, plain.work / made)
    assert len(plain.prior_data().person) == 4


def test_latents_are_of_the_autoencoder_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idto3d.training.run.BUDGETS", {"cpu": _tiny_budget()})
    config = _config(tmp_path)
    Run(config).vae()
    before = Run(config).latents
    Run(config).vae()
    np.testing.assert_array_equal(Run(config).latents["normal"], before["normal"])
    Run(longer := replace(config, vae_steps=2)).vae()
    with pytest.raises(UserError, match="E_TRAIN_SETTINGS"):
        _ = Run(longer).latents


def test_a_head_of_other_scans_is_made_again(tmp_path: Path) -> None:
    config = replace(_config(tmp_path), work=str(tmp_path / "new"))
    Run(config).head_file.touch()
    assert Run(config).head_file.exists()
    assert not Run(replace(config, ictkit="other")).head_file.exists()


def test_a_folder_keeps_to_what_it_was_begun_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = _config(tmp_path)
    Run(replace(config, headkit="mistyped", work=str(tmp_path / "new")))
    Run(replace(config, work=str(tmp_path / "new")))
    Run(config)
    Run(replace(config, prior_steps=7, workers=3))  # which no file depends on
    for change, said in (({"people": 3}, "--people 2"), ({"mirror": 0}, "--mirror 1"), ({"headkit": "b"}, "nowhere")):
        with pytest.raises(UserError, match=said) as refused:
            Run(replace(config, **change))
        assert refused.value.code == "E_TRAIN_SETTINGS" and "--work" in refused.value.fix
    arguments = [part for n in ("ictkit", "headkit", "facenets", "work", "recogniser") for part in (f"--{n}", "other")]
    with pytest.raises(SystemExit) as stopped:
        main(["head", *arguments, "--work", config.work])
    assert stopped.value.code == 1 and "E_TRAIN_SETTINGS" in capsys.readouterr().err


def test_the_stages_make_a_pack_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idto3d.training.run.BUDGETS", {"cpu": _tiny_budget()})
    monkeypatch.setattr(export, "write_face_nets", lambda _, out: shutil.copytree(STARTER_PACK / "photos", out))
    monkeypatch.setattr("idto3d.training.samples.STEPS", 1)
    run = Run(_config(tmp_path))
    before = run.new_vae().state_dict()
    for stage in ("vae", "priors", "reference_albedo", "pack"):
        STAGES[stage](run)
    pack = read_pack(run.work / "pack")
    assert list(pack.expressions) == list(EXPRESSIONS) and "LICENSE-ICT.txt" in pack.files
    assert "reference_albedo.safetensors" in pack.files and Prior.load(pack, "albedo").lambda_ref == 1
    assert any(not torch.equal(before[n], v) for n, v in run.load_vae().state_dict().items())
    prior = Prior.load(pack, "normal")
    z_t, t = torch.randn(1, 4, 32, 32), torch.tensor([300])
    rest = torch.zeros(1, 512), run.expression_codes[:1], torch.ones(1), torch.ones(1)
    found = prior.predict(z_t, t, Condition(prior.encode_text(["a man"]), *rest))
    priors = run.load_priors()
    with torch.no_grad():  # the pack computes what was trained, up to half precision
        text = priors.text.half().float()(tokenize(prior.tokenizer, ["a man"])).last_hidden_state
        expected = denoise(priors.unets["normal"].float(), z_t, t, Condition(text, *rest))
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0.05)


def _tiny_budget() -> object:
    from idto3d.training.run import Budget

    return Budget(PEOPLE, (1, 2), (1, 4), (1, 3))
