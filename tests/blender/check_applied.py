# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: heads whose place, turn and scale were applied to their mesh (Ctrl+A), to be rigged,
turned by a take, and looked for in a video. ``python check_applied.py WORK`` as check_import.py."""

import math
from typing import Any

import bpy
import numpy as np
from mathutils import Euler, Matrix, Vector

import idto3d_blender
from idto3d_blender.capture import takes
from idto3d_blender.head import applied, mesh_data, separate
from tests.blender import blender_session
from tests.blender.blender_session import give_teeth, refused
from tests.blender.captured import WORK, at_frame, csv_of, front, new_head, plain, ramp

APPLIED = {
    "turned": Matrix.Rotation(math.pi / 2, 4, "Z"),
    "raised": Matrix.Translation((0, 0, 1.5)),
    "in centimetres": Matrix.Scale(100, 4),
    "all": Matrix.LocRotScale(Vector((1, 2, 3)), Euler((0.3, 0.2, 1.0)), Vector((2, 2, 2))),
}


def head_with_teeth(name: str) -> Any:
    return give_teeth(new_head(name))


def apply(head: Any, matrix: Matrix) -> None:
    head.matrix_world = matrix
    bpy.context.view_layer.update()
    assert bpy.ops.object.transform_apply(location=True, rotation=True, scale=True) == {"FINISHED"}


def mesh_of(head: Any) -> np.ndarray:
    return mesh_data.places(head.data.shape_keys.reference_key)


def world_of(head: Any) -> np.ndarray:
    matrix = np.array(head.matrix_world)
    return mesh_of(head) @ matrix[:3, :3].T + matrix[:3, 3]


def check_rigs() -> None:
    """The rig is as that of a head to which nothing was applied, and what is seen of the head stays where it is."""
    plain_head = head_with_teeth("plain")
    made = mesh_of(plain_head)
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    bones = {bone.name: np.array(bone.head_local) for bone in plain_head.parent.data.bones}
    assert "eye.L" in bones and "eye.R" in bones
    for name, matrix in APPLIED.items():
        head = head_with_teeth(name)
        apply(head, matrix)
        child = bpy.data.objects.new("hat", None)
        bpy.context.scene.collection.objects.link(child)
        child.parent, child.location = head, (0.1, 0.0, 0.2)
        bpy.context.view_layer.update()
        before, hat, size = world_of(head), child.matrix_world.translation.copy(), matrix.median_scale
        assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
        bpy.context.view_layer.update()
        assert np.abs(world_of(head) - before).max() < 1e-5 * size, name
        assert (child.matrix_world.translation - hat).length < 1e-5 * size, name
        assert np.abs(mesh_of(head) - made).max() < 1e-5, name
        found = {bone.name: np.array(bone.head_local) for bone in head.parent.data.bones}
        assert found.keys() == bones.keys(), name
        assert max(np.abs(found[bone] - bones[bone]).max() for bone in bones) < 1e-4, name


def check_takes() -> None:
    """A nod is a nod."""
    plain()
    for rigged in (False, True):
        head = head_with_teeth(f"nodding {rigged}")
        if rigged:
            assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
            blender_session.select(head)
        apply(head, APPLIED["turned"])
        assert bpy.ops.idto3d.capture_open(filepath=str(csv_of("nod", pitch=ramp(0.5)))) == {"FINISHED"}
        assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
        at_frame(30)
        if rigged:
            bone = head.parent.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones["head"]
            turn = (bone.matrix @ bone.bone.matrix_local.inverted()).to_3x3()
            looks = turn @ Vector((1, 0, 0))
        else:
            looks = front(head)
        # Turned by 90 degrees, it looked along X.
        assert (looks - Vector((math.cos(0.5), 0, -math.sin(0.5)))).length < 1e-3, (rigged, looks)


def check_parts() -> None:
    """What was applied to all parts of a separated head is told by those that are inside."""
    plain()
    for by in ("PART", "MATERIAL"):
        head_with_teeth(f"apart {by}")
        assert bpy.ops.idto3d.separate_parts(by=by) == {"FINISHED"}
        parts = separate.parts_of(bpy.context.object)
        assert len(parts) > 1
        blender_session.select(bpy.context.object, *parts)
        for part in parts:
            part.matrix_world = APPLIED["turned"]
        bpy.context.view_layer.update()
        assert bpy.ops.object.transform_apply(location=True, rotation=True, scale=True) == {"FINISHED"}
        before = [world_of(part) for part in parts]
        assert bpy.ops.idto3d.capture_open(filepath=str(csv_of("nod", pitch=ramp(0.5)))) == {"FINISHED"}
        assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
        at_frame(1)
        assert max(np.abs(world_of(part) - was).max() for part, was in zip(parts, before, strict=True)) < 0.01
        at_frame(30)
        assert (front(bpy.context.object) - Vector((math.cos(0.5), 0, -math.sin(0.5)))).length < 1e-3


def check_forms() -> None:
    """The forms of a head take each other's place: what is taken off one is taken off all."""
    plain()
    full = head_with_teeth("in two forms")
    apply(full, APPLIED["all"])
    before = world_of(full)
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"} and bpy.context.object != full
    assert bpy.ops.idto3d.capture_open(filepath=str(csv_of("still", jawOpen=ramp(0.5)))) == {"FINISHED"}
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    at_frame(1)
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"} and bpy.context.object == full
    bpy.context.view_layer.update()
    assert np.abs(world_of(full) - before).max() < 1e-4, np.abs(world_of(full) - before).max()


def check_stretched() -> None:
    """No place, turn and scale say what a turned and then stretched head is: it is told before anything is changed."""
    head = head_with_teeth("stretched")
    apply(head, Matrix.Rotation(math.pi / 4, 4, "Z"))
    head.scale = (1.2, 1.0, 1.0)
    bpy.context.view_layer.update()
    before = mesh_of(head)
    for operator in (bpy.ops.idto3d.add_rig, bpy.ops.idto3d.capture_bake):
        refused(operator, "stretched")
    assert np.array_equal(mesh_of(head), before)


def check_video() -> None:
    """The backend gets the face as it was made."""
    head = head_with_teeth("filmed")
    made = mesh_of(head)
    apply(head, APPLIED["all"])
    with np.load(takes._write_head(head, WORK / "for the backend")) as written:
        assert np.abs(written["vertices"] - made).max() < 1e-4


def check_own_shape() -> None:
    """What somebody sculpts is no transform, nor is a head without notes, of an earlier release."""
    head = head_with_teeth("sculpted")
    key = head.data.shape_keys.reference_key
    points = mesh_of(head)
    points[points[:, 1] < -0.03] *= (1.1, 1.05, 1.0)
    key.points.foreach_set("co", points.ravel())
    assert applied.matrix_of(head) is None
    apply(head, APPLIED["turned"])
    assert applied.matrix_of(head) is not None
    del head.data["idto3d_anchors"]
    assert applied.matrix_of(head) is None and not applied.take_back(head)


def main() -> None:
    idto3d_blender.register()
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = 24, 1.0
    check_rigs()
    check_takes()
    check_parts()
    check_forms()
    check_stretched()
    check_video()
    check_own_shape()
    idto3d_blender.unregister()
    blender_session.leave()


main()
