# SPDX-License-Identifier: GPL-3.0-or-later
"""Which environments there are, what is pinned in each, where they lie, and what the system has to bring along.

Standard library only. build.py's environments lie in the user's cache folder under a name that contains a hash of their
pins, so that a second clone finds them and a changed pin makes a new one; Blender's lies where Blender says. install.py
makes both kinds.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

ROOT = Path(__file__).resolve().parents[1]
BACKEND = Path(__file__).resolve().parent
PYTHON_VERSION = "3.11"  # the only one for which all three bpy wheels exist

# The Pythons that all of the backend's pins have wheels for. Asked of the package index in November 2026, with
# `pip install --dry-run --only-binary=:all:` and each pin: all there for 3.11 to 3.14 on Linux (x86-64, glibc 2.28),
# macOS 14 (arm64) and Windows (x86-64). On Linux, a head was made with 3.14 of Debian's Blender 5.2.
BACKEND_PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
# CUDA 13, which the pinned torch is built for, needs an NVIDIA driver of at least this series.
OLDEST_DRIVER = 580
# ... and a GPU of at least this compute capability: Turing, 2018. That driver still serves three generations before.
OLDEST_GPU = 7.5
FULL = (errno.ENOSPC, errno.EDQUOT)  # what a full disk, or a used up quota, is called
NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows would open a console for each child

# PyTorch's own packages for the processor. On Linux the torch of Python's package index is built for CUDA and brings
# 3 GB of NVIDIA's packages along; for Windows and macOS that index has the processor's build itself.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"

# What bpy and OpenCV load from the system, and the Debian package of each.
SYSTEM_LIBRARIES = {
    "libX11.so.6": "libx11-6",
    "libXrender.so.1": "libxrender1",
    "libXxf86vm.so.1": "libxxf86vm1",
    "libXfixes.so.3": "libxfixes3",
    "libXi.so.6": "libxi6",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libSM.so.6": "libsm6",
    "libgomp.so.1": "libgomp1",
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
}


def requirement_lines(path: Path) -> list[str]:
    """The lines of a requirements file without comments and blanks."""
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line]


def requirement_files(path: Path, options: tuple[str, ...] = ("-r ", "-c ")) -> list[Path]:
    """A requirements file and all that it includes by one of the options: -r asks for packages, -c only binds them."""
    included = [path.parent / line[3:].strip() for line in requirement_lines(path) if line.startswith(options)]
    return [path, *(file for each in included for file in requirement_files(each, options))]


def read_pins(path: Path, options: tuple[str, ...] = ("-r ", "-c ")) -> list[str]:
    """The pins of a requirements file and of those that it includes."""
    return [
        line
        for file in requirement_files(path, options)
        for line in requirement_lines(file)
        if not line.startswith("-")
    ]


def cache_folder() -> Path:
    """Raises RuntimeError where nothing names one, and the user has no home."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "idto3d"


@dataclass(frozen=True)
class Size:
    """Bytes to download and bytes on disk, about."""

    download: int
    disk: int

    def __str__(self) -> str:
        return f"{self.download / 1e9:.1f} GB to download, {self.disk / 1e9:.1f} GB on disk"


# Measured on Linux, x86-64.
CPU_SIZE = Size(500_000_000, 1_800_000_000)
CUDA_SIZE = Size(3_500_000_000, 6_500_000_000)
BPY_SIZE = Size(400_000_000, 1_000_000_000)


@dataclass(frozen=True)
class Environment:
    """A virtual environment with exact pins; `check` is Python that fails where a part of it cannot be loaded, run with
    the backend's folder in its path; torch_index: where torch's packages are looked for besides pip's own index."""

    name: str
    requirements: tuple[Path, ...]
    check: str
    size: Size
    device: str = "cpu"
    torch_index: str = ""

    def files(self) -> list[Path]:
        """The requirements files, with those that they name."""
        return sorted({file for path in self.requirements for file in requirement_files(path)})

    def asked(self) -> list[str]:
        """The pins of the packages that are asked for by name, not through another package."""
        return sorted({pin for path in self.requirements for pin in read_pins(path, ("-r ",))})

    def torch_version(self) -> str:
        """The pinned one, without what a build appends (+cpu)."""
        (version,) = (pin.partition("==")[2] for pin in self.asked() if pin.startswith("torch=="))
        return version

    def pins(self) -> list[str]:
        return sorted({pin for path in self.requirements for pin in read_pins(path)})

    def folder(self) -> Path:
        key = hashlib.sha256("\n".join([PYTHON_VERSION, sys.platform, platform.machine(), *self.pins()]).encode())
        return cache_folder() / "envs" / f"{self.name}-{key.hexdigest()[:12]}"

    def python(self) -> Path:
        return self.folder() / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    def packages(self) -> Path:
        where = "Lib" if sys.platform == "win32" else f"lib/python{PYTHON_VERSION}"
        return self.folder() / where / "site-packages"

    def ready(self) -> bool:
        # The interpreter is a link to the one that made it, on Windows a program that starts it; that may be gone.
        try:
            values = (self.folder() / "pyvenv.cfg").read_text(encoding="utf-8")
        except OSError:
            return False
        home = re.search(r"^home *= *(.+?) *$", values, re.MULTILINE)
        made = home is not None and os.path.isdir(home[1])
        return made and self.python().exists() and (self.folder() / "complete").exists()


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi names it. memory in GB; driver as "580.65.06"; capability: its compute capability, None where
    nvidia-smi does not tell."""

    name: str
    driver: str
    memory: float
    capability: float | None = None

    def driven(self) -> bool:
        """Whether the driver is new enough."""
        return int(self.driver.split(".")[0]) >= OLDEST_DRIVER

    def usable(self) -> bool:
        return self.driven() and (self.capability is None or self.capability >= OLDEST_GPU)


def find_gpu() -> Gpu | None:
    """The first NVIDIA GPU of this machine that is usable, else the first, or None."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    gpus = _ask_gpus(tool, "compute_cap") or _ask_gpus(tool)  # nvidia-smi of before 2021 does not know that word
    return next((gpu for gpu in gpus if gpu.usable()), gpus[0] if gpus else None)


def _ask_gpus(tool: str, *more: str) -> list[Gpu]:
    """What nvidia-smi tells of name, driver, memory and more; nothing where it does not."""
    fields = ("name", "driver_version", "memory.total", *more)
    query = [tool, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    gpus = []
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True, creationflags=NO_WINDOW)
        for line in done.stdout.splitlines():
            name, driver, memory, *rest = (part.strip() for part in line.rsplit(",", len(fields) - 1))
            gpus.append(Gpu(name, driver, float(memory) / 1024, *map(float, rest)))
            gpus[-1].driven()  # a driver without a number is no driver
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
    return gpus


def choose_device(gpu: Gpu | None) -> str:
    """ "cuda" where the pinned CUDA packages exist and the driver can run them, else "cpu"."""
    return "cuda" if sys.platform == "linux" and gpu is not None and gpu.usable() else "cpu"


def user_environment(device: str) -> Environment:
    """What the backend needs on an artist's machine: no linter, no test tools."""
    name = "requirements-cuda.txt" if device == "cuda" else "requirements.txt"
    ours = "idto3d.worker, idto3d.pipeline, idto3d.distill.texture"
    check = f"import {ours}, insightface, cv2, onnxruntime, pi_heif, numba"
    size = CUDA_SIZE if device == "cuda" else CPU_SIZE
    index = CPU_INDEX if sys.platform == "linux" and device == "cpu" else ""
    return Environment("backend", (BACKEND / name,), check, size, device, index)


def backend_environment() -> Environment:
    """The same, with what build.py test needs besides."""
    user = user_environment(choose_device(find_gpu()))
    return replace(user, requirements=(*user.requirements, BACKEND / "requirements-dev.txt"))


def bpy_environment(version: str) -> Environment:
    requirements = ROOT / "idto3d_blender" / f"requirements-bpy-{version}.txt"
    return Environment(f"bpy-{version}", (requirements,), "import bpy", BPY_SIZE)


def for_python(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment variables for a child that is a Python of ours: without those that the user's own Pythons have, whose
    folders and warnings are not for it. Where compiled files go stays. more: such as it needs."""
    kept = ("PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE")
    env = {
        name: value
        for name, value in os.environ.items()
        if name in kept or not name.startswith(("PYTHON", "__PYVENV", "VIRTUAL_ENV"))
    }
    return {**env, "PYTHONUTF8": "1", **(more or {})}


@contextlib.contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Only one process at a time; the system lets go of it when that process dies, however it dies. The file goes at
    the end of the block.

    Raises BlockingIOError at once where another has it and wait is False, another OSError where there can be no lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        while True:
            file = stack.enter_context(path.open("a"))
            _lock(file, wait)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    break
            file.close()  # whoever had it has deleted it, and another may have the one that is there now
        try:
            yield
        finally:
            if sys.platform == "win32":
                file.close()  # Windows deletes no open file, be it ours or that of one who waits
            with contextlib.suppress(OSError):
                path.unlink()


def _lock(file: IO[str], wait: bool) -> None:
    if sys.platform == "win32":
        while True:
            file.seek(0)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
                return
            except OSError as error:  # with LK_LOCK after ten seconds
                if not wait:
                    raise BlockingIOError(errno.EWOULDBLOCK, "locked by another process") from error
    else:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def missing_system_packages(python: str) -> list[str]:
    """Debian's names of the system packages that are needed and absent. Empty outside Linux."""
    if sys.platform != "linux":
        return []
    missing = [package for library, package in SYSTEM_LIBRARIES.items() if not _loads(library)]
    # Debian splits ensurepip from Python, without which venv fails half-way through.
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('ensurepip') is None)"
    if subprocess.run([python, "-I", "-c", look], check=False).returncode:
        missing.append(f"python{PYTHON_VERSION}-venv")
    return missing


def _loads(library: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(ctypes.CDLL(library))
    return False
