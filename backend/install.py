# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes an environment: venv, packages, check. Blender's set-up runs it as a process, build.py calls `make`.

``python install.py --target DIR [--wheels DIR] [--device auto|cpu|cuda] [--offline] [--plan]``

Standard library only. Speaks the protocol of idto3d/protocol.py: hello, heartbeat, progress (stages "checking", "python
environment", "download", "install", "check"), then done, cancelled or error; stderr is the log. ``cancel`` or
``shutdown`` on stdin, its closing, and SIGTERM stop it. --plan prints one JSON object that says what would be done.

Whole or not at all: an environment counts from the moment that its file ``complete`` is there, which is written last; a
failure or a stop brings back the one that was there before. Downloaded packages stay in DIR.download until the end, so
that the next run goes on from them.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import stat
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from child_process import Cancelled, Watch, hung_up, run
from environments import (
    BACKEND,
    FULL,
    Environment,
    choose_device,
    find_gpu,
    locked,
    requirement_lines,
    user_environment,
)
from idto3d_shared.renaming import rename
from packages import download, fetch, install, interpreter
from preflight import InstallError, beside, check, plan

PROTOCOL_VERSION = 1


def requirement_digest(path: Path) -> str:
    """Of what counts in a requirements file; idto3d_blender/jobs/setup_backend.py reckons the same."""
    return hashlib.sha256("\n".join(requirement_lines(path)).encode()).hexdigest()


def write_complete(target: Path, environment: Environment) -> None:
    """Declare an environment whole, and say what it was made from."""
    values = {
        "requirements": {path.name: requirement_digest(path) for path in environment.files()},
        "device": environment.device,
        "made_by": platform.python_version(),
    }
    temporary = target / "complete.tmp"
    temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")
    rename(temporary, target / "complete")


def make(
    environment: Environment, target: Path, python: str, watch: Watch, wheels: Path | None = None, online: bool = True
) -> None:
    """Make the environment at target with the interpreter python; wheels: a folder to take all packages from.

    Raises InstallError or Cancelled; then target is what it was before.
    """
    old = beside(target, ".old")
    watch.report("checking", 0, 1)
    put_back(target, old)  # after a run that was killed
    check(environment, target, python, wheels, online)
    watch.report("checking", 1, 1)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        try:
            rename(target, old)
        except PermissionError as error:  # Windows moves no program that runs
            fix = "Close other Blenders, then set up again."
            raise InstallError("E_INSTALL", "A program of the old set-up is still running.", fix) from error
    try:
        watch.report("python environment", 0, 1)
        run([python, "-I", "-m", "venv", str(target)], watch, "E_VENV", "Python could not make an environment.")
        watch.report("python environment", 1, 1)
        files = fetch(environment, target, watch, wheels)
        install(files, target, watch)
        watch.report("check", 0, 1)
        command = [str(interpreter(target)), "-s", "-c", environment.check]
        # The check loads what a head needs, so that its bytecode is there for the first head: seven of its seconds
        # otherwise, and of every later one's where the user's own Python is told to write none.
        env = {"PYTHONPATH": str(BACKEND), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": ""}
        run(command, watch, "E_CHECK", "The packages were installed but cannot be loaded.", env)
        write_complete(target, environment)
    except BaseException:
        with contextlib.suppress(OSError):  # the next set-up begins with the same
            put_back(target, old)
        raise
    watch.report("check", 1, 1)
    for rubbish in (old, download(target), *target.parent.glob("removed-*")):
        shutil.rmtree(rubbish, ignore_errors=True)


def put_back(target: Path, old: Path) -> None:
    """Remove what is not whole, and bring back what it was to replace: at once, for to delete takes longer than who
    stops a set-up waits."""
    rubbish = []
    if target.exists() and not (target / "complete").exists():
        rubbish.append(_aside(target))
    if old.exists():
        if target.exists():
            rubbish.append(_aside(old))
        else:
            rename(old, target)
    for folder in rubbish:
        shutil.rmtree(folder, ignore_errors=True)


def _aside(folder: Path) -> Path:
    """A folder under another name, which `remove` in Blender knows for rubbish, too."""
    name = folder.with_name(f"removed-{uuid.uuid4().hex[:8]}")
    rename(folder, name)
    return name


# --- the process that Blender starts


@contextlib.contextmanager
def alone(target: Path) -> Iterator[None]:
    """Raises InstallError where another Blender is setting up the same environment."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(beside(target, ".lock"), wait=False))
        except BlockingIOError as error:
            fix = "Wait for it to end, or close that Blender."
            raise InstallError("E_SETUP_RUNNING", "Another Blender is setting up the backend.", fix) from error
        yield


class Server:
    """Events to stdout, stop requests from stdin and signals."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.watch = Watch(self.progress, lambda line: print(line, file=sys.stderr, flush=True), self.warn)
        self.said: tuple[str, int, int] | None = None
        self.stage, self.began, self.first = "", 0.0, 0

    def emit(self, **event: Any) -> None:
        with self.lock, contextlib.suppress(OSError, ValueError):
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()

    def progress(self, stage: str, step: int, steps: int) -> None:
        if (stage, step, steps) == self.said:
            return
        now, self.said = time.monotonic(), (stage, step, steps)
        if stage != self.stage:
            self.stage, self.began, self.first = stage, now, step
        gained = step - self.first
        # The first moments say nothing about the rest.
        known = gained > 0 and now - self.began > 2.0
        eta = round((now - self.began) * (steps - step) / gained, 1) if known else None
        self.emit(type="progress", stage=stage, step=step, steps=steps, eta_seconds=eta)

    def warn(self, code: str, message: str) -> None:
        self.emit(type="warning", job=None, code=code, message=message)

    def heartbeat(self) -> None:
        while True:
            time.sleep(1.0)
            self.emit(type="heartbeat")

    def listen(self) -> None:
        # Only a pipe's end means that Blender is gone; a script may well start this with its stdin closed.
        if sys.stdin is None:
            return
        piped = stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode)
        for line in sys.stdin:
            with contextlib.suppress(ValueError, AttributeError, RecursionError):
                if json.loads(line).get("type") in ("cancel", "shutdown"):
                    self.watch.cancelled.set()
        if piped:
            self.watch.cancelled.set()

    def on_signal(self, *_: object) -> None:
        # In a thread of its own: the interrupted main thread may hold the lock inside the event.
        threading.Thread(target=self.watch.cancelled.set, daemon=True).start()

    def serve(self, environment: Environment, target: Path, wheels: Path | None, online: bool) -> int:
        """Make the environment with this interpreter and say how it goes. Returns the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT, *hung_up()):
            signal.signal(number, self.on_signal)
        self.emit(type="hello", protocol=PROTOCOL_VERSION, python=platform.python_version(), device=environment.device)
        for work in (self.heartbeat, self.listen):
            threading.Thread(target=work, daemon=True).start()
        try:
            with alone(target):
                make(environment, target, sys.executable, self.watch, wheels, online)
        except Cancelled:
            self.emit(type="cancelled", job=None, resumable=True)
            return 130
        except Exception as error:
            self.emit(type="error", job=None, **problem(error))
            return 1
        self.emit(type="done", job=None, bundle=None)
        return 0


def problem(error: Exception) -> dict[str, str]:
    """Code, message and fix of anything that went wrong; what nobody foresaw leaves its traceback in the log."""
    if isinstance(error, InstallError):
        return {"code": error.code, "message": error.message, "fix": error.fix}
    with contextlib.suppress(OSError):  # the log may lie on the disk that is full
        traceback.print_exception(error)
    if isinstance(error, OSError):
        message = f"The set-up stopped: {error.strerror or error}."
        if error.errno in FULL:
            fix = "Free some space, then set up again; it goes on from there."
            return {"code": "E_DISK_SPACE", "message": message, "fix": fix}
        fix = "Set up again to retry; the log has the details."
        return {"code": "E_INSTALL", "message": message, "fix": fix}
    message = f"The set-up stopped at something unforeseen ({type(error).__name__})."
    return {"code": "E_INSTALL", "message": message, "fix": "Set up again to retry; the log has the details."}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="install.py", description="Make the backend's Python environment.")
    parser.add_argument("--target", type=Path, required=True, help="folder of the environment")
    parser.add_argument("--wheels", type=Path, help="folder with all packages, used instead of the network")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--offline", action="store_true", help="do not use the network")
    parser.add_argument("--plan", action="store_true", help="say what would be done")
    given = parser.parse_args(arguments)
    target = given.target.absolute()
    if given.plan:
        try:
            found = plan(target, sys.executable, given.device, given.wheels, not given.offline)
        except Exception as error:
            found = {"lines": [], "problem": problem(error)}
        print(json.dumps(found))
        return 0
    device = choose_device(find_gpu()) if given.device == "auto" else given.device
    return Server().serve(user_environment(device), target, given.wheels, not given.offline)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # Not sys.exit: the thread that reads stdin may hold its lock for ever.
    os._exit(status)
