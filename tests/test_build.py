# SPDX-License-Identifier: GPL-3.0-or-later
"""build.py and its environments: keys, repair, arguments, progress, children."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import build
import child_process
import environments
import install
import progress_bar

ROOT = Path(build.__file__).resolve().parent


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))


def tiny_environment(tmp_path: Path, pins: str = "", check: str = "import json") -> environments.Environment:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(pins)
    return environments.Environment("tiny", (requirements,), check, environments.Size(0, 0))


# --- keys


def test_key_changes_with_a_pin_and_not_with_comments_or_order(tmp_path: Path) -> None:
    first = tiny_environment(tmp_path, "a==1\nb==2\n").folder()
    assert tiny_environment(tmp_path, "# note\nb==2\na==1\n").folder() == first
    assert tiny_environment(tmp_path, "a==1\nb==3\n").folder() != first


def test_key_changes_with_the_python_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tiny_environment(tmp_path).folder()
    monkeypatch.setattr(environments, "PYTHON_VERSION", "3.13")
    assert tiny_environment(tmp_path).folder() != first


# --- making environments


@pytest.fixture
def quick_venv(monkeypatch: pytest.MonkeyPatch) -> None:
    """A venv without pip, for which pip's turn is left out; tests/test_install.py does the real thing."""
    real = child_process.run

    def run(command: list[str], *rest: Any) -> None:
        real([*command, "--without-pip"] if "venv" in command else command, *rest)

    monkeypatch.setattr(install, "run", run)
    monkeypatch.setattr(install, "fetch", lambda *arguments: [])
    monkeypatch.setattr(install, "install", lambda *arguments: None)


@pytest.mark.usefixtures("quick_venv")
def test_makes_an_environment_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = tiny_environment(tmp_path)
    build.ensure(tiny)
    said = capsys.readouterr().out
    assert "tiny" in said.split("is ready")[0] and "0.0 GB to download" in said
    assert tiny.ready()
    build.ensure(tiny)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("quick_venv")
def test_half_made_environment_is_started_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = tiny_environment(tmp_path)
    rubbish = tiny.folder() / "bin" / "rubbish"
    rubbish.parent.mkdir(parents=True)
    rubbish.write_text("left by a killed run")
    build.ensure(tiny)
    assert "interrupted" in capsys.readouterr().out
    assert tiny.ready() and not rubbish.exists()


@pytest.mark.usefixtures("quick_venv")
def test_failed_check_leaves_the_environment_unready(tmp_path: Path) -> None:
    tiny = tiny_environment(tmp_path, check="raise SystemExit('no such library')")
    with pytest.raises(build.BuildError, match="no such library"):
        build.ensure(tiny)
    assert not tiny.ready()


def test_environment_without_its_interpreter_is_not_ready(tmp_path: Path) -> None:
    tiny = tiny_environment(tmp_path)
    tiny.folder().mkdir(parents=True)
    (tiny.folder() / "complete").write_text("")
    assert not tiny.ready()


def test_missing_system_library_is_named_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        pytest.skip("Linux only")
    monkeypatch.setattr(environments, "SYSTEM_LIBRARIES", {"libc.so.6": "libc6", "libnosuch.so.9": "libnosuch9"})
    assert environments.missing_system_packages(sys.executable) == ["libnosuch9"]


def test_without_root_and_password_the_command_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "missing_system_packages", lambda python: ["libnosuch9"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    with pytest.raises(build.BuildError, match=r"sudo apt-get -qq install -y --no-install-recommends libnosuch9"):
        build.install_system_packages(sys.executable)


@pytest.mark.parametrize("terminal", [True, False])
def test_no_answer_is_no(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-D, or a stdin that is closed."""
    monkeypatch.setattr(build, "missing_system_packages", lambda python: ["libnosuch9"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(build, "run", lambda command: 0)
    stdin = io.StringIO()
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin if terminal else None)
    with pytest.raises(build.BuildError, match="Type this"):
        build.install_system_packages(sys.executable)


def test_a_cache_folder_without_locks_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(environments, "_lock", unable)
    monkeypatch.setattr(build, "missing_system_packages", lambda python: [])
    with pytest.raises(build.BuildError, match=r"No locks available\. .*XDG_CACHE_HOME"):
        build.ensure(tiny_environment(tmp_path))


# --- progress


def test_clock() -> None:
    assert [progress_bar.clock(seconds) for seconds in (0, 59.6, 75, 3700)] == ["0:00", "1:00", "1:15", "1:01:40"]


def test_bar() -> None:
    line = progress_bar.format_bar("geometry", 105, 250, 83.4, glyphs="#-")
    assert line == "geometry               " + "#" * 10 + "-" * 14 + "  42%  105/250  1:23 left"
    assert "left" not in progress_bar.format_bar("x", 1, 2, None)
    assert "#" * 24 in progress_bar.format_bar("x", 9, 3, None, glyphs="#-"), (
        "more steps than announced: full, not longer"
    )
    assert "  0%" in progress_bar.format_bar("x", 0, 0, None)


def test_plain_output_is_a_line_a_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    progress = progress_bar.Progress()
    progress.live = False
    for step in range(101):
        progress.update("geometry", step, 100)
    progress.update("texture", 0, 100)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12 and lines[-1].startswith("texture") and "\r" not in "".join(lines)


def child(*events: object, status: int = 0) -> list[str]:
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return [sys.executable, "-c", f"import sys\nfor line in {lines!r}: print(line)\nsys.exit({status})"]


def test_events_become_progress_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    progress = {"type": "progress", "stage": "geometry", "step": 1, "steps": 2, "eta_seconds": 61.0}
    warning = {"type": "warning", "code": "W_SEVERAL_FACES", "message": "Several faces."}
    events = child({"type": "hello"}, progress, "not JSON", "3", {"type": "unheard of"}, warning)
    build.run_reporting("t", events, {}, progress_bar.Progress())
    out = capsys.readouterr().out
    assert "geometry" in out and "1:01 left" in out and "W_SEVERAL_FACES: Several faces." in out
    log = (environments.cache_folder() / "logs" / "t.log").read_text()
    assert log == "not JSON\n3\n"


def test_names_that_the_terminal_cannot_show_end_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(build, "main", lambda _: print("Ω \udcfc") or 0)
    assert build.command_line([]) == 0
    shown.seek(0)
    assert shown.read().rstrip() == "\\u03a9 \\udcfc"


def test_without_a_home_the_cache_folder_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    monkeypatch.setattr(build, "main", lambda _: 0)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert environments.cache_folder() == Path("/var/cache/idto3d") and build.command_line([]) == 0
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert build.command_line([]) == 1 and "XDG_CACHE_HOME" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "package"])
def test_a_checkout_that_cannot_be_written_is_told_first(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").write_text("no folder")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "ensure", lambda *_: pytest.fail("the work has begun"))
    with pytest.raises(build.BuildError, match="Nothing can be written"):
        build.main([command])


def test_error_event_and_crash_are_told_apart() -> None:
    error = {"type": "error", "code": "E_NO_FACE", "message": "No face.", "fix": "Take another photo."}
    with pytest.raises(build.BuildError, match=r"^E_NO_FACE: No face. Take another photo.$"):
        build.run_reporting("t", child(error, status=2), {}, progress_bar.Progress())
    with pytest.raises(build.BuildError, match=r"status 3(.|\n)*last words"):
        build.run_reporting("t", child("last words", status=3), {}, progress_bar.Progress())


# --- interrupting


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_reaches_the_child_once_and_waits_for_its_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "child.py").write_text(
        "import signal, time, pathlib\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "here = pathlib.Path(__file__).parent\n(here / 'started').touch()\n"
        "try: time.sleep(60)\nexcept KeyboardInterrupt:\n time.sleep(0.5); (here / 'checkpoint').touch()\n"
    )
    (tmp_path / "parent.py").write_text(
        f"import signal, sys\nsys.path.insert(0, {str(ROOT)!r})\nimport build\n"
        # a shell that starts the tests in the background has them ignore SIGINT, and children inherit that
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGTERM, build._interrupt)\n"
        f"build.run([sys.executable, {str(tmp_path / 'child.py')!r}])\n"
    )
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    parent.send_signal(number)
    assert parent.wait(60) != 0
    assert (tmp_path / "checkpoint").exists()


# --- command line


def test_full_disk_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(build, "main", full)
    assert build.command_line(["demo"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("\nE_DISK_FULL: ") and "run the same command again" in said and "Traceback" not in said
    monkeypatch.setattr(Path, "open", full)
    build.append(tmp_path / "log", "a line that the log has no room for")


@pytest.mark.skipif(sys.platform == "win32", reason="the cache folder goes by another variable there")
def test_cache_folder_that_cannot_be_used_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    monkeypatch.setattr(build, "main", lambda arguments: build.ensure(tiny_environment(tmp_path)))
    assert build.command_line(["demo"]) == 1
    said = capsys.readouterr()
    assert f"The cache folder {file / 'idto3d'} cannot be used" in said.err and said.out == ""
    with pytest.raises(build.BuildError, match="cannot be used"):
        build.new_log("x")


def test_generate_hands_its_options_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(build, "ensure", lambda *environments: None)
    monkeypatch.setattr(build, "run_reporting", lambda name, command, *rest: ran.append([*map(str, command)]))
    photo = tmp_path / "a b.png"
    photo.touch()
    monkeypatch.chdir(tmp_path)
    out = str(tmp_path / "o")
    build.main(["generate", photo.name, "--out", "o", "--seed", "0", "--expressions", "smile,grin", "--no-blend"])
    assert len(ran) == 1
    assert ran[0][1:] == ["-m", "idto3d", "generate", str(photo), "--out", out, "--seed", "0",
                          "--expressions", "smile,grin", "--json"]  # fmt: skip
    build.main(["generate", str(photo), "--out", "o"])
    assert [command[2:4] for command in ran[1:]] == [
        ["idto3d", "generate"], ["idto3d_blender.head.headless", out], ["idto3d", "sheet"]]  # fmt: skip


def test_missing_photo_is_said_before_anything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "ensure", lambda *environments: pytest.fail("installs first"))
    with pytest.raises(build.BuildError, match=r"nowhere\.jpg"):
        build.main(["generate", "nowhere.jpg", "--out", "o"])


@pytest.mark.parametrize("command", list(build.FORWARDED))
def test_forwarded_arguments_arrive_unread(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(build, "ensure", lambda *environments: None)

    def run(command: list[str | Path], env: dict[str, str]) -> int:
        ran.append([*map(str, command)])
        return 7

    monkeypatch.setattr(build, "run", run)
    assert build.main([command, "--steps", "5", "extra"]) == 7
    assert ran[0][1:] == ["-m", "idto3d", command, "--steps", "5", "extra"]
    monkeypatch.setattr(environments.Environment, "ready", lambda self: True)
    assert build.main([command, "--help"]) == 7 and ran[1][1:] == ["-m", "idto3d", command, "--help"]


def test_help_installs_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(build, "ensure", lambda *environments: pytest.fail("installs first"))
    monkeypatch.setattr(environments.Environment, "ready", lambda self: False)
    assert build.main(["train", "--help"]) == 0
    assert build.FORWARDED["train"] in capsys.readouterr().out


def test_bad_arguments_exit_with_usage() -> None:
    for arguments in ([], ["nonsense"], ["generate"], ["generate", "a.png"], ["demo", "--seed", "1"]):
        with pytest.raises(SystemExit) as caught:
            build.main(arguments)
        assert caught.value.code == 2


def test_gui_tests_are_told_the_blender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blender = tmp_path / "blender 9"
    blender.write_text("#!/bin/sh\n")
    blender.chmod(0o755)
    ran: list[tuple[list[str], str]] = []

    def run(command: list[Any], env: dict[str, str]) -> int:
        ran.append(([str(part) for part in command], env["IDTO3D_GUI_BLENDER"]))
        return 1

    for name, replacement in (("ensure", lambda *_: None), ("package", lambda: None), ("run", run)):
        monkeypatch.setattr(build, name, replacement)
    monkeypatch.chdir(tmp_path)
    assert build.main(["test", "--gui", "--blender", str(blender)]) == 1
    assert build.main(["test", "--gui", "--blender", str(tmp_path / "nowhere")]) == 1
    assert [told for _, told in ran] == [str(blender), "none"]
    assert all(command[-1] == "tests/gui" for command, _ in ran)


def test_gui_tests_skip_in_a_plain_run(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("IDTO3D_GUI")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gui"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "build.py test --gui" in done.stdout and "passed" not in done.stdout, done.stdout
