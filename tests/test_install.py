# SPDX-License-Identifier: GPL-3.0-or-later
"""The set-up: real installs of packages made here, from a folder and from an index on disk; stops, faults, status."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import child_process
import environments
import install
import preflight
from child_process import Cancelled, Watch, run
from environments import Environment, Size
from idto3d_blender import setup_backend
from idto3d_blender.job import Job, Launch, child_environment
from preflight import InstallError

BACKEND = environments.BACKEND
Usage = namedtuple("Usage", "total used free")


def make_wheel(folder: Path, name: str, version: str = "1.0", needs: tuple[str, ...] = (), tag: str = "any") -> Path:
    """A pure-Python wheel that pip accepts."""
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {each}" for each in needs]
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-{tag}\n",
    }
    record = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(text)}")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{version}-py3-none-{tag}.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return file


def make_index(folder: Path, wheels: Path) -> str:
    """The same wheels as a package index that pip reads from the disk. Returns its URL."""
    for wheel in wheels.glob("*.whl"):
        page = folder / wheel.name.split("-")[0] / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f'<!DOCTYPE html><html><body><a href="{wheel.as_uri()}">{wheel.name}</a></body></html>')
    return folder.as_uri()


def environment_of(folder: Path, pins: str = "tinyhead==1.0\ntorchlet==1.0\n", check: str = "import tinyhead, torchlet"
                   ) -> Environment:  # fmt: skip
    requirements = folder / "requirements.txt"
    requirements.write_text(pins)
    return Environment("tiny", (requirements,), check, Size(1_000_000, 2_000_000))


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels: tinyhead needs tinyneck, which nothing names; torchlet counts as large."""
    wheels = tmp_path_factory.mktemp("Ünï räder")
    make_wheel(wheels, "tinyhead", needs=("tinyneck",))
    make_wheel(wheels, "tinyneck")
    make_wheel(wheels, "torchlet")
    return wheels


def server_script(folder: Path, environment: Environment, target: Path, wheels: Path | None) -> list[str]:
    """A command that does what install.py does, for another environment."""
    file = folder / "serve.py"
    file.write_text(
        "import os, sys\n"
        f"sys.path.insert(0, {str(BACKEND)!r})\n"
        "import install, environments\n"
        "from pathlib import Path\n"
        f"files = (Path({str(environment.requirements[0])!r}),)\n"
        f"env = environments.Environment('tiny', files, {environment.check!r}, environments.Size(1000000, 2000000))\n"
        f"wheels = {str(wheels) if wheels else None!r}\n"
        f"code = install.Server().serve(env, Path({str(target)!r}), Path(wheels) if wheels else None, True)\n"
        "sys.stdout.flush(); os._exit(code)\n",
        encoding="utf-8",
    )
    return [sys.executable, str(file)]


def setup_job(user: Path, environment: Environment, target: Path, wheels: Path | None) -> Job:
    command = tuple(server_script(user, environment, target, wheels))
    launch = Launch(command, child_environment(user, BACKEND), user / "log.txt", stages=setup_backend.SETUP_STAGES)
    job = Job("setup", launch, setup_backend.SETUP_TIMEOUTS)
    job.start()
    return job


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, shelf: Path) -> tuple[Path, list[dict[str, Any]], Job]:
    """One real set-up from the folder of wheels, seen as Blender sees it: its folder, events and job."""
    user = tmp_path_factory.mktemp("user ä")
    job, events = setup_job(user, environment_of(user), user / "backend" / "venv", shelf), list[dict[str, Any]]()
    job.wait(0.02, events.append)
    return user / "backend" / "venv", events, job


@pytest.fixture
def quick_venv(installed: tuple[Path, Any, Job], monkeypatch: pytest.MonkeyPatch) -> None:
    """venv's turn takes seconds: copy the one that was made before, which only the pip inside makes a difference to."""
    real = child_process.run

    def run(command: list[str], *rest: Any) -> None:
        if "venv" not in command:
            real(command, *rest)
            return
        shutil.copytree(installed[0], command[-1], symlinks=True, copy_function=os.link)
        (Path(command[-1]) / "complete").unlink()
        for lost in Path(command[-1]).glob("[Ll]ib/**/site-packages/ti*"):
            shutil.rmtree(lost) if lost.is_dir() else lost.unlink()

    monkeypatch.setattr(install, "run", run)


@pytest.fixture
def index(tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """pip knows this index and no other."""
    url = make_index(tmp_path / "index", shelf)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", url)
    yield url


class Seen:
    """A Watch that remembers, and stops when told to."""

    def __init__(self, stop: Callable[[str], bool] = lambda stage: False) -> None:
        self.stages: list[str] = []
        self.lines: list[str] = []
        self.stop = stop
        self.watch = Watch(self.report, self.lines.append)

    def report(self, stage: str, step: int, steps: int) -> None:
        assert 0 <= step <= max(steps, 0)
        self.stages += [stage] if stage not in self.stages else []
        if self.stop(stage):
            self.watch.cancelled.set()


# --- a whole set-up


def test_set_up_from_a_folder(installed: tuple[Path, list[dict[str, Any]], Job]) -> None:
    target, events, job = installed
    assert job.state == "done", job.snapshot
    assert job.snapshot.bundle is None and job.snapshot.fraction == 1.0 and job.snapshot.garbage == 0
    assert [event["type"] for event in events] == ["hello", *["progress"] * (len(events) - 2), "done"]
    stages = list(dict.fromkeys(event["stage"] for event in events if event["type"] == "progress"))
    assert stages == [stage for stage, _ in setup_backend.SETUP_STAGES]
    code = "import tinyhead, tinyneck; print(tinyhead.VERSION)"
    done = subprocess.run([install.interpreter(target), "-c", code], capture_output=True, text=True)
    assert done.stdout == "1.0\n", done.stderr
    assert {path.name for path in target.parent.iterdir()} == {"venv", "venv.lock"}, "nothing else is left beside it"
    assert not list(target.glob("*.txt")) and not (target / "report.json").exists()
    assert set(json.loads((target / "complete").read_text())["requirements"]) == {"requirements.txt"}


@pytest.mark.usefixtures("quick_venv", "index")
def test_stopped_download_goes_on(tmp_path: Path) -> None:
    target, download = tmp_path / "venv", tmp_path / "venv.download"
    environment = environment_of(tmp_path)
    first = Seen(lambda stage: (download / "tinyhead-1.0-py3-none-any.whl").exists())
    with pytest.raises(Cancelled):
        install.make(environment, target, sys.executable, first.watch)
    assert not target.exists() and not (download / "torchlet-1.0-py3-none-any.whl").exists()
    second = Seen()
    install.make(environment, target, sys.executable, second.watch)
    fetched = [line for line in second.lines if line.startswith("Saved")]
    assert len(fetched) == 1 and "torchlet" in fetched[0]
    assert (target / "complete").exists() and not download.exists()


@pytest.mark.usefixtures("quick_venv")
def test_failed_update_brings_the_old_one_back(tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "install", lambda *arguments: None)
    monkeypatch.setattr(install, "fetch", lambda *arguments: [])
    target = tmp_path / "venv"
    target.mkdir()
    (target / "complete").write_text("old")
    environment = environment_of(tmp_path, check="raise SystemExit('no such library')")
    with pytest.raises(InstallError, match=r"E_CHECK(.|\n)*no such library"):
        install.make(environment, target, sys.executable, Seen().watch, shelf)
    assert [path.name for path in target.iterdir()] == ["complete"] and (target / "complete").read_text() == "old"
    assert not (tmp_path / "venv.old").exists()


def test_killed_set_up_is_cleared_away(tmp_path: Path) -> None:
    target, old = tmp_path / "venv", tmp_path / "venv.old"
    (target / "bin").mkdir(parents=True)
    old.mkdir()
    (old / "complete").write_text("old")
    install.put_back(target, old)
    assert (target / "complete").read_text() == "old" and not (target / "bin").exists() and not old.exists()
    old.mkdir()  # killed after `complete` was written
    install.put_back(target, old)
    assert (target / "complete").exists() and not old.exists()


# --- stops


@pytest.mark.parametrize("how", ["cancel", "release", "SIGTERM"])
def test_stop_leaves_nothing_half_made(how: str, tmp_path: Path, shelf: Path) -> None:
    if how == "SIGTERM" and sys.platform == "win32":
        pytest.skip("POSIX signals")
    target = tmp_path / "backend" / "venv"
    job = setup_job(tmp_path, environment_of(tmp_path), target, shelf)
    end = time.monotonic() + 30
    while job.snapshot.stage != "python environment" or not (target / "pyvenv.cfg").exists():
        job.poll()
        assert time.monotonic() < end and not job.ended, job.snapshot
        time.sleep(0.01)
    if how == "SIGTERM":
        assert job._process is not None and job._process.popen is not None
        os.kill(job._process.popen.pid, signal.SIGTERM)
    else:
        getattr(job, how)()
    assert job.wait(0.02).state == "cancelled" and job.snapshot.resumable
    assert not target.exists()


def test_two_blenders_do_not_set_up_at_once(tmp_path: Path, shelf: Path) -> None:
    target = tmp_path / "backend" / "venv"
    with environments.locked(preflight.beside(target, ".lock")):
        snapshot = setup_job(tmp_path, environment_of(tmp_path), target, shelf).wait(0.02)
    assert snapshot.error is not None and snapshot.error.code == "E_SETUP_RUNNING"


def test_lock_that_cannot_be_made_is_no_other_blender(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError), install.alone(tmp_path / "file" / "venv"):
        pass


# --- faults


@pytest.mark.usefixtures("quick_venv")
def test_folder_that_lacks_a_dependency(tmp_path: Path, shelf: Path) -> None:
    wheels = tmp_path / "wheels"
    shutil.copytree(shelf, wheels)
    (wheels / "tinyneck-1.0-py3-none-any.whl").unlink()
    with pytest.raises(InstallError, match="lacks tinyneck") as caught:
        install.make(environment_of(tmp_path), tmp_path / "venv", sys.executable, Seen().watch, wheels)
    assert caught.value.code == "E_WHEELS_MISSING" and not (tmp_path / "venv").exists()


def test_folder_that_lacks_what_is_asked_for(tmp_path: Path, shelf: Path) -> None:
    preflight.check_wheels(shelf, environment_of(tmp_path, "tinyhead==1.0\nTorchLet==1.0\n"))
    lacking = environment_of(tmp_path, "tinyhead==2.0\ntorchlet==1.0\nno_such==1.0\n")
    with pytest.raises(InstallError, match=r"lacks no_such==1\.0, tinyhead==2\.0\.") as caught:
        preflight.check_wheels(shelf, lacking)
    assert caught.value.code == "E_WHEELS_MISSING" and f"-r {lacking.requirements[0].name} " in caught.value.fix
    with pytest.raises(InstallError, match="is not there"):
        preflight.check_wheels(tmp_path / "nowhere", lacking)
    for name in ("torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl", "open_clip_torch-3.3.0.tar.gz"):
        (tmp_path / name).touch()
    preflight.check_wheels(tmp_path, environment_of(tmp_path, "torch==2.13.0\nopen_clip-torch==3.3.0\n"))


@pytest.mark.usefixtures("quick_venv", "index")
def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(InstallError) as caught:
        install.make(environment_of(tmp_path), tmp_path / "venv", sys.executable, Seen().watch)
    assert caught.value.code == "E_NETWORK" and "offline folder" in caught.value.fix


@pytest.mark.usefixtures("quick_venv", "index")
def test_package_that_does_not_exist_for_this_machine(tmp_path: Path) -> None:
    environment = environment_of(tmp_path, "tinyhead==9.9\n")
    with pytest.raises(InstallError, match=r"tinyhead==9\.9") as caught:
        install.make(environment, tmp_path / "venv", sys.executable, Seen().watch)
    assert caught.value.code == "E_PACKAGE_MISSING"


def test_too_little_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, size = tmp_path / "deep" / "venv", Size(4_000_000_000, 6_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 10_100_000_000))
    with pytest.raises(InstallError, match=r"needs 10\.2 GB on the disk, and 10\.1 GB are free") as caught:
        preflight.check_disk(size, target, None)
    assert caught.value.code == "E_DISK_SPACE"
    preflight.check_disk(size, target, tmp_path)  # with a folder of wheels nothing is downloaded
    (tmp_path / "deep" / "venv.download").mkdir(parents=True)
    with (tmp_path / "deep" / "venv.download" / "half.whl").open("wb") as file:
        file.truncate(1_000_000_000)  # sparse: nor what is there already
    preflight.check_disk(size, target, None)


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "E_DISK_SPACE"),
        ("WARNING: Retrying after connection broken by 'NewConnectionError(...)'", "E_NETWORK"),
        ("pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.", "E_NETWORK"),
        ("HINT: ... does not have Windows Long Path support enabled", "E_PATH_LENGTH"),
        ("anything else", "E_INSTALL"),
    ],
)
def test_what_pip_says_becomes_a_code(output: str, code: str) -> None:
    seen, command = Seen(), [sys.executable, "-S", "-c", f"print({output!r}); raise SystemExit(1)"]
    with pytest.raises(InstallError) as caught:
        run(command, seen.watch, "E_INSTALL", "It failed.")
    assert caught.value.code == code and seen.lines == [output]


def test_pythons(monkeypatch: pytest.MonkeyPatch) -> None:
    def code(*arguments: Any) -> str:
        try:
            preflight.check_python(*arguments)
        except InstallError as error:
            return error.code
        return ""

    assert [code(version, True, True) for version in ((3, 11), (3, 12), (3, 13))] == ["", "", ""]
    assert [code(version, True, True) for version in ((3, 10), (3, 15), (2, 7))] == ["E_PYTHON_VERSION"] * 3
    assert code((3, 11), False, True) == "E_VENV"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert code((3, 14), True, True) == "E_PYTHON_VERSION", "xatlas has to be compiled there"
    assert code((3, 14), True, False) == "", "unless the offline folder has it"
    assert preflight.ask_python(sys.executable) == (sys.version_info[:2], True)
    with pytest.raises(InstallError, match="E_PYTHON_VERSION"):
        preflight.ask_python("/no/such/python")


# --- CPU or GPU


def test_gpu_is_chosen_by_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "NVIDIA RTX A4000, 580.65.06, 16376\nNVIDIA T4, 580.65.06, 15360\n"
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, stdout=said, stderr=""))
    gpu = environments.find_gpu()
    assert gpu is not None and (gpu.name, gpu.driver) == ("NVIDIA RTX A4000", "580.65.06")
    assert gpu.memory == pytest.approx(16, abs=0.1)
    old = environments.Gpu("T4", "535.1", 15.0)
    monkeypatch.setattr(sys, "platform", "linux")
    assert [environments.choose_device(each) for each in (gpu, old, None)] == ["cuda", "cpu", "cpu"]
    assert "driver 535.1, CUDA 13 needs 580" in preflight.device_lines("cpu", old)[0]
    for nonsense in ("", "No devices were found\n", "A, none, 1\n"):
        said = nonsense
        assert environments.find_gpu() is None


# --- as Blender sees it


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A backend folder of our own, as in the zip."""
    folder = tmp_path / "ext" / "backend"
    folder.mkdir(parents=True)
    for file in [*BACKEND.glob("*.txt"), *BACKEND.glob("*.py")]:
        shutil.copy2(file, folder)
    monkeypatch.setattr(setup_backend, "BACKEND", folder)
    return folder


def test_status_from_missing_to_ready_and_back(tmp_path: Path, packaged: Path) -> None:
    user = tmp_path / "user"

    def state() -> str:
        return setup_backend.status(user).state

    assert state() == "missing"
    environment, python = setup_backend.environment_folder(user), setup_backend.environment_python(user)
    download = environment.with_name("venv.download")
    download.mkdir(parents=True)
    assert state() == "incomplete"
    python.parent.mkdir(parents=True)
    python.touch()
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
    python.unlink()
    assert state() == "incomplete"
    setup_backend.remove(user).join()
    assert state() == "missing" and not environment.exists()


def test_plan_says_what_where_and_how_large(tmp_path: Path) -> None:
    setup_backend.refresh()
    plan = setup_backend.plan(tmp_path, device="cpu", wait=True)
    assert plan is not None and plan.device == "cpu"
    assert plan.problem is None or plan.problem.code == "E_DISK_SPACE"
    text = "\n".join(plan.lines)
    assert (
        str(setup_backend.environment_folder(tmp_path)) in text and "GB to download" in text and sys.executable in text
    )
    assert setup_backend.plan(tmp_path, device="cpu") is plan
    assert setup_backend.plan(tmp_path, device="cpu", python="/no/python") is None, "not known yet, and not waited for"
    missing = setup_backend.plan(tmp_path, device="cpu", python="/no/python", wait=True)
    assert missing is not None and missing.problem is not None and missing.problem.code == "E_PYTHON_VERSION"


@pytest.mark.parametrize(("wheels", "code"), [(False, "E_NETWORK"), (True, "E_WHEELS_MISSING")])
def test_refusals_come_before_anything_is_made(tmp_path: Path, wheels: bool, code: str) -> None:
    (tmp_path / "empty").mkdir()
    folder = str(tmp_path / "empty") if wheels else ""
    snapshot = setup_backend.start(tmp_path, device="cpu", wheels=folder, online=False).wait(0.02)
    assert snapshot.error is not None and snapshot.error.code == code and snapshot.error.fix
    if wheels:
        assert "numpy==" in snapshot.error.message and "mypy==" not in snapshot.error.message
    assert not setup_backend.environment_folder(tmp_path).exists()
