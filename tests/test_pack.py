# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pack is, and every way in which a folder can fail to be one."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from idto3d.errors import UserError
from idto3d.expressions import Expression
from idto3d.headmodel import load_head_model
from idto3d.prior.adapters import AdapterConfig, attach, save_domain
from idto3d.prior.model import Prior
from idto3d.prior.networks import load_networks
from idto3d.prior.pack import check_expressions, normalise_expressions, read_expressions, read_pack
from tests.tiny_pack import DIM, EXPRESSIONS, SCHEDULE, make_pack, write


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pack(tmp_path_factory.mktemp("pack"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "pack"))


def refused(what: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        what()
    assert caught.value.fix
    return caught.value.code


def unfit(folder: Path) -> None:
    """What it holds can neither be made a pack nor be read as one."""
    assert refused(lambda: write(folder)) == refused(lambda: read_pack(folder, verify=False)) == "E_PACK_FORMAT"


def test_round_trip(whole: Path) -> None:
    pack = read_pack(whole)
    assert (pack.name, pack.image_size, pack.latent_scale, pack.schedule) == ("tiny", 16, 0.5, SCHEDULE)
    assert pack.expressions == EXPRESSIONS and list(pack.expressions) == list(EXPRESSIONS)
    assert {"unet/config.json", "normal.safetensors", "text/tokenizer.json", "photos/mask.onnx"} <= pack.files.keys()
    assert "pack.json" not in pack.files
    vectors = read_expressions(pack)
    assert list(vectors) == list(EXPRESSIONS) and vectors["smile"].shape == (DIM,)
    assert np.stack(list(vectors.values())).std() == pytest.approx(1.0, abs=1e-5)
    check_expressions(pack, load_head_model(pack.file("head.safetensors")))
    assert refused(lambda: pack.file("geometry.safetensors")) == "E_PACK_MISSING"


def test_manifests_that_are_none(folder: Path, tmp_path: Path) -> None:
    assert refused(lambda: read_pack(tmp_path / "nowhere")) == "E_PACK_MISSING"
    manifest = folder / "pack.json"
    good = json.loads(manifest.read_text())

    def code(text: str) -> str:
        manifest.write_text(text)
        return refused(lambda: read_pack(folder, verify=False))

    def changed(**changes: Any) -> str:
        return code(json.dumps({**good, **changes}))

    assert code("{") == "E_PACK_FORMAT"
    assert code("[]") == "E_PACK_FORMAT"
    assert code("[" * 100_000) == code('{"a": ' + "9" * 5000 + "}") == "E_PACK_FORMAT"
    for field, value in (
        ("latent_scale", "1"),
        ("latent_scale", float("nan")),
        ("latent_scale", 0),
        ("latent_scale", 10**400),
        ("name", "\ud800"),
        ("image_size", True),
        ("prediction_type", "sample"),
        ("schedule", {**SCHEDULE, "beta_schedule": "cosine"}),
        ("schedule", {**SCHEDULE, "beta_start": 0.5}),
        ("schedule", {**SCHEDULE, "more": 1}),
        ("schedule", {**SCHEDULE, "beta_end": 0.05}),  # clean estimates would be divided by next to nothing
        ("schedule", {**SCHEDULE, "beta_end": 0.03, "beta_schedule": "linear"}),
        ("distillation", None),
    ):
        assert changed(**{field: value}) == "E_PACK_FORMAT", field
    files = good["files"]
    for path in ("../x", "/x", "a/../../x", "C:x", "a\\x"):
        assert changed(files={**files, path: "00"}) == "E_PACK_FORMAT"
    assert changed(files={**files, "absent.onnx": "00"}) == "E_PACK_MISSING"
    for name in ("head.safetensors", "photos/blendshapes.onnx", "recognition.onnx", "expressions.safetensors"):
        assert changed(files={n: h for n, h in files.items() if n != name}) == "E_PACK_MISSING"


def test_format_1_is_told_apart_by_a_sentence(folder: Path) -> None:
    manifest = folder / "pack.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format_version": 1}))
    with pytest.raises(UserError, match="E_PACK_FORMAT: The pack has format version 1; this program reads 2"):
        read_pack(folder)


def test_expressions_of_the_manifest(folder: Path) -> None:
    manifest = folder / "pack.json"
    good = json.loads(manifest.read_text())
    neutral, smile = ({"text": "a", "weights": w} for w in ({}, {"mouthSmile": 0.9}))
    for expressions in (
        {},
        {"smile": smile, "neutral": neutral},  # neutral comes first
        {"neutral": smile},
        {"neutral": neutral, "Basis": smile},
        {"neutral": neutral, "smile": smile, "Smile": smile},  # one file on some disks
        {"neutral": neutral, "a smile": smile},
        {"neutral": neutral, "x" * 64: smile},
        {"neutral": neutral, "smile": "smiling"},
        {"neutral": neutral, "smile": {"text": "smiling"}},
        {"neutral": neutral, "smile": {"text": "smiling", "weights": {"mouthSmile": "much"}}},
    ):
        manifest.write_text(json.dumps({**good, "expressions": expressions}))
        assert refused(lambda: read_pack(folder)) == "E_PACK_FORMAT", expressions


@pytest.mark.parametrize("name", ["jawOpen", "jawopen", "viseme_aa", "rig_jawOpen", "Basis"])
def test_an_expression_is_no_key_that_a_head_has_besides(folder: Path, name: str) -> None:
    manifest = folder / "pack.json"
    good = json.loads(manifest.read_text())
    expressions = {**good["expressions"], name: {"text": "a", "weights": {}}}
    manifest.write_text(json.dumps({**good, "expressions": expressions}))
    with pytest.raises(UserError, match=f"E_PACK_FORMAT.* an expression cannot be named '{name}'"):
        read_pack(folder)


def test_every_file_counts(folder: Path) -> None:
    (folder / ".hidden").write_text("of the system's")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("")
    assert read_pack(folder).name == "tiny"
    (folder / "photos" / "other.onnx").write_bytes(b"net")
    assert refused(lambda: read_pack(folder)) == "E_PACK_HASH"
    assert refused(lambda: read_pack(folder, verify=False)) == "E_PACK_HASH"
    (folder / "photos" / "other.onnx").unlink()
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    manifest = folder / "pack.json"
    good = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**good, "files": {n: h.upper() for n, h in good["files"].items()}}))
    assert read_pack(folder).name == "tiny"  # as some programs write it
    data[-1] ^= 1
    weights.write_bytes(data)
    assert read_pack(folder, verify=False).name == "tiny"
    assert refused(lambda: read_pack(folder)) == "E_PACK_HASH"


@pytest.mark.parametrize("name", ["pack.json", "unet/config.json"])
def test_a_file_that_the_system_does_not_give_is_named(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the right to read it, or on a failing disk."""
    opened = Path.open
    number = errno.EIO

    def fails(self: Path, *how: Any, **more: Any) -> Any:
        if self == folder / name:
            raise OSError(number, os.strerror(number))
        return opened(self, *how, **more)

    monkeypatch.setattr(Path, "open", fails)
    monkeypatch.setattr(Path, "read_text", lambda self, **how: self.open(**how).read())
    with pytest.raises(UserError, match=f"E_PACK_MISSING: .*{name} of the pack cannot be read: {os.strerror(number)}"):
        read_pack(folder)
    number = errno.ENOSPC
    with pytest.raises(OSError):  # has a code of its own
        read_pack(folder)


def test_linked_folders_count(folder: Path, tmp_path: Path) -> None:
    """Packs that are cached once lie behind links."""
    unet = Path(shutil.move(folder / "unet", tmp_path / "elsewhere"))
    (folder / "unet").symlink_to(unet, target_is_directory=True)
    assert read_pack(folder).name == "tiny"
    (unet / "again").symlink_to(unet, target_is_directory=True)
    assert read_pack(folder).name == "tiny"  # comes to an end
    (unet / "other.json").write_text("{}")
    assert refused(lambda: read_pack(folder)) == "E_PACK_HASH"
    write(folder)
    assert "unet/other.json" in read_pack(folder).files


def test_vectors_must_fit_the_list(folder: Path) -> None:
    path = folder / "expressions.safetensors"
    good = load_file(path)
    for bad in (
        {n: v for n, v in good.items() if n != "smile"},
        {**good, "more": good["smile"]},
        {**good, "smile": good["smile"][:3]},
        {**good, "smile": np.full(DIM, np.nan, np.float32)},
    ):
        save_file(bad, path)
        unfit(folder)
    path.write_bytes(b"junk")
    assert refused(lambda: read_pack(folder, verify=False)) == "E_PACK_FORMAT"


def test_nets_must_fit_each_other(folder: Path, whole: Path) -> None:
    def spoilt(file: str, **changes: Any) -> None:
        text = (whole / file).read_text()
        (folder / file).write_text(json.dumps({**json.loads(text), **changes}))
        unfit(folder)
        (folder / file).write_text(text)

    spoilt("text/config.json", hidden_size=DIM * 2)
    spoilt("vae/config.json", latent_channels=16)
    spoilt("unet/config.json", out_channels=8)
    spoilt("unet/config.json", cross_attention_dim=None)
    spoilt("vae/config.json", block_out_channels=None)
    spoilt("vae/config.json", block_out_channels=[8] * 12)  # the pictures are too small
    (folder / "vae" / "config.json").write_text("[]")
    unfit(folder)
    shutil.copy(whole / "vae" / "config.json", folder / "vae" / "config.json")
    write(folder)
    pack = read_pack(folder)
    unet = load_networks(pack)[0]
    save_domain(attach(unet, AdapterConfig(exp_dim=DIM + 1, lora_rank=2, hidden=8)), folder / "albedo.safetensors")
    unfit(folder)  # one base serves both domains
    shutil.copy(folder / "albedo.safetensors", folder / "normal.safetensors")
    unfit(folder)  # y_exp is shorter
    shutil.copy(folder / "expressions.safetensors", folder / "albedo.safetensors")
    unfit(folder)


def test_a_net_that_is_none_is_refused(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"junk")
    write(folder)
    assert refused(lambda: Prior.load(read_pack(folder))) == "E_PACK_FORMAT"


@pytest.mark.parametrize("wrong", [{"norm_num_groups": 0}, {"block_out_channels": 8}, {"attention_head_dim": 0}])
def test_a_net_that_cannot_be_built_is_refused(folder: Path, whole: Path, wrong: dict[str, Any]) -> None:
    given = json.loads((whole / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps({**given, **wrong}))
    write(folder)
    assert refused(lambda: Prior.load(read_pack(folder))) == "E_PACK_FORMAT"


def test_what_the_head_cannot_do_is_refused(folder: Path) -> None:
    write(folder, expressions={**EXPRESSIONS, "smile": Expression("smiling", {"mouthSmile": 0.9, "earWiggle_L": 1.0})})
    pack = read_pack(folder)
    with pytest.raises(UserError, match="E_PACK_FORMAT.*smile.*earWiggle_L"):
        check_expressions(pack, load_head_model(pack.file("head.safetensors")))


def test_nothing_is_written_that_could_not_be_read(folder: Path) -> None:
    before = (folder / "pack.json").read_bytes()
    assert refused(lambda: write(folder, prediction_type="sample")) == "E_PACK_FORMAT"
    assert refused(lambda: write(folder, expressions={"smile": EXPRESSIONS["smile"]})) == "E_PACK_FORMAT"
    (folder / "recognition.onnx").unlink()
    assert refused(lambda: write(folder)) == "E_PACK_MISSING"
    assert (folder / "pack.json").read_bytes() == before


def test_one_normalisation() -> None:
    vectors = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).numpy() * 3 + 1
    normal = normalise_expressions(vectors)
    shrunk = (0.1 * vectors - 2).astype(np.float32)
    np.testing.assert_allclose(normal.mean(0), 0, atol=1e-6)
    assert normal.std() == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(normalise_expressions(shrunk), normal, atol=1e-4)  # of any length
