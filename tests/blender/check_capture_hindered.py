# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: takes onto heads where something else moves what a take would.

``python check_capture_hindered.py WORK`` as check_import.py.
"""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import bpy
import numpy as np
from mathutils import Quaternion

import idto3d_blender
from idto3d_blender.capture import bake, target
from idto3d_blender.capture.table import SHAPES
from tests.blender import blender_session
from tests.blender.captured import at_frame, csv_of, front, new_head, plain, ramp
from tests.blender.check_capture_again import AHEAD, bake_take, looks, opened


def baked(**columns: Any) -> bake.Baked:
    """What a take comes to, of which the operator tells."""
    results: list[bake.Baked] = []
    made = bake.bake

    def kept(*how: Any) -> bake.Baked:
        results.append(made(*how))
        return results[-1]

    with patch.object(bake, "bake", kept):
        bake_take(csv_of("hindered", **columns))
    return results[0]


def drive(owner: Any, path: str, index: int = -1) -> Any:
    """A driver that holds a property at 0."""
    curve = owner.driver_add(path, index)
    curve.driver.expression = "0.0"
    return curve


def check_driven_keys(head: Any) -> None:
    """Drivers that hold all keys leave the take the turns of the head, and say so; with nothing left it does nothing,
    and an action of somebody's own stays. What is muted holds nothing."""
    keys = head.data.shape_keys
    curves = [drive(keys.key_blocks[name], "value") for name in SHAPES]
    plain()
    made = baked(jawOpen=ramp(0.5), yaw=ramp(0.5))
    assert made.driven == SHAPES and bpy.data.actions[made.action].frame_range[1] > 1, made
    at_frame(30)
    assert (front(head) - AHEAD).length > 0.4
    keys.key_blocks["smile"].keyframe_insert("value", frame=1)
    own = keys.animation_data.action
    for strip in (False, True):
        given = plain()
        given.as_strip, given.head = strip, False
        made = baked(jawOpen=ramp(0.5))
        assert made.driven == SHAPES and made.action == "", made
        assert keys.animation_data.action == own
        given.head = True
    plain()
    curves[SHAPES.index("jawOpen")].mute = True
    assert "jawOpen" not in baked(jawOpen=ramp(0.5)).driven and opened(head, 30) == 0.5


def check_driven_turns(head: Any, other: Any) -> None:
    """Bones and empties that drivers turn are named as keys are."""
    plain()
    blender_session.select(head)
    assert baked(yaw=ramp(0.5)).driven == ()
    for index in range(4):
        drive(head.parent, "rotation_quaternion", index)
    assert baked(yaw=ramp(0.5)).driven == (head.parent.name,)
    blender_session.select(other)
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    drive(other.parent.pose.bones["head"], "rotation_euler", 1)
    assert baked(yaw=ramp(0.5), jawOpen=ramp(0.3)).driven == ("head",) and opened(other, 30) == 0.3


def check_over_strips(head: Any) -> None:
    """An active action without turns stops those that strips of takes below it have, of the head as of the eyes; what
    somebody has keyed of a bone goes on."""
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    rig = head.parent
    plain().as_strip = True
    baked(yaw=ramp(0.5), left=ramp(0.2), right=ramp(0.2))
    for mode in ("XYZ", "QUATERNION"):
        rig.pose.bones["head"].rotation_mode = mode
        bake_take(csv_of("still", jawOpen=ramp(0.3)), as_strip=False, head=False, eyes=False)
        at_frame(30)
        assert (looks(head) - AHEAD).length < 1e-3, mode
        assert rig.pose.bones["eye.L"].matrix_basis.to_quaternion().angle < 1e-3
    rig.animation_data.action = None
    bone = rig.pose.bones["head"]
    bone.rotation_mode = "XYZ"
    for frame, angle in ((1, 0.0), (30, 0.2)):
        bone.rotation_euler.x = angle
        bone.keyframe_insert("rotation_euler", frame=frame)
    bake_take(csv_of("still", jawOpen=ramp(0.3)), as_strip=False, head=False, eyes=True)
    at_frame(30)
    assert abs(bone.rotation_euler.x - 0.2) < 1e-3
    given = plain()
    given.head = given.eyes = True


def check_under_own_action(head: Any) -> None:
    """What an active action of somebody's own keeps a strip from moving is told."""
    keys, given = head.data.shape_keys, plain()
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    bone = head.parent.pose.bones["head"]
    for name in ("jawOpen", "smile"):
        keys.key_blocks[name].keyframe_insert("value", frame=1)
    bone.keyframe_insert("rotation_euler", index=1, frame=1)
    given.as_strip = True
    assert baked(jawOpen=ramp(0.5), yaw=ramp(0.5)).covered == ("jawOpen", "head")
    given.as_strip = False
    assert baked(jawOpen=ramp(0.5), yaw=ramp(0.5)).covered == ()
    given.as_strip = True
    assert baked(jawOpen=ramp(0.5), yaw=ramp(0.5)).covered == (), "over a take that went"
    given.as_strip = False


def check_turned_by_hand(head: Any) -> None:
    """What somebody has keyed of the turns of the empty, or turned it by, stays when a take that turns nothing comes;
    what a take has turned it by does not."""
    plain()
    baked(yaw=ramp(0.5))
    empty = head.parent
    empty.animation_data.action = None
    for frame, turn in ((1, 0.0), (30, 0.3)):
        empty.rotation_quaternion = Quaternion((1.0, 0.0, 0.0), turn)
        empty.keyframe_insert("rotation_quaternion", frame=frame)
    own = empty.animation_data.action
    bake_take(csv_of("line", jawOpen=ramp(0.3)), head=False)
    at_frame(30)
    assert empty.animation_data.action == own and abs(empty.rotation_quaternion.angle - 0.3) < 1e-3
    empty.animation_data.action = None
    bake_take(csv_of("line", jawOpen=ramp(0.3)), head=False)
    assert abs(empty.rotation_quaternion.angle - 0.3) < 1e-3
    empty.rotation_quaternion = Quaternion()
    for mode in ("QUATERNION", "XYZ", "AXIS_ANGLE"):
        bake_take(csv_of("turned", yaw=ramp(0.5)), head=True)
        empty.rotation_mode = mode
        assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
        at_frame(30)
        assert (front(head) - AHEAD).length > 0.4
        bake_take(csv_of("line", jawOpen=ramp(0.3)), head=False)
        at_frame(30)
        assert (front(head) - AHEAD).length < 1e-3, mode
    plain().head = True


def check_no_angles(head: Any) -> None:
    """Angles of the head and the eyes that a program wrote as nothing but 0 turn nothing: no empty, the eyes by their
    shapes, and a bone that somebody has keyed goes along."""
    plain()
    baked(jawOpen=ramp(0.3))
    assert head.parent is None
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    bone = target.rig_of(head).pose.bones["head"]
    for frame, angle in ((1, 0.0), (30, 0.2)):
        bone.rotation_euler.x = angle
        bone.keyframe_insert("rotation_euler", frame=frame)
    baked(eyeLookOutLeft=ramp(0.5))
    at_frame(30)
    assert abs(head.data.shape_keys.key_blocks["eyeLookOutLeft"].value - 0.5) < 1e-3, "the eyes are dead"
    assert abs(bone.rotation_euler.x - 0.2) < 1e-3, "the bone stopped"


def check_on_vertices(new: Callable[[str], Any]) -> None:
    """A head that hangs on vertices of something that moves goes with these: turned by an empty, with a rig, and
    without it again."""
    for kind in ("VERTEX", "VERTEX_3"):
        mesh = bpy.data.meshes.new("hat")
        mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 2), (2, 0, 3), (0, 2, 4)], [], [(0, 1, 2), (3, 4, 5)])
        hat = bpy.data.objects.new("hat", mesh)
        bpy.context.scene.collection.objects.link(hat)
        for frame, x in ((1, 0.0), (49, 3.0)):
            hat.location.x, hat.rotation_euler.z = x, x / 5
            hat.keyframe_insert("location", frame=frame)
            hat.keyframe_insert("rotation_euler", frame=frame)
        for kept in ("empty", "rig", "none", "moved"):
            head = new(f"{kind} {kept}")
            head.parent, head.parent_type, head.parent_vertices = hat, kind, (4, 5, 3)
            if kept == "moved":
                head.keyframe_insert("location", frame=1)
            before = places(head)
            at_frame(7)
            plain()
            if kept != "empty":
                assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
            if kept == "none":
                assert bpy.ops.idto3d.remove_rig() == {"FINISHED"}
            else:
                baked(jawOpen=ramp(0.3), yaw=lambda times: np.full(len(times), 1e-9))
            apart = np.abs(np.subtract(places(head), before)).max()
            assert apart < 1e-3, f"{kind}, {kept}: {apart}"


def check_limits(head: Any) -> None:
    """Keys that are muted, or whose sliders end before the take, are named where that matters."""
    keys = head.data.shape_keys.key_blocks
    keys["jawOpen"].mute = keys["jawLeft"].mute = True
    keys["mouthPucker"].slider_max = keys["mouthFunnel"].slider_max = 0.4
    plain()
    made = baked(jawOpen=ramp(0.5), mouthPucker=ramp(0.6), mouthFunnel=ramp(0.3))
    assert made.muted == ("jawOpen",) and made.narrow == ("mouthPucker",), made


def check_strips_elsewhere(head: Any) -> None:
    """Lines in strips are the same in another density, whichever was shown as they were baked."""
    given = plain()
    given.as_strip = True
    baked(jawOpen=ramp(0.3))
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    for given.start in (101, 201):
        baked(jawOpen=ramp(0.3 + given.start / 1000), yaw=ramp(0.5))
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    assert [opened(head, frame) for frame in (30, 130, 230)] == [0.3, 0.4, 0.5]
    plain()


def places(obj: Any) -> list[Any]:
    out = []
    for frame in (1, 20, 49):
        at_frame(frame)
        out.append(np.array(obj.matrix_world.translation))
    return out


def main() -> None:
    idto3d_blender.register()
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = 24, 1.0
    check_driven_keys(new_head("anna"))
    check_driven_turns(new_head("ben"), new_head("cleo"))
    check_over_strips(new_head("dora"))
    check_under_own_action(new_head("eve"))
    check_turned_by_hand(new_head("fay"))
    check_no_angles(new_head("gus"))
    check_on_vertices(new_head)
    check_limits(new_head("hal"))
    check_strips_elsewhere(new_head("ivo"))
    idto3d_blender.unregister()
    blender_session.leave()


main()
