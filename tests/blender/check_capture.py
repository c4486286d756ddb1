# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: takes onto heads, with a rig and without.

``python check_capture.py WORK`` as check_import.py.
"""

import json
import math
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import bpy
import numpy as np
from mathutils import Vector

import idto3d_blender
from idto3d_blender import preferences
from idto3d_blender.capture import properties, takes
from idto3d_blender.capture.table import SHAPES
from idto3d_blender.head import hand_over, separate
from idto3d_blender.jobs import session as jobs
from idto3d_blender.jobs import setup_backend
from idto3d_blender.jobs.backend_process import child_environment
from idto3d_blender.jobs.job import Launch
from idto3d_blender.jobs.records import Records
from tests.blender import blender_session, check_polls
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import refused
from tests.blender.captured import WORK, at_frame, csv_of, front, new_head, plain, ramp, turned

ROOT = Path(__file__).resolve().parents[2]
LAYERED = bpy.app.version >= (4, 4)
FPS = 24.0
# The backend's worker, in small: it says hello, takes one request, and does as it is told.
WORKER = """
import json, shutil, sys, time
def say(**event): print(json.dumps(event), flush=True)
say(type="hello", protocol=1)
asked = json.loads(sys.stdin.readline())
assert asked["type"] == "capture", asked
assert "head" not in asked or asked["pack"].endswith("pack"), asked
job = asked["job"]
say(type="progress", job=job, stage="watching the video", step=1, steps=2, eta_seconds=1.0)
if "refused" in asked["video"]:
    say(type="error", job=job, code="E_VIDEO_NO_FACE", message="No face was found.", fix="Film again.")
elif "endless" in asked["video"]:
    assert json.loads(sys.stdin.readline())["type"] == "cancel"
    say(type="cancelled", job=job, resumable=False)
else:
    import os
    import numpy
    with numpy.load(asked["head"]) as head: assert head["vertices"].shape[1] == 3 and head["faces"].shape[1] == 4
    os.makedirs(os.path.dirname(asked["out"]), exist_ok=True)
    shutil.copy(asked["video"], asked["out"])
    say(type="warning", job=job, code="W_VIDEO_FACE_LOST", message="Seen in half of the frames.")
    say(type="done", job=job, take=asked["out"])
"""
# Without Blender's own end, which not every system lets a module come to.
ANOTHER = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
import bpy, idto3d_blender
idto3d_blender.register()
from idto3d_blender.capture import takes
print("file", takes._new_file("film"), flush=True)
os._exit(0)
"""


def check_keys_and_takes(head: Any) -> None:
    plain()
    assert bpy.ops.idto3d.capture_open(filepath=str(csv_of("talk", jawOpen=ramp(0.8), eyeLookInLeft=ramp(0.5)))) == {
        "FINISHED"
    }
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    keys = head.data.shape_keys
    for frame, value in ((1, 0.0), (13, 0.4), (25, 0.8), (49, 0.8)):
        at_frame(frame)
        assert abs(keys.key_blocks["jawOpen"].value - value) < 0.01, (frame, keys.key_blocks["jawOpen"].value)
    assert abs(keys.key_blocks["eyeLookInLeft"].value - 0.5) < 0.01
    assert keys.key_blocks["mouthPucker"].value == 0.0
    assert (bpy.context.scene.frame_start, bpy.context.scene.frame_end) == (1, 49)
    assert "idto3d.capture_bake" in check_polls.draw_all_panels()
    first = keys.animation_data.action
    assert first.name == f"{head.name} talk" and first[hand_over.TAKE] == "talk"
    # Once more: a take of its own, and the one before stays.
    properties.settings().start = 101
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    second = keys.animation_data.action
    assert second != first and second.name.startswith(f"{head.name} talk") and first.use_fake_user
    at_frame(113)
    assert abs(keys.key_blocks["jawOpen"].value - 0.4) < 0.01
    # Into the NLA: no action of ours lies over it.
    properties.settings().as_strip = True
    properties.settings().start = 11
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    assert keys.animation_data.action is None
    (track,) = keys.animation_data.nla_tracks
    assert track.strips[0].frame_start == 11 and track.strips[0].action.name == track.name
    at_frame(23)
    assert abs(keys.key_blocks["jawOpen"].value - 0.4) < 0.01
    # A second strip lets the first one play.
    properties.settings().start = 101
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    for frame in (23, 113):
        at_frame(frame)
        assert abs(keys.key_blocks["jawOpen"].value - 0.4) < 0.01, frame
    keys.animation_data_clear()


def check_yaw_is_no_nod(head: Any) -> None:
    plain()
    for name, channel, expected in (
        ("yaw", "yaw", (math.sin(0.5), -math.cos(0.5), 0)),  # to the person's left, which is +X
        ("pitch", "pitch", (0, -math.cos(0.5), -math.sin(0.5))),  # down
        ("roll", "roll", (0, -1, 0)),
    ):
        assert bpy.ops.idto3d.capture_open(filepath=str(csv_of(name, **{channel: ramp(0.5)}))) == {"FINISHED"}
        assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
        at_frame(1)
        assert (front(head) - Vector((0, -1, 0))).length < 0.02  # the mean over the frame
        at_frame(30)
        assert (front(head) - Vector(expected)).length < 1e-3, (name, front(head))
    empty = head.parent
    assert empty.type == "EMPTY" and sum(obj.type == "EMPTY" for obj in bpy.data.objects) == 1
    properties.settings().flip = (False, False, True)
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    at_frame(30)
    crown = head.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world.to_3x3() @ Vector((0, 0, 1))
    assert crown.x > 0.4  # the other way: to the person's left
    properties.settings().flip = (False, False, False)


def rig_for(head: Any) -> Any:
    """Bones as our rig has them, with odd rolls, standing where the head stands."""
    armature = bpy.data.armatures.new("rig")
    rig = bpy.data.objects.new("rig", armature)
    bpy.context.scene.collection.objects.link(rig)
    rig.matrix_world = head.matrix_world
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    for name, parent, start, end, roll in (
        ("neck", "", (0, 0, -0.1), (0, 0, 0), 0.3),
        ("head", "neck", (0, 0, 0), (0, 0, 0.1), -0.4),
        ("eye.L", "head", (0.03, -0.05, 0.03), (0.03, -0.08, 0.03), 0.2),
        ("eye.R", "head", (-0.03, -0.05, 0.03), (-0.03, -0.08, 0.03), 0.0),
    ):
        bone = armature.edit_bones.new(name)
        bone.head, bone.tail, bone.roll = start, end, roll
        bone.parent = armature.edit_bones.get(parent)
    bpy.ops.object.mode_set(mode="OBJECT")
    rig.pose.bones["head"].rotation_mode = "XYZ"
    head.modifiers.new("rig", "ARMATURE").object = rig
    bpy.context.view_layer.objects.active = head
    head.select_set(True)
    return rig


def check_rig(head: Any) -> None:
    rig = rig_for(head)
    plain()
    path = csv_of("rig", yaw=ramp(0.5), left=ramp(0.2), right=ramp(0.2), eyeLookOutLeft=ramp(0.4), jawOpen=ramp(0.5))
    assert bpy.ops.idto3d.capture_open(filepath=str(path)) == {"FINISHED"}
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    at_frame(30)
    ahead = (0.0, -1.0, 0.0)
    assert (turned(rig, "head", ahead) - Vector((math.sin(0.5), -math.cos(0.5), 0))).length < 1e-3
    assert (turned(rig, "neck", ahead) - Vector((math.sin(0.2), -math.cos(0.2), 0))).length < 1e-3
    assert (turned(rig, "eye.L", ahead) - Vector((math.sin(0.7), -math.cos(0.7), 0))).length < 1e-3
    keys = head.data.shape_keys
    # The bones turn the eyes: the keys must not turn them again.
    assert keys.key_blocks["eyeLookOutLeft"].value == 0.0 and abs(keys.key_blocks["jawOpen"].value - 0.5) < 0.01
    assert head.parent is None
    if LAYERED:
        assert rig.animation_data.action == keys.animation_data.action
        assert len(keys.animation_data.action.slots) == 2


def check_rig_after_empty(head: Any) -> None:
    """The empty that has turned the head so far turns no more when its rig does."""
    plain()
    assert bpy.ops.idto3d.capture_open(filepath=str(csv_of("twice", yaw=ramp(0.5)))) == {"FINISHED"}
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"} and head.parent.type == "EMPTY"
    take = head.parent.animation_data.action
    at_frame(1)
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"} and bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    at_frame(30)
    made = head.parent
    looks = made.matrix_world.to_3x3() @ turned(made, "head", (0.0, -1.0, 0.0))
    assert (looks - Vector((math.sin(0.5), -math.cos(0.5), 0))).length < 1e-3, looks
    assert take.use_fake_user, "the take before is lost"


def check_parts(head: Any) -> None:
    """A separated head stays in one piece; what was baked on its parts moves the whole head, too."""
    plain()
    assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
    parts = [obj for obj in bpy.data.objects if separate.is_part(obj)]
    assert bpy.ops.idto3d.turntable() == {"FINISHED"} and not any(part.hide_render for part in parts)
    assert bpy.ops.idto3d.remove_turntable() == {"FINISHED"}
    assert bpy.ops.idto3d.capture_open(filepath=str(csv_of("in parts", yaw=ramp(0.5), jawOpen=ramp(0.8)))) == {
        "FINISHED"
    }
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    at_frame(30)
    ahead = Vector((math.sin(0.5), -math.cos(0.5), 0))
    assert all((front(part) - ahead).length < 1e-3 for part in parts), [front(part) for part in parts]
    assert bpy.ops.idto3d.whole_head() == {"FINISHED"} and bpy.context.object == head
    at_frame(13)
    assert abs(head.data.shape_keys.key_blocks["jawOpen"].value - 0.4) < 0.01 and front(head).x > 0.2


def check_what_plays(head: Any) -> None:
    """A take comes in the place of a test animation, whose frames go; a strip in tweak mode holds its action."""
    given, scene = plain(), bpy.context.scene
    head.data.shape_keys.animation_data_clear()
    assert bpy.ops.idto3d.test_animation() == {"FINISHED"} and scene.frame_end > 49
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"} and scene.frame_end == 49
    assert bpy.ops.idto3d.turntable() == {"FINISHED"} and bpy.ops.idto3d.remove_turntable() == {"FINISHED"}
    assert scene.frame_end == 49, "the frames of a test animation that is gone"
    given.as_strip = True
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    data = head.data.shape_keys.animation_data
    data.nla_tracks.active = data.nla_tracks[0]
    data.nla_tracks[0].select = data.nla_tracks[0].strips[0].select = True
    data.use_tweak_mode = True
    refused(bpy.ops.idto3d.capture_bake, "tweak mode")
    data.use_tweak_mode = False


def check_refusals(bare: Any) -> None:
    plain()
    bad = WORK / "bad.csv"
    bad.write_text("a,b\n1,2\n")
    for path in (bad, WORK / "gone.csv"):
        refused(partial(bpy.ops.idto3d.capture_open, filepath=str(path)), "E_CAPTURE")
    refused(bpy.ops.idto3d.capture_bake, "none of ARKit's shape keys")
    bare.scale.x = 0.0
    bpy.context.view_layer.update()
    refused(bpy.ops.idto3d.capture_bake, "scale of 0")
    properties.settings().trim_in = 50.0
    assert bare is bpy.context.object


def check_videos(head: Any) -> None:
    script = WORK / "worker.py"
    script.write_text(WORKER)

    def launch(job: str, request: Any) -> Launch:
        environment = child_environment(WORK / "user", ROOT)
        return Launch((sys.executable, str(script)), environment, WORK / f"{job}.log", dict(request), takes.STAGES)

    def finish() -> None:
        end = time.monotonic() + 30
        while takes.poll():
            assert time.monotonic() < end
            time.sleep(0.01)

    video = csv_of("film", jawOpen=ramp(1.0))
    # The face at rest is that of the pack that the head was made with.
    pack = WORK / "pack"
    fit = {"format_version": 1, "pack": str(pack), "identity": [0.0], "resting": {}, "photos": []}
    (WORK / head.name / "fit.json").write_text(json.dumps(fit), encoding="utf-8")
    state = jobs.get()
    state.status = setup_backend.Status("ready", "Ready.", "cpu")
    properties.settings().performer = "HEAD"
    refused(partial(bpy.ops.idto3d.capture_open, filepath=str(WORK / "film.mp4")), "E_PACK_MISSING")
    pack.mkdir()
    (pack / "pack.json").write_text('{"name": "own"}', encoding="utf-8")
    folder = preferences.get().heads_folder / takes.FOLDER
    takes.start(video, head, launch)
    # Another Blender reads a video of that name, too.
    theirs = subprocess.run([sys.executable, "-c", ANOTHER], capture_output=True, text=True, timeout=60)
    assert f"file {folder / 'film-2.csv'}\n" in theirs.stdout, theirs
    (folder / "film-2.csv").unlink()
    finish()
    take = takes.state.take
    assert takes.state.problem is None and take is not None and takes.state.name == "film", takes.state
    assert takes.state.warnings[0].code == "W_VIDEO_FACE_LOST" and take.shapes[:, SHAPES.index("jawOpen")].max() == 1
    # A thinner head's face is the full one's.
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    job = takes.start(video, bpy.context.object, launch)
    with np.load(jobs.get().folder / "previews" / job.id / "head.npz") as written:
        assert len(written["vertices"]) == len(head.data.vertices) > len(bpy.context.object.data.vertices)
    finish()
    assert takes.state.problem is None
    assert not (jobs.get().folder / "previews" / job.id).exists(), "frames of the film are kept"
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    (folder / "film-2.csv").unlink()
    takes.start(WORK / "refused.mp4", None, launch)
    finish()
    assert takes.state.problem is not None and takes.state.problem.code == "E_VIDEO_NO_FACE"
    takes.start(WORK / "endless.mp4", None, launch)
    end = time.monotonic() + 30
    while takes.running().step == 0:
        takes.poll()
        assert time.monotonic() < end
    assert 0 < takes.running().fraction < 1
    refused(bpy.ops.idto3d.remove_backend, "until the video is read")
    assert Records(state.folder).others_at_work(), "another Blender could take the backend away"
    assert not bpy.ops.idto3d.install.poll()
    assert "idto3d.capture_cancel" in check_polls.draw_all_panels()
    assert bpy.ops.idto3d.capture_cancel() == {"FINISHED"}
    finish()
    assert takes.running() is None and takes.state.problem is None
    assert not Records(state.folder).others_at_work()
    assert [file.name for file in folder.iterdir()] == ["film.csv"], "files of what came to nothing are left"
    state.setup = Mock()
    for read in (partial(bpy.ops.idto3d.capture_open, filepath=str(WORK / "film.mp4")), bpy.ops.idto3d.capture_camera):
        refused(read, "set-up is running")
    state.setup = None
    assert bpy.ops.idto3d.capture_camera.poll() and bpy.ops.idto3d.remove_backend.poll()


def check_speed(head: Any) -> float:
    """Two minutes at 60 frames a second."""
    given = plain()
    given.smooth = True
    wave: dict[str, Any] = {
        name: (lambda times, k=k: 0.5 + 0.4 * np.sin(times * (1 + k / 9))) for k, name in enumerate(SHAPES)
    }
    assert bpy.ops.idto3d.capture_open(filepath=str(csv_of("long", 120.0, **wave))) == {"FINISHED"}
    begun = time.perf_counter()
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    return time.perf_counter() - begun


def main() -> None:
    idto3d_blender.register()
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = 24, 1.0
    assert not bpy.ops.idto3d.capture_bake.poll()
    anna = new_head("anna")
    check_keys_and_takes(anna)
    check_yaw_is_no_nod(anna)
    ben = new_head("ben")
    ben.rotation_euler = (0, 0, 0)
    check_rig(ben)
    check_parts(new_head("cleo"))
    check_what_plays(bpy.context.object)
    check_rig_after_empty(new_head("dora"))
    blender_session.select(ben)
    check_videos(ben)
    seconds = check_speed(ben)
    check_refusals(new_head("bare", synthetic.EXPRESSIONS))
    idto3d_blender.unregister()
    blender_session.leave(seconds=round(seconds, 2))


main()
