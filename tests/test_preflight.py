# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before anything is downloaded, and CPU or GPU."""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import environments
import packages
import preflight
from environments import Size
from preflight import InstallError
from tests.install_kit import environment_of, make_index, make_wheel, use_index

Usage = namedtuple("Usage", "total used free")


def test_folder_that_lacks_what_is_asked_for(tmp_path: Path) -> None:
    shelf = tmp_path / "Ünï räder"
    for name in ("tinyhead", "torchlet"):
        make_wheel(shelf, name)
    preflight.check_wheels(shelf, environment_of(tmp_path, "tinyhead==1.0\nTorchLet==1.0\n"))
    lacking = environment_of(tmp_path, "tinyhead==2.0\ntorchlet==1.0\nno_such==1.0\n")
    with pytest.raises(InstallError, match=r"lacks no_such==1\.0, tinyhead==2\.0\.") as caught:
        preflight.check_wheels(shelf, lacking)
    assert caught.value.code == "E_WHEELS_MISSING" and f"-r {lacking.requirements[0].name} " in caught.value.fix
    with pytest.raises(InstallError, match="--extra-index-url https://cpu -d FOLDER"):
        preflight.check_wheels(shelf, replace(lacking, torch_index="https://cpu"))
    with pytest.raises(InstallError, match="is not there"):
        preflight.check_wheels(tmp_path / "nowhere", lacking)
    for name in ("torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl", "fast_simplification-3.3.0.tar.gz"):
        (tmp_path / name).touch()
    preflight.check_wheels(tmp_path, environment_of(tmp_path, "torch==2.13.0\nfast-simplification==3.3.0\n"))


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


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are scripts with a #! line")
def test_a_python_that_only_looks_like_one_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen: pyenv's script for a version that is not active; then a package of the system's was said to be missing."""
    places = [tmp_path / name for name in ("shims", "older", "real")]
    texts = ("echo not activated >&2; exit 127", "echo 3 10 1", f'exec "{sys.executable}" "$@"')
    for folder, text in zip(places, texts, strict=True):
        folder.mkdir()
        (folder / "python9.9").write_text(f"#!/bin/sh\n{text}\n")
        (folder / "python9.9").chmod(0o755)
    monkeypatch.setattr(preflight, "PYTHON_VERSION", "9.9")
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, [tmp_path / "none", *places])))
    assert preflight.find_python() is None
    (places[2] / "python9.9").write_text("#!/bin/sh\necho 9 9 1\n")
    assert preflight.find_python() == str(places[2] / "python9.9")
    monkeypatch.setattr(preflight, "PYTHON_VERSION", platform.python_version().rpartition(".")[0])
    assert preflight.find_python() == sys.executable


def test_pythons() -> None:
    def code(*arguments: Any) -> str:
        try:
            preflight.check_python(*arguments)
        except InstallError as error:
            return error.code
        return ""

    assert [code(version, True) for version in ((3, 11), (3, 13), (3, 14))] == ["", "", ""]
    assert [code(version, True) for version in ((3, 10), (3, 15), (2, 7))] == ["E_PYTHON_VERSION"] * 3
    assert code((3, 11), False) == "E_VENV"
    assert preflight.ask_python(sys.executable) == (sys.version_info[:2], True)
    with pytest.raises(InstallError, match="E_PYTHON_VERSION"):
        preflight.ask_python("/no/such/python")


def plan_for(target: Path, monkeypatch: pytest.MonkeyPatch, device: str = "cpu", **has: object) -> dict[str, Any]:
    """The plan with some functions of preflight replaced, plenty of disk, and nobody asked for torch."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 90_000_000_000))
    for name, value in {"offers_cpu_torch": True, **has}.items():
        monkeypatch.setattr(preflight, name, lambda *arguments, answer=value: answer)
    return preflight.plan(target, sys.executable, device, None, online=True)


def test_newer_python_is_refused_in_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = plan_for(tmp_path / "venv", monkeypatch, ask_python=((3, 15), True))["problem"]
    assert problem["code"] == "E_PYTHON_VERSION" and "this is 3.15" in problem["message"]
    assert "Python 3.11 to 3.14 in the extension's preferences" in problem["fix"]


def test_long_paths_are_refused_in_the_plan_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_for(tmp_path / ("x" * 200), monkeypatch)["problem"] is None, "only Windows minds"
    roaming = Path("C:/Users/maximilian/AppData/Roaming/Blender Foundation/Blender/5.0/extensions/.user/user_default")
    for target, code in ((roaming / "idto3d/backend/venv", "E_PATH_LENGTH"), (Path("C:/Users/maximilian/venv"), "")):
        problem = plan_for(target, monkeypatch, long_paths=False)["problem"]
        assert (problem["code"] if problem else "") == code
    monkeypatch.setattr(preflight, "long_paths", lambda: False)
    limit = tmp_path / ("x" * 200)
    with pytest.raises(InstallError, match="E_PATH_LENGTH"):
        preflight.check(environment_of(tmp_path), limit / "venv", sys.executable, None, True)
    assert not limit.exists()


def test_longest_path_is_that_of_the_packages() -> None:
    """Where this runs in an environment that build.py has made, it has what users get, and tools with shorter paths."""
    if not (Path(sys.prefix) / "complete").exists():
        pytest.skip("not run by build.py's own environment")
    (packages,) = Path(sys.prefix).glob("[Ll]ib/**/site-packages")
    # Wheels for Windows have no "+cpu" in their names; bytecode may lie elsewhere, and Python does without.
    longest = max(
        len(path.relative_to(packages).as_posix().replace("+cpu", ""))
        for path in packages.rglob("*")
        if "__pycache__" not in path.parts
    )
    assert longest <= preflight.LONGEST_INSIDE - len("\\Lib\\site-packages\\")


@pytest.mark.parametrize(
    ("system", "machine", "build", "refused"),
    [
        ("darwin", "x86_64", "macosx-11.0-x86_64", "Intel"),
        ("darwin", "arm64", "macosx-11.0-arm64", ""),
        ("win32", "ARM64", "win-arm64", "Windows on ARM"),
        ("win32", "AMD64", "win-amd64", ""),
        ("linux", "x86_64", "linux-x86_64", ""),
    ],
)
def test_computers_without_torch(
    system: str, machine: str, build: str, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(sysconfig, "get_platform", lambda: build)
    try:
        preflight.check_machine()
        assert not refused
    except InstallError as error:
        assert refused and refused in error.message and error.code == "E_PACKAGE_MISSING"


# --- which torch


def torch_index(folder: Path, *versions: str) -> str:
    for version in versions:
        make_wheel(folder / "wheels", "torch", version, needs=() if "+" in version else ("nvidia-cublas",))
    return make_index(folder / "index", folder / "wheels")


@pytest.fixture
def only_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip knows an index with torch for CUDA and nothing else."""
    use_index(monkeypatch, torch_index(tmp_path / "all", "1.0", "1.1"))


@pytest.mark.usefixtures("only_index")
def test_whether_torch_for_the_processor_is_offered(tmp_path: Path) -> None:
    asked = environment_of(tmp_path, "torch==1.0\n")
    environment = replace(asked, torch_index=torch_index(tmp_path / "cpu", "1.0+cpu"))
    assert preflight.offers_cpu_torch(environment, sys.executable) is True
    other = replace(asked, torch_index=torch_index(tmp_path / "other", "1.1+cpu"))
    assert preflight.offers_cpu_torch(other, sys.executable) is False
    assert preflight.offers_cpu_torch(replace(other, torch_index="http://127.0.0.1:9"), sys.executable) is False
    # Blender's Python has no pip of its own.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    assert preflight.offers_cpu_torch(environment, str(packages.interpreter(tmp_path / "bare"))) is True


def test_torch_that_cannot_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_index(monkeypatch, "http://127.0.0.1:9/simple")
    environment = replace(environment_of(tmp_path, "torch==1.0\n"), torch_index="http://127.0.0.1:9/cpu")
    assert preflight.offers_cpu_torch(environment, sys.executable) is None
    assert preflight.offers_cpu_torch(environment, "/no/such/python") is None


def test_question_for_torch_hears_a_cancel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_FIND_PIP", "import time; time.sleep(600)")
    cancelled = threading.Event()
    threading.Timer(0.5, cancelled.set).start()
    began = time.monotonic()
    environment = environment_of(tmp_path, "torch==1.0\n")
    assert preflight.offers_cpu_torch(environment, sys.executable, cancelled) is None
    assert time.monotonic() - began < 20  # nobody would wait longer than 30


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the usual index has torch for the processor")
@pytest.mark.parametrize(
    ("offered", "size", "word"),
    [
        (True, environments.CPU_SIZE, "Runs on the CPU"),
        (False, environments.CUDA_SIZE, "NVIDIA GPUs is taken instead"),
        (None, environments.CPU_SIZE, "only offered with CUDA: 3.5 GB to download"),
    ],
)
def test_plan_has_the_size_of_what_is_offered(
    offered: bool | None, size: Size, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(tmp_path / "venv", monkeypatch, offers_cpu_torch=offered, find_gpu=None)
    text = "\n".join(plan["lines"])
    assert f"{size.download / 1e9:.1f} GB to download" in text and f"{size.disk / 1e9:.1f} GB on disk" in text
    assert word in text and plan["problem"] is None
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 5_000_000_000))
    problem = preflight.plan(tmp_path / "venv", sys.executable, "cpu", None, online=True)["problem"]
    assert (problem is not None) == (offered is False), "the disk is measured with the true size"


# --- CPU or GPU


def test_gpu_elsewhere_than_on_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = environments.Gpu("RTX 5090", "581.10", 32.0)
    monkeypatch.setattr(sys, "platform", "win32")
    assert environments.choose_device(gpu) == "cpu" and environments.user_environment("cpu").torch_index == ""
    assert "Linux only" in preflight.device_lines("cpu", gpu)[0]
    with pytest.raises(InstallError, match="E_PACKAGE_MISSING"):
        preflight.check_device("cuda")
    preflight.check_device("cpu")


def test_gpu_is_chosen_by_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "NVIDIA RTX A4000, 580.65.06, 16376\nNVIDIA T4, 580.65.06, 15360\n"
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")

    def ask(query: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if "compute_cap" in query[1]:  # nvidia-smi of driver 470: "... is not a valid field to query."
            raise subprocess.CalledProcessError(2, query)
        return subprocess.CompletedProcess(query, 0, stdout=said, stderr="")

    monkeypatch.setattr(subprocess, "run", ask)
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


def test_gpu_is_chosen_by_what_torch_can_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Driver 580 still serves Pascal, of which CUDA 13 knows nothing: each head would end in "no kernel image"."""
    old, new = "NVIDIA GeForce GTX 1080, 580.65.06, 8192, 6.1\n", "NVIDIA GeForce RTX 2060, 580.65.06, 6144, 7.5\n"
    said = old
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, stdout=said, stderr=""))
    monkeypatch.setattr(sys, "platform", "linux")
    gpu = environments.find_gpu()
    assert gpu is not None and gpu.name == "NVIDIA GeForce GTX 1080" and environments.choose_device(gpu) == "cpu"
    for chosen in ("cpu", "cuda"):  # the latter in the preferences
        why = "Runs on the CPU: NVIDIA GeForce GTX 1080 has compute capability 6.1, CUDA 13 needs 7.5"
        assert why in preflight.device_lines(chosen, gpu)[0]
    said = old + new
    gpu = environments.find_gpu()
    assert gpu is not None and gpu.name == "NVIDIA GeForce RTX 2060" and environments.choose_device(gpu) == "cuda"
    assert preflight.device_lines("cuda", gpu) == ["Runs on the GPU: NVIDIA GeForce RTX 2060, 6 GB, driver 580.65.06"]
    assert "none was found" in preflight.device_lines("cuda", None)[0]
