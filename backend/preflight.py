# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be known before anything is installed: Python, disk, offline folder, and the plan that the user is shown.

Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from environments import (
    BACKEND_PYTHONS,
    CPU_INDEX,
    CUDA_SIZE,
    NO_WINDOW,
    OLDEST_DRIVER,
    OLDEST_GPU,
    PYTHON_VERSION,
    Environment,
    Gpu,
    Size,
    choose_device,
    find_gpu,
    for_python,
    user_environment,
)
from idto3d_shared.errors import UserError

NAMED = 3  # packages that are said to be missing
SPARE_BYTES = 200_000_000
CACHE = "cache"  # pip's, in the folder of what is downloaded
CHOOSE_PYTHON = "Name a Python 3.11 to 3.14 in the extension's preferences."
LISTEN_SECONDS = 0.25  # between two looks at whether somebody has cancelled
WINDOWS_PATH = 259  # characters, unless a setting allows more
# Characters below an environment's folder: a licence of torch's, 167 in the wheel for Windows, in Lib\\site-packages.
LONGEST_INSIDE = len("\\Lib\\site-packages\\") + 167


class InstallError(UserError):
    """A set-up that cannot be done."""


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


def fetched_bytes(target: Path) -> int:
    """Bytes of packages that have been downloaded for an environment: to pip's cache first, where it has to look into
    them, and out of it later."""
    folder = beside(target, ".download")
    cached = folder_bytes(folder / CACHE)
    return max(cached, folder_bytes(folder) - cached)


def check_machine() -> None:
    """Raises InstallError on computers for which torch and others of the pinned packages are not offered."""
    machine = ""
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        machine = "Macs with Intel processors"
    if sysconfig.get_platform() == "win-arm64":
        machine = "Windows on ARM"
    if machine:
        fix = "Make heads on another computer; they can be imported here."
        raise InstallError("E_PACKAGE_MISSING", f"PyTorch and others are not offered for {machine}.", fix)


def check_device(device: str) -> None:
    """Raises InstallError where a GPU is asked for that cannot be used."""
    if device == "cuda" and sys.platform != "linux":
        fix = "Choose Automatic or Processor as the device in the extension's preferences."
        raise InstallError("E_PACKAGE_MISSING", "The GPU can be used on Linux only.", fix)


def check_python(version: tuple[int, int], has_ensurepip: bool) -> None:
    """Raises InstallError where an interpreter cannot make the backend's environment."""
    name = ".".join(map(str, version))
    if version not in BACKEND_PYTHONS:
        known = f"{'.'.join(map(str, BACKEND_PYTHONS[0]))} to {'.'.join(map(str, BACKEND_PYTHONS[-1]))}"
        raise InstallError("E_PYTHON_VERSION", f"The backend works with Python {known}, this is {name}.", CHOOSE_PYTHON)
    if not has_ensurepip:
        fix = f"On Debian and Ubuntu: apt install python{name}-venv. Or name another Python in the preferences."
        raise InstallError("E_VENV", "This Python cannot make environments: venv or ensurepip is missing.", fix)


def ask_python(python: str) -> tuple[tuple[int, int], bool]:
    """Version of an interpreter, and whether it can make environments. Raises InstallError."""
    code = (
        "import sys, importlib.util as u; "
        "print(*sys.version_info[:2], int(bool(u.find_spec('venv') and u.find_spec('ensurepip'))))"
    )
    try:
        ask = [python, "-I", "-c", code]
        done = subprocess.run(ask, capture_output=True, text=True, timeout=60, check=True, creationflags=NO_WINDOW)
        major, minor, able = map(int, done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise InstallError("E_PYTHON_VERSION", f"{python} does not run: {error}", CHOOSE_PYTHON) from error
    return (major, minor), bool(able)


def find_python() -> str | None:
    """The interpreter to make build.py's environments with: this one, or another of the version that the pins are for.
    The first on the PATH need not be one: pyenv puts a script there for any that it knows, active or not."""
    wanted = tuple(map(int, PYTHON_VERSION.split(".")))
    if sys.version_info[:2] == wanted:
        return sys.executable
    for folder in os.get_exec_path():
        python = shutil.which(f"python{PYTHON_VERSION}", path=folder)
        with contextlib.suppress(InstallError):
            if python is not None and ask_python(python)[0] == wanted:
                return python
    return None


def long_paths() -> bool:
    """Whether paths may be as long as they like: everywhere but on Windows, and there where a setting allows it."""
    if sys.platform != "win32":
        return True
    import winreg

    with contextlib.suppress(OSError):
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0] == 1)
    return False


def check_path_length(target: Path) -> None:
    """Raises InstallError where Windows would refuse the paths of some packages."""
    longest = len(str(target)) + LONGEST_INSIDE
    if longest > WINDOWS_PATH and not long_paths():
        message = f"Windows allows {WINDOWS_PATH} characters in a path, and {target} makes some {longest} long."
        raise InstallError("E_PATH_LENGTH", message, "Enable long paths in Windows, then set up again.")


def needed_bytes(size: Size, target: Path, wheels: Path | None) -> int:
    """Space that a set-up still takes: packages and environment lie side by side for a while."""
    fetched = 0 if wheels else max(0, size.download - fetched_bytes(target))
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
    index = f" --extra-index-url {environment.torch_index}" if environment.torch_index else ""
    where = f"in {environment.requirements[0].parent.name} of the unpacked zip"
    version = ".".join(map(str, sys.version_info[:2]))
    pip = f"py -{version} -m pip" if sys.platform == "win32" else f"python{version} -m pip"
    there = f"Fill the folder on a machine of this kind with Python {version} and a network, {where}:"
    fix = f"{there} {pip} download {files}{index} -d FOLDER"
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    raise InstallError(
        "E_WHEELS_MISSING", f"The offline folder {wheels} lacks {', '.join(missing[:NAMED])}{more}.", fix
    )


def check_online(wheels: Path | None, online: bool) -> None:
    """Raises InstallError where packages could come from nowhere."""
    if wheels is None and not online:
        fix = "Allow online access in Blender's preferences (System), or choose an offline folder with the packages."
        raise InstallError("E_NETWORK", "The packages have to be downloaded, and online access is off.", fix)


def check(environment: Environment, target: Path, python: str, wheels: Path | None, online: bool) -> None:
    """All of the above. Raises InstallError with the first thing that stands in the way."""
    version, able = ask_python(python)
    if environment.name == "backend":
        check_machine()
        check_device(environment.device)
        check_python(version, able)
    check_path_length(target)
    check_online(wheels, online)
    if wheels is not None:
        check_wheels(wheels, environment)
    check_disk(environment.size, target, wheels)


# --- which torch


_FIND_PIP = """
import importlib.util, pathlib, sysconfig
if importlib.util.find_spec("pip"):
    print("-m\\npip")
else:
    import ensurepip
    folder = sysconfig.get_config_var("WHEEL_PKG_DIR") or pathlib.Path(ensurepip.__file__).parent / "_bundled"
    print(next(pathlib.Path(folder).glob("pip-*.whl")) / "pip")
"""
NO_CPU_TORCH = (
    "PyTorch's smaller build for the processor cannot be had from download.pytorch.org; "
    "the build for NVIDIA GPUs is taken instead, which works on the processor too."
)


def offers_cpu_torch(environment: Environment, python: str, cancelled: threading.Event | None = None) -> bool | None:
    """Whether pip would find torch's build for the processor, asked now; None where it cannot be asked, or not any more
    since `cancelled` was set.

    python: an interpreter; where it has no pip of its own, the one that venv would install is run out of its wheel.
    """
    cancelled = cancelled or threading.Event()
    version = environment.torch_version()
    try:
        pip = [python, "-s", *_answer([python, "-I", "-c", _FIND_PIP], 30.0, cancelled).split("\n")[:-1]]
        ask = ["index", "versions", "torch", "--only-binary=:all:", f"--extra-index-url={environment.torch_index}"]
        options = ["--retries=0", "--timeout=8", "--no-input", "--disable-pip-version-check"]
        answer = _answer([*pip, *ask, *options], 45.0, cancelled)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    versions = re.findall(r"[^\s,]+", answer.partition("Available versions:")[2])
    return f"{version}+cpu" in versions if version in {each.partition("+")[0] for each in versions} else None


def _answer(command: Sequence[str], seconds: float, cancelled: threading.Event) -> str:
    """What a child prints. Raises SubprocessError where it fails, takes longer, or is not waited for any more."""
    end = time.monotonic() + seconds
    with subprocess.Popen(
        command,
        env=for_python(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        creationflags=NO_WINDOW,
    ) as process:
        while True:
            try:
                answer, _ = process.communicate(timeout=LISTEN_SECONDS)
                break
            except BaseException as error:
                waiting = isinstance(error, subprocess.TimeoutExpired) and time.monotonic() < end
                if not waiting or cancelled.is_set():
                    process.kill()
                    raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return answer


def as_offered(environment: Environment, python: str) -> tuple[Environment, str]:
    """The environment with the size that it has where torch can only be had with CUDA, and a sentence that says so."""
    offered = offers_cpu_torch(environment, python) if environment.torch_index else True
    if offered:
        return environment, ""
    if offered is None:
        return environment, f"Where PyTorch is only offered with CUDA: {CUDA_SIZE}"
    return replace(environment, size=CUDA_SIZE), NO_CPU_TORCH


# --- the plan


def device_lines(device: str, gpu: Gpu | None) -> list[str]:
    """What the backend will run on, and why."""
    if gpu is None:
        if device == "cuda":
            return ["For an NVIDIA GPU, as chosen in the preferences; none was found, so it will run on the CPU"]
        return ["Runs on the CPU: no NVIDIA GPU was found"]
    if device == "cuda" and gpu.usable():
        return [f"Runs on the GPU: {gpu.name}, {gpu.memory:.0f} GB, driver {gpu.driver}"]
    if sys.platform != "linux":
        return [f"Runs on the CPU: so far {gpu.name} can be used on Linux only"]
    if not gpu.driven():
        return [f"Runs on the CPU: {gpu.name} has driver {gpu.driver}, CUDA 13 needs {OLDEST_DRIVER} or newer"]
    if not gpu.usable():
        able = f"{gpu.name} has compute capability {gpu.capability}"
        return [f"Runs on the CPU: {able}, CUDA 13 needs {OLDEST_GPU} (2018) or newer"]
    return [f"Runs on the CPU, not on {gpu.name}"]


def refusal(environment: Environment, target: Path, python: str, wheels: Path | None, online: bool
            ) -> dict[str, str] | None:  # fmt: skip
    """What stands in the way of a set-up, or None."""
    try:
        check(environment, target, python, wheels, online)
    except InstallError as error:
        return {"code": error.code, "message": error.message, "fix": error.fix}
    return None


def plan(target: Path, python: str, device: str, wheels: Path | None, online: bool) -> dict[str, Any]:
    """What a set-up would do: the fields of setup_backend.Plan."""
    gpu = find_gpu()
    device = choose_device(gpu) if device == "auto" else device
    environment, note = user_environment(device), ""
    problem = refusal(environment, target, python, wheels, online)
    if problem is None and wheels is None:
        environment, note = as_offered(environment, python)
        problem = refusal(environment, target, python, wheels, online)  # its size may be another
    fetched = 0 if wheels else max(0, environment.size.download - fetched_bytes(target))
    indexes = "Python's package index" + (f" and {CPU_INDEX.split('/')[2]}" if environment.torch_index else "")
    download = f"{fetched / 1e9:.1f} GB to download from {indexes}" if fetched else "already downloaded"
    source = f"from the folder {wheels}" if wheels else download
    lines = [
        f"PyTorch and {len(environment.asked()) - 1} other Python packages, {source}",
        f"{environment.size.disk / 1e9:.1f} GB on disk, {free_bytes(target) / 1e9:.1f} GB are free",
        f"Into {target}",
        f"With {python} (Python {sys.version.split()[0]})",
        *device_lines(device, gpu),
        *([note] if note else []),
    ]
    return {"lines": lines, "problem": problem}
