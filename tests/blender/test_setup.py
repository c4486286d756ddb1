# SPDX-License-Identifier: GPL-3.0-or-later
"""The set-up from within real Blenders, out of a zip with everything but the weights."""

import shutil
from pathlib import Path

from extension_package import stage_extension
from tests.blender.bpy_process import HERE, blender_ext, run


def test_set_up_from_the_installed_extension(bpy_python: str, tmp_path: Path) -> None:
    stage, package = tmp_path / "stage", tmp_path / "idto3d.zip"
    stage_extension(stage)
    shutil.rmtree(stage / "backend" / "packs")
    blender_ext(bpy_python, "build", "--source-dir", str(stage), "--output-filepath", str(package))
    arguments = [str(HERE / "check_setup.py"), str(package), str(tmp_path / "work")]
    assert run(bpy_python, arguments, tmp_path)[-1]["result"] == "ok"
