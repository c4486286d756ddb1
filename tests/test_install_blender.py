# SPDX-License-Identifier: GPL-3.0-or-later
"""The set-up as Blender sees it: status, plan, refusals."""

import queue
import shutil
import sys
import threading
from pathlib import Path

import pytest

import environments
import install
import preflight
from idto3d_blender.jobs import setup_backend

BACKEND = environments.BACKEND


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A backend folder of our own, as in the zip."""
    folder = tmp_path / "ext" / "backend"
    folder.mkdir(parents=True)
    for file in [*BACKEND.glob("*.txt"), *BACKEND.glob("*.py")]:
        shutil.copy2(file, folder)
    monkeypatch.setattr(setup_backend, "BACKEND", folder)
    return folder


@pytest.fixture(autouse=True)
def no_shared_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where build.py's environments would be: nowhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "idto3d" / "envs"


def put_python(python: Path) -> Path:
    """An interpreter as venv leaves it, and the folder of the one that made it."""
    home = python.parents[2] / "blender" / "python"
    for folder in (python.parent, home):
        folder.mkdir(parents=True, exist_ok=True)
    python.touch()
    (python.parents[1] / "pyvenv.cfg").write_text(f"home = {home}\nversion = 3.11.13\n")
    return home


@pytest.mark.skipif(sys.platform == "darwin", reason="its cache folder cannot be moved")
def test_environment_of_a_checkout_is_used_and_left_alone(
    tmp_path: Path, packaged: Path, no_shared_environment: Path
) -> None:
    user, shared = tmp_path / "user", no_shared_environment / "backend-0123"
    python = shared / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    put_python(python)
    install.write_complete(shared, environments.backend_environment())
    assert setup_backend.status(user).state == "ready"
    setup_backend.environment_folder(user).with_name("venv.download").mkdir(parents=True)
    assert setup_backend.status(user).state == "ready", "a repair that was cancelled takes nothing away"
    assert setup_backend.worker_launch(user, "1", {}).command[0] == str(python)
    setup_backend.remove(user).join()
    assert python.exists()
    base = packaged / "requirements-base.txt"
    base.write_text(base.read_text().replace("numpy==", "numpy==9"))
    assert setup_backend.status(user).state == "missing"


def test_status_from_missing_to_ready_and_back(tmp_path: Path, packaged: Path) -> None:
    user = tmp_path / "user"

    def state() -> str:
        return setup_backend.status(user).state

    assert state() == "missing"
    environment, python = setup_backend.environment_folder(user), setup_backend.environment_python(user)
    download = environment.with_name("venv.download")
    download.mkdir(parents=True)
    assert state() == "incomplete"
    home = put_python(python)
    assert state() == "incomplete"
    install.write_complete(environment, environments.user_environment("cpu"))
    assert state() == "ready" and setup_backend.status(user).device == "cpu"
    (packaged / "requirements-dev.txt").write_text("other==1\n")
    base = packaged / "requirements-base.txt"
    base.write_text("# a word\n\n" + base.read_text())
    assert state() == "ready", "comments and tools are no reason to install again"
    base.write_text(base.read_text().replace("numpy==", "numpy==9"))
    assert state() == "outdated"
    (environment / "complete").write_text("torch==1\n")
    assert state() == "incomplete"
    install.write_complete(environment, environments.user_environment("cpu"))
    home.rename(home.with_name("moved"))
    assert state() == "incomplete", "on Windows the interpreter is no link, and is there without the one that made it"
    put_python(python)
    assert state() == "outdated"
    python.unlink()
    assert state() == "incomplete"
    setup_backend.remove(user).join()
    assert state() == "missing" and not environment.exists()


def test_plan_says_what_where_and_how_large(tmp_path: Path) -> None:
    setup_backend.refresh()
    plan = setup_backend.plan(tmp_path, device="cpu", wait=True)
    assert plan is not None
    assert plan.problem is None or plan.problem.code == "E_DISK_SPACE"
    text = "\n".join(plan.lines)
    assert (
        str(setup_backend.environment_folder(tmp_path)) in text and "GB to download" in text and sys.executable in text
    )
    assert setup_backend.plan(tmp_path, device="cpu") is plan
    missing = setup_backend.plan(tmp_path, device="cpu", python="/no/python", wait=True)
    assert missing is not None and missing.problem is not None and missing.problem.code == "E_PYTHON_VERSION"


def test_late_answer_to_an_earlier_question_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked before `refresh` may be answered after what was asked since."""
    asked: queue.Queue[int] = queue.Queue()
    go_on = [threading.Event(), threading.Event()]

    def answer(folder: Path, command: tuple[str, ...]) -> setup_backend.Plan:
        number = asked.qsize()
        asked.put(number)
        go_on[number].wait(30)
        return setup_backend.Plan((f"answer {number}",), None)

    monkeypatch.setattr(setup_backend, "_ask_plan", answer)
    setup_backend.refresh()
    assert setup_backend.plan(tmp_path) is None, "not known yet, and not waited for"
    old = next(iter(setup_backend._questions.values()))
    setup_backend.refresh()
    assert setup_backend.plan(tmp_path) is None
    go_on[0].set()
    old.thread.join()
    assert setup_backend.plan(tmp_path) is None, "the answer of before is no answer"
    go_on[1].set()
    plan = setup_backend.plan(tmp_path, wait=True)
    assert plan is not None and plan.lines == ("answer 1",)
    setup_backend.refresh()


def test_environment_of_windows_lies_in_a_short_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "C:/Users/maximilian/AppData/Local")
    roaming = "C:/Users/maximilian/AppData/Roaming/Blender Foundation/Blender/{}/extensions/.user/user_default/idto3d"
    folders = {setup_backend.environment_folder(Path(roaming.format(version))) for version in ("4.2", "5.0")}
    assert len(folders) == 2, "each Blender has its own Python"
    for folder in folders:
        assert len(str(folder)) + preflight.LONGEST_INSIDE <= preflight.WINDOWS_PATH


@pytest.mark.parametrize(("wheels", "code"), [(False, "E_NETWORK"), (True, "E_WHEELS_MISSING")])
def test_refusals_come_before_anything_is_made(tmp_path: Path, wheels: bool, code: str) -> None:
    (tmp_path / "empty").mkdir()
    folder = str(tmp_path / "empty") if wheels else ""
    snapshot = setup_backend.start(tmp_path, device="cpu", wheels=folder, online=False).wait(0.02)
    assert snapshot.error is not None and snapshot.error.code == code and snapshot.error.fix
    if wheels:
        said = snapshot.error.message
        assert "accelerate==" in said and " more." in said and "mypy==" not in said and "backend" in snapshot.error.fix
    assert not setup_backend.environment_folder(tmp_path).exists()
