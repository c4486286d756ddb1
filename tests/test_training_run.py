# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of training one after the other, on four pictures and a made-up head model, to a pack that loads."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from idto3d.errors import UserError
from idto3d.expressions import EXPRESSIONS
from idto3d.headmodel import save_head_model
from idto3d.prior.adapters import Condition, denoise, domain_state_dict, read_domain
from idto3d.prior.model import Prior, tokenize
from idto3d.prior.pack import read_expressions, read_pack
from idto3d.training import export
from idto3d.training import prior as prior_training
from idto3d.training.captions import Domain, Traits
from idto3d.training.command import STAGES, main
from idto3d.training.population import TRAIN_SEED
from idto3d.training.run import CAPTIONS, Run
from idto3d.training.settings import Budget, TrainConfig
from idto3d.training.stage import StageConfig
from tests.tiny_head import tiny_head_model
from tests.tiny_pack import make_pack

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
        coverage=np.tile(np.repeat(np.array([255, 0], np.uint8), 64), (count, 128, 1)),
        expression=np.array([0, 11, 3, 12]),
        camera=np.tile(np.array([45, 0], np.float32), (count, 1)),  # front left
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
    np.testing.assert_array_equal(data.view, [0, 1, 2, 3, 0, 2])
    # A mirror image is called and covered the other way round, and is drawn so.
    for picture, mirror in ((0, 4), (2, 5)):
        for domain in ("normal", "albedo"):
            said = [
                run.text[0].decode(data.tokens[domain][row, 0], skip_special_tokens=True) for row in (picture, mirror)
            ]
            assert "front left" in said[0] and said[1] == said[0].replace("left", "right")
        np.testing.assert_array_equal(data.coverage[mirror], data.coverage[picture].flip(1))
    assert data.coverage[0, :, :16].min() == 1 and data.coverage[0, :, 16:].max() == 0
    flipped = torch.from_numpy(run.latents["albedo"][4 + 2]).float() * run.latent_scale
    np.testing.assert_array_equal(data.latents["albedo"][5], flipped)
    assert not torch.equal(data.latents["albedo"], data.latents["normal"])
    assert 0.5 < float(torch.cat([*data.latents.values()]).std()) < 2
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
    assert Run(config).data_config.families == 2
    settings = Path(config.work) / "settings.json"
    made = json.loads(settings.read_text(encoding="utf-8"))
    settings.write_text(json.dumps({n: v for n, v in made.items() if n != "families"}), encoding="utf-8")
    Run(config)  # a folder from before there was that setting
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
    assert pack.latent_scale == pytest.approx(run.latent_scale) and pack.latent_scale != 1
    for name, code in zip(EXPRESSIONS, run.expression_codes, strict=True):
        np.testing.assert_allclose(read_expressions(pack)[name], code, atol=1e-6)
    adapters = {domain: read_domain(pack.file(f"{domain}.safetensors"))[1] for domain in ("normal", "albedo")}
    for domain, unet in run.load_priors().unets.items():
        own = domain_state_dict(unet)
        assert own.keys() == adapters[domain].keys()
        assert all(torch.equal(own[n].half(), adapters[domain][n]) for n in own), domain
    assert any(not torch.equal(adapters["normal"][n], v) for n, v in adapters["albedo"].items())
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


def test_a_step_asks_for_what_is_said_of_its_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of rows that differ in everything: each prior sees the latents, captions, people, expressions and cover of its
    rows, in its own domain, and each of text, identity and expression is left out in its share of them."""
    count = 400
    sides: dict[Domain, float] = {"normal": 0.0, "albedo": 1000.0}
    row = torch.arange(count)
    person, expression = np.arange(count) % 7, np.arange(count) % 5
    y_id, y_exp = torch.arange(7.0).view(7, 1, 1).expand(7, 2, 512), torch.arange(5.0).view(5, 1).expand(5, 8)
    data = prior_training.PriorData(
        {d: (row + at).float().view(-1, 1, 1, 1).expand(-1, 4, 2, 2) for d, at in sides.items()},
        {d: (row + int(at)).view(-1, 1, 1).expand(-1, 3, 2) for d, at in sides.items()},
        torch.full((1, 2), -1), row.float().view(-1, 1, 1).expand(-1, 2, 2), person, expression, np.arange(count),
    )  # fmt: skip
    text = torch.nn.Linear(1, 1)
    monkeypatch.setattr(text, "forward", lambda ids: SimpleNamespace(last_hidden_state=ids[..., None].float()))
    nets = {domain: torch.nn.Linear(1, 1) for domain in sides}
    seen: list[tuple[object, torch.Tensor, Condition]] = []
    covers: list[torch.Tensor] = []

    def denoised(unet: torch.nn.Linear, z_t: torch.Tensor, t: torch.Tensor, cond: Condition) -> torch.Tensor:
        seen.append((unet, z_t, cond))
        return z_t * unet.weight.view(())

    def weighted(schedule: object, eps: torch.Tensor, noise: object, t: object, cover: torch.Tensor) -> torch.Tensor:
        covers.append(cover)
        return eps.mean()

    monkeypatch.setattr(prior_training, "denoise", denoised)
    monkeypatch.setattr(prior_training, "weighted", weighted)
    monkeypatch.setattr(prior_training, "noised", lambda schedule, z0, g: (torch.zeros(len(z0)), z0, z0))
    monkeypatch.setattr(prior_training, "sample_sheet", lambda *_: None)
    priors = prior_training.Priors(nets, text, y_id, y_exp)
    config = StageConfig(steps=1, batch=2 * count, half=False)
    prior_training.train_priors(priors, data, lambda z: z, tmp_path / "priors", config)
    for (domain, at), (unet, z_t, cond), cover in zip(sides.items(), seen, covers, strict=True):
        rows = (z_t[:, 0, 0, 0] - at).long()
        assert unet is nets[domain]
        assert sorted(rows.tolist()) == list(range(count))
        np.testing.assert_array_equal(cover[:, 0, 0], rows)
        np.testing.assert_array_equal(cond.y_id[:, 0], person[rows])
        np.testing.assert_array_equal(cond.y_exp[:, 0], expression[rows])
        said = cond.text[:, 0, 0] >= 0
        np.testing.assert_array_equal(cond.text[said, 0, 0], rows[said] + at)
        for kept, share in ((said, 0.1), (cond.lambda_id, 0.25), (cond.lambda_exp, 0.1)):
            assert abs(1 - float(kept.float().mean()) - share) < 0.08


def test_a_reference_network_is_of_the_priors_that_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idto3d.training.run.BUDGETS", {"cpu": _tiny_budget()})
    monkeypatch.setattr("idto3d.training.samples.STEPS", 1)
    config = _config(tmp_path)
    run = Run(config)
    run.vae()
    with pytest.raises(UserError, match="E_TRAIN_ORDER"):
        run.reference("albedo")
    run.priors()
    run.reference("albedo")
    assert Run(config).load_reference("albedo") is not None and Run(config).load_reference("normal") is None
    further = Run(replace(config, prior_steps=2))
    further.priors()
    for go_on in (further.load_reference, further.reference):
        with pytest.raises(UserError, match="E_TRAIN_SETTINGS"):
            go_on("albedo")


def test_a_pack_that_is_trained_further_keeps_its_expressions(tmp_path: Path) -> None:
    """Its branches have learnt them, and its text encoder has moved on since."""
    init = read_pack(STARTER_PACK)
    run = Run(replace(_config(tmp_path), init=str(STARTER_PACK)))
    for name, code in zip(EXPRESSIONS, run.expression_codes, strict=True):
        np.testing.assert_array_equal(read_expressions(init)[name], code)


def test_a_pack_of_other_shapes_is_no_beginning(tmp_path: Path) -> None:
    run = Run(replace(_config(tmp_path), init=str(make_pack(tmp_path / "pack"))))
    for begin in (run.new_vae, run.new_priors):
        with pytest.raises(UserError, match="E_TRAIN_SETTINGS.*does not hold such a net"):
            begin()


def _tiny_budget() -> object:
    return Budget(PEOPLE, PEOPLE, (1, 2), (1, 4), (1, 3))
