# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension from its zip, and a Blender without a window, see conftest.py."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from extension_package import stage_extension
from tests.blender import synthetic_bundle as synthetic
from tests.blender.bpy_process import HERE, blender_ext, run


def test_extension_installs_from_its_zip(bpy_python: str, tmp_path: Path) -> None:
    """And sets its backend up from there, out of a zip with everything but the weights."""
    source, package = tmp_path / "source", tmp_path / "idto3d.zip"
    stage_extension(source)
    shutil.rmtree(source / "backend" / "packs")
    blender_ext(bpy_python, "validate", str(source))
    blender_ext(bpy_python, "build", "--source-dir", str(source), "--output-filepath", str(package))
    blender_ext(bpy_python, "validate", str(package))
    for check in ("check_extension", "check_setup"):
        (home := tmp_path / check).mkdir()
        lines = run(bpy_python, [str(HERE / f"{check}.py"), str(package), str(home / "work")], home)
        assert lines[-1]["result"] == "ok", check


def test_headless_renders_the_tiles(bpy_python: str, tmp_path: Path) -> None:
    bundle = synthetic.write(tmp_path / "head")
    blend, tiles = tmp_path / "out" / "head.blend", tmp_path / "tiles"
    options = ["--blend", str(blend), "--tiles", str(tiles), "--samples", "2", "--size", "64"]
    events = run(bpy_python, ["-m", "idto3d_blender.head.headless", str(bundle), *options], tmp_path)
    assert [event["type"] for event in events] == ["blend", *["tile"] * 9, "done"]
    assert [file.name for file in blend.parent.iterdir()] == ["head.blend"]
    pictures = {file.stem: np.asarray(Image.open(file).convert("RGB")).astype(int) for file in tiles.iterdir()}
    assert {event["name"] for event in events if event["type"] == "tile"} == set(pictures)
    assert {f"expr_{name}" for name in synthetic.EXPRESSIONS} < set(pictures)
    # The albedo view shows the map's bytes, on black.
    assert np.abs(pictures["albedo"][32, 32] - synthetic.ALBEDO).max() <= 2
    assert pictures["albedo"][0, 0].max() == 0
    # Camera-space normals: the person's left points to the picture's right, the crown up.
    normals = pictures["normals"]
    columns = np.flatnonzero(normals[32].any(axis=1))
    rows = np.flatnonzero(normals[:, 32].any(axis=1))
    left, right = normals[32, columns[2]], normals[32, columns[-3]]
    assert left[0] < 80 and right[0] > 175 and abs(int(left[2]) - int(right[2])) < 40
    assert normals[rows[2], 32][1] > 175
    # Three-quarter views are other pictures than the front view, and lit; a key moves the picture.
    assert np.abs(pictures["neutral_left"] - pictures["neutral_right"]).mean() > 3
    assert 60 < pictures["neutral_front"][24:40, 24:40].mean() < 245
    assert np.abs(pictures["expr_mouth_stretch"] - pictures["expr_smile"]).max() > 30


def test_headless_refuses_a_bad_bundle(bpy_python: str, tmp_path: Path) -> None:
    bundle = synthetic.write(tmp_path / "head")
    (bundle / "head.npz").unlink()
    options = ["--blend", str(tmp_path / "head.blend"), "--tiles", str(tmp_path / "tiles")]
    events = run(bpy_python, ["-m", "idto3d_blender.head.headless", str(bundle), *options], tmp_path, code=2)
    assert [(event["type"], event["code"]) for event in events] == [("error", "E_BUNDLE_MISSING")]
    assert not (tmp_path / "head.blend").exists()
