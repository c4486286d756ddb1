# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: animations that move little or nothing, odd frame rates, and bones and heads whose
names are not Latin. ``python check_export_motion.py WORK`` as check_import.py."""

import json
import math
import struct
import warnings
from pathlib import Path
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.head import export, hand_over, import_head
from tests.blender import blender_session
from tests.blender import synthetic_bundle as synthetic
from tests.blender.exported import FILES, WORK, new_head, read

ANIMATED = ("UNREAL", "UNITY", "THREE", "GODOT")
OUTSIDE = "lie outside the scene's frames"


def keyed_smile(head: Any, *keys: tuple[int, float]) -> Any:
    """The curve of a smile that has these values at these frames, and no other animation."""
    head.data.shape_keys.animation_data_clear()
    smile = head.data.shape_keys.key_blocks["smile"]
    for frame, value in keys:
        smile.value = value
        smile.keyframe_insert("value", frame=frame)
    (curve,) = hand_over.curves_of(head.data.shape_keys.animation_data)
    return curve


def notes(head: Any, preset: str = "THREE") -> str:
    return " ".join(export.notes(head, export.Choice(export.BY_NAME[preset], animation=True)))


def exported(preset: str, folder: str) -> Path:
    assert bpy.ops.idto3d.export(directory=str(WORK / folder), preset=preset) == {"FINISHED"}, (preset, folder)
    return WORK / folder / FILES[preset]


def seconds(file: Path) -> float:
    """How long the one animation of a .glb is."""
    data = file.read_bytes()
    content = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    (animation,) = content["animations"]
    return max(content["accessors"][one["input"]]["max"][0] for one in animation["samplers"])


def check_frame_rates() -> None:
    """A take is as long in the file as in the scene, also where a second has no whole number of frames."""
    head, render = new_head(), bpy.context.scene.render
    keyed_smile(head, (1, 0.0), (61, 1.0))
    bpy.context.scene.frame_end = 61
    for rate, base in ((30, 1.001), (2997, 100.0), (24, 1.0)):
        render.fps, render.fps_base = rate, base
        wanted = 60 * base / rate
        length = seconds(exported("THREE", f"rate {rate}"))
        assert abs(length - wanted) < 1e-4, f"{rate} / {base}: {length} instead of {wanted} s"
    assert (render.fps, render.fps_base) == (24, 1.0)


def check_still() -> None:
    """What stands still within the frames is no animation, and none that is missed in the file."""
    head = new_head()
    bpy.context.scene.frame_end = 20
    keyed_smile(head, (1, 0.0), (11, 1.0))
    assert OUTSIDE not in notes(head)
    head.hide_set(True)
    _, found = read("THREE", exported("THREE", "moving"))
    assert found.moving == {"keys"}
    head = new_head()
    bpy.context.scene.frame_end = 20
    for name, *keys in (("one frame", (1, 0.5)), ("later", (101, 0.0), (111, 1.0)), ("muted", (1, 0.0), (11, 1.0))):
        keyed_smile(head, *keys).mute = name == "muted"
        assert (OUTSIDE in notes(head)) == (name == "later")
        for preset in ANIMATED:
            exported(preset, name)
    keyed_smile(head, (1, 0.0), (11, 1.0))
    assert bpy.ops.idto3d.export(directory=str(WORK / "other keys"), preset="UNREAL", moods=False) == {"FINISHED"}
    if bpy.app.version >= (4, 4):
        head.data.shape_keys.animation_data.action_slot = None
        for preset in ANIMATED:
            exported(preset, "no slot")


def check_strip() -> None:
    """Strips are exported as they play: trimmed, blended, one over the other."""
    head = new_head()
    keyed_smile(head, (1, 0.0), (61, 1.0))
    data, scene = head.data.shape_keys.animation_data, bpy.context.scene
    strip = data.nla_tracks.new().strips.new("take", 1, data.action)
    if bpy.app.version >= (4, 4):
        strip.action_slot = data.action_slot
    data.action = None
    scene.frame_start, scene.frame_end = 1, 61
    strip.action_frame_start, strip.action_frame_end = 21, 41
    strip.frame_start, strip.blend_in = 11, 10
    smile = head.data.shape_keys.key_blocks["smile"]
    wanted = []
    for frame in (1, 16, 21, 31, 61):
        scene.frame_set(frame)
        wanted.append(smile.value)
    assert np.ptp(wanted) > 0.2 and wanted[3] == wanted[4] < 0.8, wanted
    for preset, file in [(preset, exported(preset, "strip")) for preset in ("THREE", "UNREAL")]:
        objects, _ = read(preset, file)
        mesh = next(obj for obj in objects if obj.type == "MESH" and obj.data.shape_keys is not None)
        first = int(min(action.frame_range[0] for action in bpy.data.actions))
        seen = []
        for frame in (1, 16, 21, 31, 61):
            bpy.context.scene.frame_set(first + frame - 1)
            keys = mesh.data.shape_keys.evaluated_get(bpy.context.evaluated_depsgraph_get())
            seen.append(keys.key_blocks["smile"].value)
        assert np.abs(np.array(seen) - wanted).max() < 0.01, (preset, seen, wanted)


def check_bones() -> None:
    """Each bone moves in the file what it moves here, whatever script its name is in; and so does the jaw of a head
    that no longer hangs on its rig."""
    head = new_head()
    rig = bpy.data.objects.new("rig", bpy.data.armatures.new("rig"))
    bpy.context.scene.collection.objects.link(rig)
    bpy.context.view_layer.update()
    rig.matrix_world = head.matrix_world
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    sides = {"目.L": 0.03, "耳.L": -0.03, "L": 0.0}
    for name, x in sides.items():
        bone = rig.data.edit_bones.new(name)
        bone.head, bone.tail = (x, 0, 0), (x, 0, 0.05)
    bpy.ops.object.mode_set(mode="OBJECT")
    across = np.array([vertex.co.x for vertex in head.data.vertices])
    head.vertex_groups.new(name="nobody's")
    for name in ("L", "耳.L", "目.L"):
        own = across * sides[name] > 0 if sides[name] else across == 0
        head.vertex_groups.new(name=name).add(np.flatnonzero(own).tolist(), 1.0, "REPLACE")
    head.modifiers.new("Armature", "ARMATURE").object = rig
    bpy.context.view_layer.objects.active = head
    for preset, file in [(preset, exported(preset, "bones")) for preset in ("THREE", "UNREAL", "USD")]:
        objects, found = read(preset, file)
        mesh = next(obj for obj in objects if obj.type == "MESH" and obj.data.shape_keys is not None)
        bones = next(obj for obj in objects if obj.type == "ARMATURE")
        assert len(found.bones) == 3 and "L" in found.bones and all(map(str.isascii, found.bones)), found.bones
        seen = 0
        for bone in bones.data.bones:
            place = (bones.matrix_world @ bone.head_local).x
            group = mesh.vertex_groups.get(bone.name)
            own = [v for v in mesh.data.vertices if group and any(g.group == group.index for g in v.groups)]
            assert all((mesh.matrix_world @ v.co).x * place > -1e-6 for v in own), (preset, bone.name)
            seen += len(own)
        assert seen >= np.count_nonzero(across), f"{preset}: {seen} vertices have weights"


def check_functions() -> None:
    """A driver may call what only this Blender has: such a head is not handed to another one."""
    head = new_head()
    bpy.context.scene.frame_end = 20
    bpy.app.driver_namespace["idto3d_wave"] = lambda frame: frame / 20
    driver = head.data.shape_keys.key_blocks["smile"].driver_add("value").driver
    driver.type, driver.expression = "SCRIPTED", "idto3d_wave(frame)"
    choice = export.Choice(export.BY_NAME["THREE"], animation=True)
    file = import_head.run_to_end(export.steps(bpy.context, head, WORK / "functions", choice, aside=True))
    assert read("THREE", file)[1].moving == {"keys"}


def check_without_rig() -> None:
    """It is said beforehand that what bones do does not go along without them."""
    head = new_head()
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    bone = head.parent.pose.bones["head"]
    for frame, angle in ((1, 0.0), (20, 0.5)):
        bone.rotation_euler.x = angle
        bone.keyframe_insert("rotation_euler", frame=frame)
    said = [
        " ".join(export.notes(head, export.Choice(export.BY_NAME["THREE"], rig=rig, animation=True)))
        for rig in (True, False)
    ]
    assert ["bones of its rig" in each for each in said] == [False, True], said


def check_held() -> None:
    """What is held while something else moves goes along; a rig is turned afterwards as before, to the number."""
    head = new_head()
    bpy.context.scene.frame_end = 20
    rig = bpy.data.objects.new("rig", bpy.data.armatures.new("rig"))
    bpy.context.scene.collection.objects.link(rig)
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    bone = rig.data.edit_bones.new("head")
    bone.head, bone.tail = (0, 0, 0), (0, 0, 0.1)
    bpy.ops.object.mode_set(mode="OBJECT")
    head.vertex_groups.new(name="head").add(list(range(len(head.data.vertices))), 1.0, "REPLACE")
    head.modifiers.new("Armature", "ARMATURE").object = rig
    bpy.context.view_layer.objects.active = head
    held = rig.pose.bones["head"]
    held.rotation_mode = "XYZ"
    held.rotation_euler = (math.radians(400.0), 0.0, 0.0)
    before = tuple(held.rotation_euler)
    head.data.shape_keys.key_blocks["jawOpen"].value = 0.25
    keyed_smile(head, (1, 0.0), (11, 1.0))
    files = [(preset, exported(preset, "held")) for preset in ("THREE", "UNREAL")]
    assert tuple(held.rotation_euler) == before
    for preset, file in files:
        objects, _ = read(preset, file)
        bpy.context.scene.frame_set(15)
        mesh = next(obj for obj in objects if obj.type == "MESH" and obj.data.shape_keys is not None)
        bones = next(obj for obj in objects if obj.type == "ARMATURE")
        keys = mesh.data.shape_keys.evaluated_get(bpy.context.evaluated_depsgraph_get()).key_blocks
        turned = bones.pose.bones["head"].matrix_basis.to_quaternion().angle
        seen = keys["smile"].value, keys["jawOpen"].value, turned
        assert np.abs(np.array(seen) - (1.0, 0.25, math.radians(40.0))).max() < 0.02, (preset, seen)


def check_names() -> None:
    """Two people's heads are two folders; a name as long as names may be fails nowhere; no file says where it lay."""
    head = new_head()
    for name in ("小明 1", "小红 1", "Anna " * 12):
        assert bpy.ops.idto3d.rename_head(name=name) == {"FINISHED"}
        assert head.name == name.strip()[: None if bpy.app.version >= (5, 0) else 40]
        for preset in ("UNITY", "USD"):
            assert bpy.ops.idto3d.export(directory=str(WORK / "names"), preset=preset) == {"FINISHED"}, name
    folders = sorted(path.name for path in (WORK / "names").iterdir())
    assert len(folders) == 6 and all(map(str.isascii, folders)), folders
    files = [*(WORK / "names").rglob("*.fbx"), exported_inside()]
    assert len(files) == 4 and not any(str(WORK).encode() in file.read_bytes() for file in files)


def exported_inside() -> Path:
    folder = WORK / "inside"
    assert bpy.ops.idto3d.export(directory=str(folder), preset="UNITY", textures="INSIDE") == {"FINISHED"}
    (file,) = folder.rglob("*.fbx")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.fbx(filepath=str(file))
    images = [image for image in bpy.data.images if image.size[0] == synthetic.SIZE]
    assert images and all(image.packed_file is not None for image in images), "pictures are not inside"
    return file


def check_recoloured() -> None:
    """What somebody's nodes do to a picture does not go along, and is said."""
    head = new_head()
    material = head.data.materials[0]
    tree = material.node_tree
    assert "What nodes do" not in notes(head)
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    socket = shader.inputs["Base Color"]
    turn = tree.nodes.new("ShaderNodeHueSaturation")
    tree.links.new(socket.links[0].from_socket, turn.inputs["Color"])
    tree.links.new(turn.outputs["Color"], socket)
    assert f"What nodes do to the pictures and values of {material.name} stays in Blender" in notes(head)


def main() -> None:
    warnings.simplefilter("ignore")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    check_frame_rates()
    check_still()
    check_strip()
    check_bones()
    check_functions()
    check_without_rig()
    check_held()
    check_names()
    check_recoloured()
    idto3d_blender.unregister()
    blender_session.leave()


main()
