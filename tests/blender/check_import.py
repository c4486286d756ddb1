# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: import a synthetic bundle, look at what Blender evaluates, save, reopen, look again.

``python check_import.py WORK`` with the repository in PYTHONPATH; WORK is an empty folder. Prints one JSON line; any
failed assertion ends it.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from tests.blender import synthetic_bundle as synthetic

WORK = Path(sys.argv[-1])
TRUTH = synthetic.ellipsoid()


def read_floats(items: Any, name: str, width: int) -> np.ndarray:
    flat = np.empty(width * len(items), dtype=np.float32)
    items.foreach_get(name, flat)
    return flat.reshape(-1, width)


def evaluated(obj: Any) -> np.ndarray:
    """Vertices (V,3) after the shape keys, as the dependency graph gives them."""
    bpy.context.view_layer.update()
    graph = bpy.context.evaluated_depsgraph_get()
    mesh = obj.evaluated_get(graph).to_mesh()
    return read_floats(mesh.vertices, "co", 3)


def check_geometry(obj: Any) -> None:
    mesh = obj.data
    blocks = mesh.shape_keys.key_blocks
    assert [key.name for key in blocks] == ["Basis", *synthetic.EXPRESSIONS]
    for key in blocks[1:]:
        assert key.value == 0.0, f"{key.name} starts at {key.value}"
        assert (key.slider_min, key.slider_max, key.mute) == (0.0, 1.0, False)
    assert np.array_equal(evaluated(obj), TRUTH["vertices"]), "all keys 0 is not the neutral head"
    for name, offset in zip(synthetic.EXPRESSIONS, TRUTH["offsets"], strict=True):
        for weight in (1.0, 0.5):
            blocks[name].value = weight
            moved = np.abs(evaluated(obj) - (TRUTH["vertices"] + weight * offset)).max()
            assert moved < 1e-6, f"{name} at {weight} is {moved} m off"
        blocks[name].value = 0.0
    assert np.array_equal(evaluated(obj), TRUTH["vertices"])
    faces = np.empty(3 * len(mesh.polygons), dtype=np.int32)
    mesh.loops.foreach_get("vertex_index", faces)
    assert np.array_equal(faces.reshape(-1, 3), TRUTH["faces"])
    uv = read_floats(mesh.uv_layers.active.uv, "vector", 2)
    assert np.allclose(uv, TRUTH["uv"][TRUTH["faces_uv"]].reshape(-1, 2), atol=1e-6)
    assert all(polygon.use_smooth for polygon in mesh.polygons)
    normals, centres = read_floats(mesh.polygons, "normal", 3), read_floats(mesh.polygons, "center", 3)
    assert ((normals * centres).sum(axis=1) > 0).all(), "faces point inwards"
    # Z up, facing -Y, real metres.
    assert math.isclose(obj.dimensions.z, 0.26, rel_tol=0.03)
    assert TRUTH["vertices"][:, 1].min() < -TRUTH["vertices"][:, 1].max()


def check_material(obj: Any) -> None:
    tree = obj.active_material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    output = next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL")
    assert output.inputs["Surface"].links[0].from_node == shader
    assert 0 < shader.inputs["Subsurface Weight"].default_value < 0.3

    mix = shader.inputs["Base Color"].links[0].from_node
    assert mix.type == "MIX" and mix.label == "mouth_stretch"
    sockets = {socket.identifier: socket for socket in mix.inputs}
    check_image(sockets["A_Color"], "sRGB", synthetic.ALBEDO)
    check_image(sockets["B_Color"], "sRGB", synthetic.OWN_ALBEDO)
    check_image(shader.inputs["Roughness"], "Non-Color", (synthetic.ROUGHNESS,) * 3)
    check_image(shader.inputs["Specular IOR Level"], "Non-Color", (synthetic.SPECULAR,) * 3)
    assert len(bpy.data.images) == 4

    keys = obj.data.shape_keys.key_blocks
    for value in (0.75, 0.0):
        keys["mouth_stretch"].value = value
        bpy.context.view_layer.update()
        graph = bpy.context.evaluated_depsgraph_get()
        nodes = obj.active_material.evaluated_get(graph).node_tree.nodes
        factor = next(s for s in nodes[mix.name].inputs if s.identifier == "Factor_Float").default_value
        assert math.isclose(factor, value, abs_tol=1e-6), f"the driver gives {factor} for {value}"


def check_image(socket: Any, colour_space: str, colour: tuple[int, ...]) -> None:
    image = socket.links[0].from_node.image
    assert image.colorspace_settings.name == colour_space, f"{image.name} is {image.colorspace_settings.name}"
    assert image.packed_file is not None, f"{image.name} is not packed"
    assert image.filepath.startswith("//") and "/" not in image.filepath[2:], f"{image.name} keeps {image.filepath}"
    assert tuple(image.size) == (synthetic.SIZE, synthetic.SIZE)
    pixels = np.empty(4 * synthetic.SIZE**2, dtype=np.float32)
    image.pixels.foreach_get(pixels)
    assert np.allclose(pixels.reshape(-1, 4)[:, :3], np.array(colour) / 255, atol=1e-3), (
        f"{image.name} has other pixels"
    )


def check_refusal(folder: Path) -> None:
    """A bad bundle is refused with its code and leaves no data-block."""
    bad = shutil.copytree(folder, folder.with_name("bad"))
    (bad / "roughness.png").write_bytes((bad / "roughness.png").read_bytes()[:-20])
    before = [len(blocks) for blocks in (bpy.data.objects, bpy.data.meshes, bpy.data.materials, bpy.data.images)]
    try:
        bpy.ops.idto3d.import_head(filepath=str(bad))
    except RuntimeError as error:
        assert "E_BUNDLE_MAP" in str(error), error
    else:
        raise AssertionError("a cut-off map was imported")
    after = [len(blocks) for blocks in (bpy.data.objects, bpy.data.meshes, bpy.data.materials, bpy.data.images)]
    assert before == after


def main() -> None:
    folder = synthetic.write(WORK / "head")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    assert "IDTO3D_PT_head" in dir(bpy.types)
    check_refusal(folder)
    assert bpy.ops.idto3d.import_head(filepath=str(folder / "head.json"), add_stage=True) == {"FINISHED"}
    head = bpy.context.object
    assert head.name == "head" and head.select_get() and head["idto3d"]["seed"] == str(2**40)
    assert bpy.context.scene.camera is not None and len(bpy.data.lights) == 4
    check_geometry(head)
    check_material(head)

    # The bundle may be gone when the file is opened again.
    shutil.rmtree(folder)
    file = WORK / "saved.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert "head" not in bpy.data.objects
    bpy.ops.wm.open_mainfile(filepath=str(file))
    head = bpy.data.objects["head"]
    check_geometry(head)
    check_material(head)
    idto3d_blender.unregister()
    assert "IDTO3D_PT_head" not in dir(bpy.types)
    print(json.dumps({"result": "ok", "blender": bpy.app.version_string}))


main()
