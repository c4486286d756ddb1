# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: takes onto heads whose own place is animated.

``python check_capture_moved.py WORK`` as check_import.py.
"""

import math
from collections.abc import Callable
from typing import Any

import bpy
import numpy as np
from mathutils import Quaternion, Vector

import idto3d_blender
from idto3d_blender.head import carrier, hand_over, separate
from tests.blender import blender_session
from tests.blender.blender_session import refused
from tests.blender.captured import at_frame, csv_of, front, new_head, plain, ramp, turned


def check_moved(head: Any) -> None:
    """A head whose own place is animated is turned where it is, and not swung round where it was; by an empty, also one
    that it had before, and by its rig. It is moved in any density as before; what else is animated of it stays its."""
    plain()
    assert bpy.ops.idto3d.capture_open(filepath=str(csv_of("walk", yaw=ramp(0.5)))) == {"FINISHED"}
    at_frame(1)
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"} and head.parent.parent is None
    walk(head)
    head.keyframe_insert("hide_render", frame=1)
    for number in range(2):
        at_frame(20 + number)
        assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    check_walk(head, lambda: head.matrix_world.to_3x3() @ Vector((0, -1, 0)))
    assert len([one for one in bpy.data.objects if one.name.startswith("walker place")]) == 1
    assert [curve.data_path for curve in hand_over.curves_of(head.animation_data)] == ["hide_render"]
    # The rig of one that walks.
    other = new_head("runner")
    walk(other)
    at_frame(20)
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"} and bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    made = other.parent
    check_walk(other, lambda: made.matrix_world.to_3x3() @ turned(made, "head", (0.0, -1.0, 0.0)))
    # In parts.
    apart = new_head("apart")
    walk(apart)
    assert bpy.ops.idto3d.separate_parts() == {"FINISHED"} and bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    for part in separate.parts_of(bpy.context.object):
        check_walk(part, lambda part=part: part.matrix_world.to_3x3() @ Vector((0, -1, 0)))
    assert bpy.ops.idto3d.whole_head() == {"FINISHED"}
    check_walk(apart, lambda: apart.matrix_world.to_3x3() @ Vector((0, -1, 0)))
    blender_session.select(other)
    assert not carrier.is_moved(other) and bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    half = bpy.context.object
    check_walk(half, lambda: made.matrix_world.to_3x3() @ turned(made, "head", (0.0, -1.0, 0.0)))


def check_by_hand(head: Any) -> None:
    """What a user has done with the empty of a take, or keyed beside what the take says, goes along with the next one:
    turned while no take turns it, moved, keyed; a key of the user's own."""
    given = plain()
    assert bpy.ops.idto3d.capture_open(filepath=str(csv_of("hand", yaw=ramp(0.5)))) == {"FINISHED"}
    at_frame(1)
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    empty, keys = head.parent, head.data.shape_keys
    empty.animation_data.action = None
    empty.rotation_quaternion = Quaternion((0.0, 0.0, 1.0), 0.3)
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    for frame, x in ((-10.5, -1.0), (60.0, 2.0)):
        empty.location.x = x
        empty.keyframe_insert("location", frame=frame)
        keys.key_blocks["smile"].value = abs(x) / 2
        keys.key_blocks["smile"].keyframe_insert("value", frame=frame)
    at_frame(30)
    place, smile = empty.location.x, keys.key_blocks["smile"].value
    for given.as_strip, given.start in ((False, 1), (True, 13)):
        assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
        for frame, x in ((-10, -1.0), (30, place), (60, 2.0)):
            at_frame(frame)
            turn = 0.3 + 0.5 * min(max((frame - given.start) / 24, 0.0), 1.0)
            ahead = Vector((math.sin(turn), -math.cos(turn), 0.0))
            assert abs(empty.location.x - x) < 1e-3 and (front(head) - ahead).length < 0.02, (given.start, frame)
        at_frame(30)
        assert abs(keys.key_blocks["smile"].value - smile) < 1e-3


def check_rig_by_hand(head: Any) -> None:
    """The same of a head that gets its rig later: it goes its way, and a bone of the user's own moves as before."""
    plain()
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    empty = head.parent
    for frame, x in ((-10, -1.0), (60, 2.0)):
        empty.location.x = x
        empty.keyframe_insert("location", frame=frame)
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"} and bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    for number in range(2):
        for frame, x in ((-10, -1.0), (60, 2.0)):
            at_frame(frame)
            assert abs(empty.matrix_world.translation.x - x) < 1e-3, "it stands still since the head has a rig"
        assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}, number
    assert empty.animation_data.action.name == f"{empty.name} way"
    jaw = head.parent.pose.bones["jaw"]
    jaw.rotation_euler.x = 0.2
    jaw.keyframe_insert("rotation_euler", frame=30)
    own = curve_of(head.parent, "jaw")
    points = own.modifiers.new("ENVELOPE").control_points
    points.add(20.0), points.add(30.0)
    points.foreach_set("max", (2.0, 3.0))  # one by one Blender may crash, see hand_over
    own.modifiers.new("GENERATOR").coefficients, own.mute = (0.5, 0.25), True
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    jaw.rotation_euler.x = 0.0
    own = curve_of(head.parent, "jaw")
    envelope, generator = own.modifiers
    assert own.mute and tuple(generator.coefficients) == (0.5, 0.25)
    assert [(point.frame, point.min, point.max) for point in envelope.control_points] == [(20, -1, 2), (30, -1, 3)]
    own.mute = False
    while own.modifiers:
        own.modifiers.remove(own.modifiers[0])
    at_frame(30)
    assert abs(jaw.rotation_euler.x - 0.2) < 1e-4


def curve_of(rig: Any, bone: str) -> Any:
    """That turns a bone about its X axis."""
    curves = hand_over.curves_of(rig.animation_data)
    return next(c for c in curves if c.data_path.startswith(f'pose.bones["{bone}"].rotation') and c.array_index == 0)


def check_rig_by_strip(new: Callable[[str], Any]) -> None:
    """A way in a strip of its own, in one with the take, or in a meta strip: none stops as the head gets a rig. What
    makes it go round, and how a strip's own curves fade it in, is not lost on the way to the bones."""
    for kind in ("own", "together", "meta"):
        head = new(kind)
        plain()
        assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
        empty = head.parent
        data = empty.animation_data
        taken = (data.action, getattr(data, "action_slot", None))
        if kind != "together":
            data.action = None
        for frame, x in ((1, 0.0), (21, 2.0)):
            empty.location.x = x
            empty.keyframe_insert("location", frame=frame)
        for curve in hand_over.curves_of(data):
            if curve.data_path == "location":
                curve.modifiers.new("CYCLES")
        strip = push_down(data)
        fade_in(strip)
        if kind != "together":
            data.action = taken[0]
            if taken[1] is not None:
                data.action_slot = taken[1]
        if kind == "meta":
            in_meta(head, empty)
        before = ways(empty)
        assert np.ptp(before) > 0.5, "it does not go"
        assert bpy.ops.idto3d.add_rig() == {"FINISHED"} and bpy.ops.idto3d.capture_bake() == {"FINISHED"}
        assert np.abs(np.subtract(ways(empty), before)).max() < 1e-4, (kind, ways(empty), before)
        at_frame(13)
        assert abs(empty.matrix_world.to_euler().z) < 1e-4, "the take turns the empty and the bones"


def fade_in(strip: Any) -> None:
    strip.use_animated_influence = True
    for frame, influence in ((1, 0.0), (41, 1.0)):
        strip.influence = influence
        strip.keyframe_insert("influence", frame=frame)


def check_strip(head: Any) -> None:
    """The way of a head in a strip that fades in goes over to the empty that it hangs on as it is."""
    walk(head)
    data = head.animation_data
    for curve in hand_over.curves_of(data):
        curve.modifiers.new("CYCLES")
    strip = push_down(data)
    fade_in(strip)
    data.nla_tracks.active = data.nla_tracks[0]
    data.nla_tracks[0].select = strip.select = True
    data.use_tweak_mode = True
    refused(bpy.ops.idto3d.add_rig, "tweak mode")
    data.use_tweak_mode = False
    strip.frame_end = 120
    before = ways(head)
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"} and head.parent.parent is not None
    assert np.abs(np.subtract(ways(head), before)).max() < 1e-4, (ways(head), before)


def push_down(data: Any) -> Any:
    """The active action becomes a strip."""
    action, slot = data.action, getattr(data, "action_slot", None)
    data.action = None
    strip = data.nla_tracks.new().strips.new("way", 1, action)
    if slot is not None:
        strip.action_slot = slot
    return strip


def in_meta(head: Any, empty: Any) -> None:
    """Make a meta strip of what is selected of the empty."""
    bpy.context.view_layer.objects.active = empty
    empty.select_set(True)
    area = bpy.context.window.screen.areas[0]
    area.type = "NLA_EDITOR"
    with bpy.context.temp_override(area=area, region=area.regions[-1]):
        assert bpy.ops.nla.meta_add() == {"FINISHED"}
    assert empty.animation_data.nla_tracks[-1].strips[0].type == "META"
    bpy.context.view_layer.objects.active = head


def ways(obj: Any) -> list[float]:
    out = []
    for frame in (1, 6, 11, 16, 21, 31, 60, 100):
        at_frame(frame)
        out.append(obj.matrix_world.translation.x)
    return out


def walk(head: Any) -> None:
    """Along X and to the left, at the same speed from frame 1 to 49."""
    for frame, x in ((1, 1.0), (49, 4.0)):
        head.location, head.rotation_euler = (x, 0.5, 0.0), (0.0, 0.0, x / 4)
        for path in ("location", "rotation_euler"):
            head.keyframe_insert(path, frame=frame)
    for curve in hand_over.curves_of(head.animation_data):
        for point in curve.keyframe_points:
            point.interpolation = "LINEAR"


def check_walk(head: Any, looks: Any) -> None:
    """Half a radian more to the left than its place says, and there."""
    for frame in (30, 49):
        at_frame(frame)
        x = 1 + 3 * (frame - 1) / 48
        assert (head.matrix_world.translation - Vector((x, 0.5, 0))).length < 0.15, (frame, head.matrix_world)
        angle = x / 4 + 0.5
        ahead = Vector((math.sin(angle), -math.cos(angle), 0.0))
        assert (looks().normalized() - ahead).length < 0.02, (frame, looks(), ahead)


def main() -> None:
    idto3d_blender.register()
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = 24, 1.0
    check_moved(new_head("walker"))
    check_by_hand(new_head("hand"))
    check_rig_by_hand(new_head("later"))
    check_strip(new_head("strip"))
    check_rig_by_strip(new_head)
    idto3d_blender.unregister()
    blender_session.leave()


main()
