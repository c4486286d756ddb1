# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way with the shipped pack and few steps, as a user runs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from idto3d.bundle import read_bundle, validate
from idto3d.errors import Cancelled, UserError
from idto3d.expressions import parse_expressions
from idto3d.pipeline import TEXTURE_SIZES, GenerateConfig, generate, job_folder
from idto3d.prior.pack import read_pack
from tests.quick_pack import quick_pack

Event = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def several_threads() -> Iterator[None]:
    """Of torch, also where a run of tests is given one: what they sum in any order would be another bundle."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> GenerateConfig:
    pack = quick_pack(tmp_path_factory.mktemp("packs") / "quick", fine=200)
    words = " ".join(["freckles"] * 40)  # more than find room
    return GenerateConfig(pack, 3, "smile,mouth_stretch", words, quality="draft", texture_size=256)


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The public-domain astronaut that scikit-image carries."""
    from skimage import data

    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


def silent(event: Event) -> None:
    pass


def stop_at(stage: str, step: int) -> Callable[[Event], None]:
    """An event sink that cancels when a stage reaches a step."""

    def events(event: Event) -> None:
        if event["type"] == "progress" and (event["stage"], event["step"]) == (stage, step):
            raise Cancelled

    return events


@pytest.fixture(scope="module")
def run(config: GenerateConfig, portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """A bundle, and what was told while it was made."""
    events: list[Event] = []
    folder = tmp_path_factory.mktemp("out")
    (folder / "head.work").mkdir()
    (folder / "head.work" / "mine.txt").write_text("the user's own")
    return generate([portrait], folder / "head", config, events.append, folder / "previews"), events


def test_a_photo_becomes_a_valid_bundle(run: tuple[Path, list[Event]], config: GenerateConfig) -> None:
    bundle = run[0]
    validate(bundle)
    head = read_bundle(bundle)
    assert head.fit is not None and head.fit.pack == str(config.pack)
    assert head.expressions[:2] == ("smile", "mouth_stretch") and len(head.expressions) == 2 + 52 + 15
    assert head.expression_groups == ("expression",) * 2 + ("arkit",) * 52 + ("viseme",) * 15
    assert {"skin", "eyes", "hair"} <= {m.name for m in head.materials}
    face = head.vertices[np.unique(head.faces[head.part == head.parts.index("face"), :3])]
    size = np.ptp(face, axis=0)
    assert 0.1 < size[0] < 0.2 and 0.13 < size[2] < 0.3  # metres, Z up
    middle = np.abs(face[:, 0]) < 0.01
    assert face[middle, 1].min() < np.median(face[:, 1]) - 0.02  # facing -Y
    moved = head.offsets[1]  # an open mouth moves the chin down by centimetres and the crown not at all
    assert moved[:, 2].min() < -0.01
    crown = head.vertices[:, 2] > np.quantile(head.vertices[:, 2], 0.97)
    assert np.linalg.norm(moved[crown], axis=1).max() < 0.001
    assert [path.name for path in bundle.with_name(bundle.name + ".work").iterdir()] == ["mine.txt"]
    told = json.loads((bundle / "head.json").read_text(encoding="utf-8"))
    (photo,) = told["photos"]
    assert photo["name"] == "astronaut.png" and photo["verdict"]["verdict"] in ("good", "fair")
    assert photo["verdict"]["residual_mm"] < 2.2 and told["seed"] == 3
    assert told["settings"]["quality"] == "draft" and told["settings"]["texture_size"] == 256
    assert {"geometry", "texture"} <= set(told["timings"])


def test_the_photo_is_on_the_skin(run: tuple[Path, list[Event]]) -> None:
    """Her face was seen, the back of her head was not; where it was seen it has the colour of her skin."""
    bundle = run[0]
    seen = np.asarray(Image.open(bundle / "maps" / "skin_seen.png"), float) / 255
    albedo = np.asarray(Image.open(bundle / "maps" / "skin_albedo.png").convert("RGB"), float)
    assert 0.1 < (seen > 0.5).mean() < 0.95 and len(albedo) == 256
    seen = seen.repeat(2, 0).repeat(2, 1)  # a map of the size that the stages work with
    red, green, blue = albedo[seen > 0.8].mean(0)
    assert 150 < red < 250 and red > green > blue > 80
    head = read_bundle(bundle)
    skin = np.isin(head.part, [head.parts.index(name) for name in ("face", "back_head")])
    rows = np.unique(head.faces[skin, :3])
    above = rows[head.vertices[rows, 2] > -0.1]  # shoulders may be seen as far back
    back = above[head.vertices[above, 1] > head.vertices[above, 1].max() - 0.05]
    assert len(back) > 100 and head.seen[back].max() == 0
    assert head.seen[rows].max() == 1


def test_other_programs_read_it(run: tuple[Path, list[Event]]) -> None:
    scene: Any = trimesh.load(run[0] / "head.glb")
    head = read_bundle(run[0])
    assert len(scene.geometry) == len(head.materials)
    extent = np.sort(scene.extents)
    np.testing.assert_allclose(extent, np.sort(np.ptp(head.vertices, axis=0)), rtol=1e-3)


def test_what_is_told_on_the_way(run: tuple[Path, list[Event]]) -> None:
    bundle, events = run
    kinds = [e["type"] for e in events]
    steps = [(e["stage"], e["step"]) for e in events if e["type"] == "progress"]
    stages = list(dict.fromkeys(stage for stage, _ in steps))
    assert stages[0] == "reading photos" and stages[-5:] == [
        "loading the priors", "geometry", "texture", "making the keys", "saving",
    ]  # fmt: skip
    assert [n for stage, n in steps if stage == "texture"] == [0, 1]
    (fit,) = (e for e in events if e["type"] == "fit")
    assert fit["photo"] == "astronaut.png" and fit["verdict"] in ("good", "fair") and "mouthSmile_" in fit["expression"]
    assert abs(fit["yaw"]) < 25 and Image.open(fit["overlay"]).size == (512, 512)
    (sketch,) = (e for e in events if e["type"] == "sketch")
    validate(sketch["bundle"])
    stage_of = [e.get("stage") for e in events]
    assert kinds.index("fit") < stage_of.index("loading the priors") < kinds.index("sketch") < stage_of.index("saving")
    rough, done = read_bundle(Path(sketch["bundle"])), read_bundle(bundle)
    np.testing.assert_array_equal(rough.faces, done.faces)  # it is moved in place
    assert [m.albedo.shape for m in rough.materials] == [m.albedo.shape for m in done.materials]
    assert 0 < np.abs(rough.vertices - done.vertices).max() < 0.02
    previews = [e for e in events if e["type"] == "preview"]
    assert {e["kind"] for e in previews} == {"mesh", "picture"}
    mesh = np.load(next(e["path"] for e in previews if e["kind"] == "mesh"))
    np.testing.assert_array_equal(mesh["faces"], done.faces)
    (warning,) = (e for e in events if e["type"] == "warning")
    assert warning["code"] == "W_PROMPT_CUT" and "freckles" in warning["message"]


def files_of(bundle: Path) -> tuple[dict[Path, bytes], Any]:
    """All files but head.json, and what that says apart from the time of day."""
    files = {path.relative_to(bundle): path.read_bytes() for path in bundle.rglob("*.*")}
    header = json.loads(files.pop(Path("head.json")))
    del header["timings"]
    return files, header


def test_a_run_stopped_in_each_stage_goes_on_to_the_same_bundle(
    run: tuple[Path, list[Event]], config: GenerateConfig, portrait: Path, tmp_path: Path
) -> None:
    """The same seed, no previews and two stops: bit for bit what one run with previews has made."""
    out = tmp_path / "head"
    seen: list[tuple[str, int]] = []

    def told(stop: Callable[[Event], None]) -> Callable[[Event], None]:
        seen.clear()

        def events(event: Event) -> None:
            seen.append((event.get("stage", ""), event.get("step", 0)))
            stop(event)

        return events

    with pytest.raises(Cancelled):
        generate([portrait], out, config, stop_at("geometry", 1))
    assert not out.exists()
    with pytest.raises(Cancelled):
        generate([portrait], out, config, told(stop_at("texture", 1)))
    assert not out.exists()
    assert min(s for name, s in seen if name == "geometry") == 1  # resumed, and not a step is lost
    generate([portrait], out, config, told(silent))
    assert ("geometry", 0) not in seen and min(s for name, s in seen if name == "texture") == 1
    (ours, header), (theirs, wanted) = files_of(out), files_of(run[0])
    assert set(ours) == set(theirs) and header == wanted
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_a_stopped_run_keeps_the_good_bundle_there_was(
    run: tuple[Path, list[Event]], config: GenerateConfig, portrait: Path
) -> None:
    before = (run[0] / "head.npz").read_bytes()
    with pytest.raises(Cancelled):
        generate([portrait], run[0], replace(config, seed=4), stop_at("geometry", 1))
    validate(run[0])
    assert (run[0] / "head.npz").read_bytes() == before


def test_other_photos_and_settings_do_not_resume_from_this_ones_state(
    config: GenerateConfig, portrait: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.png"
    Image.open(portrait).rotate(1).save(other)
    keys = {job_folder(tmp_path / "o", [p], c) for p in (portrait, other) for c in (config, replace(config, seed=9))}
    for changed in (replace(config, prompt="x"), replace(config, quality="fine")):
        keys.add(job_folder(tmp_path / "o", [portrait], changed))
    assert len(keys) == 6


def test_a_photo_of_no_face_is_refused(config: GenerateConfig, tmp_path: Path) -> None:
    from skimage import data

    Image.fromarray(data.coins()).save(tmp_path / "coins.png")
    with pytest.raises(UserError, match="coins.png") as refused:
        generate([tmp_path / "coins.png"], tmp_path / "head", config, silent)
    assert refused.value.code == "E_NO_FACE" and not (tmp_path / "head").exists()


def test_a_place_that_cannot_be_written_is_refused_first(
    config: GenerateConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    (tmp_path / "taken.work").write_text("")  # where its checkpoints would be
    for out in (tmp_path / "file" / "head", tmp_path / "file", tmp_path / "mine", tmp_path / "taken"):
        with pytest.raises(UserError) as refused:
            generate([tmp_path / "nobody.png"], out, config, silent)
        assert refused.value.code == "E_OUT_NOT_WRITABLE"
    assert not (tmp_path / "mine.work").exists()
    with monkeypatch.context() as mounted, pytest.raises(UserError, match="E_OUT_NOT_WRITABLE.* whole disk"):
        mounted.setattr(os.path, "ismount", lambda path: Path(path) == (tmp_path / "disk").resolve())
        (tmp_path / "disk").mkdir()
        generate([tmp_path / "nobody.png"], tmp_path / "disk", config, silent)
    monkeypatch.chdir(tmp_path / "mine")
    with pytest.raises(UserError, match="mine exists"):
        generate([tmp_path / "nobody.png"], ".", config, silent)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["diary.txt"]


def test_an_unknown_expression_is_refused_before_the_face_is_fitted(
    config: GenerateConfig, portrait: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    with pytest.raises(UserError) as refused:
        generate([portrait], tmp_path / "head", replace(config, expressions="smile,wink"), events.append)
    assert refused.value.code == "E_EXPRESSION" and "fit" not in [e["type"] for e in events]
    pack = read_pack(config.pack)
    assert list(parse_expressions("grin", pack.expressions)) == ["neutral", "grin"]


def test_maps_grow_with_quality() -> None:
    assert [replace(GenerateConfig(), quality=q).size for q in TEXTURE_SIZES] == [1024, 2048, 4096]
    assert GenerateConfig(texture_size=256).size == 256


def command(portrait: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "idto3d", "generate", str(portrait), "--out", str(out), "--json", *more]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1] / "backend")}


@pytest.mark.skipif(os.name == "nt", reason="SIGTERM ends a process at once there")
def test_a_terminated_command_leaves_checkpoints_and_no_bundle(
    config: GenerateConfig, portrait: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    more = ("--pack", str(config.pack), "--quality", "fine", "--texture-size", "256", "--expressions", "smile")
    process = subprocess.Popen(command(portrait, out, *more), env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["type"] == "progress" and event["stage"] == "geometry" and event["step"] >= 2:
                process.send_signal(signal.SIGTERM)
                break
        assert process.wait(timeout=120) == 130
    finally:
        process.kill()
    assert not out.exists()
    assert list(out.with_name("out.work").rglob("checkpoint.safetensors"))
