# SPDX-License-Identifier: GPL-3.0-or-later
"""A head over its photos in real Blenders, see conftest.py."""

from pathlib import Path

from tests.blender.bpy_process import run_check


def test_match_and_pins(bpy_python: str, tmp_path: Path) -> None:
    run_check(bpy_python, "check_match", tmp_path)
