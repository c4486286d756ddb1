# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: a head for each program, read again into an empty file by Blender's own importers.

``python check_export.py WORK`` as check_import.py.
"""

import importlib
import json
import struct
import warnings
from pathlib import Path
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.head import export, import_head
from idto3d_blender.head.export import keys, readback
from idto3d_blender.head.export.looks import look_of
from tests.blender import blender_session, export_names
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import refused
from tests.blender.exported import (
    FILES,
    NAMES,
    ORIGIN,
    TRUTH,
    WORK,
    as_written,
    blocks,
    files_below,
    new_head,
    read,
)


def check_file(name: str, file: Path) -> None:
    """Every key, material, map, unit and axis, by Blender's own importers."""
    objects, found = read(name, file)
    mesh = next(obj for obj in objects if obj.type == "MESH")
    mixed = keys.VRM.keys() & found.keys.keys()
    assert found.keys.keys() - mixed == set(map(as_written(name), NAMES)), f"{name}: {sorted(found.keys)}"
    assert (mixed >= {"happy", "aa", "blink", "blinkLeft", "surprised"}) == (name == "VRM"), mixed
    for key, offset in zip(map(as_written(name), NAMES), np.resize(np.arange(3), len(NAMES)), strict=True):
        wanted = np.linalg.norm(TRUTH["offsets"][offset], axis=1).max()
        assert abs(found.keys[key] - wanted) < 2e-5, f"{name}: {key} moves {found.keys[key]} m, not {wanted}"
    # In metres, Z up, facing -Y, at the origin, whatever the file's own unit and axes are.
    wanted = np.array([TRUTH["vertices"].min(axis=0), TRUTH["vertices"].max(axis=0)]) - ORIGIN
    assert np.abs(found.bounds - wanted).max() < 1e-5, f"{name}: {found.bounds}"
    assert all(abs(key.value) < 1e-6 for key in mesh.data.shape_keys.key_blocks[1:])
    assert set(found.materials) == {f"Zoe_2_{material}" for material in synthetic.MATERIALS}, found.materials
    skin = {"albedo", "roughness", "normal"} | ({"specular"} if name != "USD" else set())
    assert found.materials["Zoe_2_skin"] == skin, f"{name}: {found.materials}"
    assert found.materials["Zoe_2_eyes"] == {"albedo"}
    for clear in ("lashes", "film"):
        assert found.materials[f"Zoe_2_{clear}"] == {"albedo", "alpha"}, f"{name}: {found.materials}"
    assert set(found.sizes.values()) == {synthetic.SIZE}
    for material in mesh.data.materials:
        kind = material.name.removeprefix("Zoe_2_")
        colour = {"skin": synthetic.ALBEDO, "eyes": synthetic.EYES, "lashes": synthetic.LASHES, "film": synthetic.FILM}
        image = look_of(material).maps["albedo"]
        assert image.colorspace_settings.name == "sRGB", f"{name}: {kind}"
        pixels = np.array(image.pixels[:]).reshape(-1, 4)[0] * 255
        given = colour[kind]
        assert np.abs(pixels[:3] - given[:3]).max() < 1, f"{name}: {kind} is {pixels}"
        assert len(given) == 3 or abs(pixels[3] - given[3]) < 1, f"{name}: {kind} is {pixels}"
        # FBX knows no more of alpha than a picture.
        sharp = "clip" if kind == "lashes" and "FBX" != export.BY_NAME[name].format else "blend"
        assert look_of(material).alpha == (sharp if kind in ("lashes", "film") else "opaque"), f"{name}: {kind}"
        if kind == "skin":
            rough = look_of(material).maps["roughness"]
            assert rough.colorspace_settings.name == "Non-Color"
            assert abs(np.array(rough.pixels[:4])[1] * 255 - synthetic.ROUGHNESS) < 1
        if kind == "skin" and export.BY_NAME[name].format == "GLTF":
            specular = look_of(material).maps["specular"].pixels[3]
            assert abs(specular * 255 - 2 * synthetic.SPECULAR) < 1, f"{name}: glTF's is an alpha, 1 where ours is 0.5"


def check_raw(folder: Path) -> None:
    """What only the bytes tell: units and axes as the engines read them, notes, names."""
    parse_fbx = importlib.import_module("io_scene_fbx.parse_fbx")

    for name, axes in (("UNREAL", (2, -1, 1)), ("UNITY", (1, 1, 2))):
        root, _ = parse_fbx.parse(str(folder / FILES[name]))
        told = fbx_child(fbx_child(root, b"GlobalSettings"), b"Properties70").elems
        settings = {one.props[0]: one.props[-1] for one in told}
        up, sign, front = axes
        assert settings[b"UnitScaleFactor"] == 1.0, "not in centimetres"
        assert (settings[b"UpAxis"], settings[b"FrontAxisSign"], settings[b"FrontAxis"]) == (up, sign, front), settings
        (model,) = (one for one in fbx_child(root, b"Objects").elems if one.id == b"Model")
        props = {p.props[0]: p.props[4:] for p in fbx_child(model, b"Properties70").elems}
        assert np.allclose(props.get(b"Lcl Scaling", [1, 1, 1]), 1), "the head is scaled"
        assert np.allclose(props.get(b"Lcl Rotation", [0, 0, 0]), 0, atol=1e-4), "the head is turned"
        assert props[b"licence"][0] == b"CC0-1.0" and props[b"consent"][0].startswith(b"synthetic")
        shapes = [one for one in fbx_child(root, b"Objects").elems if one.id == b"Deformer"]
        channels = [one for one in shapes if one.props[2] == b"BlendShapeChannel"]
        assert [one.props[1].split(b"\0")[0].decode() for one in channels] == list(NAMES)
        for one in channels:
            assert set(fbx_child(one, b"FullWeights").props[0]) == {100.0}
            assert fbx_child(one, b"DeformPercent").props[0] == 0.0
        embedded = [one for one in fbx_child(root, b"Objects").elems if one.id == b"Video"]
        inside = [len(part.props[0]) for one in embedded for part in one.elems if part.id == b"Content"]
        assert len(embedded) == 9 and (len(inside) == 9 and min(inside) > 50) == (name == "UNREAL"), inside
        # Opacity is a picture whose grey and whose alpha say the same: programs read either.
        pictures = {p.props[0]: p for p in fbx_child(root, b"Objects").elems if p.id == b"Texture"}
        links = [p.props for p in fbx_child(root, b"Connections").elems if p.props[0] == b"OP"]
        shown = [
            fbx_child(pictures[p[1]], b"RelativeFilename").props[0] for p in links if p[3] == b"TransparencyFactor"
        ]
        assert [Path(file.decode()).name for file in shown] == ["Zoe_2_lashes_opacity.png", "Zoe_2_film_opacity.png"]
    image = bpy.data.images.load(str(folder / "Zoe_2_unity" / "textures" / "Zoe_2_film_opacity.png"))
    assert np.abs(np.array(image.pixels[:4]) * 255 - synthetic.FILM[3]).max() < 1, image.pixels[:4]
    for name in ("GODOT", "THREE", "VRM"):
        data = (folder / FILES[name]).read_bytes()
        if name != "GODOT":
            (length,) = struct.unpack_from("<I", data, 12)
            assert struct.unpack_from("<I", data, 8) == (len(data),)
            data = data[20 : 20 + length]
        content = json.loads(data)
        asset = content["asset"]
        assert asset["copyright"] == "CC0-1.0" and asset["extras"]["consent"] == "synthetic, no person"
        (node,) = content["nodes"]
        assert not {"translation", "rotation", "scale", "matrix"} & node.keys() and node["name"] == "Zoe_2", node
        modes = {material["name"]: material.get("alphaMode") for material in content["materials"]}
        assert modes == {
            "Zoe_2_skin": None, "Zoe_2_eyes": None, "Zoe_2_lashes": "MASK", "Zoe_2_film": "BLEND",
        }  # fmt: skip
        assert ("uri" in content["images"][0]) == (name == "GODOT")
        based = {"bufferView" in one for one in content["accessors"] if "sparse" in one}
        assert based <= {name == "GODOT"}, "Godot before 4.1 needs one, Babylon.js none that is shared"


def fbx_child(element: Any, name: bytes) -> Any:
    return next(child for child in element.elems if child.id == name)


def check_presets() -> None:
    head = new_head()
    folder = WORK / "exported äöü"
    assert "USD calls my kéy.L my_key_L" in export.notes(head, export.Choice(export.BY_NAME["USD"]))
    smile = head.data.shape_keys.key_blocks["smile"]
    smile.value = 0.5
    smile.keyframe_insert("value", frame=1)
    head.data.shape_keys.key_blocks["jawOpen"].mute = True
    action = head.data.shape_keys.animation_data.action
    # A head that is hidden and cannot be selected is exported all the same, from the sidebar's active object.
    head.hide_select = True
    head.hide_set(True)
    scene, before = bpy.context.scene, blocks()
    for name in FILES:
        assert bpy.ops.idto3d.export(directory=str(folder), preset=name, animation=False) == {"FINISHED"}
    assert bpy.context.scene == scene and blocks() == before, "something of the export is left in the file"
    assert head.name == "Zoë 2" and head.hide_get() and smile.value == 0.5
    assert head.data.shape_keys.animation_data.action == action and bpy.context.object == head
    assert [m.name for m in head.data.materials] == [f"Zoë 2 {name}" for name in synthetic.MATERIALS]
    assert not [path for path in folder.iterdir() if path.name.startswith(".")], "something half-written is left"
    for name, file in FILES.items():
        text = (folder / file).with_name("LICENCE.txt").read_text(encoding="utf-8")
        assert "CC0-1.0" in text and "synthetic, no person" in text, name
    beside = [path for path in files_below(folder) if "textures" in path]
    assert {path.split("/")[0] for path in beside} == {"Zoe_2_unity", "Zoe_2_godot", "Zoe_2_usd"}, beside
    check_raw(folder)
    for name, file in FILES.items():
        check_file(name, folder / file)


def check_modifiers() -> None:
    """A modifier is applied to every key, or left out and named: keys are never lost."""
    head = new_head()
    head.data.shape_keys.use_relative = False  # no key's value moves anything then
    head.modifiers.new("Subsurf", "SUBSURF").levels = 1
    head.modifiers.new("Solid", "SOLIDIFY").show_viewport = False
    head.modifiers.new("Fewer", "DECIMATE").ratio = 0.5
    lines = " ".join(export.notes(head, export.Choice(export.BY_NAME["UNREAL"])))
    assert "Subsurf will be applied" in lines and "Solid will be left out, as it is switched off" in lines
    assert "Fewer will be left out, as it would" in lines and "3 of the 52 shapes of ARKit" in lines
    for name in ("ours", "body"):
        skeleton = bpy.data.objects.new(name, bpy.data.armatures.new(name))
        head.modifiers.new(name, "ARMATURE").object = skeleton
    assert "body will be left out, as a head has one skeleton" in export.changes(head)
    for name in ("ours", "body"):
        head.modifiers.remove(head.modifiers[name])
    folder = WORK / "modified"
    for name in ("UNREAL", "THREE", "USD"):
        assert bpy.ops.idto3d.export(directory=str(folder), preset=name) == {"FINISHED"}
    assert [m.type for m in head.modifiers] == ["SUBSURF", "SOLIDIFY", "DECIMATE"]
    for name in ("UNREAL", "THREE", "USD"):
        _, found = read(name, folder / FILES[name])
        assert found.keys.keys() == set(map(as_written(name), NAMES)) and found.points > 3 * len(TRUTH["vertices"]), (
            name
        )
        assert 0.02 < found.keys["mouth_stretch"] < 0.0301 and found.keys["smile"] < 0.0065, "smoothed, and still keys"
    # A mesh that differs from key to key is refused before anything is written.
    head = new_head()
    edge = head.modifiers.new("Split", "NODES")
    tree = edge.node_group = bpy.data.node_groups.new("by height", "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    enter, leave, delete, position, parts, above = (
        tree.nodes.new(kind)
        for kind in ("NodeGroupInput", "NodeGroupOutput", "GeometryNodeDeleteGeometry", "GeometryNodeInputPosition",
                     "ShaderNodeSeparateXYZ", "FunctionNodeCompare")
    )  # fmt: skip
    tree.links.new(position.outputs[0], parts.inputs[0])
    above.operation, above.inputs[1].default_value = "LESS_THAN", -0.1 - ORIGIN[2]
    tree.links.new(parts.outputs[2], above.inputs[0])
    tree.links.new(enter.outputs[0], delete.inputs[0])
    tree.links.new(above.outputs[0], delete.inputs[1])
    tree.links.new(delete.outputs[0], leave.inputs[0])
    not_exported(folder, "E_EXPORT_MODIFIERS")
    try:
        import_head.run_to_end(export.steps(bpy.context, head, folder, export.Choice(export.BY_NAME["THREE"]), True))
        raise AssertionError("another Blender refuses nothing")
    except export.ExportError as error:
        assert error.code == "E_EXPORT_MODIFIERS", error


def check_loose() -> None:
    """Somebody has deleted the crown's faces and left its vertices, which glTF does not hold: the rest is exported."""
    head = new_head()
    bmesh = importlib.import_module("bmesh")  # bpy's own, there after bpy
    work = bmesh.new()
    work.from_mesh(head.data)
    crown = max(work.verts, key=lambda vertex: vertex.co.z)
    bmesh.ops.delete(work, geom=list(crown.link_faces), context="FACES_ONLY")
    work.to_mesh(head.data)
    work.free()
    for name in ("UNREAL", "THREE", "USD"):
        assert bpy.ops.idto3d.export(directory=str(WORK / "loose"), preset=name) == {"FINISHED"}, name


def not_exported(folder: Path | str, code: str) -> str:
    before = blocks()
    said = refused(lambda: bpy.ops.idto3d.export(directory=str(folder), preset="THREE"), code)
    assert blocks() == before
    return said


def check_refusals() -> None:
    """An earlier good file stays when the next one does not hold what it should."""
    head = new_head()
    folder = WORK / "kept"
    assert bpy.ops.idto3d.export(directory=str(folder), preset="THREE") == {"FINISHED"}
    good = (folder / FILES["THREE"]).read_bytes()
    mine = folder / "Zoe_2_three" / "my notes.txt"
    mine.write_text("mine")
    before = files_below(folder)
    real = readback.read
    for change, says in (
        (lambda found: found.keys.pop("smile"), "no key smile"),
        (lambda found: found.materials.pop("Zoe_2_eyes"), "no material Zoe_2_eyes"),
        (lambda found: found.bounds.__imul__(100), "its place or size"),
        (lambda found: found.keys.__setitem__("my kéy.L", 0.0), "the key my kéy.L moves 0.00"),
        (lambda found: found.sizes.__setitem__(("Zoe_2_skin", "albedo"), 0), "the picture albedo"),
    ):

        def damaged(file: Path, preset: Any, change: Any = change) -> Any:
            found = real(file, preset)
            change(found)
            return found

        readback.read = damaged
        try:
            assert says in not_exported(folder, "E_EXPORT_LOST")
        finally:
            readback.read = real
    assert (folder / FILES["THREE"]).read_bytes() == good and files_below(folder) == before
    not_exported("//x", "E_EXPORT_WRITE")
    not_exported("x", "E_EXPORT_WRITE")
    assert not Path("x").exists()
    (WORK / "a file").write_text("")
    not_exported(WORK / "a file", "E_EXPORT_WRITE")
    arkit = {"moods": False, "visemes": False, "other": False}
    assert bpy.ops.idto3d.export(directory=str(folder), preset="THREE", **arkit) == {"FINISHED"}
    assert mine.read_text() == "mine"
    _, found = read("THREE", folder / FILES["THREE"])
    assert found.keys.keys() == {"eyeBlinkLeft", "eyeBlinkRight", "jawOpen"}
    assert head is not None


def check_textures() -> None:
    """Inside and beside, against the preset's habit; a USD package holds all of it."""
    new_head()
    folder = WORK / "textures"
    for name, textures, file in (
        ("UNREAL", "BESIDE", "Zoe_2_unreal/Zoe_2.fbx"),
        ("USD", "INSIDE", "Zoe_2_usd/Zoe_2.usdz"),
        ("GODOT", "INSIDE", "Zoe_2_godot/Zoe_2.glb"),
    ):
        head = new_head()
        assert bpy.ops.idto3d.export(directory=str(folder), preset=name, textures=textures) == {"FINISHED"}
        assert head.name == "Zoë 2"
        pictures = [path for path in files_below(folder / Path(file).parent) if path.startswith("textures")]
        assert bool(pictures) == (textures == "BESIDE"), f"{name}: {pictures}"
        check_file(name, folder / file)


def check_pictures_of_ones_own() -> None:
    """Pictures in files, not loaded yet; materials that differ in a number only; pictures that are gone; a mirror."""
    head = new_head()
    red, green = (WORK / f"{name}.jpg" for name in ("red", "green"))
    for file, colour in ((red, (1.0, 0.0, 0.0, 1.0)), (green, (0.0, 1.0, 0.0, 1.0))):
        image = bpy.data.images.new(file.stem, 8, 8)
        image.pixels.foreach_set(np.tile(np.array(colour, np.float32), 64))
        image.filepath_raw, image.file_format = str(file), "JPEG"
        image.save()
        bpy.data.images.remove(image)
    first, second = head.data.materials[0], head.data.materials[1]
    first.name, second.name = "Metal.001", "Metal.002"
    for material, file in ((first, red), (second, green)):
        node = next(n for n in material.node_tree.nodes if n.type == "TEX_IMAGE" and "albedo" in n.image.name)
        node.image = bpy.data.images.load(str(file), check_existing=False)
    for preset in ("UNITY", "USD"):
        assert bpy.ops.idto3d.export(directory=str(WORK / "own"), preset=preset) == {"FINISHED"}, preset
    for name, seen in (("Metal", [1, 0, 0]), ("Metal_1", [0, 1, 0])):
        (file,) = (WORK / "own" / "Zoe_2_unity").rglob(f"{name}_albedo.png")
        assert [round(v) for v in bpy.data.images.load(str(file)).pixels[:3]] == seen, name
    head.scale.x *= -1
    refused(lambda: bpy.ops.idto3d.export(directory=str(WORK / "own"), preset="UNITY"), "E_EXPORT_MIRRORED")
    head.scale.x *= -1
    node.image.filepath = str(WORK / "gone.jpg")
    refused(lambda: bpy.ops.idto3d.export(directory=str(WORK / "own"), preset="UNITY"), "E_EXPORT_PICTURE")


def check_two_people() -> None:
    """Whose names are alike in plain letters have a folder each, and the same one again."""
    head = new_head()
    made = []
    for name in ("Zoe", "Zoë", "Zoe", "Zoë"):
        head.name = name
        assert bpy.ops.idto3d.export(directory=str(WORK / "two"), preset="THREE") == {"FINISHED"}
        made.append(sorted(path.name for path in (WORK / "two").iterdir()))
    assert made[0] == ["Zoe_three"] and made[1] == made[2] == made[3], made
    told = {file.parent.name: file.read_text(encoding="utf-8") for file in (WORK / "two").rglob("LICENCE.txt")}
    assert len(told) == 2 and told.pop("Zoe_three").startswith("Zoe,"), told
    ((folder, text),) = told.items()
    assert text.startswith("Zoë,") and (WORK / "two" / folder / f"{folder.removesuffix('_three')}.glb").is_file()


def main() -> None:
    warnings.simplefilter("ignore")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    refused(bpy.ops.idto3d.export, "Select a head first")
    export_names.check_keys_by_group_and_vrms_names()
    export_names.check_names_that_every_format_keeps()
    check_presets()
    check_modifiers()
    check_loose()
    check_refusals()
    check_textures()
    check_pictures_of_ones_own()
    check_two_people()
    idto3d_blender.unregister()
    blender_session.leave()


main()
