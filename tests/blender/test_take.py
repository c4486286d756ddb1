# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes onto heads in real Blenders, see conftest.py."""

from pathlib import Path

from tests.blender.bpy_process import run_check


def test_takes_are_baked(bpy_python: str, tmp_path: Path) -> None:
    run_check(bpy_python, "check_capture", tmp_path)
