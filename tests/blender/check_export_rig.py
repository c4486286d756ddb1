# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: a rigged and moving head for each program, read again, and what another Blender writes
beside the window. ``python check_export_rig.py WORK`` as check_import.py."""

import warnings
from pathlib import Path
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.head import export, import_head
from tests.blender import blender_session
from tests.blender.exported import FILES, NAMES, ORIGIN, TRUTH, WORK, blocks, files_below, new_head, read


def check_elsewhere(head: Any, here: Path) -> None:
    """What another Blender writes, beside the window, is what this one writes; given up, it leaves nothing."""
    folder, before = WORK / "elsewhere", blocks()
    choice = export.Choice(export.BY_NAME["THREE"])
    file = import_head.run_to_end(export.steps(bpy.context, head, folder, choice, aside=True))
    assert file == folder / FILES["THREE"] and file.read_bytes() == here.read_bytes()
    files = files_below(folder)
    steps = export.steps(bpy.context, head, folder / "given up", choice, aside=True)
    next(steps)
    steps.close()
    assert not files_below(folder / "given up") and files_below(folder) == files and blocks() == before


def check_animation(head: Any, rig: Any) -> None:
    """A second of 24 frames: the smile comes, the head nods by 0.5; in every format that holds it."""
    smile, scene = head.data.shape_keys.key_blocks["smile"], bpy.context.scene
    # Blender's FBX importer joins a bone to its parent's tail, where it cannot move: so it is the neck that does.
    bone, neck = rig.pose.bones["head"], rig.pose.bones["neck.x"]
    for frame, share in ((101, 0.0), (125, 1.0)):
        smile.value, bone.rotation_euler.x = share, 0.5 * share
        smile.keyframe_insert("value", frame=frame)
        neck.location.x = 0.02 * share
        bone.keyframe_insert("rotation_euler", frame=frame)
        neck.keyframe_insert("location", frame=frame)
        # Of the rig as a whole, which is exported at the origin.
        rig.keyframe_insert("location", frame=frame)
    scene.frame_start, scene.frame_end, scene.render.fps = 101, 125, 24
    head.data.shape_keys.animation_data.action.name = "Good day"
    before, folder = blocks(), WORK / "moving"
    assert "USD gets the head without its animation" in export.notes(
        head, export.Choice(export.BY_NAME["USD"], animation=True)
    )
    names = ("UNREAL", "UNITY", "THREE", "GODOT")
    for name in names:
        assert bpy.ops.idto3d.export(directory=str(folder), preset=name) == {"FINISHED"}, name
    assert blocks() == before and 'pose.bones["head"]' in str([c.data_path for c in curves_of(rig)])
    export_strip(head, rig, WORK / "strip")
    mixed = [(name, WORK / "strip") for name in ("THREE", "UNREAL")]
    for name, place in (*((name, folder) for name in names), *mixed):
        written = (place / FILES[name]).read_bytes()
        assert (b'"name":"Good_day"' if name in ("THREE", "GODOT") else b"Good_day\0\x01AnimStack") in written, name
        objects, found = read(name, place / FILES[name])
        assert found.moving == {"keys", "bones"}, f"{name}: {found.moving}"
        mesh = next(obj for obj in objects if obj.type == "MESH" and obj.data.shape_keys is not None)
        bones = next(obj for obj in objects if obj.type == "ARMATURE")
        seen = []
        first = int(min(action.frame_range[0] for action in bpy.data.actions))
        assert first <= 1 or export.BY_NAME[name].format == "FBX", f"{name}: the take waits until frame {first}"
        for frame in (first, first + 12, first + 24):
            bpy.context.scene.frame_set(frame)
            keys = mesh.data.shape_keys.evaluated_get(bpy.context.evaluated_depsgraph_get())
            turned = bones.pose.bones["head"].matrix_basis.to_quaternion().angle
            moved = bones.pose.bones["neck_x"].matrix_basis.translation.length * bones.matrix_world.median_scale
            seen.append((keys.key_blocks["smile"].value, turned, 10 * moved))
            if place == WORK / "strip":
                assert abs(keys.key_blocks["jawOpen"].value - keys.key_blocks["smile"].value) < 0.02, "the driver"
            assert bones.matrix_world.translation.length < 1e-4, f"{name}: the rig is moved"
        wanted = [(0.0, 0.0, 0.0), (0.5, 0.25, 0.1), (1.0, 0.5, 0.2)]
        assert np.abs(np.array(seen) - wanted).max() < 0.1, f"{name}: {seen}"


def export_strip(head: Any, rig: Any, folder: Path) -> None:
    """The same again from elsewhere: two strips make the smile, a constraint nods by what it copies, and a driver of
    somebody's own moves a key. Nothing of the head or its rig is another one afterwards."""
    keys, scene = head.data.shape_keys, bpy.context.scene
    data = keys.animation_data
    action, slot = data.action, getattr(data, "action_slot", None)
    data.action = None
    for begin, influence in ((101, 1.0), (101, 0.0)):
        strip = data.nla_tracks.new().strips.new("Good day", begin, action)
        strip.influence, strip.extrapolation = influence, "HOLD_FORWARD"
        if slot is not None:
            strip.action_slot = slot
    rig.animation_data.action = None
    nodding = bpy.data.objects.new("nodding", None)
    scene.collection.objects.link(nodding)
    nodding.rotation_mode = "XYZ"
    for frame, turn in ((101, 0.0), (125, 0.5)):
        nodding.rotation_euler.x, nodding.location.x = turn, 0.04 * turn
        nodding.keyframe_insert("rotation_euler", frame=frame)
        nodding.keyframe_insert("location", frame=frame)
    held = rig.pose.bones["head"].constraints.new("COPY_ROTATION")
    held.target, held.owner_space = nodding, "LOCAL"
    held = rig.pose.bones["neck.x"].constraints.new("COPY_LOCATION")
    held.target, held.target_space, held.owner_space = nodding, "LOCAL", "LOCAL"
    driver = keys.key_blocks["jawOpen"].driver_add("value").driver
    driver.type = "SUM"
    target = driver.variables.new().targets[0]
    target.id_type, target.id, target.data_path = "KEY", keys, 'key_blocks["smile"].value'
    scene.frame_set(113)
    keys.key_blocks["viseme_aa"].value = 0.25
    rig.pose.bones["head"].rotation_euler.y = 0.125
    bpy.context.view_layer.update()
    before = [key.value for key in keys.key_blocks], [bone.matrix_basis.copy() for bone in rig.pose.bones]
    for name in ("THREE", "UNREAL"):
        assert bpy.ops.idto3d.export(directory=str(folder), preset=name) == {"FINISHED"}
    assert abs(keys.key_blocks["smile"].value - 0.5) < 1e-3 and abs(nodding.rotation_euler.x - 0.25) < 1e-3
    assert ([key.value for key in keys.key_blocks], [bone.matrix_basis for bone in rig.pose.bones]) == before
    assert scene.frame_current == 113


def curves_of(rig: Any) -> Any:
    data = rig.animation_data
    if bpy.app.version < (4, 4):
        return data.action.fcurves
    return data.action.layers[0].strips[0].channelbag(data.action_slot).fcurves


def check_rig() -> None:
    """With an armature: its bones and weights go along, in rest, and the head is as large as before."""
    head = new_head()
    rig = bpy.data.objects.new("Zoë rig", bpy.data.armatures.new("Zoë rig"))
    bpy.context.scene.collection.objects.link(rig)
    rig.location, rig.scale = head.location, head.scale
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    for name, low, high in (("neck.x", -0.13, -0.05), ("head", -0.05, 0.1), ("target", 0.1, 0.2)):
        bone = rig.data.edit_bones.new(name)
        bone.head, bone.tail = (0, 0, low), (0, 0, high)
    rig.data.edit_bones["head"].parent = rig.data.edit_bones["neck.x"]
    rig.data.edit_bones["target"].use_deform = False
    bpy.ops.object.mode_set(mode="OBJECT")
    head.vertex_groups.new(name="neck.x")
    head.vertex_groups.new(name="head").add(list(range(len(head.data.vertices))), 1.0, "REPLACE")
    head.parent, head.location, head.rotation_euler = rig, (0, 0, 0), (0, 0, 0)
    head.scale = (1, 1, 1)
    head.modifiers.new("Armature", "ARMATURE").object = rig
    rig.pose.bones["head"].rotation_mode = "XYZ"
    rig.pose.bones["head"].rotation_euler.x = 0.5
    bpy.context.view_layer.objects.active = head
    folder = WORK / "rigged"
    for name in FILES:
        assert bpy.ops.idto3d.export(directory=str(folder), preset=name) == {"FINISHED"}, name
    assert bpy.ops.idto3d.export(directory=str(folder / "still"), preset="THREE", rig=False) == {"FINISHED"}
    assert abs(rig.pose.bones["head"].rotation_euler.x - 0.5) < 1e-6
    check_elsewhere(head, folder / FILES["THREE"])
    check_animation(head, rig)
    for name, file in FILES.items():
        objects, found = read(name, folder / file)
        assert {"neck_x", "head"} <= found.bones and "target" not in found.bones, f"{name}: {found.bones}"
        mesh = next(obj for obj in objects if obj.type == "MESH" and obj.data.shape_keys is not None)
        bones = next(obj for obj in objects if obj.type == "ARMATURE")
        assert len([g for vertex in mesh.data.vertices for g in vertex.groups if g.weight > 0.99]) >= len(TRUTH["seen"])
        wanted = TRUTH["vertices"].max(axis=0) - ORIGIN
        assert np.abs(found.bounds[1] - wanted).max() < 1e-5, f"{name}: {found.bounds}"
        top = bones.matrix_world @ bones.data.bones["head"].head_local
        assert abs(top.z + 0.05) < 1e-4 and abs(top.y) < 1e-4, f"{name}: the bone is at {top}"
        # The bone moves the head's mesh.
        bones.pose.bones["head"].rotation_mode = "XYZ"
        bones.pose.bones["head"].rotation_euler.x = 1.0
        bpy.context.view_layer.update()
        turned = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
        moved = max((a.co - b.co).length * mesh.matrix_world.median_scale
                    for a, b in zip(turned.vertices, mesh.data.vertices, strict=True))  # fmt: skip
        assert moved > 0.05, f"{name}: the bone moves nothing"
    _, found = read("THREE", folder / "still" / FILES["THREE"])
    assert not found.bones and found.keys.keys() == set(NAMES)


def main() -> None:
    warnings.simplefilter("ignore")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    check_rig()
    idto3d_blender.unregister()
    blender_session.leave()


main()
