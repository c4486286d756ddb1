# SPDX-License-Identifier: GPL-3.0-or-later
"""One file, written, read again, and held against what was to be in it."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..stepwise import Steps
from . import names, readback, stage
from . import write as writers
from .errors import ExportError
from .presets import Textures


def write(context: Any, obj: Any, wanted: stage.Wanted, textures: Textures, folder: Path) -> Steps[Path]:
    """Steps to the main file in ``folder``. Raises ExportError, RuntimeError and OSError."""
    file = writers.main_file(folder, wanted.name, wanted.preset, textures)
    unit = wanted.preset.unit if wanted.preset.format == "FBX" else 1.0
    called = {wanted.name, f"{wanted.name}_rig", *stage.material_names(obj, wanted.name)}
    with tempfile.TemporaryDirectory(prefix="idto3d-") as scratch, names.lent(called):
        beside = wanted.preset.format == "FBX" and textures == "BESIDE"
        pictures = folder / writers.TEXTURES if beside else Path(scratch)
        with stage.scene_of_our_own(context, unit) as scene:
            staged = stage.stage(scene, obj, wanted, pictures)
            yield 0.2
            promised = readback.contents(filter(None, (staged.head, staged.armature)), staged.unit)
            promised = replace(promised, moving=staged.moving)  # what stands still some formats do not animate
            yield 0.3
            writers.write(file, wanted.preset, textures, stage.notes_of(obj), bool(promised.moving))
            yield 0.8
        if not file.is_file():
            raise ExportError("E_EXPORT", f"Blender did not write {file.name}.")
        with stage.scene_of_our_own(context):
            readback.check(promised, readback.read(file, wanted.preset), wanted.preset)
    return file
