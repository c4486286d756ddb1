# SPDX-License-Identifier: GPL-3.0-or-later
"""Fewer faces, and the user's own mesh, in real Blenders, see conftest.py."""

from pathlib import Path

from tests.blender.bpy_process import run_check


def test_density(bpy_python: str, tmp_path: Path) -> None:
    run_check(bpy_python, "check_density", tmp_path)


def test_wrap(bpy_python: str, tmp_path: Path) -> None:
    run_check(bpy_python, "check_wrap", tmp_path)
