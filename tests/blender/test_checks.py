# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks that run inside Blender (check_*.py), in real ones without a window, see conftest.py."""

import ctypes.util
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.blender.bpy_process import HERE, run, run_check
from tests.blender.conftest import PYTHONS

CHECKS = (
    "applied", "blend", "capture", "capture_again", "capture_hindered", "capture_moved", "colours", "density", "driver",
    "export", "export_looks", "export_motion", "export_rig", "forms_moved", "full_state", "handed_on", "import",
    "manners", "match", "match_hindered", "meanwhile", "parts", "polls", "rig", "tools", "users_own", "users_scene",
    "viewports", "worked_on", "wrap", "wrap_pictures",
)  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
def test_check(check: str, bpy_python: str, tmp_path: Path) -> None:
    print(run_check(bpy_python, f"check_{check}", tmp_path))


def test_blender_closes_while_a_head_is_made(bpy_python: str, tmp_path: Path) -> None:
    """The program ends by itself, and the next Blender goes on, in the preview's place."""
    work = tmp_path / "work"
    work.mkdir()
    left = run(bpy_python, [str(HERE / "check_quit.py"), "begin", str(work)], tmp_path)[-1]
    end = time.monotonic() + 20
    while _lives(left["worker"]):
        assert time.monotonic() < end, "the backend lives on without Blender"
        time.sleep(0.05)
    assert run(bpy_python, [str(HERE / "check_quit.py"), "again", str(work)], tmp_path)[-1]["result"] == "ok"


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_turntable_in_eevee(tmp_path: Path) -> None:
    """With one Blender only: nearly all of its minute is the compiling of shaders."""
    if not PYTHONS:
        pytest.skip("IDTO3D_BPY_PYTHONS is not set: no Python with bpy to test in")
    if sys.platform == "linux" and not ctypes.util.find_library("EGL"):
        pytest.skip("EEVEE needs libEGL here, and Blender ends without it")
    run_check(PYTHONS[-1], "check_eevee", tmp_path)
