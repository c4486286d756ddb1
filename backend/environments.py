# SPDX-License-Identifier: GPL-3.0-or-later
"""Which environments there are, what is pinned in each, where they lie, and what the system has to bring along.

Standard library only. Environments lie in the user's cache folder under a name that contains a hash of their pins, so
that a second clone finds them and a changed pin makes a new one.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

ROOT = Path(__file__).resolve().parents[1]
PYTHON_VERSION = "3.11"  # the only one for which all three bpy wheels exist

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


def read_pins(path: Path) -> list[str]:
    """The lines of a requirements file that count, those of the files that it names included."""
    pins: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if line.startswith(("-r ", "-c ")):
            pins += read_pins(path.parent / line[3:].strip())
        elif line:
            pins.append(line)
    return pins


def cache_folder() -> Path:
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "idto3d"


@dataclass(frozen=True)
class Environment:
    """A virtual environment with exact pins; `check` is Python that fails where a part of it cannot be loaded."""

    name: str
    requirements: tuple[Path, ...]
    check: str
    size: str

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
        # The interpreter is a link to the one that made it, which may have been removed since.
        return (self.folder() / "complete").exists() and self.python().exists()


def backend_environment() -> Environment:
    # With a GPU a matched CUDA pair of torch and torchvision; otherwise whatever torch pip finds for this machine.
    cuda = sys.platform == "linux" and shutil.which("nvidia-smi") is not None
    size = "about 0.7 GB to download, 2.1 GB on disk"
    if cuda:
        size = "about 3.5 GB to download, 6.5 GB on disk (torch with CUDA)"
    elif sys.platform == "linux":
        size += "; where pip finds only torch's CUDA build, as on PyPI, 3.5 GB and 6.5 GB"
    files = ("requirements-cuda.txt" if cuda else "requirements.txt", "requirements-dev.txt")
    requirements = tuple(ROOT / "backend" / name for name in files)
    return Environment("backend", requirements, "import torch, cv2, insightface", size)


def bpy_environment(version: str) -> Environment:
    requirements = ROOT / "idto3d_blender" / f"requirements-bpy-{version}.txt"
    return Environment(f"bpy-{version}", (requirements,), "import bpy", "0.4 GB to download, 1 GB on disk")


def find_python() -> str | None:
    """The interpreter to make the environments with: this one, or another of the version that the pins are for."""
    if platform.python_version_tuple()[:2] == tuple(PYTHON_VERSION.split(".")):
        return sys.executable
    return shutil.which(f"python{PYTHON_VERSION}")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time; the system lets go of it when that process dies, however it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def missing_system_packages(python: str) -> list[str]:
    """Debian's names of the system packages that are needed and absent. Empty outside Linux."""
    if sys.platform != "linux":
        return []
    missing = [package for library, package in SYSTEM_LIBRARIES.items() if not _loads(library)]
    # Debian splits ensurepip from Python, without which venv fails half-way through.
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('ensurepip') is None)"
    if subprocess.run([python, "-c", look], check=False).returncode:
        missing.append(f"python{PYTHON_VERSION}-venv")
    return missing


def _loads(library: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(ctypes.CDLL(library))
    return False
