# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: takes baked one after the other onto one head, with other settings, in strips, beside
what somebody has keyed. ``python check_capture_again.py WORK`` as check_import.py."""

import csv
from pathlib import Path
from typing import Any

import bpy
from mathutils import Vector

import idto3d_blender
from idto3d_blender.capture import properties, takes, target
from idto3d_blender.capture.table import SHAPES
from idto3d_blender.head import hand_over
from tests.blender import blender_session
from tests.blender.blender_session import refused
from tests.blender.captured import at_frame, csv_of, front, new_head, plain, ramp
from tests.blender.synthetic_bundle import EXPRESSIONS

AHEAD = Vector((0, -1, 0))


def bake_take(file: Path, **settings: Any) -> None:
    assert bpy.ops.idto3d.capture_open(filepath=str(file)) == {"FINISHED"}
    for name, value in settings.items():
        setattr(properties.settings(), name, value)
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}


def check_strips(head: Any) -> None:
    """Lines of a talk in strips, in whatever order, one of them once more: each plays in its time, and before the first
    the face waits as it begins."""
    plain().as_strip = True
    early, late = csv_of("early", jawOpen=ramp(0.3)), csv_of("late", jawOpen=ramp(0.8))
    bake_take(late, start=201)
    bake_take(early, start=101)
    assert [opened(head, frame) for frame in (1, 101, 140, 190, 240, 300)] == [0.0, 0.0, 0.3, 0.3, 0.8, 0.8]
    assert len(head.data.shape_keys.animation_data.nla_tracks) == 1
    bake_take(early, start=101, gain=1.5)
    assert [opened(head, frame) for frame in (1, 140, 190, 240, 300)] == [0.0, 0.45, 0.3, 0.8, 0.8]
    # What is muted neither takes strips nor holds anything.
    tracks = head.data.shape_keys.animation_data.nla_tracks
    for track in tracks:
        track.mute = True
    bake_take(late, start=301, gain=0.5)
    assert len(tracks) == 3 and [opened(head, frame) for frame in (1, 340, 500)] == [0.0, 0.4, 0.4]
    properties.settings().gain = 1.0


def check_over_own_strip(head: Any) -> None:
    """Over a strip of somebody's own, which plays until the take begins, and none of the take's keys is on before."""
    plain()
    keys = head.data.shape_keys
    for name in ("jawOpen", "smile"):
        key = keys.key_blocks[name]
        for frame, value in ((1, 0.0), (40, 0.6)):
            key.value = value
            key.keyframe_insert("value", frame=frame)
    data = keys.animation_data
    strip = data.nla_tracks.new().strips.new("own", 1, data.action)
    if bpy.app.version >= (4, 4):
        strip.action_slot = data.action_slot
    data.action = None
    bake_take(csv_of("over", jawOpen=ramp(0.3)), start=101, as_strip=True)
    assert [opened(head, frame) for frame in (40, 140, 200)] == [0.6, 0.3, 0.3]


def check_turns_in_strips(head: Any) -> None:
    """A line that does not turn the head leaves the turns of others alone."""
    plain().as_strip = True
    turned, still = csv_of("turned line", yaw=ramp(0.5)), csv_of("still line", jawOpen=ramp(0.5))
    for file, start, turns in ((turned, 1, True), (still, 101, False), (turned, 201, True)):
        bake_take(file, start=start, head=turns)
    for frame in (40, 240):
        at_frame(frame)
        assert (front(head) - AHEAD).length > 0.4, frame
    properties.settings().head = True


def opened(head: Any, frame: int) -> float:
    at_frame(frame)
    return round(head.data.shape_keys.key_blocks["jawOpen"].value, 2)


def check_no_turn(head: Any) -> None:
    """Without *Turn the Head* the take before turns it no more: by its empty, by bones, and by neither's pose."""
    turned, still = csv_of("turned", yaw=ramp(0.5)), csv_of("still", jawOpen=ramp(0.5))
    plain()
    for rigged in (False, True):
        if rigged:
            assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
        for eyes in (False, True):
            bake_take(turned, head=True, eyes=eyes)
            at_frame(30)
            assert (looks(head) - AHEAD).length > 0.4
            bake_take(still, head=False, eyes=eyes)
            at_frame(30)
            assert (looks(head) - AHEAD).length < 1e-3, (rigged, eyes, looks(head))
    properties.settings().head = properties.settings().eyes = True


def looks(head: Any) -> Vector:
    """Where the head looks, by the bone that turns it where it has a rig."""
    rig = target.rig_of(head)
    if rig is None:
        return front(head)
    bone = rig.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones["head"]
    return ((bone.matrix @ bone.bone.matrix_local.inverted()).to_3x3() @ AHEAD).normalized()


def check_own_keys(head: Any) -> None:
    """What somebody has keyed of a bone that the take leaves alone goes along."""
    plain()
    rig = target.rig_of(head)
    rig.animation_data_clear()
    for name, left_alone in (("head", {"head": False}), ("eye.L", {"eyes": False})):
        bone = rig.pose.bones[name]
        for frame, angle in ((1, 0.0), (30, 0.2)):
            bone.rotation_euler.x = angle
            bone.keyframe_insert("rotation_euler", frame=frame)
        bake_take(csv_of("talk", jawOpen=ramp(0.5), yaw=ramp(0.1)), **left_alone)
        at_frame(30)
        assert abs(bone.rotation_euler.x - 0.2) < 1e-3, name
        paths = {curve.data_path for curve in hand_over.curves_of(rig.animation_data)}
        assert any(f'"{name}"' in path for path in paths), paths
        rig.animation_data_clear()
        properties.settings().head = properties.settings().eyes = True
        bone.rotation_euler.x = 0.0


def check_own_expressions(head: Any) -> None:
    """A key of somebody's own goes along with a take; another talk, of visemes, does not, and shows nothing then."""
    plain()
    blender_session.select(head)
    keys = head.data.shape_keys
    for name in ("smile", "viseme_aa"):
        for frame, value in ((1, 0.0), (30, 0.6)):
            keys.key_blocks[name].value = value
            keys.key_blocks[name].keyframe_insert("value", frame=frame)
    at_frame(15)
    for _ in range(2):
        bake_take(csv_of("over a smile", jawOpen=ramp(0.5)))
        at_frame(30)
        assert abs(keys.key_blocks["smile"].value - 0.6) < 1e-3 and keys.key_blocks["viseme_aa"].value == 0.0
    keys.animation_data_clear()


def check_frames(first: Any, second: Any) -> None:
    """The scene's frames hold all that heads play, so that nothing is cut off."""
    plain()
    for head, seconds, frames in ((first, 4.0, (1, 97)), (second, 2.0, (1, 97)), (first, 1.0, (1, 49))):
        blender_session.select(head)
        bake_take(csv_of("long or short", seconds=seconds, jawOpen=ramp(0.5)))
        assert (bpy.context.scene.frame_start, bpy.context.scene.frame_end) == frames, frames
    # Neither a key of somebody's own counts, nor what a hidden form played.
    keys = first.data.shape_keys
    keys.key_blocks["smile"].keyframe_insert("value", frame=5000)
    bake_take(csv_of("with a key", jawOpen=ramp(0.5)))
    assert bpy.context.scene.frame_end == 49
    keys.animation_data_clear()
    bake_take(csv_of("long", seconds=8.0, jawOpen=ramp(0.5)))
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    bake_take(csv_of("short", jawOpen=ramp(0.5)))
    assert bpy.context.scene.frame_end == 49
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    bake_take(csv_of("line", jawOpen=ramp(0.5)), as_strip=True, start=101)
    assert (bpy.context.scene.frame_start, bpy.context.scene.frame_end) == (1, 149)
    assert not bpy.ops.idto3d.test_animation.poll(), "over a take in a strip"
    properties.settings().as_strip, properties.settings().start = False, 1


def check_copy(head: Any) -> None:
    """A take of a copy by Shift+D turns the copy, about its own neck, and leaves the head's take alone."""
    plain()
    blender_session.select(head)
    bake_take(csv_of("one", yaw=ramp(0.5)))
    at_frame(30)
    before = front(head)
    assert bpy.ops.object.duplicate() == {"FINISHED"}
    copy = bpy.context.object
    copy.location.x += 1.0
    bake_take(csv_of("two", yaw=ramp(-0.5)))
    at_frame(30)
    assert (front(head) - before).length < 1e-3 and front(copy).x < -0.4, (front(head), front(copy))
    apart = copy.parent.matrix_world.translation - head.parent.matrix_world.translation
    assert copy.parent != head.parent and (apart - Vector((1, 0, 0))).length < 1e-3, apart
    # The mesh of a rigged head alone: one rig for both.
    blender_session.select(head)
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"} and bpy.ops.object.duplicate() == {"FINISHED"}
    refused(bpy.ops.idto3d.capture_bake, "same rig")
    assert bpy.ops.idto3d.remove_rig() == {"FINISHED"} and bpy.ops.idto3d.add_rig() == {"FINISHED"}
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}


def check_names(head: Any) -> None:
    """Takes are renamed with their head, also those that nothing plays; those of a head whose name goes on are not."""
    plain()
    blender_session.select(head)
    for name in ("one", "two"):
        bake_take(csv_of(name, jawOpen=ramp(0.5)))
    other = bpy.data.actions.new(f"{head.name} b one")
    other[hand_over.TAKE], other.use_fake_user = "one", True
    before = head.name
    assert bpy.ops.idto3d.rename_head(name="Eileen") == {"FINISHED"}
    names = {action.name for action in bpy.data.actions}
    assert {"Eileen one", "Eileen two", f"{before} b one"} <= names and f"{before} one" not in names, names


def check_gaze_by_shapes(head: Any) -> None:
    """A file without eyes' angles has their shapes, which play on a rigged head, too."""
    plain()
    file = csv_of("no angles", eyeLookOutLeft=ramp(0.4), eyeLookInRight=ramp(0.4))
    rows = [row[:-6] for row in csv.reader(file.read_text(encoding="utf-8").splitlines())]
    file.write_text("\n".join(",".join(row) for row in rows) + "\n", encoding="utf-8")
    bake_take(file, eyes=True)
    assert takes.state.take is not None and len(takes.state.take.absent) == 6
    at_frame(30)
    assert abs(head.data.shape_keys.key_blocks["eyeLookOutLeft"].value - 0.4) < 1e-3


def check_whole(head: Any) -> None:
    """At the take's own rate no frame of it is lost, however long it is."""
    plain()
    bpy.context.scene.render.fps = 60
    for rows in (610, 613, 625, 640):
        bake_take(csv_of("whole", seconds=(rows - 1) / 60 + 1e-6, jawOpen=ramp(0.5)))
        frames = hand_over.curves_of(head.data.shape_keys.animation_data)
        assert max(len(curve.keyframe_points) for curve in frames) == rows, rows
    bpy.context.scene.render.fps = 24


def main() -> None:
    idto3d_blender.register()
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = 24, 1.0
    check_strips(new_head("anna"))
    check_over_own_strip(new_head("cleo"))
    check_turns_in_strips(new_head("dora"))
    head = new_head("ben")
    check_no_turn(head)
    check_own_keys(head)
    check_gaze_by_shapes(head)
    check_whole(head)
    for action in list(bpy.data.actions):
        bpy.data.actions.remove(action)
    first, second = new_head("eve", (*EXPRESSIONS, "viseme_aa", *SHAPES)), new_head("fay")
    check_own_expressions(first)
    check_frames(first, second)
    check_copy(second)
    check_names(first)
    idto3d_blender.unregister()
    blender_session.leave()


if __name__ == "__main__":
    main()
