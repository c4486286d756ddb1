# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: a rig on a head, posed by its bones and by its keys. ``python check_rig.py WORK``."""

import json
import struct
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Euler, Matrix, Vector

import idto3d_blender
from idto3d_blender.head import rig, rig_keys
from idto3d_blender.head.export import BY_NAME, readback, stage
from tests.blender import blender_session, check_polls
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import refused

WORK = Path(sys.argv[-1])
NEW = ("jawOpen", "jawForward", "eyeLookDownLeft", "eyeLookInLeft")
EYE = np.array((0.03, -0.085, 0.02 + 0.13))
JOINT, ANGLE, EYE_ANGLE = np.array((0.0, 0.0, 0.13)), 0.3, 0.4


def turned(points: np.ndarray, about: np.ndarray, turn: Any) -> np.ndarray:
    return (points - about) @ np.array(turn.to_matrix()).T + about


def seen(head: Any) -> np.ndarray:
    """(V,3) places of the evaluated vertices in the world."""
    bpy.context.view_layer.update()
    mesh = head.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
    flat = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", flat)
    return flat.reshape(-1, 3) @ np.array(head.matrix_world.to_3x3()).T + np.array(head.matrix_world.translation)


def make_head() -> tuple[Any, np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """A head with four of ARKit's keys, turned and moved; its places, offsets and which vertices are the left eye's."""
    synthetic.write(WORK / "anna")
    assert bpy.ops.idto3d.import_head(filepath=str(WORK / "anna")) == {"FINISHED"}
    head = bpy.context.object
    flat = np.empty(3 * len(head.data.vertices), np.float32)
    head.data.shape_keys.key_blocks[0].points.foreach_get("co", flat)
    basis = flat.reshape(-1, 3).astype(float)
    ball = len(synthetic.ellipsoid(6, 8, quads=True)["vertices"])
    first = len(synthetic.ellipsoid()["vertices"]) + ball + 8
    left = np.arange(first, first + ball)
    assert np.allclose(basis[left].mean(axis=0), EYE, atol=1e-3)
    offsets = {name: np.zeros_like(basis) for name in NEW}
    jaw = (basis[:, 1] < -0.02) & (basis[:, 2] < 0.09) & (np.arange(len(basis)) < first - ball - 8)
    offsets["jawOpen"][jaw] = (turned(basis, JOINT, Euler((ANGLE, 0, 0))) - basis)[jaw]
    offsets["jawForward"][jaw] = (0.0, -0.008, 0.0)
    lid = np.arange(100, 130)
    offsets["eyeLookDownLeft"][lid] = (0.0, 0.0, -0.004)
    # This key turns the eyeball, too, and must not turn it twice.
    offsets["eyeLookDownLeft"][left] = (turned(basis, EYE, Euler((EYE_ANGLE, 0, 0))) - basis)[left]
    offsets["eyeLookInLeft"][lid] = (-0.003, 0.0, 0.0)
    for name, offset in offsets.items():
        key = head.shape_key_add(name=name, from_mix=False)
        key.points.foreach_set("co", (basis + offset).astype(np.float32).ravel())
        key.value = 0.0
    head.location, head.rotation_euler = (1.0, 2.0, 0.5), (0.0, 0.0, 0.6)
    return head, basis, offsets, left


def check_jaw_and_eyes(head: Any, basis: np.ndarray, offsets: dict[str, np.ndarray], left: np.ndarray) -> None:
    made = rig.rig_of(head)
    keys, bones = head.data.shape_keys.key_blocks, made.pose.bones
    world = np.array(head.matrix_world)

    def off(wanted: np.ndarray) -> float:
        return float(np.abs(seen(head) - (wanted @ world[:3, :3].T + world[:3, 3])).max())

    assert off(basis) < 1e-5, "a rig at rest moves the head"
    opened = basis + offsets["jawOpen"]
    bones["jaw"].rotation_euler.x = ANGLE
    assert off(opened) < 1e-4, off(opened)
    assert keys["jawOpen"].value == 0.0 and abs(keys["rig_jawOpen"].value - 1) < 1e-3
    keys["jawOpen"].value = 0.4
    bones["jaw"].rotation_euler.x = 0.6 * ANGLE
    assert off(opened) < 1e-4, "bone and key do not add up"
    keys["jawOpen"].value, bones["jaw"].rotation_euler.x = 1.0, 0.0
    assert off(opened) < 1e-4
    keys["jawOpen"].value = 0.0
    bones["jaw"].rotation_euler.x = -0.3
    assert off(basis) < 1e-4, "a mouth that opens inwards"
    bones["jaw"].rotation_euler.x, bones["jaw"].location.y = 0.0, 0.004
    assert off(basis + 0.5 * offsets["jawForward"]) < 1e-4
    bones["jaw"].location.y = 0.0

    wanted = basis + offsets["eyeLookDownLeft"]
    bones["eye.L"].rotation_euler.x = EYE_ANGLE
    assert off(wanted) < 1e-4, f"{off(wanted)}: the lid or the eyeball is elsewhere"
    bones["eye.L"].rotation_euler = (0.0, 0.0, 0.61)
    wanted = basis + offsets["eyeLookInLeft"]
    wanted[left] = turned(basis[left], EYE, Euler((0.0, 0.0, -0.61)))
    assert off(wanted) < 2e-4, f"{off(wanted)}: the eye does not turn inwards"
    bones["eye.L"].rotation_euler.z = 0.0
    assert off(basis) < 1e-5


def check_neck(head: Any) -> None:
    made = rig.rig_of(head)
    rest = seen(head)
    made.pose.bones["head"].rotation_euler.x = 0.5
    moved = seen(head)
    high = int(np.argmax(rest[:, 2]))
    bone = made.data.bones["head"]
    world = made.matrix_world
    about = world @ bone.head_local
    axis = world.to_3x3() @ Vector((1.0, 0.0, 0.0))
    wanted = Matrix.Rotation(0.5, 3, axis) @ (Vector(rest[high]) - about) + about
    assert (Vector(moved[high]) - wanted).length < 1e-4
    forwards = world.to_3x3() @ Vector((0.0, -1.0, 0.0))
    assert (Vector(moved[high]) - Vector(rest[high])).dot(forwards) > 0.02, "the head nods backwards"
    made.pose.bones["head"].rotation_euler.x = 0.0


def check_look_at(head: Any) -> None:
    made = rig.rig_of(head)
    target = made.pose.bones[rig.TARGET]
    target.location = (0.15, 0.0, 0.0)  # to the person's left
    bpy.context.view_layer.update()
    straight = made.pose.bones["eye.L"].matrix.to_3x3() @ Vector((0.0, 1.0, 0.0))
    assert (straight - Vector((0.0, -1.0, 0.0))).length < 1e-4, "it looks although it is switched off"
    made[rig.LOOK_AT] = 1.0
    made.update_tag()
    bpy.context.view_layer.update()
    for side in ("eye.L", "eye.R"):
        eye = made.pose.bones[side]
        way = (target.matrix.translation - eye.matrix.translation).normalized()
        assert (eye.matrix.to_3x3() @ Vector((0.0, 1.0, 0.0)) - way).length < 0.01, side
        assert way.x > 0.2
    # Looking left, the left eye looks outwards; its lids follow what the constraint does.
    assert head.data.shape_keys.key_blocks["rig_eyeLookInLeft"].value == 0.0
    target.location = (-0.15, 0.0, 0.0)
    bpy.context.view_layer.update()
    assert head.data.shape_keys.key_blocks["rig_eyeLookInLeft"].value > 0.3
    target.location, made[rig.LOOK_AT] = (0.0, 0.0, 0.0), 0.0
    made.update_tag()


def check_body(head: Any) -> None:
    """A body's armature whose head bone has Rigify's name."""
    data = bpy.data.armatures.new("body")
    body = bpy.data.objects.new("body", data)
    bpy.context.scene.collection.objects.link(body)
    body.location = (1.0, 2.0, 0.0)
    with rig._editing(bpy.context, body):
        for name, low, high in (("spine.004", 0.3, 0.5), ("spine.006", 0.5, 0.8)):
            bone = data.edit_bones.new(name)
            bone.head, bone.tail = (0.0, 0.0, low), (0.0, 0.05, high)
    rest = seen(head)
    refused(lambda: bpy.ops.idto3d.rig_to_bone(armature="body", bone="tail"), "no bone tail")
    made = rig.rig_of(head)
    body.pose.bones["spine.006"].scale = (0.0, 0.0, 0.0)
    bpy.context.view_layer.update()
    refused(lambda: bpy.ops.idto3d.rig_to_bone(armature="body"), "spine.006 of body has a scale of 0")
    body.pose.bones["spine.006"].scale = (1.0, 1.0, 1.0)
    # What hangs on the rig cannot carry it.
    rig.hang(body, made, "BONE", "head", body.matrix_world.copy())
    bpy.context.view_layer.update()
    refused(bpy.ops.idto3d.rig_to_bone, "no other armature")
    rig.hang(body, None, "OBJECT", "", body.matrix_world.copy())
    made.scale = (0.0, 0.0, 0.0)
    bpy.context.view_layer.update()
    refused(bpy.ops.idto3d.remove_rig, "scale of 0")
    made.scale = (1.0, 1.0, 1.0)
    bpy.context.view_layer.update()
    assert bpy.ops.idto3d.rig_to_bone(armature="body") == {"FINISHED"}
    assert rig.rig_of(head).parent_bone == "spine.006"
    assert np.abs(seen(head) - rest).max() < 1e-5, "the head jumped"
    body.pose.bones["spine.006"].rotation_mode = "XYZ"
    before = body.matrix_world @ body.pose.bones["spine.006"].matrix
    body.pose.bones["spine.006"].rotation_euler.z = 0.7
    bpy.context.view_layer.update()
    by = body.matrix_world @ body.pose.bones["spine.006"].matrix @ before.inverted()
    wanted = rest @ np.array(by.to_3x3()).T + np.array(by.translation)
    assert np.abs(seen(head) - wanted).max() < 1e-4, "the head does not follow its body"
    body.pose.bones["spine.006"].rotation_euler.z = 0.0


def check_export(head: Any) -> None:
    """Skin and keys go along, and the twins do not."""
    assert bpy.ops.idto3d.export(directory=str(WORK / "out"), preset="THREE") == {"FINISHED"}
    (file,) = (WORK / "out").rglob("*.glb")
    data = file.read_bytes()
    (length,) = struct.unpack("<I", data[12:16])
    made = json.loads(data[20 : 20 + length])
    (mesh,) = made["meshes"]
    assert set(mesh["extras"]["targetNames"]) == {*synthetic.EXPRESSIONS, *NEW}
    (skin,) = made["skins"]
    joints = {made["nodes"][joint]["name"] for joint in skin["joints"]}
    assert {"neck", "head", "jaw", "eye_L", "eye_R"} <= {name.replace(".", "_") for name in joints}, joints
    assert all("WEIGHTS_0" in primitive["attributes"] for primitive in mesh["primitives"])
    assert "jaw" not in head.vertex_groups and not rig.rig_of(head).data.bones["jaw"].use_deform, "the head was changed"
    for name in ("THREE", "UNREAL", "USD"):
        check_jaw_elsewhere(name)
    # Nor need the head hang on its rig: the modifier poses it.
    parent, inverse, basis = head.parent, head.matrix_parent_inverse.copy(), head.matrix_basis.copy()
    world = head.matrix_world.copy()
    head.parent = None
    head.matrix_world = world
    check_jaw_elsewhere("UNREAL")
    head.parent, head.matrix_parent_inverse, head.matrix_basis = parent, inverse, basis


def check_jaw_elsewhere(preset: str) -> None:
    """In another program the jaw's bone opens the mouth as its key does."""
    assert bpy.ops.idto3d.export(directory=str(WORK / preset), preset=preset) == {"FINISHED"}
    file = next(path for path in (WORK / preset).rglob("*") if path.suffix in (".glb", ".fbx", ".usdc"))
    with stage.scene_of_our_own(bpy.context):
        before = set(bpy.data.objects)
        readback.read(file, BY_NAME[preset])
        objects = set(bpy.data.objects) - before
        mesh = next(obj for obj in objects if obj.type == "MESH" and obj.data.shape_keys is not None)
        bones = next(obj for obj in objects if obj.type == "ARMATURE")
        key = mesh.data.shape_keys.key_blocks["jawOpen"]
        rest = seen(mesh)
        key.value = 1.0
        opened = seen(mesh)
        key.value = 0.0
        jaw = bones.pose.bones["jaw"]
        place = bones.matrix_world @ jaw.matrix
        about = Matrix.Translation(place.translation)
        turn = about @ Matrix.Rotation(ANGLE, 4, "X") @ about.inverted()
        jaw.matrix = bones.matrix_world.inverted() @ turn @ place
        by_bone = seen(mesh)
    assert np.abs(opened - rest).max() > 0.01 and np.abs(by_bone - opened).max() < 1e-3, (
        f"{preset}: {np.abs(opened - rest).max()}, {np.abs(by_bone - opened).max()}"
    )


def check_deleted(head: Any, keys: list[str]) -> None:
    """A rig that somebody has deleted, as one deletes objects: the head gets another one, and nothing twice."""
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    before = [len(kept) for kept in (head.data.shape_keys.key_blocks, head.vertex_groups, head.modifiers)]
    blender_session.select(rig.rig_of(head))
    assert bpy.ops.object.delete() == {"FINISHED"} and rig.rig_of(head) is None
    blender_session.select(head)
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"} and rig.rig_of(head) is not None
    assert [len(kept) for kept in (head.data.shape_keys.key_blocks, head.vertex_groups, head.modifiers)] == before
    head.active_shape_key_index = 2
    assert bpy.ops.idto3d.remove_rig() == {"FINISHED"} and not head.vertex_groups
    assert head.active_shape_key_index == 2, "another key is edited now"
    assert [key.name for key in head.data.shape_keys.key_blocks] == keys


def check_motion_stays(head: Any) -> None:
    """A head whose rig somebody has moved as a whole goes on as before without it, and what they have keyed of the
    bones is saved with the file."""
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    made = rig.rig_of(head)
    jaw = made.pose.bones["jaw"]
    for frame, x in ((1, 1.0), (41, 3.0)):
        made.location.x, jaw.rotation_euler.x = x, x / 10
        made.keyframe_insert("location", frame=frame)
        jaw.keyframe_insert("rotation_euler", frame=frame)

    def places() -> np.ndarray:
        return np.array([(bpy.context.scene.frame_set(frame), np.array(head.matrix_world))[1] for frame in (1, 21, 41)])

    before = places()
    assert np.ptp(before, axis=0).max() > 1
    made.animation_data.nla_tracks.new()
    action = made.animation_data.action
    strip = made.animation_data.nla_tracks[0].strips.new("own", 1, action)
    if bpy.app.version >= (4, 4):
        strip.action_slot = made.animation_data.action_slot
    made.animation_data.action = None
    made.animation_data.nla_tracks.active = made.animation_data.nla_tracks[0]
    made.animation_data.nla_tracks[0].select = strip.select = True
    made.animation_data.use_tweak_mode = True
    refused(bpy.ops.idto3d.remove_rig, "tweak mode")
    made.animation_data.use_tweak_mode = False
    bpy.context.scene.frame_set(11)
    assert bpy.ops.idto3d.remove_rig() == {"FINISHED"} and rig.rig_of(head) is None
    assert np.abs(places() - before).max() < 1e-5, "it stands still without its rig"
    paths = {curve.data_path for one in bpy.data.actions if one.use_fake_user for curve in curves(one)}
    assert any(path.startswith('pose.bones["jaw"].rotation') for path in paths), "the motion of the jaw is lost"


def check_override(head: Any) -> None:
    """In the file of a shot, which links the head and overrides it, the eyes still look at the target when it is opened
    again."""
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    collection = head.users_collection[0].name
    library, shot = str(WORK / "library.blend"), str(WORK / "shot.blend")
    bpy.ops.wm.save_as_mainfile(filepath=library)
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(library, link=True) as (_, linked):
        linked.collections = [collection]
    bpy.context.scene.collection.children.link(linked.collections[0])
    linked.collections[0].override_hierarchy_create(bpy.context.scene, bpy.context.view_layer)
    made = overridden_rig()
    made.override_library.is_system_override = False
    made[rig.LOOK_AT] = 1.0
    bpy.ops.wm.save_as_mainfile(filepath=shot)
    bpy.ops.wm.open_mainfile(filepath=shot)
    assert overridden_rig()[rig.LOOK_AT] == 1.0, "the shot has lost where the eyes look"


def overridden_rig() -> Any:
    return next(one for one in bpy.data.objects if one.type == "ARMATURE" and one.override_library is not None)


def curves(action: Any) -> Any:
    if bpy.app.version < (4, 4):
        return action.fcurves
    bags = [bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags]
    return [curve for bag in bags for curve in bag.fcurves]


def main() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    head, basis, offsets, left = make_head()
    refused(bpy.ops.idto3d.remove_rig, "no rig")
    kinds = ("objects", "meshes", "armatures", "collections", "materials", "images")
    before = {kind: len(getattr(bpy.data, kind)) for kind in kinds}
    keys = [key.name for key in head.data.shape_keys.key_blocks]
    head.vertex_groups.new(name="neck")
    refused(bpy.ops.idto3d.add_rig, "vertex groups called neck")
    head.vertex_groups.clear()
    head.hide_set(True)
    refused(bpy.ops.idto3d.add_rig, "Show the head")
    head.hide_set(False)
    head.scale.z = 0.0
    bpy.context.view_layer.update()
    refused(bpy.ops.idto3d.add_rig, "scale of 0")
    head.scale.z = 1.0
    bpy.context.view_layer.update()
    bpy.context.view_layer.objects.active = head
    head.select_set(True)
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"} and bpy.context.object == head and head.select_get()
    refused(bpy.ops.idto3d.add_rig, "has a rig already")
    made = rig.rig_of(head)
    assert set(made.data.bones.keys()) == {*rig.BONES, rig.TARGET}
    assert {one.name for one in made.data.collections} == {"Head", "Eyes"}
    assert all(bone.custom_shape is not None for bone in made.pose.bones)
    twins = [key.name for key in head.data.shape_keys.key_blocks if rig_keys.is_twin(key.name)]
    assert twins == [f"rig_{name}" for name in ("jawOpen", "jawForward", "eyeLookDownLeft", "eyeLookInLeft")], twins
    check_jaw_and_eyes(head, basis, offsets, left)
    check_neck(head)
    check_look_at(head)
    check_body(head)
    check_polls.draw_all_panels()
    refused(bpy.ops.idto3d.select_head, "Select the rig")
    made = rig.rig_of(head)
    bpy.context.view_layer.objects.active = made
    bpy.ops.object.mode_set(mode="POSE")
    check_polls.draw_all_panels()
    assert bpy.ops.idto3d.select_head() == {"FINISHED"}
    assert bpy.context.mode == "OBJECT" and bpy.context.selected_objects == [head] == [bpy.context.object]
    check_export(head)
    assert bpy.ops.idto3d.rename_head(name="ben") == {"FINISHED"} and made.name == made.data.name == "ben rig"
    # What moves the keys of the expressions moves no twin, and the test animation keys none.
    assert bpy.ops.idto3d.test_animation(frames=6) == {"FINISHED"}
    assert bpy.context.scene.frame_end <= 6 * (len(keys) - 1)
    assert bpy.ops.idto3d.clear_animation() == {"FINISHED"}
    place = head.matrix_world.copy()
    # A copy that hangs on the same rig gives up its own part of it.
    count = len(head.data.shape_keys.key_blocks)
    blender_session.select(head)
    assert bpy.ops.object.duplicate() == {"FINISHED"} and bpy.ops.idto3d.remove_rig() == {"FINISHED"}
    copy = bpy.context.object
    assert rig.rig_of(copy) is None and copy.parent == made.parent and not copy.vertex_groups
    assert np.abs(np.array(copy.matrix_world) - np.array(place)).max() < 1e-5
    assert rig.rig_of(head) == made and head.parent == made and len(head.data.shape_keys.key_blocks) == count
    bpy.data.meshes.remove(copy.data)
    blender_session.select(head)
    # From a thinner one it goes off the full head, too, and off the other way round.
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    half = bpy.context.object
    bpy.context.view_layer.objects.active = made
    assert bpy.ops.idto3d.select_head() == {"FINISHED"} and bpy.context.object == half, "a head that is hidden"
    assert bpy.ops.idto3d.remove_rig() == {"FINISHED"} and not half.modifiers and not half.vertex_groups
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"} and bpy.context.object == head
    bpy.data.batch_remove([half, half.data, *{m for m in half.data.materials if m.users == 1}])
    bpy.data.batch_remove([bpy.data.objects["body"], bpy.data.armatures["body"]])
    assert {kind: len(getattr(bpy.data, kind)) for kind in kinds} == before
    assert [key.name for key in head.data.shape_keys.key_blocks] == keys
    moving = head.data.shape_keys.animation_data
    assert not head.vertex_groups and not head.modifiers and not (moving and moving.drivers)
    bpy.context.view_layer.update()
    assert np.abs(np.array(head.matrix_world) - np.array(place)).max() < 1e-5, "the head jumped"
    check_deleted(head, keys)
    check_motion_stays(head)
    check_override(head)
    idto3d_blender.unregister()
    blender_session.leave()


main()
