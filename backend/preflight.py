# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be known before anything is installed: Python, disk, offline folder, and the plan that the user is shown.

Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from environments import (
    BACKEND_PYTHONS,
    OLDEST_DRIVER,
    SOURCE_ONLY,
    Environment,
    Gpu,
    Size,
    choose_device,
    find_gpu,
    user_environment,
)

SPARE_BYTES = 200_000_000
CHOOSE_PYTHON = "Name another Python in the extension's preferences."


class InstallError(Exception):
    """An expected failure: stable code, what happened, what to do."""

    def __init__(self, code: str, message: str, fix: str = "") -> None:
        super().__init__(f"{code}: {message} {fix}".strip())
        self.code, self.message, self.fix = code, message, fix


def beside(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


def free_bytes(target: Path) -> int:
    """Space on the disk that target will lie on."""
    return shutil.disk_usage(next(path for path in (target, *target.parents) if path.exists())).free


def folder_bytes(folder: Path) -> int:
    """Bytes in a folder; a file that is there twice, once half copied, counts once."""
    sizes: dict[str, int] = {}
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                sizes[name] = max(sizes.get(name, 0), os.stat(os.path.join(root, name)).st_size)
    return sum(sizes.values())


def check_python(version: tuple[int, int], has_ensurepip: bool, build_from_source: bool) -> None:
    """Raises InstallError where an interpreter cannot make the backend's environment."""
    name = ".".join(map(str, version))
    if version not in BACKEND_PYTHONS:
        known = f"{'.'.join(map(str, BACKEND_PYTHONS[0]))} to {'.'.join(map(str, BACKEND_PYTHONS[-1]))}"
        raise InstallError("E_PYTHON_VERSION", f"The backend works with Python {known}, this is {name}.", CHOOSE_PYTHON)
    if not has_ensurepip:
        fix = f"On Debian and Ubuntu: apt install python{name}-venv. Or name another Python in the preferences."
        raise InstallError("E_VENV", "This Python cannot make environments: venv or ensurepip is missing.", fix)
    source = SOURCE_ONLY.get(version, ()) if build_from_source else ()
    if source and not any(shutil.which(compiler) for compiler in ("c++", "g++", "clang++", "cl")):
        message = f"For Python {name}, {' and '.join(source)} has to be compiled, and there is no C++ compiler."
        raise InstallError("E_PYTHON_VERSION", message, "Name a Python 3.11, 3.12 or 3.13 in the preferences.")


def ask_python(python: str) -> tuple[tuple[int, int], bool]:
    """Version of an interpreter, and whether it can make environments. Raises InstallError."""
    code = (
        "import sys, importlib.util as u; "
        "print(*sys.version_info[:2], int(bool(u.find_spec('venv') and u.find_spec('ensurepip'))))"
    )
    try:
        done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
        major, minor, able = map(int, done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise InstallError("E_PYTHON_VERSION", f"{python} does not run: {error}", CHOOSE_PYTHON) from error
    return (major, minor), bool(able)


def needed_bytes(size: Size, target: Path, wheels: Path | None) -> int:
    """Space that a set-up still takes: packages and environment lie side by side for a while."""
    fetched = 0 if wheels else max(0, size.download - folder_bytes(beside(target, ".download")))
    return fetched + size.disk + SPARE_BYTES


def check_disk(size: Size, target: Path, wheels: Path | None) -> None:
    """Raises InstallError where the disk is too small."""
    needed, free = needed_bytes(size, target, wheels), free_bytes(target)
    if needed > free:
        message = f"The set-up needs {needed / 1e9:.1f} GB on the disk, and {free / 1e9:.1f} GB are free ({target})."
        raise InstallError("E_DISK_SPACE", message, "Free some space, then set up again.")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def check_wheels(wheels: Path, environment: Environment) -> None:
    """Raises InstallError naming each package that is asked for and that the folder has no file for."""
    if not wheels.is_dir():
        raise InstallError("E_WHEELS_MISSING", f"The offline folder {wheels} is not there.", "Choose another folder.")
    there = set()
    for file in wheels.iterdir():
        name, _, rest = file.name.partition("-")
        if file.suffix == ".whl":
            there.add((canonical(name), rest.split("-")[0].split("+")[0]))
        elif file.name.endswith((".tar.gz", ".zip")):
            name, _, rest = file.name.removesuffix(".tar.gz").removesuffix(".zip").rpartition("-")
            there.add((canonical(name), rest))
    missing = []
    for pin in environment.asked():
        name, _, version = pin.partition("==")
        if (canonical(name), version) not in there:
            missing.append(pin)
    if missing:
        raise_missing(wheels, missing, environment)


def raise_missing(wheels: Path, missing: Sequence[str], environment: Environment) -> None:
    # requirements-cuda.txt where a GPU was found: filling the folder from the other one would end here again.
    files = " ".join(f"-r {path.name}" for path in environment.requirements)
    fix = f"Fill the folder on a machine with network: python3 -m pip download {files} -d FOLDER."
    raise InstallError("E_WHEELS_MISSING", f"The offline folder {wheels} lacks {', '.join(missing)}.", fix)


def check_online(wheels: Path | None, online: bool) -> None:
    """Raises InstallError where packages could come from nowhere."""
    if wheels is None and not online:
        fix = "Allow online access in Blender's preferences (System), or choose an offline folder with the packages."
        raise InstallError("E_NETWORK", "The packages have to be downloaded, and online access is off.", fix)


def check(environment: Environment, target: Path, python: str, wheels: Path | None, online: bool) -> None:
    """All of the above. Raises InstallError with the first thing that stands in the way."""
    version, able = ask_python(python)
    if environment.name == "backend":
        check_python(version, able, build_from_source=wheels is None)
    check_online(wheels, online)
    if wheels is not None:
        check_wheels(wheels, environment)
    check_disk(environment.size, target, wheels)


def device_lines(device: str, gpu: Gpu | None) -> list[str]:
    """What the backend will run on, and why."""
    if device == "cuda":
        return [f"Runs on the GPU: {gpu.name}, {gpu.memory:.0f} GB, driver {gpu.driver}" if gpu else "Runs on a GPU"]
    if gpu is None:
        return ["Runs on the CPU: no NVIDIA GPU was found"]
    if not gpu.usable():
        return [f"Runs on the CPU: {gpu.name} has driver {gpu.driver}, CUDA 13 needs {OLDEST_DRIVER} or newer"]
    return [f"Runs on the CPU, not on {gpu.name}"]


def plan(target: Path, python: str, device: str, wheels: Path | None, online: bool) -> dict[str, Any]:
    """What a set-up would do: the fields of setup_backend.Plan."""
    gpu = find_gpu()
    device = choose_device(gpu) if device == "auto" else device
    environment = user_environment(device)
    problem = None
    try:
        check(environment, target, python, wheels, online)
    except InstallError as error:
        problem = {"code": error.code, "message": error.message, "fix": error.fix}
    fetched = 0 if wheels else max(0, environment.size.download - folder_bytes(beside(target, ".download")))
    download = f"{fetched / 1e9:.1f} GB to download from Python's package index" if fetched else "already downloaded"
    source = f"from the folder {wheels}" if wheels else download
    lines = [
        f"PyTorch and {len(environment.asked()) - 1} other Python packages, {source}",
        f"{environment.size.disk / 1e9:.1f} GB on disk, {free_bytes(target) / 1e9:.1f} GB are free",
        f"Into {target}",
        f"With {python} (Python {sys.version.split()[0]})",
        *device_lines(device, gpu),
    ]
    if sys.platform == "linux" and device == "cpu" and wheels is None:
        lines.append("Where only PyTorch's CUDA build is offered, as on PyPI: 3.5 GB to download, 6.5 GB on disk")
    return {
        "lines": lines,
        "problem": problem,
        "device": device,
        "device_name": gpu.name if gpu and device == "cuda" else "",
        "download_bytes": fetched,
        "disk_bytes": environment.size.disk,
        "free_bytes": free_bytes(target),
    }
