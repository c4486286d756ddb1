# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk becomes full while a .blend is saved or a picture is rendered: Blender says so in words, or not at all."""

from pathlib import Path

import pytest

from tests.blender import synthetic_bundle as synthetic
from tests.blender.bpy_process import run

SAVING = """
def save(file): raise RuntimeError("Error: No space left on device\\n")
headless.save_blend = save
"""
# What was seen on disks that really were full: Blender saves or renders, says nothing, and leaves half a file.
CUTTING = """
from types import SimpleNamespace as Names
def save(filepath, **options): open(filepath, "wb").write(b"half a file")
real = headless.bpy
wm = Names(save_as_mainfile=save, read_factory_settings=real.ops.wm.read_factory_settings)
headless.bpy = Names(ops=Names(wm=wm), context=real.context)
"""
RENDERING = """
def render(sitting, wanted, folder, done):
    file = folder / "front.png"
    folder.mkdir()
    file.write_bytes(b"\\x89PNG\\r\\n")
    done(wanted[0], file, 0.0)
headless.tiles.render_tiles = render
"""


@pytest.mark.parametrize("fault", [SAVING, CUTTING, RENDERING], ids=["refused", "cut off", "picture"])
def test_full_disk(fault: str, bpy_python: str, tmp_path: Path) -> None:
    folder, blend = synthetic.write(tmp_path / "head"), tmp_path / "head.blend"
    blend.write_text("the one before")
    arguments = [str(folder), "--blend", str(blend), "--tiles", str(tmp_path / "tiles")]
    code = f"import os, sys\nfrom idto3d_blender.head import headless\n{fault}\nos._exit(headless.main(sys.argv[1:]))"
    error = run(bpy_python, ["-c", code, *arguments], tmp_path, code=2)[-1]
    assert error["type"] == "error" and error["code"] == "E_DISK_FULL" and error["fix"]
    assert fault == RENDERING or blend.read_text() == "the one before"
