# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's own Python environment, as Blender sees it: is it there, what would be installed, start, remove.

The work is done by backend/install.py in a process of its own, which speaks the protocol: a set-up is a `Job` like any
other. Everything lies in the extension's user folder, never in the extension itself:

    backend/venv            the environment; its file `complete` says what it was made from
    backend/venv.download   packages downloaded so far, while a set-up is unfinished
    jobs, logs, previews, cache

On Windows `backend` lies elsewhere, see `environment_folder`. Where build.py has made an environment with the same
pins, nothing is installed: that one is used, and left alone. bpy is imported only by `user_folder`; all else takes that
folder as an argument.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .backend_process import NO_WINDOW, child_environment
from .job import Job, Launch, Timeouts
from .snapshot import Problem

State = Literal["missing", "incomplete", "outdated", "ready"]

_HERE = Path(__file__).resolve().parents[1]
# In the zip the backend lies inside the extension, in a checkout beside it.
BACKEND = _HERE / "backend" if (_HERE / "backend").is_dir() else _HERE.parent / "backend"

# Shares of the whole work in the order of the stages, about as measured on two CPU cores at standard quality.
GENERATE_STAGES = (
    ("loading programs", 0.01),
    ("reading photos", 0.01),
    ("fitting the head", 0.03),
    ("carving the hair", 0.01),
    ("reading the photos' colours", 0.04),
    ("looking back", 0.02),
    ("reading their detail", 0.12),
    ("loading the priors", 0.02),
    ("geometry", 0.40),
    ("texture", 0.22),
    ("making the keys", 0.01),
    ("saving", 0.11),
)
SETUP_STAGES = (
    ("checking", 0.01),
    ("python environment", 0.04),
    ("download", 0.60),
    ("install", 0.30),
    ("check", 0.05),
)
# pip can be silent for long, but install.py beats; deleting gigabytes takes longer than stopping a head does.
SETUP_TIMEOUTS = Timeouts(start=60.0, silence=60.0, cancel=20.0, terminate=4.0)


@dataclass(frozen=True)
class Status:
    """state; message: one sentence for the panel; device: "cpu", "cuda" or "" where there is no environment."""

    state: State
    message: str
    device: str = ""


@dataclass(frozen=True)
class Plan:
    """What a set-up would do. lines: for the panel, what, where, how large; problem: why it would fail, or None."""

    lines: tuple[str, ...]
    problem: Problem | None


class _Question:
    """One asking of install.py, in a thread of its own. It keeps its answer to itself: one that comes after `refresh`
    or from an earlier asking is nobody's any more."""

    def __init__(self, folder: Path, command: tuple[str, ...]) -> None:
        self.answer: Plan | None = None
        self.thread = threading.Thread(target=self._ask, args=(folder, command), daemon=True)
        self.thread.start()

    def _ask(self, folder: Path, command: tuple[str, ...]) -> None:
        self.answer = _ask_plan(folder, command)


_questions: dict[tuple[str, ...], _Question] = {}


def user_folder(package: str) -> Path:
    """Blender's folder for this extension's files, made if need be. package: ``__package__`` of the extension. Where
    Blender cannot make it, on a full or read-only disk, a temporary one: its "" would be wherever it was started."""
    import bpy

    try:
        path = bpy.utils.extension_path_user(package, path="", create=True)
    except ValueError:
        # Run from a checkout, by a script: only an installed extension has a folder of its own.
        path = bpy.utils.user_resource("DATAFILES", path="idto3d", create=True)
    return Path(path) if path else Path(tempfile.gettempdir()) / "idto3d"


def environment_folder(folder: Path) -> Path:
    """Where the environment lies, whether it is there or not. folder: the user folder, as everywhere here.

    Windows refuses paths beyond 260 characters. torch has files 167 characters deep, and the user folder takes 100 by
    itself: there the environment lies in a short folder of its own, one for each user folder.
    """
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        return Path(local) / "idto3d" / hashlib.sha256(str(folder).encode()).hexdigest()[:8] / "venv"
    return folder / "backend" / "venv"


def compiled_folder(folder: Path) -> Path:
    """Where what the backend compiles is kept. Python appends the whole path of a source to it: on Windows it lies in
    the short folder, too, or most of it would be compiled again at every start."""
    return environment_folder(folder).with_name("c") if sys.platform == "win32" else folder / "cache"


def environment_python(folder: Path) -> Path:
    """The interpreter that runs the backend: that of the own environment, or of one that build.py has made."""
    own = _python(environment_folder(folder))
    return own if own.exists() else _shared_python() or own


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _runs(environment: Path) -> bool:
    """Its Python is there, and the one that made it: the former is a link to the latter, on Windows a small program
    that starts it."""
    try:
        values = (environment / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return False
    home = re.search(r"^home *= *(.+?) *$", values, re.MULTILINE)
    return _python(environment).exists() and home is not None and Path(home[1]).is_dir()


def _shared_python() -> Path | None:
    """That of an environment with all pins of this extension in build.py's folder, see backend/environments.py."""
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for environment in sorted((cache / "idto3d" / "envs").glob("backend-*")):
        made = _made(environment)
        # A checkout asks for tools besides, of which an installed extension knows nothing.
        if made is not None and _up_to_date(made.files, but="requirements-dev.txt") and _runs(environment):
            return _python(environment)
    return None


@dataclass(frozen=True)
class _Made:
    """What an environment was made from: digests of requirements files by name, and for which device."""

    files: Mapping[str, str]
    device: str


def _made(environment: Path) -> _Made | None:
    try:
        made = json.loads((environment / "complete").read_text(encoding="utf-8"))
        return _Made(dict(made["requirements"]), str(made["device"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _up_to_date(files: Mapping[str, str], but: str = "") -> bool:
    return all(_digest(BACKEND / name) == digest for name, digest in files.items() if name != but)


def status(folder: Path) -> Status:
    """Whether the backend can be run. Reads the disk: not for a panel's draw."""
    environment = environment_folder(folder)
    if not environment.exists():
        shared = _shared_python()
        made = _made(shared.parents[1]) if shared is not None else None
        if made is not None:
            return Status("ready", "The backend is ready: build.py has made it.", made.device)
        left = [environment.with_name(environment.name + ending) for ending in (".download", ".old")]
        if any(path.exists() for path in left):
            return Status("incomplete", "The set-up was interrupted. Set up again to go on.")
        return Status("missing", "The backend is not set up yet.")
    made = _made(environment)
    if made is None:
        return Status("incomplete", "The set-up is damaged. Set up again.")
    device = made.device
    if not _runs(environment):
        return Status("incomplete", "The Python that the backend was set up with is gone. Set up again.", device)
    if not _up_to_date(made.files):
        return Status("outdated", "The extension was updated and needs other packages. Update the set-up.", device)
    return Status("ready", f"The backend is ready ({'GPU' if device == 'cuda' else 'CPU'}).", device)


def refresh() -> None:
    """Have the next `plan` look again: call it when a set-up has ended."""
    _questions.clear()


def _digest(path: Path) -> str:
    """Of what counts in a requirements file, as backend/install.py reckons it; empty where there is none."""
    try:
        lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    except OSError:
        return ""
    return hashlib.sha256("\n".join(line for line in lines if line).encode()).hexdigest()


def plan(
    folder: Path, *, python: str = "", device: str = "auto", wheels: str = "", online: bool = True, wait: bool = False
) -> Plan | None:
    """What will be installed, where and how large, and what stands in the way; arguments as of `start`.

    Looked up once, by a process in the background, until `refresh`: None until it has answered. wait: block (scripts).
    """
    command = _command(folder, python, device, wheels, online)
    if command not in _questions:
        _questions[command] = _Question(folder, command)
    question = _questions[command]
    if wait:
        question.thread.join()
    return question.answer


def start(folder: Path, *, python: str = "", device: str = "auto", wheels: str = "", online: bool = True) -> Job:
    """Start making, repairing or updating the environment; poll the job that is returned, then `refresh`.

    python: the interpreter to make it with ("": Blender's own); device: "auto", "cpu" or "cuda"; wheels: a folder with
    all packages, used instead of the network; online: False where Blender's online access is off, which with no wheels
    ends in E_NETWORK. Not while a head is being made.
    """
    name = f"setup-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    launch = Launch(
        command=_command(folder, python, device, wheels, online),
        env=child_environment(compiled_folder(folder), BACKEND),
        log=folder / "logs" / f"{name}.log",
        stages=SETUP_STAGES,
        again="Set up again; it goes on from what is downloaded.",
    )
    job = Job(name, launch, SETUP_TIMEOUTS)
    job.start()
    return job


def remove(folder: Path) -> threading.Thread:
    """Delete the environment and unfinished downloads. It is gone at once; the thread that is returned frees the disk.

    Raises OSError where the environment is in use (on Windows). Heads and records of jobs stay.
    """
    environment = environment_folder(folder)
    rubbish: list[Path] = []
    for ending in ("", ".old", ".download"):
        path = environment.with_name(environment.name + ending)
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            rubbish.append(path.with_name(f"removed-{uuid.uuid4().hex[:8]}"))
            os.replace(path, rubbish[-1])
    # What an earlier removal did not finish.
    rubbish += [path for path in environment.parent.glob("removed-*") if path not in rubbish]
    rubbish += [compiled_folder(folder), folder / "cache"]  # the latter is earlier versions', on Windows
    refresh()

    def delete() -> None:
        for path in rubbish:
            shutil.rmtree(path, ignore_errors=True)

    thread = threading.Thread(target=delete, name="idto3d-remove")
    thread.start()
    return thread


def worker_launch(folder: Path, job_id: str, request: Mapping[str, Any]) -> Launch:
    """How to start the worker for one ``generate`` request. Previews go to previews/<job_id> unless it says where."""
    previews = request.get("previews") or str(folder / "previews" / job_id)
    log = folder / "logs" / f"{job_id}.log"
    return Launch(
        command=(str(environment_python(folder)), "-s", "-m", "idto3d", "worker"),
        env=child_environment(compiled_folder(folder), BACKEND),
        log=log,
        request={**request, "previews": previews, "log": str(log)},
        stages=GENERATE_STAGES,
        keep=True,
    )


def _command(folder: Path, python: str, device: str, wheels: str, online: bool) -> tuple[str, ...]:
    command = [python or sys.executable, "-s", str(BACKEND / "install.py"), "--target", str(environment_folder(folder))]
    command += ["--device", device]
    if wheels:
        command += ["--wheels", wheels]
    if not online:
        command += ["--offline"]
    return tuple(command)


def _ask_plan(folder: Path, command: tuple[str, ...]) -> Plan:
    try:
        done = subprocess.run(
            [*command, "--plan"],
            env=child_environment(compiled_folder(folder), BACKEND),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            creationflags=NO_WINDOW,
        )
        values = json.loads(done.stdout.decode("utf-8", "replace"))
        problem = values["problem"]
        return Plan(tuple(values["lines"]), Problem(**problem) if problem else None)
    except (OSError, ValueError, TypeError, KeyError, subprocess.SubprocessError) as error:
        message = f"{command[0]} could not be asked what is needed: {error}"
        return Plan((), Problem("E_PYTHON_VERSION", message, "Name another Python in the preferences."))
