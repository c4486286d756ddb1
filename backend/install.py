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
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from child_process import Cancelled, Watch, run
from environments import (
    BACKEND,
    CUDA_SIZE,
    Environment,
    Size,
    choose_device,
    find_gpu,
    locked,
    requirement_lines,
    user_environment,
)
from preflight import InstallError, beside, check, check_disk, folder_bytes, plan, raise_missing

PROTOCOL_VERSION = 1
# Each of these is fetched by itself, so that a stop loses no more than one of them.
LARGE = re.compile(r"^(torch|triton|nvidia|cuda|opencv|bpy|onnx|scipy|llvmlite|numpy|transformers)")
SMALL_BATCH = 8


def requirement_digest(path: Path) -> str:
    """Of what counts in a requirements file; idto3d_blender/setup_backend.py reckons the same."""
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
    os.replace(temporary, target / "complete")


def interpreter(target: Path) -> Path:
    return target / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


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
        os.replace(target, old)
    try:
        watch.report("python environment", 0, 1)
        run([python, "-I", "-m", "venv", str(target)], watch, "E_VENV", "Python could not make an environment.")
        watch.report("python environment", 1, 1)
        files = fetch(environment, target, watch, wheels)
        install(files, target, watch)
        watch.report("check", 0, 1)
        command = [str(interpreter(target)), "-s", "-c", environment.check]
        env = {"PYTHONPATH": str(BACKEND)}
        run(command, watch, "E_CHECK", "The packages were installed but cannot be loaded.", env)
        write_complete(target, environment)
    except BaseException:
        put_back(target, old)
        raise
    watch.report("check", 1, 1)
    for rubbish in (old, beside(target, ".download")):
        shutil.rmtree(rubbish, ignore_errors=True)


def put_back(target: Path, old: Path) -> None:
    """Remove what is not whole, and bring back what it was to replace."""
    if target.exists() and not (target / "complete").exists():
        shutil.rmtree(target)
    if old.exists():
        if target.exists():
            shutil.rmtree(old)
        else:
            os.replace(old, target)


# --- packages


@dataclass(frozen=True)
class Package:
    """One that pip has chosen: its name and the address of its file, with the hash where the index gave one."""

    name: str
    url: str

    @property
    def file(self) -> str:
        return unquote(urlsplit(self.url).path).rsplit("/", 1)[-1]


def pip(target: Path, *arguments: str) -> list[str]:
    return [str(interpreter(target)), "-s", "-m", "pip", *arguments, "--no-input", "--disable-pip-version-check"]


def resolve(environment: Environment, target: Path, watch: Watch, wheels: Path | None) -> list[Package]:
    """What pip would install. With wheels it looks nowhere else."""
    report = target / "report.json"
    asked = [f"--requirement={path}" for path in environment.requirements]
    where = ["--isolated", "--no-index", f"--find-links={wheels}"] if wheels else []
    dry = ["install", "--dry-run", "--ignore-installed", f"--report={report}", *where, *asked]
    try:
        run(pip(target, *dry), watch, "E_INSTALL", "pip could not find out what is needed.")
    except InstallError as error:
        lost = re.findall(r"No matching distribution found for (\S+)", str(error))
        if lost and wheels:
            raise_missing(wheels, lost, environment)
        if lost and error.code == "E_INSTALL":
            message = f"There is no {', '.join(lost)} for this computer and Python {platform.python_version()}."
            raise InstallError("E_PACKAGE_MISSING", message, "Name another Python in the preferences.") from error
        raise
    packages = []
    for item in json.loads(report.read_text(encoding="utf-8"))["install"]:
        info = item["download_info"]
        sha = info.get("archive_info", {}).get("hashes", {}).get("sha256")
        url = info["url"].partition("#")[0] + (f"#sha256={sha}" if sha else "")
        packages.append(Package(item["metadata"]["name"], url))
    report.unlink()
    return sorted(packages, key=lambda package: package.name.lower())


def fetch(environment: Environment, target: Path, watch: Watch, wheels: Path | None) -> list[Path]:
    """The files of all packages, downloaded (or found in wheels) and compiled where they come as source."""
    folder = beside(target, ".download")
    folder.mkdir(exist_ok=True)
    temporary = folder / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    watch.report("download", 0, 0)
    packages = resolve(environment, target, watch, wheels)
    size = expected(environment, packages)
    if size != environment.size:
        check_disk(size, target, wheels)
    total = max(1, size.download // 1_000_000)

    def tick() -> None:
        watch.report("download", min(folder_bytes(folder) // 1_000_000, total), total)

    env = {name: str(temporary) for name in ("TMPDIR", "TEMP", "TMP")}
    absent = [package for package in packages if not (folder / package.file).exists()]
    for batch in batches(absent):
        tick()
        # Into a folder of its own first: what lies in the download folder is whole.
        command = pip(target, "download", "--no-deps", "--no-cache-dir", "--progress-bar=off", "--dest", str(temporary))
        run([*command, *(package.url for package in batch)], watch, "E_INSTALL", "A download failed.", env, tick)
        for package in batch:
            os.replace(temporary / package.file, folder / package.file)
    files = []
    for package in packages:
        file = folder / package.file
        if file.suffix != ".whl":
            file = compile_source(package, file, target, watch, wheels)
        files.append(file)
    watch.report("download", total, total)
    return files


def compile_source(package: Package, file: Path, target: Path, watch: Watch, wheels: Path | None) -> Path:
    """A wheel from a source package, kept beside it for the next run."""
    built = file.parent / f"{file.name}.built"
    if not any(built.glob("*.whl")):
        where = ["--isolated", "--no-index", f"--find-links={wheels}"] if wheels else []
        command = pip(target, "wheel", "--no-deps", "--no-cache-dir", *where, "--wheel-dir", str(built), str(file))
        message = f"{package.name} comes as source for this Python and could not be compiled."
        run(command, watch, "E_BUILD", message)
    return next(built.glob("*.whl"))


def expected(environment: Environment, packages: Sequence[Package]) -> Size:
    """Without a GPU an index may still offer nothing but torch's CUDA build, which brings NVIDIA's packages along."""
    brings_cuda = environment.name == "backend" and any(package.name.startswith("nvidia") for package in packages)
    return CUDA_SIZE if brings_cuda else environment.size


def batches(packages: Sequence[Package]) -> list[list[Package]]:
    """Large packages one by one, the others some at a time, since each call of pip takes a second."""
    large = [[package] for package in packages if LARGE.match(package.name)]
    small = [package for package in packages if not LARGE.match(package.name)]
    return [small[i : i + SMALL_BATCH] for i in range(0, len(small), SMALL_BATCH)] + large


def install(files: Sequence[Path], target: Path, watch: Watch) -> None:
    """Unpack the packages into the environment; pip says nothing meanwhile, so count what has arrived."""
    packages = next(iter([*target.glob("lib/python*/site-packages"), *target.glob("Lib/site-packages")]))

    def count() -> int:
        return sum(name.endswith(".dist-info") for name in os.listdir(packages))

    def tick() -> None:
        watch.report("install", min(max(count() - already, 0), len(files)), len(files))

    already = count()
    tick()
    listing = target / "files.txt"
    listing.write_text("".join(f"{file.as_uri()}\n" for file in files), encoding="utf-8")
    # Bytecode is left to the check and to the first run, which look for it elsewhere where PYTHONPYCACHEPREFIX is set.
    options = ("--isolated", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", f"--requirement={listing}")
    run(pip(target, "install", *options), watch, "E_INSTALL", "The packages could not be installed.", None, tick)
    listing.unlink()


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
        self.watch = Watch(self.progress, lambda line: print(line, file=sys.stderr, flush=True))
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

    def heartbeat(self) -> None:
        while True:
            time.sleep(1.0)
            self.emit(type="heartbeat")

    def listen(self) -> None:
        # Only a pipe's end means that Blender is gone; a script may well start this with its stdin closed.
        piped = stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode)
        for line in sys.stdin:
            with contextlib.suppress(ValueError, AttributeError):
                if json.loads(line).get("type") in ("cancel", "shutdown"):
                    self.watch.cancelled.set()
        if piped:
            self.watch.cancelled.set()

    def serve(self, environment: Environment, target: Path, wheels: Path | None, online: bool) -> int:
        """Make the environment with this interpreter and say how it goes. Returns the exit status."""
        signal.signal(signal.SIGTERM, lambda *_: self.watch.cancelled.set())
        self.emit(type="hello", protocol=PROTOCOL_VERSION, python=platform.python_version(), device=environment.device)
        for work in (self.heartbeat, self.listen):
            threading.Thread(target=work, daemon=True).start()
        try:
            with alone(target):
                make(environment, target, sys.executable, self.watch, wheels, online)
        except InstallError as error:
            self.emit(type="error", job=None, code=error.code, message=error.message, fix=error.fix)
            return 1
        except Cancelled:
            self.emit(type="cancelled", job=None, resumable=True)
            return 130
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            code, fix = ("E_DISK_SPACE", "Free some space.") if full else ("E_INSTALL", "Set up again to retry.")
            self.emit(type="error", job=None, code=code, message=f"The set-up stopped: {error}", fix=fix)
            return 1
        self.emit(type="done", job=None, bundle=None)
        return 0


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
        print(json.dumps(plan(target, sys.executable, given.device, given.wheels, not given.offline)))
        return 0
    device = choose_device(find_gpu()) if given.device == "auto" else given.device
    return Server().serve(user_environment(device), target, given.wheels, not given.offline)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # Not sys.exit: the thread that reads stdin may hold its lock for ever.
    os._exit(status)
