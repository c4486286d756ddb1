# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way with the shipped pack and few steps, as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from idto3d.bundle import read_bundle, validate
from idto3d.distill.geometry_stage import GeometryStageConfig
from idto3d.distill.texture_stage import TextureStageConfig
from idto3d.errors import Cancelled, UserError
from idto3d.generate import STARTER_PACK, Clock, GenerateConfig, checkpoint_folder, generate, make_head
from idto3d.prior.pack import read_pack
from idto3d.subject import read_subject

QUICK = GenerateConfig(
    seed=3,
    expressions="smile,mouth_stretch",
    texture_size=256,
    faces=6000,
    geometry=GeometryStageConfig(steps=3, views=1),
    texture=TextureStageConfig(steps=2, views=1),
)


@pytest.fixture(scope="session")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The public-domain astronaut that scikit-image carries."""
    from skimage import data

    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


def silent(event: dict[str, Any]) -> None:
    pass


def stop_at(stage: str, step: int) -> Callable[[dict[str, Any]], None]:
    """An event sink that cancels when a stage reaches a step."""

    def events(event: dict[str, Any]) -> None:
        if event["type"] == "progress" and (event["stage"], event["step"]) == (stage, step):
            raise Cancelled

    return events


@pytest.fixture(scope="session")
def bundle(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate([portrait], tmp_path_factory.mktemp("out") / "head", QUICK, silent)


def test_a_photo_becomes_a_valid_bundle(bundle: Path) -> None:
    validate(bundle)
    head = read_bundle(bundle)
    assert head.expressions == ("smile", "mouth_stretch")
    size = head.vertices.max(0) - head.vertices.min(0)
    assert 0.12 < size[0] < 0.3 and 0.2 < size[2] < 0.35  # metres, Z up
    # facing -Y: the nose tip is the foremost point near the middle
    middle = np.abs(head.vertices[:, 0]) < 0.01
    assert head.vertices[middle, 1].min() < -0.08
    # an open mouth moves the chin down by centimetres and the crown not at all
    moved = head.offsets[1]
    assert moved[:, 2].min() < -0.01
    crown = head.vertices[:, 2] > np.quantile(head.vertices[:, 2], 0.95)
    assert np.abs(moved[crown]).max() < 0.001
    assert json.loads((bundle / "head.json").read_text())["settings"]["report"]["mesh"]["watertight"]
    assert not bundle.with_name(bundle.name + ".work").exists()


def test_same_seed_same_bundle_with_previews_or_without(bundle: Path, portrait: Path, tmp_path: Path) -> None:
    again = generate([portrait], tmp_path / "again", QUICK, silent, tmp_path / "previews")
    assert list((tmp_path / "previews").glob("mesh-*.npz")) and not list(bundle.parent.rglob("mesh-*"))
    for name in ("albedo.png", "roughness.png", "specular.png", "preview.png"):
        assert (again / name).read_bytes() == (bundle / name).read_bytes(), name
    headers = [json.loads((b / "head.json").read_text()) for b in (again, bundle)]
    for header in headers:
        del header["timings"]  # the only thing that differs
    assert headers[0] == headers[1]
    ours, theirs = np.load(again / "head.npz"), np.load(bundle / "head.npz")
    for name in ours.files:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.mark.parametrize(("stage", "step"), [("geometry", 2), ("texture", 1)])
def test_a_stopped_run_leaves_no_bundle_and_goes_on(
    bundle: Path, portrait: Path, tmp_path: Path, stage: str, step: int
) -> None:
    out = tmp_path / "head"
    with pytest.raises(Cancelled):
        generate([portrait], out, QUICK, stop_at(stage, step))
    assert not out.exists()
    seen: list[tuple[str, int]] = []
    generate([portrait], out, QUICK, lambda e: seen.append((e.get("stage", ""), e.get("step", 0))))
    assert ("geometry", 0) not in seen  # resumed, not begun again
    assert min(s for name, s in seen if name == stage) == step  # and not a step is lost
    np.testing.assert_array_equal(np.load(out / "head.npz")["vertices"], np.load(bundle / "head.npz")["vertices"])


def test_a_stopped_run_keeps_the_good_bundle_there_was(bundle: Path, portrait: Path) -> None:
    before = (bundle / "albedo.png").read_bytes()
    with pytest.raises(Cancelled):
        generate([portrait], bundle, replace(QUICK, seed=4), stop_at("texture", 1))
    validate(bundle)
    assert (bundle / "albedo.png").read_bytes() == before


def test_all_expressions_share_one_mesh_and_neutral_is_zero(portrait: Path, tmp_path: Path) -> None:
    pack = read_pack(STARTER_PACK)
    config = replace(QUICK, expressions="all", geometry=replace(QUICK.geometry, steps=1))
    head = make_head(read_subject([portrait], pack), pack, config, tmp_path, Clock(silent))
    assert head.names == tuple(pack.expressions) and head.names[0] == "neutral" and len(head.names) == 13
    assert head.mesh.offsets.shape == (12, *head.mesh.neutral.shape)
    assert bool((head.mesh.offsets.norm(dim=2).amax(1) > 0.002).all())  # every key moves something by 2 mm
    assert torch.isfinite(head.maps).all() and 0 <= float(head.maps.min()) and float(head.maps.max()) <= 1


def test_neutral_alone_is_a_head_without_keys(portrait: Path, tmp_path: Path) -> None:
    path = generate([portrait], tmp_path / "head", replace(QUICK, expressions="neutral"), silent)
    head = read_bundle(path)
    assert head.expressions == () and len(head.offsets) == 0


def test_other_photos_do_not_resume_from_this_ones_state(portrait: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    Image.open(portrait).rotate(1).save(other)
    keys = {
        checkpoint_folder(tmp_path / "o", [p], c) for p in (portrait, other) for c in (QUICK, replace(QUICK, seed=9))
    }
    assert len(keys) == 4


def _command(portrait: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "idto3d", "generate", str(portrait), "--out", str(out), "--json", *more]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1] / "backend")}


def test_the_command_reports_errors_by_code(tmp_path: Path) -> None:
    blank = tmp_path / "blank.png"
    Image.new("RGB", (200, 200), "grey").save(blank)
    done = subprocess.run(_command(blank, tmp_path / "out"), env=_environment(), capture_output=True, text=True)
    assert done.returncode == 1
    assert json.loads(done.stdout.splitlines()[-1])["code"] == "E_NO_FACE"
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="SIGTERM ends a process at once there")
def test_a_terminated_command_leaves_checkpoints_and_no_bundle(portrait: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(_command(portrait, out), env=_environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["type"] == "progress" and event["stage"] == "geometry" and event["step"] >= 26:
            process.send_signal(signal.SIGTERM)
            break
    began = time.monotonic()
    assert process.wait(timeout=60) == 130
    assert time.monotonic() - began < 60
    assert not out.exists()
    assert list(out.with_name("out.work").rglob("checkpoint.safetensors"))


def test_unknown_expression_is_refused() -> None:
    from idto3d.expressions import EXPRESSIONS, parse_expressions

    with pytest.raises(UserError, match="E_EXPRESSION"):
        parse_expressions("smile,wink", EXPRESSIONS)
    assert parse_expressions("grin", EXPRESSIONS) == ["neutral", "grin"]
