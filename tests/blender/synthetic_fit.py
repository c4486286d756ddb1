# SPDX-License-Identifier: GPL-3.0-or-later
"""A fit.json with two photos, for bundles of `synthetic_bundle`."""

import hashlib
import json
from pathlib import Path

import numpy as np

from idto3d_blender.head.bundle import FitCamera
from tests.blender import synthetic_bundle as synthetic

SIZES = ((300, 400), (640, 480))


def camera(yaw: float, size: tuple[int, int]) -> FitCamera:
    """A pinhole one metre before the face, turned by yaw, whose axis is not in the picture's middle."""
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]])
    rotation = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ turn
    return FitCamera(900.0, np.array(size) * 0.4, rotation, np.array([0.01, -0.02, 1.0]))


def write_fit(folder: Path, work: Path, pack: Path) -> list[Path]:
    """fit.json of the bundle in a folder, made by a pack, and its photos, which go into another folder."""
    files, rows = [], []
    for number, size in enumerate(SIZES):
        file = work / f"photo {number}.png"
        synthetic.write_png(file, np.full((size[1], size[0], 3), 90 + number, dtype=np.uint8))
        files.append(file)
        pinhole = camera(0.3 * number, size)
        rows.append(
            {
                "name": file.name,
                "path": str(file),
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "size": list(size),
                "camera": {
                    "focal_length_px": pinhole.focal,
                    "principal_point_px": pinhole.principal.tolist(),
                    "rotation": pinhole.rotation.tolist(),
                    "translation_m": pinhole.translation.tolist(),
                },
                "expression": {},
                "light": np.zeros((9, 3)).tolist(),
                "residual_mm": 1.0,
                "landmarks": np.tile([[150.0, 160.0]], (478, 1)).tolist(),
            }
        )
    text = {"format_version": 1, "pack": str(pack), "identity": [0.0], "resting": {}, "photos": rows}
    (folder / "fit.json").write_text(json.dumps(text), encoding="utf-8")
    return files
