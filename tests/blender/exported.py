# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks of exports share: a head in the middle of somebody's work, and files read again."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from idto3d_blender.head import export
from idto3d_blender.head.export import readback
from idto3d_blender.head.export.names import ascii_name
from tests.blender import synthetic_bundle as synthetic

WORK = Path(sys.argv[-1])
NAMES = (*synthetic.EXPRESSIONS, "eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "viseme_aa", "my kéy.L")
FILES = {
    "UNREAL": "Zoe_2_unreal/Zoe_2.fbx",
    "UNITY": "Zoe_2_unity/Zoe_2.fbx",
    "GODOT": "Zoe_2_godot/Zoe_2.gltf",
    "THREE": "Zoe_2_three/Zoe_2.glb",
    "VRM": "Zoe_2_vrm/Zoe_2.glb",
    "USD": "Zoe_2_usd/Zoe_2.usdc",
}
TRUTH = synthetic.head()
# Where a head's origin is, the import decides; the export keeps it.
ORIGIN = np.zeros(3)


def new_head() -> Any:
    """A head in the middle of somebody's work: moved aside, turned, hidden, animated, in a scene of inches."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    folder = WORK / "Zoë 2"
    if not folder.exists():
        synthetic.write(folder, expressions=(*NAMES[:-1], "mine"))
    bpy.context.scene.unit_settings.scale_length = 0.0254
    assert bpy.ops.idto3d.import_head(filepath=str(folder)) == {"FINISHED"}
    head = bpy.context.object
    head.data.shape_keys.key_blocks["mine"].name = NAMES[-1]
    ORIGIN[:] = TRUTH["vertices"][0] - np.array(head.data.vertices[0].co)
    head.location, head.rotation_euler = (3.0, 2.0, 1.0), (0.3, 0.2, 0.9)
    return head


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def read(name: str, file: Path) -> tuple[list[Any], readback.Contents]:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    found = readback.read(file, export.BY_NAME[name])
    return list(bpy.data.objects), found


def as_written(name: str) -> Callable[[str], str]:
    """What a preset's format calls a key."""
    return ascii_name if name == "USD" else str


def blocks() -> dict[str, list[str]]:
    kinds = ("objects", "meshes", "materials", "images", "scenes", "collections", "actions", "shape_keys", "armatures")
    return {kind: sorted(block.name for block in getattr(bpy.data, kind)) for kind in kinds}
