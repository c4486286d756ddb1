# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist sees and uses, in real Blenders without a window, see conftest.py."""

from __future__ import annotations

from pathlib import Path

from tests.blender.bpy_process import run_check


def test_panels_and_their_reasons(bpy_python: str, tmp_path: Path) -> None:
    run_check(bpy_python, "check_polls", tmp_path)


def test_job_from_click_to_head(bpy_python: str, tmp_path: Path) -> None:
    line = run_check(bpy_python, "check_driver", tmp_path)
    print(f"longest of {line['ticks']} ticks: {line['longest_tick_ms']} ms")


def test_viewports(bpy_python: str, tmp_path: Path) -> None:
    run_check(bpy_python, "check_viewports", tmp_path)


def test_tools_for_a_head(bpy_python: str, tmp_path: Path) -> None:
    run_check(bpy_python, "check_tools", tmp_path)
