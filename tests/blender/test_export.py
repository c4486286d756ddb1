# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads for other programs, written and read by real Blenders, see conftest.py."""

from pathlib import Path

from tests.blender.bpy_process import run_check


def test_every_preset_is_read_back(bpy_python: str, tmp_path: Path) -> None:
    run_check(bpy_python, "check_export", tmp_path)


def test_rig_and_animation_are_read_back(bpy_python: str, tmp_path: Path) -> None:
    run_check(bpy_python, "check_export_rig", tmp_path)
