# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: import a synthetic bundle, look at what Blender evaluates, save, reopen, look again.

``python check_import.py WORK`` with the repository in PYTHONPATH; WORK is an empty folder. Prints one JSON line; any
failed assertion ends it.
"""

import json
import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender import properties
from idto3d_blender.head import import_head, material, operators_import
from idto3d_blender.head.export import looks
from idto3d_blender.head.prepare import prepare
from idto3d_blender.jobs import setup_backend
from tests.blender import blender_session
from tests.blender import synthetic_bundle as synthetic

WORK = Path(sys.argv[-1])
TRUTH = synthetic.head()
OLD = synthetic.ellipsoid()
for truth in (TRUTH, OLD):
    # The ellipsoid has no shoulders: its neck's base is its lowest point.
    truth["vertices"] = truth["vertices"] - np.array((0.0, 0.0, -0.13), np.float32)


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


def check_geometry(obj: Any, truth: dict[str, Any]) -> None:
    mesh = obj.data
    blocks = mesh.shape_keys.key_blocks
    assert [key.name for key in blocks] == ["Basis", *synthetic.EXPRESSIONS]
    for key in blocks[1:]:
        assert key.value == 0.0, f"{key.name} starts at {key.value}"
        assert (key.slider_min, key.slider_max, key.mute) == (0.0, 1.0, False)
    assert np.array_equal(evaluated(obj), truth["vertices"]), "all keys 0 is not the neutral head"
    for name, offset in zip(synthetic.EXPRESSIONS, truth["offsets"], strict=True):
        for weight in (1.0, 0.5):
            blocks[name].value = weight
            moved = np.abs(evaluated(obj) - (truth["vertices"] + weight * offset)).max()
            assert moved < 1e-6, f"{name} at {weight} is {moved} m off"
        blocks[name].value = 0.0
    assert np.array_equal(evaluated(obj), truth["vertices"])
    corners = [[corner for corner in face if corner >= 0] for face in truth["faces"].tolist()]
    assert [list(polygon.vertices) for polygon in mesh.polygons] == corners
    uv = read_floats(mesh.uv_layers.active.uv, "vector", 2)
    assert np.allclose(uv, truth["uv"][truth["faces_uv"][truth["faces_uv"] >= 0]], atol=1e-6)
    assert all(polygon.use_smooth for polygon in mesh.polygons)
    normals, centres = read_floats(mesh.polygons, "normal", 3), read_floats(mesh.polygons, "center", 3)
    skin = np.array([polygon.material_index == 0 for polygon in mesh.polygons])
    assert ((normals * (centres - (0, 0, 0.13))).sum(axis=1) > 0)[skin].all(), "faces point inwards"
    assert not mesh.validate(), "Blender had to mend the mesh"
    # Z up, facing -Y, real metres.
    assert math.isclose(obj.dimensions.z, 0.26, rel_tol=0.03)
    assert truth["vertices"][:, 1].min() < -truth["vertices"][:, 1].max()


def check_parts(obj: Any) -> None:
    mesh = obj.data
    assert [material.name for material in mesh.materials] == [f"head {name}" for name in synthetic.MATERIALS]
    assert [polygon.material_index for polygon in mesh.polygons] == TRUTH["material"].tolist()
    part, seen = mesh.attributes["part"], mesh.attributes["seen"]
    assert (part.data_type, part.domain, seen.data_type, seen.domain) == ("INT", "FACE", "FLOAT", "POINT")
    assert [one.value for one in part.data] == TRUTH["part"].tolist()
    assert [one.value for one in seen.data] == TRUTH["seen"].tolist()
    assert obj["idto3d"]["parts"].split(",") == list(synthetic.PARTS)


def check_material(obj: Any) -> None:
    """The skin, which is all there is in format 1."""
    tree = obj.material_slots[0].material.node_tree
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
    assert tree.nodes.active.name == "albedo"

    keys = obj.data.shape_keys.key_blocks
    for value in (0.75, 0.0):
        keys["mouth_stretch"].value = value
        bpy.context.view_layer.update()
        graph = bpy.context.evaluated_depsgraph_get()
        nodes = obj.material_slots[0].material.evaluated_get(graph).node_tree.nodes
        factor = next(s for s in nodes[mix.name].inputs if s.identifier == "Factor_Float").default_value
        assert math.isclose(factor, value, abs_tol=1e-6), f"the driver gives {factor} for {value}"


def check_other_materials(obj: Any) -> None:
    skin, eyes, lashes, film = (slot.material for slot in obj.material_slots)
    shaders = [next(n for n in m.node_tree.nodes if n.type == "BSDF_PRINCIPLED") for m in (skin, eyes, lashes, film)]
    turn = shaders[0].inputs["Normal"].links[0].from_node
    assert turn.type == "NORMAL_MAP" and turn.space == "TANGENT"
    check_image(turn.inputs["Color"], "Non-Color", synthetic.NORMAL)
    for shader, colour in zip(shaders[1:], (synthetic.EYES, None, synthetic.FILM[:3]), strict=True):
        assert math.isclose(shader.inputs["Roughness"].default_value, synthetic.EYES_ROUGHNESS, abs_tol=1e-6)
        assert not shader.inputs["Normal"].links and shader.inputs["Subsurface Weight"].default_value == 0
        if colour is not None:
            check_image(shader.inputs["Base Color"], "sRGB", colour)
    assert [shader.inputs["Coat Weight"].default_value > 0 for shader in shaders] == [False, True, False, False]
    assert [bool(shader.inputs["Alpha"].links) for shader in shaders] == [False, False, True, True]
    assert {shader.inputs["Alpha"].links[0].from_socket.name for shader in shaders[2:]} == {"Alpha"}
    assert [looks.look_of(m).alpha for m in (skin, eyes, lashes, film)] == ["opaque", "opaque", "clip", "blend"]
    assert [m.surface_render_method for m in (skin, lashes, film)] == ["DITHERED", "DITHERED", "BLENDED"]
    # As light, and the film is hardly there: Solid viewports show the eyes behind it.
    assert np.allclose(skin.diffuse_color, (0.578, 0.305, 0.188, 1.0), atol=1e-3)
    assert skin.diffuse_color[:] == obj.color[:]
    assert film.diffuse_color[3] < 0.2
    assert len(bpy.data.images) == 8


def check_image(socket: Any, colour_space: str, colour: tuple[int, ...]) -> None:
    image = socket.links[0].from_node.image
    assert image.name.startswith(("head ", "old ")) and image.filepath == f"//{image.name.replace(' ', '_')}.png"
    assert image.colorspace_settings.name == colour_space, f"{image.name} is {image.colorspace_settings.name}"
    assert image.packed_file is not None, f"{image.name} is not packed"
    assert image.filepath.startswith("//") and "/" not in image.filepath[2:], f"{image.name} keeps {image.filepath}"
    assert tuple(image.size) == (synthetic.SIZE, synthetic.SIZE)
    pixels = np.empty(4 * synthetic.SIZE**2, dtype=np.float32)
    image.pixels.foreach_get(pixels)
    assert np.allclose(pixels.reshape(-1, 4)[:, :3], np.array(colour) / 255, atol=1e-3), (
        f"{image.name} has other pixels"
    )


def check_wrinkles(obj: Any) -> None:
    """Keys fade the lines in, over colour and normals; whoever takes the head's pictures still finds its own."""
    tree = obj.material_slots[0].material.node_tree
    picture, mask = tree.nodes["wrinkles_up"], tree.nodes["wrinkles_up_mask_1"]
    for node, size in ((picture, 32), (mask, 24)):
        image = node.image
        assert image.colorspace_settings.name == "Non-Color" and image.alpha_mode == "CHANNEL_PACKED"
        assert image.packed_file is not None and image.depth == size
    driven = next(node for node in tree.nodes if node.type == "COMBXYZ")
    scripted = [curve.driver for curve in tree.animation_data.drivers if curve.driver.type == "SCRIPTED"]
    # Blender works these out although it may not run Python from files.
    assert len(scripted) == 2 and all(driver.is_simple_expression for driver in scripted)
    keys = obj.data.shape_keys.key_blocks
    for smile, stretch, wanted in ((0.0, 0.0, (0, 0)), (0.5, 0.0, (0.4, 0.5)), (0.5, 1.0, (0.4, 1.0))):
        keys["smile"].value, keys["mouth_stretch"].value = smile, stretch
        bpy.context.view_layer.update()
        graph = bpy.context.evaluated_depsgraph_get()
        nodes = obj.material_slots[0].material.evaluated_get(graph).node_tree.nodes
        values = [socket.default_value for socket in nodes[driven.name].inputs]
        assert np.allclose(values, (*wanted, 0), atol=1e-6), f"the drivers give {values} for {smile}, {stretch}"
    look = looks.look_of(obj.material_slots[0].material)
    assert {kind: image["idto3d_role"] for kind, image in look.maps.items()} == {
        kind: f"skin_{kind}" for kind in ("albedo", "normal", "roughness", "specular")
    }
    check_lean(obj)


def add_specular_of_eyes(folder: Path) -> None:
    """Half of the light, as deep in a mouth."""
    header = json.loads((folder / "head.json").read_text(encoding="utf-8"))
    header["materials"][1] |= {"specular": None, "maps": ["albedo", "specular"]}
    (folder / "head.json").write_text(json.dumps(header), encoding="utf-8")
    synthetic.write_png(folder / "maps" / "eyes_specular.png", np.full((16, 16), 64, np.uint8))


def check_coat(obj: Any) -> None:
    """It shines where the specular map does: fully at its half, which is a surface in full light."""
    coat = material.principled(obj.material_slots[1].material.node_tree).inputs["Coat Weight"]
    scaled = coat.links[0].from_node
    assert scaled.operation == "MULTIPLY" and scaled.inputs[1].default_value == 2 * coat.default_value > 0
    assert scaled.inputs[0].links[0].from_node.image["idto3d_role"] == "eyes_specular"


def check_lean(obj: Any) -> None:
    """What Cycles bakes: the picture's normal, and it leans further to the right with all of the lines on it."""
    scene, material = bpy.context.scene, obj.material_slots[0].material
    target = bpy.data.images.new("baked", 8, 8, float_buffer=True)
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image, material.node_tree.nodes.active = target, node
    for other in obj.material_slots[1:]:
        other.material = material
    scene.render.engine, scene.cycles.samples, scene.render.bake.margin = "CYCLES", 1, 0
    leans = []
    for smile, strength in ((0.0, 1.0), (1.0, 0.0), (1.0, 1.0)):
        material.node_tree.nodes["lines"].outputs[0].default_value = strength
        obj.data.shape_keys.key_blocks["mouth_stretch"].value = 0.0
        obj.data.shape_keys.key_blocks["smile"].value = smile
        bpy.ops.object.bake(type="NORMAL", normal_space="TANGENT")
        pixels = np.array(target.pixels[:]).reshape(-1, 4)
        leans.append(np.median(pixels[pixels[:, 3] > 0], axis=0)[:3] * 2 - 1)
    rest, off, lined = leans
    # Of the map's lean, as much as the mask's one channel has by its gain of 0.8.
    own = np.array(synthetic.NORMAL) / 127.5 - 1
    wanted = own + (0.8 * (192 - 128) / 127.5, 0, 0.8 * (238 - 255) / 127.5)
    assert np.allclose(rest, own / np.linalg.norm(own), atol=0.02), rest
    assert np.allclose(off, rest, atol=1e-3)
    assert np.allclose(lined, wanted / np.linalg.norm(wanted), atol=0.02), lined


def check_refusal(folder: Path) -> None:
    """A bad bundle is refused with its code and leaves no data-block."""
    bad = shutil.copytree(folder, folder.with_name("bad"))
    roughness = bad / "maps" / "skin_roughness.png"
    roughness.write_bytes(roughness.read_bytes()[:-20])
    before = [len(blocks) for blocks in (bpy.data.objects, bpy.data.meshes, bpy.data.materials, bpy.data.images)]
    blender_session.refused(lambda: bpy.ops.idto3d.import_head(filepath=str(bad)), "E_BUNDLE_MAP")
    after = [len(blocks) for blocks in (bpy.data.objects, bpy.data.meshes, bpy.data.materials, bpy.data.images)]
    assert before == after


def check_given_up(folder: Path) -> None:
    """Escape leaves nothing of what was built so far."""
    kinds = (bpy.data.objects, bpy.data.meshes, bpy.data.materials, bpy.data.images)
    before = [len(blocks) for blocks in kinds]
    work = operators_import._counted(import_head.build(prepare(folder)), 1)
    while len(bpy.data.materials) == before[2]:
        assert 0.0 < next(work) <= 1.0
    work.close()
    assert [len(blocks) for blocks in kinds] == before


def check_first_folder(folder: Path) -> None:
    """The file browser opens where heads are kept, in the panel's folder before the preferences' one."""
    properties.settings().output = str(folder)
    assert operators_import.first_folder() == f"{folder}/"
    properties.settings().output = str(folder / "gone")
    assert operators_import.first_folder() == ""
    properties.settings().output = ""
    kept = Path.home() / "ID-to-3D"
    kept.mkdir()
    assert operators_import.first_folder() == f"{kept}/"
    kept.rmdir()
    with patch.object(bpy.utils, "user_resource", return_value=""):  # so Blender says that it cannot make it
        assert setup_backend.user_folder(idto3d_blender.ADDON) == Path(tempfile.gettempdir()) / "idto3d"


def main() -> None:
    folder = synthetic.write(WORK / "head")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    assert "IDTO3D_PT_head" in dir(bpy.types)
    check_refusal(folder)
    check_given_up(folder)
    check_first_folder(WORK)
    assert bpy.ops.idto3d.import_head(filepath=str(folder / "head.json"), add_stage=True) == {"FINISHED"}
    head = bpy.context.object
    assert head.name == "head" and head.select_get() and head["idto3d"]["seed"] == str(2**40)
    assert bpy.context.scene.camera is not None and len(bpy.data.lights) == 4
    check_all(head)

    # The bundle may be gone when the file is opened again.
    shutil.rmtree(folder)
    file = WORK / "saved.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert "head" not in bpy.data.objects
    bpy.ops.wm.open_mainfile(filepath=str(file))
    check_all(bpy.data.objects["head"])

    bpy.ops.wm.read_factory_settings(use_empty=True)
    lined = synthetic.write(WORK / "lined")
    synthetic.add_wrinkles(lined)
    add_specular_of_eyes(lined)
    assert bpy.ops.idto3d.import_head(filepath=str(lined)) == {"FINISHED"}
    check_coat(bpy.context.object)
    check_wrinkles(bpy.context.object)

    bpy.ops.wm.read_factory_settings(use_empty=True)
    old = synthetic.write_format_1(WORK / "old")
    assert bpy.ops.idto3d.import_head(filepath=str(old)) == {"FINISHED"}
    truth = {**OLD, **{name: np.pad(OLD[name], ((0, 0), (0, 1)), constant_values=-1) for name in ("faces", "faces_uv")}}
    check_geometry(bpy.context.object, truth)
    check_material(bpy.context.object)
    assert len(bpy.data.images) == 4 and "seen" not in bpy.context.object.data.attributes
    idto3d_blender.unregister()
    assert "IDTO3D_PT_head" not in dir(bpy.types)
    blender_session.leave()


def check_all(head: Any) -> None:
    check_geometry(head, TRUTH)
    check_parts(head)
    check_material(head)
    check_other_materials(head)


main()
