# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: what it asks of the pipeline, and what it says."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

import idto3d
from idto3d import fit_only, pipeline
from idto3d.__main__ import main
from idto3d.errors import Cancelled, UserError
from idto3d.evaluate.bench import cold_seconds
from idto3d.fit.check import refuse_residual
from idto3d.pipeline import STARTER_PACK, GenerateConfig
from idto3d.protocol import Capture, Refit
from idto3d.tasks import run_capture, run_refit
from idto3d.training import data as training_data
from idto3d.training.data import DataConfig
from idto3d_shared.fit_file import FIT, FitFile, fit_text, read_fit

LOOK = """
import os, sys
from idto3d.__main__ import main
assert main(["nothing"]) == 2
print(os.environ["GOMP_SPINCOUNT"], os.environ["KMP_BLOCKTIME"], "torch" in sys.modules)
"""


@pytest.mark.parametrize(("own", "printed"), [({}, "1000 0 False"), ({"GOMP_SPINCOUNT": "7"}, "7 0 False")])
def test_threads_are_told_not_to_spin_before_torch_is_there(own: dict[str, str], printed: str) -> None:
    bare = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")}
    env = {**bare, **own, "PYTHONPATH": os.path.dirname(os.path.dirname(idto3d.__file__))}
    done = subprocess.run([sys.executable, "-c", LOOK], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == printed


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Commands take signals over, and tell threads what to do."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    handlers, variables = [signal.getsignal(n) for n in numbers], dict(os.environ)
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)
    for name in set(os.environ) - set(variables):
        del os.environ[name]


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    path = tmp_path / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


def test_generate_hands_its_options_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Any] = []

    def generate(*arguments: Any) -> Path:
        asked.append(arguments)
        if len(asked) == 3:
            raise Cancelled
        return Path("made")

    monkeypatch.setattr(pipeline, "generate", generate)
    assert main(["generate", "a.png", "b.png", "--out", "o", "--json"]) == 0
    photos, out, config, _, previews = asked[0]
    assert (photos, out, config, previews) == ([Path("a.png"), Path("b.png")], Path("o"), GenerateConfig(), None)
    assert json.loads(capsys.readouterr().out) == {"type": "done", "bundle": "made"}
    chosen = ["--pack", "p", "--seed", "7", "--expressions", "smile", "--prompt", "an old man", "--quality", "fine"]
    assert main(["generate", "a", "--out", "o", *chosen, "--texture-size", "256", "--previews", "q"]) == 0
    assert asked[1][2] == GenerateConfig(Path("p"), 7, "smile", "an old man", "fine", 256)
    assert asked[1][4] == Path("q") and "done: made" in capsys.readouterr().out
    assert main(["generate", "a", "--out", "o"]) == 130
    assert "goes on from the last checkpoint" in capsys.readouterr().err


def test_every_signal_that_stops_keeps_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)  # there on Windows alone
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        monkeypatch.setattr(pipeline, "generate", lambda *_, number=number: os.kill(os.getpid(), number))
        assert main(["generate", "a", "--out", "o"]) == 130


def test_what_trains_and_measures_can_be_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "head.json").write_text('{"pack": "p", "seed": 0}')
    works = {
        "idto3d.training.command.main": ["train"],
        "idto3d.evaluate.command.main": ["evaluate"],
        "idto3d.evaluate.bench.main": ["bench"],
        "idto3d.sheet.compose_sheet": ["sheet", str(tmp_path), "--tiles", "t", "--photos", "p"],
    }
    for name, command in works.items():
        monkeypatch.setattr(name, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert main(command) == 130
        assert capsys.readouterr().err.startswith("Stopped")


def ignores_interrupts(config: DataConfig, number: int) -> dict[str, Any]:
    return {"ignored": np.array(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)}


def test_training_ends_its_own_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in a terminal reaches them, too: each left a traceback."""
    monkeypatch.setattr(training_data, "population_of", lambda config: None)
    config = DataConfig(tmp_path, "", "", people=1, families=1, workers=1)
    (file,) = training_data.each(config, "shards", range(1), ignores_interrupts)
    with np.load(file) as arrays:
        assert arrays["ignored"]


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script with a #! line")
def test_bench_does_not_wait_for_a_head_that_it_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    refusal = json.dumps({"type": "error", "code": "E_X", "message": "m", "fix": "f"})
    script.write_text(f"#!/bin/sh\necho '{refusal}'\nexec sleep 30\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    began = time.monotonic()
    with pytest.raises(UserError, match="E_X"):
        cold_seconds(tmp_path / "a.png", GenerateConfig(), tmp_path)
    assert time.monotonic() - began < 10


def test_a_stopped_fit_promises_no_checkpoint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any) -> None:
        raise Cancelled

    monkeypatch.setattr(fit_only, "fit_photos", stop)
    assert main(["fit", "a.png", "--out", "o"]) == 130
    assert capsys.readouterr().err == "Stopped.\n"


def test_two_heads_are_not_made_in_one_place_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, said = tmp_path / "heads" / "me", list[str]()
    (tmp_path / "link").symlink_to(out)

    def work(pack: Path) -> None:
        for place in (out, tmp_path / "link") if not said else ():
            with pytest.raises(UserError) as refused:
                pipeline.generate(["a.png"], place, GenerateConfig(), lambda event: None)
            said.append(refused.value.code)
        raise UserError("E_PACK_MISSING", "Something ends the first.")

    monkeypatch.setattr(pipeline, "read_pack", work)
    for _ in range(2):  # the second time, nobody holds it any more
        with pytest.raises(UserError, match="E_PACK_MISSING"):
            pipeline.generate(["a.png"], out, GenerateConfig(), lambda event: None)
    assert said == ["E_OUT_BUSY"] * 2
    assert list(out.parent.iterdir()) == []


def test_what_only_a_preview_lacks_costs_no_head() -> None:
    events: list[Any] = []
    for error in (MemoryError("full"), Cancelled()):
        kept: Future[None] = Future()
        kept.set_exception(error)
        with pytest.raises(Cancelled) if isinstance(error, Cancelled) else nullcontext():
            pipeline._only_warn(kept, events.append)
    assert [event["code"] for event in events] == ["W_PREVIEW"] and "full" in events[0]["message"]


def test_what_reads_a_head_uses_the_pack_that_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("idto3d.capture.capture", lambda *arguments: asked.append(arguments[2]))
    own, line = tmp_path / "own", ["capture", "v.mp4", "--out", "t.csv"]
    with_own, starters = tmp_path / "head", tmp_path / "other"
    for folder, recorded in ((with_own, str(own)), (starters, "")):
        folder.mkdir()
        (folder / FIT).write_text(fit_text(FitFile(np.zeros(3), {}, (), recorded)))
    heads = {with_own: own, with_own / "head.npz": own, starters: STARTER_PACK, tmp_path: STARTER_PACK}
    for head, pack in heads.items():
        main([*line, "--head", str(head)])
        run_capture(Capture("j", "v.mp4", "t.csv", str(head)), print)
        assert asked == [pack, pack], head
        asked.clear()
    main([*line, "--head", str(with_own), "--pack", "named"])
    run_capture(Capture("j", "v.mp4", "t.csv", str(with_own), "named"), print)
    main(line)
    assert asked == [Path("named"), Path("named"), STARTER_PACK]
    monkeypatch.setattr("idto3d.refit.lay", lambda bundle, pack: asked.append(pack))
    monkeypatch.setattr("idto3d.refit.refit", lambda *_: {})
    run_refit(Refit("j", str(with_own), "f"), lambda event: None)
    assert asked[3:] == [own]


def test_a_pack_that_is_gone_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capture", "v.mp4", "--out", str(tmp_path / "t.csv"), "--pack", str(tmp_path / "gone")]) == 1
    assert capsys.readouterr().err.startswith("E_PACK_MISSING")


@pytest.mark.parametrize("wrong", [["--quality", "best"], ["--texture-size", "300"], ["--seed", "x"], ["--seed", "-1"]])
def test_options_that_make_no_sense_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["generate", "a", "--out", "o", *wrong])
    assert stopped.value.code == 2 and wrong[0] in capsys.readouterr().err


def test_fit_tells_how_a_photo_is_understood(
    portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", portrait.name, "--out", "fit", "--json"]) == 0
    *_, row, done = map(json.loads, capsys.readouterr().out.splitlines())
    assert done == {"type": "done", "bundle": str(tmp_path / "fit")}
    assert row["photo"] == "astronaut.png" and row["verdict"] in ("good", "fair") and 0 < row["residual_mm"] < 2.2
    assert abs(row["yaw"]) < 25
    told = read_fit(tmp_path / "fit" / "fit.json")
    (photo,) = told.photos
    assert (photo.name, photo.path, photo.width, photo.height) == ("astronaut.png", str(portrait), 512, 512)
    assert photo.sha256 == hashlib.sha256(portrait.read_bytes()).hexdigest()
    assert 0.3 < float(np.linalg.norm(photo.camera.position)) < 5
    assert photo.expression["mouthSmile_L"] > 0.1  # she smiles
    assert len(told.identity) > 10
    with Image.open(tmp_path / "fit" / "overlay.png") as picture:
        assert picture.size == (512, 512)
    (tmp_path / "file").write_text("in the way")
    assert main(["fit", str(portrait), "--out", str(tmp_path / "file"), "--json"]) == 1
    error = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert error["code"] == "E_OUT_NOT_WRITABLE" and error["fix"]


def test_fit_refuses_by_code_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coins = tmp_path / "coins.png"
    Image.fromarray(data.coins()).save(coins)
    assert main(["fit", str(coins), "--out", str(tmp_path / "fit"), "--json"]) == 1
    error = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert error["code"] == "E_NO_FACE" and "coins.png" in error["message"] and error["fix"]
    assert main(["fit", str(coins), "--out", str(tmp_path / "fit"), "--pack", str(tmp_path)]) == 1
    assert "E_PACK_MISSING" in capsys.readouterr().err
    assert not (tmp_path / "fit").exists()
    (tmp_path / "head").mkdir()
    for name in ("head.json", "fit.json"):
        (tmp_path / "head" / name).write_text("a head's")
    assert main(["fit", str(coins), "--out", str(tmp_path / "head")]) == 1
    assert "E_OUT_NOT_WRITABLE" in capsys.readouterr().err
    assert (tmp_path / "head" / "fit.json").read_text() == "a head's"


def test_a_photo_left_out_is_told_though_the_fit_of_the_others_fails(
    portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise refuse_residual("astronaut.png", 0.005)

    monkeypatch.setattr(fit_only, "fit_subject", refuse)
    missing = str(tmp_path / "missing.png")
    assert main(["fit", missing, str(portrait), "--out", str(tmp_path / "fit"), "--json"]) == 1
    told = [json.loads(line)["code"] for line in capsys.readouterr().out.splitlines()]
    assert told == ["W_PHOTO_SKIPPED", "E_FIT_RESIDUAL"]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    usage = capsys.readouterr().out
    assert all(f"  {name} " in usage for name in ("generate", "fit", "worker", "sheet", "evaluate", "bench", "train"))
    assert main(["dance"]) == 2
    assert STARTER_PACK.is_dir()
