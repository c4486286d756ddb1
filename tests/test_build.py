# SPDX-License-Identifier: GPL-3.0-or-later
"""build.py and its environments: keys, repair, locks, arguments, progress, children, standard library only."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

import build
import child_process
import environments
import install

ROOT = Path(build.__file__).resolve().parent


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))


def tiny_environment(tmp_path: Path, pins: str = "", check: str = "import json") -> environments.Environment:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(pins)
    return environments.Environment("tiny", (requirements,), check, environments.Size(0, 0))


def imports(path: Path) -> set[str]:
    """The top-level packages that a file imports, relative imports left out."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


# --- pins and keys


def test_pins_follow_other_files_and_leave_comments_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("# words\n-r b.txt\nx==1  # why\n\n")
    (tmp_path / "b.txt").write_text("-c c.txt\ny==2\n")
    (tmp_path / "c.txt").write_text("z==3\n")
    assert environments.read_pins(tmp_path / "a.txt") == ["x==1", "y==2", "z==3"]
    assert environments.read_pins(tmp_path / "a.txt", ("-r ",)) == ["x==1", "y==2"]


def test_key_changes_with_a_pin_and_not_with_comments_or_order(tmp_path: Path) -> None:
    first = tiny_environment(tmp_path, "a==1\nb==2\n").folder()
    assert tiny_environment(tmp_path, "# note\nb==2\na==1\n").folder() == first
    assert tiny_environment(tmp_path, "a==1\nb==3\n").folder() != first


def test_key_changes_with_the_python_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tiny_environment(tmp_path).folder()
    monkeypatch.setattr(environments, "PYTHON_VERSION", "3.13")
    assert tiny_environment(tmp_path).folder() != first


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/requirements*.txt")) + [ROOT / "backend" / "constraints.txt"])
def test_every_requirement_is_pinned_exactly(path: Path) -> None:
    pins = environments.read_pins(path)
    assert pins
    names = [re.fullmatch(r"([A-Za-z0-9._-]+)==[0-9][0-9A-Za-z.]*", pin) for pin in pins]
    assert None not in names, [pin for pin, match in zip(pins, names, strict=True) if match is None]
    assert len({pin.split("==")[0].lower() for pin in pins}) == len(set(pins)), "two versions of one package"


def test_every_imported_package_is_pinned() -> None:
    names = {"cv2": "opencv-python", "PIL": "pillow", "skimage": "scikit-image", "open_clip": "open_clip_torch"}
    optional = {"nvdiffrast"}  # used where the user has installed it, never shipped
    blender = {"bpy", "bpy_extras", "mathutils", "bl_ext", "addon_utils"}
    local = {"idto3d", "idto3d_blender", "tests", "build", "environments"}
    imported: set[str] = set()
    for path in [*(ROOT / "backend").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        local.add(path.stem)
        imported |= imports(path)
    imported -= sys.stdlib_module_names | local | optional | blender
    pinned = {pin.split("==")[0].lower().replace("-", "_") for pin in environments.backend_environment().pins()}
    assert {names.get(name, name).lower().replace("-", "_") for name in imported} <= pinned


def test_installed_packages_are_the_pinned_ones() -> None:
    """The environment that runs this was made from these files, so everything in it has to stand in them."""
    if not (Path(sys.prefix) / "complete").exists():
        pytest.skip("not run by build.py's own environment")
    from importlib.metadata import distributions

    pins = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in environments.backend_environment().pins()}
    # A CUDA torch pins its own nvidia packages, and pip comes with the environment.
    found = {re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower() for each in distributions()}
    assert {name for name in found - pins if not name.startswith(("nvidia-", "cuda-"))} - {"pip", "triton"} == set()


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


def test_lock_makes_the_second_wait_and_dies_with_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    hold = f"from pathlib import Path; import environments, time\nwith environments.locked(Path({str(lock)!r})):\n"
    hold += " print('held', flush=True); time.sleep(60)"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "backend")}
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True, env=env)
    assert holder.stdout and holder.stdout.readline() == "held\n"
    take = f"from pathlib import Path; import environments\nwith environments.locked(Path({str(lock)!r})): pass"
    waiter = subprocess.Popen([sys.executable, "-c", take], env=env)
    with pytest.raises(subprocess.TimeoutExpired):
        waiter.wait(1)
    holder.kill()
    holder.wait()
    assert waiter.wait(60) == 0


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


# --- progress


def test_clock() -> None:
    assert [build.clock(seconds) for seconds in (0, 59.6, 75, 3700)] == ["0:00", "1:00", "1:15", "1:01:40"]


def test_bar() -> None:
    line = build.format_bar("geometry", 105, 250, 83.4, glyphs="#-")
    assert line == "geometry               " + "#" * 10 + "-" * 14 + "  42%  105/250  1:23 left"
    assert "left" not in build.format_bar("x", 1, 2, None)
    assert "#" * 24 in build.format_bar("x", 9, 3, None, glyphs="#-"), "more steps than announced: full, not longer"
    assert "  0%" in build.format_bar("x", 0, 0, None)


def test_plain_output_is_a_line_a_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    progress = build.Progress()
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
    build.run_reporting("t", events, {}, build.Progress())
    out = capsys.readouterr().out
    assert "geometry" in out and "1:01 left" in out and "W_SEVERAL_FACES: Several faces." in out
    log = (environments.cache_folder() / "logs" / "t.log").read_text()
    assert log == "not JSON\n3\n"


def test_error_event_and_crash_are_told_apart() -> None:
    error = {"type": "error", "code": "E_NO_FACE", "message": "No face.", "fix": "Take another photo."}
    with pytest.raises(build.BuildError, match=r"^E_NO_FACE: No face. Take another photo.$"):
        build.run_reporting("t", child(error, status=2), {}, build.Progress())
    with pytest.raises(build.BuildError, match=r"status 3(.|\n)*last words"):
        build.run_reporting("t", child("last words", status=3), {}, build.Progress())


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


def test_generate_hands_its_options_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(build, "ensure", lambda *environments: None)
    monkeypatch.setattr(build, "run_reporting", lambda name, command, *rest: ran.append([*map(str, command)]))
    photo = tmp_path / "a b.png"
    photo.touch()
    build.main(["generate", str(photo), "--out", "o", "--seed", "0", "--expressions", "smile,grin", "--no-blend"])
    assert len(ran) == 1
    assert ran[0][1:] == ["-m", "idto3d", "generate", str(photo), "--out", "o", "--seed", "0",
                          "--expressions", "smile,grin", "--json"]  # fmt: skip
    build.main(["generate", str(photo), "--out", "o"])
    assert [command[2:4] for command in ran[1:]] == [
        ["idto3d", "generate"], ["idto3d_blender.headless", "o"], ["idto3d", "sheet"]]  # fmt: skip


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
    assert build.main([command, "--steps", "5", "extra", "--help"]) == 7
    assert ran[0][1:] == ["-m", "idto3d", command, "--steps", "5", "extra", "--help"]


def test_bad_arguments_exit_with_usage() -> None:
    for arguments in ([], ["nonsense"], ["generate"], ["generate", "a.png"], ["demo", "--seed", "1"]):
        with pytest.raises(SystemExit) as caught:
            build.main(arguments)
        assert caught.value.code == 2


# --- the files themselves


@pytest.mark.parametrize("path", [ROOT / "build.py", *(ROOT / "backend").glob("*.py")])
def test_standard_library_only(path: Path) -> None:
    assert imports(path) <= sys.stdlib_module_names | {path.stem for path in (ROOT / "backend").glob("*.py")}


def test_commands_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"build\.py (\w+)", text))
    helped = subprocess.run([sys.executable, ROOT / "build.py", "--help"], capture_output=True, text=True, check=True)
    assert {"demo", "test", "generate"} <= named
    assert all(re.search(rf"^    {name}\s", helped.stdout, re.MULTILINE) for name in named), named
    options = set(re.findall(r"(?<!\S)\[?(--[a-z-]+)", text))
    usage = build.parser().parse_args(["generate", "p", "--out", "o"])
    assert {option[2:].replace("-", "_") for option in options} <= set(vars(usage))


def test_users_get_no_tools_for_developers() -> None:
    dev = set(environments.read_pins(ROOT / "backend" / "requirements-dev.txt", ("-r ",)))
    for device in ("cpu", "cuda"):
        asked = set(environments.user_environment(device).asked())
        assert asked and not asked & dev
    assert dev < set(environments.backend_environment().asked())


def test_what_is_packaged(tmp_path: Path) -> None:
    """Staged as for the zip, less what the manifest excludes: all that the set-up needs, and nothing of ours."""
    build.stage_extension(tmp_path / "stage")
    manifest = tomllib.loads((tmp_path / "stage" / "blender_manifest.toml").read_text(encoding="utf-8"))
    excluded = manifest["build"]["paths_exclude_pattern"]
    files = {path.relative_to(tmp_path / "stage") for path in (tmp_path / "stage").rglob("*") if path.is_file()}
    names = {path.as_posix() for path in files if not any(fnmatch(path.name, each) for each in excluded)}
    assert {"__init__.py", "LICENSE", "backend/install.py", "backend/idto3d/__main__.py"} <= names
    for path in environments.user_environment("cpu").files() + environments.user_environment("cuda").files():
        assert f"backend/{path.name}" in names
    assert "backend/packs/starter/pack.json" in names
    assert not [name for name in names if "test" in name or "requirements-dev" in name or "requirements-bpy" in name]


def test_manifest() -> None:
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert manifest["blender_version_min"] == "4.2.0"
    assert set(manifest["permissions"]) == {"files", "network", "clipboard"}
    for reason in manifest["permissions"].values():
        assert len(reason) <= 64 and not reason.endswith("."), "Blender's validator refuses it"


def test_contents_of_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("a.py", "backend/b.py", "backend/idto3d/c.py", "backend/idto3d/deep/d.py"):
            archive.writestr(name, "x" * 10)
    lines = build.contents(tmp_path / "a.zip").splitlines()
    assert [line.split()[2:] for line in lines[:-1]] == [["2", "files", "backend/idto3d"], ["1", "files", "backend"],
                                                         ["1", "files", "."]]  # fmt: skip


def test_ci_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert "build.py test" in script.read_text() and os.access(script, os.X_OK)
    assert shutil.which("bash") is None or subprocess.run(["bash", "-n", script]).returncode == 0


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


# --- torchvision without CUDA


def test_torchvision_imports_beside_any_torch() -> None:
    """In its own process: what it declares stays for the life of one."""
    code = (
        "from idto3d.torchvision_shim import prepare_torchvision as prepare\n"
        "import importlib.util, sys\n"
        "declared = prepare()\n"
        "assert prepare() is declared and 'torchvision' not in sys.modules\n"
        "if importlib.util.find_spec('torchvision') is None: assert not declared\n"
        "else:\n"
        " import torchvision, torch\n"
        " import peft\n"
        " boxes = torch.tensor([[0., 0., 1., 1.], [0., 0., 1., 1.]])\n"
        " try: kept = torchvision.ops.nms(boxes, torch.tensor([1., 0.5]), 0.5)\n"
        " except (RuntimeError, NotImplementedError): assert declared\n"
        " else: assert not declared and kept.tolist() == [0]\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "backend")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
