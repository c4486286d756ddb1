# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files an environment's packages come in, how they are downloaded, and how they get into the environment.

Standard library only; the work is done by pip, in processes of its own. What is downloaded lies beside the environment
until that is whole, so that a set-up that was stopped goes on from it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from child_process import Watch, run
from environments import CUDA_SIZE, Environment, Size
from idto3d_shared.renaming import rename
from preflight import (
    CACHE,
    NO_CPU_TORCH,
    InstallError,
    beside,
    check_disk,
    fetched_bytes,
    offers_cpu_torch,
    raise_missing,
)

# Each of these is fetched by itself, so that a stop loses no more than one of them.
LARGE = re.compile(r"^(torch|triton|nvidia|cuda|opencv|bpy|onnx|scipy|llvmlite|numpy|transformers)")
SMALL_BATCH = 8
TEMPORARY, ARRIVED = "tmp", "arrived"  # folders beside the packages that are whole
# What users have set for pip, and what would keep it from an environment of our own.
PLAIN = {"PIP_USER": "0", "PIP_REQUIRE_HASHES": "0"}


def interpreter(target: Path) -> Path:
    return target / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


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
    """What pip would install. With wheels it looks nowhere else. A pip older than 23.3, and any where the index does
    not tell what packages need, downloads them to find out: to the cache, from where `get` takes them."""
    report = target / "report.json"
    asked = [f"--requirement={path}" for path in environment.requirements]
    where = ["--isolated", "--no-index", f"--find-links={wheels}"] if wheels else [f"--find-links={download(target)}"]
    dry = ["install", "--dry-run", "--ignore-installed", f"--report={report}", *where, *asked]
    try:
        ask(target, dry, environment.size, watch, "pip could not find out what is needed.")
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


def download(target: Path) -> Path:
    """The folder of the packages that have been downloaded; what lies in it is whole."""
    return beside(target, ".download")


def fetch(environment: Environment, target: Path, watch: Watch, wheels: Path | None) -> list[Path]:
    """The files of all packages, downloaded (or found in wheels) and compiled where they come as source."""
    folder = download(target)
    folder.mkdir(exist_ok=True)
    for rest in (TEMPORARY, ARRIVED):  # of a run that was killed
        shutil.rmtree(folder / rest, ignore_errors=True)
    watch.report("download", 0, 0)
    size = environment.size
    if environment.torch_index and wheels is None:
        fetch_torch(environment, target, watch)
    packages = resolve(environment, target, watch, wheels)
    if brings_cuda(environment, packages):
        size = CUDA_SIZE
        watch.warn("W_TORCH_CUDA", NO_CPU_TORCH)
        check_disk(size, target, wheels)
    source = wheels or folder
    absent = [package for package in packages if not (source / package.file).exists()]
    for batch in batches(absent):
        get(target, [package.url for package in batch], size, watch)
    files = []
    for package in packages:
        file = source / package.file
        if file.suffix != ".whl":
            file = compile_source(package, file, target, watch, wheels)
        files.append(file)
    shutil.rmtree(folder / CACHE, ignore_errors=True)  # the environment needs the space
    watch.report("download", *2 * (max(1, size.download // 1_000_000),))
    return files


def get(target: Path, asked: Sequence[str], size: Size, watch: Watch, *options: str) -> None:
    """Download some packages, without what they need. size: of the whole download, for the progress."""
    folder, arrived = download(target), download(target) / ARRIVED
    command = ["download", "--no-deps", "--progress-bar=off", f"--dest={arrived}", *options, *asked]
    try:
        ask(target, command, size, watch, "A download failed.")
        for file in arrived.iterdir():
            rename(file, folder / file.name)
    finally:
        shutil.rmtree(arrived, ignore_errors=True)  # half a package would only take the space that may be missing


def ask(target: Path, command: Sequence[str], size: Size, watch: Watch, failed: str) -> None:
    """Let pip do what may download something; all that it leaves lies beside the environment."""
    folder, temporary = download(target), download(target) / TEMPORARY
    total = max(1, size.download // 1_000_000)

    def tick() -> None:
        watch.report("download", min(fetched_bytes(target) // 1_000_000, total), total)

    tick()
    temporary.mkdir(exist_ok=True)
    env = {**PLAIN, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))}
    try:
        run([*pip(target, *command), f"--cache-dir={folder / CACHE}"], watch, "E_INSTALL", failed, env, tick)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def fetch_torch(environment: Environment, target: Path, watch: Watch) -> None:
    """Download torch's build for the processor, where it is offered, before the others: pip prefers it then.

    Not with the index for all packages: an index that does not answer costs pip its patience for each of them.
    """
    offered = offers_cpu_torch(environment, str(interpreter(target)), watch.cancelled)
    if offered is False:
        return
    # A wheel for CUDA, left by a run that was offered no other, is not the one that is offered now.
    build = "+cpu" if offered else "*"
    version = environment.torch_version()
    if not any(download(target).glob(f"torch-{version}{build}-*.whl")):
        index = f"--extra-index-url={environment.torch_index}"
        get(target, [f"torch=={version}"], environment.size, watch, index, "--retries=2")


def compile_source(package: Package, file: Path, target: Path, watch: Watch, wheels: Path | None) -> Path:
    """A wheel from a source package, kept beside it for the next run."""
    built = download(target) / f"{file.name}.built"
    if not any(built.glob("*.whl")):
        where = ["--isolated", "--no-index", f"--find-links={wheels}"] if wheels else []
        command = pip(target, "wheel", "--no-deps", "--no-cache-dir", *where, "--wheel-dir", str(built), str(file))
        message = f"{package.name} comes as source for this Python and could not be compiled."
        run(command, watch, "E_BUILD", message, PLAIN)
    return next(built.glob("*.whl"))


def brings_cuda(environment: Environment, packages: Sequence[Package]) -> bool:
    """Whether an environment for the processor gets torch's build for CUDA, which brings NVIDIA's packages along."""
    return bool(environment.torch_index) and any(package.name.startswith("nvidia") for package in packages)


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
    # Bytecode is left to the check, which looks for it elsewhere where PYTHONPYCACHEPREFIX is set.
    options = ("--isolated", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", f"--requirement={listing}")
    run(pip(target, "install", *options), watch, "E_INSTALL", "The packages could not be installed.", None, tick)
    listing.unlink()
