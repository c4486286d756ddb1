# SPDX-License-Identifier: GPL-3.0-or-later
"""The set-up: real installs of packages made here, from a folder and from an index on disk; stops and faults."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import child_process
import environments
import install
import packages
import preflight
from child_process import Cancelled, Watch, run
from environments import Environment
from idto3d_blender.jobs import setup_backend
from idto3d_blender.jobs.backend_process import child_environment
from idto3d_blender.jobs.job import Job, Launch
from preflight import InstallError
from tests.install_kit import Seen, environment_of, make_index, make_wheel, served, use_index

BACKEND = environments.BACKEND


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels: tinyhead needs tinyneck, which nothing names; torchlet counts as large."""
    wheels = tmp_path_factory.mktemp("Ünï räder")
    make_wheel(wheels, "tinyhead", needs=("tinyneck",))
    make_wheel(wheels, "tinyneck")
    make_wheel(wheels, "torchlet")
    return wheels


def server_script(folder: Path, environment: Environment, target: Path, wheels: Path | None, before: str) -> list[str]:
    """A command that does what install.py does, for another environment. before: code that runs first."""
    file = folder / "serve.py"
    file.write_text(
        "import os, sys\n"
        f"sys.path.insert(0, {str(BACKEND)!r})\n"
        "import install, environments\n"
        "from pathlib import Path\n"
        f"files = (Path({str(environment.requirements[0])!r}),)\n"
        f"env = environments.Environment('tiny', files, {environment.check!r}, environments.Size(1000000, 2000000))\n"
        f"{before}\n"
        f"wheels = {str(wheels) if wheels else None!r}\n"
        f"code = install.Server().serve(env, Path({str(target)!r}), Path(wheels) if wheels else None, True)\n"
        "sys.stdout.flush(); os._exit(code)\n",
        encoding="utf-8",
    )
    return [sys.executable, str(file)]


def setup_job(user: Path, environment: Environment, target: Path, wheels: Path | None, before: str = "") -> Job:
    command = tuple(server_script(user, environment, target, wheels, before))
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
    use_index(monkeypatch, url)
    yield url


# --- a whole set-up


def test_set_up_from_a_folder(installed: tuple[Path, list[dict[str, Any]], Job]) -> None:
    target, events, job = installed
    assert job.state == "done", job.snapshot
    assert job.snapshot.bundle is None and job.snapshot.fraction == 1.0 and job.snapshot.garbage == 0
    assert [event["type"] for event in events] == ["hello", *["progress"] * (len(events) - 2), "done"]
    stages = list(dict.fromkeys(event["stage"] for event in events if event["type"] == "progress"))
    assert stages == [stage for stage, _ in setup_backend.SETUP_STAGES]
    code = "import tinyhead, tinyneck; print(tinyhead.VERSION)"
    done = subprocess.run([packages.interpreter(target), "-c", code], capture_output=True, text=True)
    assert done.stdout == "1.0\n", done.stderr
    assert {path.name for path in target.parent.iterdir()} == {"venv"}, "nothing is left beside it"
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
def test_each_package_comes_over_the_network_once(tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an index that does not tell what packages need, so that pip has to look into them; whatever users have told
    their own pip."""
    with served(tmp_path / "index", shelf) as (host, asked):
        use_index(monkeypatch, f"http://{host}")
        for name, value in (("TRUSTED_HOST", host), ("USER", "1"), ("REQUIRE_HASHES", "1")):
            monkeypatch.setenv(f"PIP_{name}", value)
        install.make(environment_of(tmp_path), tmp_path / "venv", sys.executable, Seen().watch)
    wheels = [path for path in asked if path.endswith(".whl")]
    assert len(wheels) == len(set(wheels)) == 3 and (tmp_path / "venv" / "complete").exists()
    assert not (tmp_path / "venv.download").exists()


@pytest.mark.usefixtures("quick_venv")
@pytest.mark.parametrize(("offered", "left"), [(True, False), (True, True), (False, False)])
def test_torch_for_the_processor_where_it_is_offered(
    offered: bool, left: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual index has torch for CUDA only; another has one for the processor, or does not answer. left: it did not
    answer an earlier set-up, which was stopped."""
    for_cuda = make_wheel(tmp_path / "usual", "torch", needs=("nvidia_cublas",))
    if left:
        (tmp_path / "venv.download").mkdir()
        shutil.copy(for_cuda, tmp_path / "venv.download")
    make_wheel(tmp_path / "usual", "nvidia_cublas")
    make_wheel(tmp_path / "usual", "torchlet", needs=("torch==1.0",))
    make_wheel(tmp_path / "other", "torch", "1.0+cpu")
    use_index(monkeypatch, make_index(tmp_path / "index", tmp_path / "usual"))
    other = make_index(tmp_path / "cpu", tmp_path / "other") if offered else "http://127.0.0.1:9/cpu"
    environment = replace(environment_of(tmp_path, "torch==1.0\ntorchlet==1.0\n", "import torch"), torch_index=other)
    monkeypatch.setattr(preflight, "free_bytes", lambda target: 10**12)  # CUDA's packages count as large as they are
    seen = Seen()
    install.make(environment, tmp_path / "venv", sys.executable, seen.watch)
    installed = {path.name for path in tmp_path.glob("venv/[Ll]ib/**/*.dist-info")}
    assert ("torch-1.0+cpu.dist-info" in installed) == offered
    assert ("nvidia_cublas-1.0.dist-info" in installed) != offered
    assert seen.warned == ([] if offered else ["W_TORCH_CUDA"])


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


@pytest.mark.usefixtures("quick_venv")
def test_check_leaves_bytecode(tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    install.make(environment_of(tmp_path), tmp_path / "venv", sys.executable, Seen().watch, shelf)
    assert list(tmp_path.glob("venv/[Ll]ib/**/__pycache__/tinyhead.*.pyc"))


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


def test_what_cannot_be_deleted_delays_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen: a pip that was still writing, or a slow disk, left half an installation in the place of the whole one."""
    target, old = tmp_path / "venv", tmp_path / "venv.old"
    target.mkdir()
    old.mkdir()
    (old / "complete").write_text("old")
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    install.put_back(target, old)
    assert (target / "complete").read_text() == "old" and not old.exists()
    assert len(list(tmp_path.glob("removed-*"))) == 1


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


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_signal_while_the_event_is_locked(tmp_path: Path, shelf: Path) -> None:
    """A handler runs between any two steps of the main thread, also of those that look at the event."""
    before = (
        "import signal, child_process\n"
        "def make(environment, target, python, watch, *rest):\n"
        "    with watch.cancelled._cond: signal.raise_signal(signal.SIGTERM)\n"
        "    watch.cancelled.wait()\n"
        "    raise child_process.Cancelled\n"
        "install.make = make"
    )
    command = server_script(tmp_path, environment_of(tmp_path), tmp_path / "venv", shelf, before)
    done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 130 and json.loads(done.stdout.splitlines()[-1])["type"] == "cancelled"


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


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("ZeroDivisionError('nobody saw it coming')", "E_INSTALL", "unforeseen (ZeroDivisionError)"),
        ("MemoryError()", "E_INSTALL", "unforeseen (MemoryError)"),
        ("PermissionError(13, 'Permission denied', '/x')", "E_INSTALL", "Permission denied"),
        ("OSError(28, 'No space left on device', '/x')", "E_DISK_SPACE", "No space left"),
    ],
)
def test_anything_unexpected_is_an_error_with_a_remedy(
    fault: str, code: str, words: str, tmp_path: Path, shelf: Path
) -> None:
    before = f"def make(*arguments): raise {fault}\ninstall.make = make"
    snapshot = setup_job(tmp_path, environment_of(tmp_path), tmp_path / "venv", shelf, before).wait(0.02)
    assert snapshot.state == "failed" and snapshot.error is not None and snapshot.garbage == 0
    assert snapshot.error.code == code and words in snapshot.error.message and snapshot.error.fix
    assert "\n" not in snapshot.error.message and "Traceback" not in snapshot.error.message
    log = snapshot.log.read_text(encoding="utf-8")
    assert "Traceback" in log and "in make" in log


def test_log_that_cannot_be_written_stops_nobody() -> None:
    """On a full disk: a child that talks more than a pipe holds would wait for its reader for ever."""

    def log(line: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    code = "for i in range(20000): print('many words')\nprint('[Errno 28] No space left'); raise SystemExit(1)"
    seen = Seen()
    watch = Watch(seen.report, log, seen.watch.warn)
    giving_up = threading.Timer(60, watch.cancelled.set)
    giving_up.start()
    with pytest.raises(InstallError, match="E_DISK_SPACE"):
        run([sys.executable, "-S", "-c", code], watch, "E_INSTALL", "It failed.")
    giving_up.cancel()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_error_arrives_where_the_log_has_no_room(tmp_path: Path, shelf: Path) -> None:
    before = "def make(*arguments): raise OSError(28, 'No space left on device')\ninstall.make = make"
    command = server_script(tmp_path, environment_of(tmp_path), tmp_path / "venv", shelf, before)
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 1
    assert json.loads(done.stdout.splitlines()[-1])["code"] == "E_DISK_SPACE"


@pytest.mark.usefixtures("quick_venv", "index")
def test_full_disk_keeps_what_is_whole_and_frees_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk becomes full in the second download; with space again the set-up goes on from the first."""
    real = child_process.run
    target, download = tmp_path / "venv", tmp_path / "venv.download"

    def pip(command: list[str], *rest: Any) -> None:
        if "download" in command and any("torchlet" in part for part in command):
            (download / packages.ARRIVED).mkdir()
            (download / packages.ARRIVED / "half.whl").write_bytes(b"half")
            command = [sys.executable, "-c", "raise OSError(28, 'No space left on device')"]
        real(command, *rest)

    monkeypatch.setattr(packages, "run", pip)
    with pytest.raises(InstallError, match="E_DISK_SPACE"):
        install.make(environment_of(tmp_path), target, sys.executable, Seen().watch)
    assert not target.exists() and {path.name.split("-")[0] for path in download.iterdir()} == {"tinyhead", "tinyneck"}
    monkeypatch.setattr(packages, "run", real)
    seen = Seen()
    install.make(environment_of(tmp_path), target, sys.executable, seen.watch)
    assert sum(line.startswith("Saved") for line in seen.lines) == 1 and (target / "complete").exists()


def test_plan_of_a_damaged_extension(tmp_path: Path) -> None:
    """A requirements file is gone: no traceback, and no word about Python."""
    shutil.copytree(BACKEND, tmp_path / "backend", ignore=lambda folder, names: [n for n in names if n[-3:] != ".py"])
    command = [sys.executable, str(tmp_path / "backend" / "install.py"), "--plan", "--target", str(tmp_path / "venv")]
    done = subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["problem"]["code"] == "E_INSTALL"


@pytest.mark.usefixtures("quick_venv")
def test_folder_that_lacks_a_dependency(tmp_path: Path, shelf: Path) -> None:
    wheels = tmp_path / "wheels"
    shutil.copytree(shelf, wheels)
    (wheels / "tinyneck-1.0-py3-none-any.whl").unlink()
    with pytest.raises(InstallError, match="lacks tinyneck") as caught:
        install.make(environment_of(tmp_path), tmp_path / "venv", sys.executable, Seen().watch, wheels)
    assert caught.value.code == "E_WHEELS_MISSING" and not (tmp_path / "venv").exists()


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


@pytest.mark.usefixtures("quick_venv")
def test_old_set_up_that_runs_is_said_to(tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*paths: object) -> None:
        raise PermissionError(13, "Access is denied")

    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "complete").write_text("old")
    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(InstallError, match="still running"):
        install.make(environment_of(tmp_path), tmp_path / "venv", sys.executable, Seen().watch, shelf)
    assert (tmp_path / "venv" / "complete").read_text() == "old"
