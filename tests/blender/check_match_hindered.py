# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: a head that cannot be laid over its photos as it is, and what comes between while it
is: other modes, other scenes, names, a backend that is not there. ``python check_match_hindered.py WORK``."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.head import mesh_data
from idto3d_blender.jobs import session as jobs
from idto3d_blender.jobs import setup_backend
from idto3d_blender.match import pump, session
from idto3d_blender.match import scene as stage
from idto3d_blender.match.link import Link
from idto3d_blender.match.operators_match import IDTO3D_OT_match_leave
from tests.blender import blender_session, check_polls, fake_pins
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import give_teeth, key_places, refused, select
from tests.blender.match_backend import backend
from tests.blender.synthetic_fit import SIZES, camera, write_fit

WORK = Path(sys.argv[-1])
FAKE = str(Path(__file__).with_name("fake_pins.py"))


def new_head() -> Any:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert bpy.ops.idto3d.import_head(filepath=str(WORK / "head")) == {"FINISHED"}
    return bpy.context.object


def matched(obj: Any) -> session.Match:
    """With a backend that has answered once."""
    scene = bpy.context.scene
    if stage.matched(scene) is None:
        assert bpy.ops.idto3d.match() == {"FINISHED"}
    folder, fit = session.read(obj)
    match = session.start(
        scene, folder, fit, [session.find_photo(photo, folder) for photo in fit.photos], Link(backend(FAKE, WORK))
    )
    pump.take(match.link.wait(match.first))
    return match


def check_applied() -> None:
    """Photos know nothing of what was applied to a mesh; what was sculpted is no matter."""

    def applied(**what: bool) -> Callable[[Any], None]:
        def change(obj: Any) -> None:
            obj.location, obj.rotation_euler, obj.scale = (0.3, 0.1, 0.2), (0.0, 0.0, 0.7), (2.0, 2.0, 2.0)
            bpy.ops.object.transform_apply(**{"location": False, "rotation": False, "scale": False, **what})

        return change

    def stretched(obj: Any) -> None:
        obj.scale = (1.0, 1.0, 1.2)
        bpy.context.view_layer.update()

    wrong: tuple[tuple[Callable[[Any], Any], str], ...] = (
        *((applied(**{name: True}), "was applied") for name in ("location", "rotation", "scale")),
        (lambda obj: bpy.ops.object.origin_set(type="ORIGIN_GEOMETRY"), "origin moved"),
        (stretched, "is stretched"),
    )
    for change, why in wrong:
        change(new_head())
        refused(bpy.ops.idto3d.match, why)
    obj = new_head()
    obj.location, obj.rotation_euler, obj.scale = (1.0, 2.0, 3.0), (0.1, 0.2, 0.3), (3.0, 3.0, 3.0)
    places = key_places(obj)
    places[: len(places) // 3] += 0.02
    obj.data.shape_keys.key_blocks[0].points.foreach_set("co", places.ravel())
    bpy.context.view_layer.update()
    assert bpy.ops.idto3d.match() == {"FINISHED"} and bpy.ops.idto3d.match_leave() == {"FINISHED"}


def check_applied_meanwhile(obj: Any) -> None:
    """What is applied to a mesh while it is matched is taken back by the next match; pins know nothing of it, nor does
    a match of a mesh that another object has, too."""
    give_teeth(obj)
    match = matched(obj)
    obj.scale = (2.0, 2.0, 2.0)
    bpy.context.view_layer.update()
    assert bpy.ops.object.transform_apply(scale=True) == {"FINISHED"}
    large = key_places(obj)
    obj.idto3d_match.pins.add().pixel = (150, 100)
    refused(lambda: bpy.ops.idto3d.pin_drag(pin=0, pixel=(160, 100)), "begin it again. (E_MATCH_MESH)")
    match.first = match.link.ask(session.request(match, obj))
    pump.take(match.link.wait(match.first))
    assert np.array_equal(key_places(obj), large) and mesh_data.MOVED not in obj.data.attributes
    assert match.problem is not None and match.problem.code == "E_MATCH_MESH"
    assert bpy.ops.idto3d.match_leave() == {"FINISHED"}
    bpy.ops.object.duplicate(linked=True)
    copy = bpy.context.object
    select(obj)
    refused(bpy.ops.idto3d.match, "single user first (E_MATCH_MESH)")
    assert stage.matched(bpy.context.scene) is None
    bpy.data.objects.remove(copy)
    matched(obj)
    assert abs(obj.scale.x - 2.0) < 1e-5 and bpy.ops.idto3d.match_leave() == {"FINISHED"}


def check_modes() -> None:
    """An answer waits until the mesh is no longer edited, and is not lost; brushes leave the photos' keys alone."""
    obj = new_head()
    match = matched(obj)
    keys = [key for key in obj.data.shape_keys.key_blocks if key.name.startswith(stage.POSE)]
    assert len(keys) == 2 and all(key.lock_shape for key in keys)
    match.first = match.link.ask(session.request(match, obj))
    bpy.ops.object.mode_set(mode="EDIT")
    refused(bpy.ops.idto3d.match_leave, "Leave the edit")  # the photos' keys would stay
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        pump.pump()
        time.sleep(0.02)
    bpy.ops.object.mode_set(mode="OBJECT")
    basis = key_places(obj)
    obj.data.shape_keys.key_blocks["photo: 1"].points.foreach_set("co", basis.ravel())
    end = time.monotonic() + 10.0
    shown = 0.0
    while not shown and time.monotonic() < end:
        pump.pump()
        shown = float(np.abs(mesh_data.places(obj.data.shape_keys.key_blocks["photo: 1"]) - basis).max())
        time.sleep(0.02)
    assert abs(shown - fake_pins.POSED) < 1e-6, shown
    obj.shape_key_remove(obj.data.shape_keys.key_blocks["photo: 1"])
    refused(bpy.ops.idto3d.pin_drag, "key was removed")
    assert bpy.ops.idto3d.match_leave() == {"FINISHED"}


def check_scenes() -> None:
    """A head that is in two scenes is matched in one; one whose scene somebody has deleted can be matched again."""
    obj = new_head()
    first, second = bpy.context.scene, bpy.data.scenes.new("second")
    second.collection.objects.link(obj)
    bpy.context.window.scene = second
    select(obj)
    assert bpy.ops.idto3d.match() == {"FINISHED"}
    bpy.context.window.scene = first
    select(obj)
    refused(bpy.ops.idto3d.match, "in another scene")
    bpy.context.window.scene = second
    matched(obj)
    bpy.context.window.scene = first
    bpy.data.scenes.remove(second)
    refused(bpy.ops.idto3d.remove_backend, "Leave the match first")
    pump.pump()
    assert session.get() is None, "nobody can leave that match"
    assert bpy.ops.idto3d.match() == {"FINISHED"} and bpy.ops.idto3d.match_leave() == {"FINISHED"}
    assert not obj.show_only_shape_key
    assert not [key.name for key in obj.data.shape_keys.key_blocks if key.name.startswith(stage.POSE)]


def check_ended(obj: Any) -> None:
    """Of a backend that has ended while nothing was asked of it, it is told what to do; so it is of a camera that is
    gone."""
    match = matched(obj)
    bpy.data.objects.remove(stage.cameras(bpy.context.scene)[obj.idto3d_match.photo])
    refused(lambda: bpy.ops.idto3d.pin_drag(start=(100, 100), pixel=(150, 100)), "camera was removed")
    assert match.link._process.popen is not None
    match.link._process.popen.kill()
    end = time.monotonic() + 20
    while match.link.state != "gone":
        assert time.monotonic() < end
        pump.pump()
    texts = " ".join(check_polls.drawn().texts)
    assert "Leave the match and begin it again. (E_BACKEND_DIED)" in texts, texts
    assert bpy.ops.idto3d.match_leave() == {"FINISHED"}


def check_late(obj: Any) -> None:
    """An answer that comes after nobody waited for it any more moves no head whose pins stay as they are."""
    match = matched(obj)
    obj.idto3d_match.pins.add().pixel = (150, 100)
    match.first = match.link.ask(session.request(match, obj))
    pump.take(match.link.wait(match.first))
    before = key_places(obj)
    with patch.object(match.link, "wait", lambda ticket, seconds: Link.wait(match.link, ticket, 0.0)):
        refused(bpy.ops.idto3d.pins_clear, "(E_BACKEND_HUNG)")
    end = time.monotonic() + 20
    while time.monotonic() < end and (match.link.state != "ready" or match.problem is not None):
        pump.pump()
    assert len(obj.idto3d_match.pins) == 1 and np.array_equal(key_places(obj), before), "the head has lost its pin"
    assert bpy.ops.idto3d.match_leave() == {"FINISHED"}


def check_refused_pins(obj: Any) -> None:
    """Pins of a file that are refused, as by a later release, can be taken out; why they are says a code, too."""
    obj.idto3d_match.pins.add().pixel = (2000, 100)
    match = matched(obj)
    assert match.problem is not None and match.skin is None
    refused(bpy.ops.idto3d.match_project, "not ready")
    assert bpy.ops.idto3d.pins_clear() == {"FINISHED"} and not obj.idto3d_match.pins
    assert match.problem is None and match.skin is not None and bpy.ops.idto3d.pin_drag.poll()
    nose = key_places(obj)[np.argmin(key_places(obj)[:, 1])] + stage.origin_of(obj)
    at = camera(0.0, SIZES[0]).project(nose)[0].tolist()
    refused(lambda: bpy.ops.idto3d.pin_drag(start=at, pixel=(2000, 100)), "(E_FIT_PINS)")
    assert bpy.ops.idto3d.match_leave() == {"FINISHED"}


def check_upright(obj: Any) -> None:
    """The upright copy of a photo comes into the file once: it may have a hundred megabytes, and each drag is
    answered."""
    match = matched(obj)
    answer = match.link.wait(match.link.ask(session.request(match, obj)))
    answer.event["photos"][0]["picture"] = match.paths[1]
    with patch.object(stage, "show_picture", wraps=stage.show_picture) as loaded:
        for _ in range(3):
            session.take(bpy.context.scene, obj, match, answer)
    (slot,) = stage.cameras(bpy.context.scene)[0].data.background_images
    assert slot.image.packed_file is not None and slot.image.filepath == match.paths[1]
    assert loaded.call_count == 1, loaded.call_count
    assert bpy.ops.idto3d.match_leave() == {"FINISHED"}


def check_own_key(obj: Any) -> None:
    """A key of the user's that is called like those of the photos goes along with the head, and stays."""
    key = obj.shape_key_add(name="photo: of mine", from_mix=False)
    key.value = 0.0
    match = matched(obj)
    pin = obj.idto3d_match.pins.add()
    pin.pixel = (150, 100)
    match.first = match.link.ask(session.request(match, obj))
    before = key_places(obj)
    pump.take(match.link.wait(match.first))
    step = key_places(obj) - before
    assert step.any() and np.allclose(key_places(obj, key.name) - before, step, atol=1e-6), "the key is left behind"
    assert bpy.ops.idto3d.match_leave() == {"FINISHED"} and key.name in obj.data.shape_keys.key_blocks


def check_rig(obj: Any) -> None:
    """A rig gets back what it was, also when it is called otherwise by then, and something else as it was."""
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    rig = next(one.object for one in obj.modifiers if one.type == "ARMATURE")
    for position in ("POSE", "REST"):
        rig.data.pose_position = position
        select(obj)
        assert bpy.ops.idto3d.match() == {"FINISHED"} and rig.data.pose_position == "REST"
        name, rig.name = rig.name, "Skeleton"
        other = bpy.data.objects.new(name, None)
        assert bpy.ops.idto3d.match_leave() == {"FINISHED"} and rig.data.pose_position == position
        assert stage.KEY not in rig.data and stage.matched(bpy.context.scene) is None
        bpy.data.objects.remove(other)
    said: list[str] = []
    for pinned, times in ((False, 0), (True, 1), (True, 2), (False, 2)):
        match = matched(obj)
        obj.idto3d_match.pins.add().pixel = (150, 100)
        match.first = match.link.ask(session.request(match, obj))
        pump.take(match.link.wait(match.first))
        if not pinned:
            obj.idto3d_match.pins.clear()
            answer = match.link.wait(match.link.ask(session.request(match, obj)))
            answer.arrays["moved"][:] = -0.0  # as turned from one frame to the other
            session.take(bpy.context.scene, obj, match, answer)
        leave: Any = SimpleNamespace(report=lambda kind, text: said.append(text))
        assert IDTO3D_OT_match_leave.execute(leave, bpy.context) == {"FINISHED"}
        assert len(said) == times, said
    assert "Pins have moved the head, but not the bones of Skeleton" in said[0]


def check_names() -> None:
    """An object of another file may be called the same."""
    new_head().name = "Anna"
    bpy.ops.wm.save_as_mainfile(filepath=str(WORK / "library.blend"))
    obj = new_head()
    with bpy.data.libraries.load(str(WORK / "library.blend"), link=True) as (_, wanted):
        wanted.objects = ["Anna"]
    bpy.context.scene.collection.objects.link(wanted.objects[0])
    obj.name = "Anna"
    select(obj)
    matched(obj)
    assert stage.matched(bpy.context.scene) == obj and bpy.ops.idto3d.match_leave() == {"FINISHED"}


def check_moved_photo() -> None:
    """In a file that is opened again a photo may be elsewhere by now."""
    obj = new_head()
    assert bpy.ops.idto3d.match() == {"FINISHED"}
    assert "idto3d.match_find_photo" not in check_polls.draw_all_panels()
    bpy.ops.wm.save_as_mainfile(filepath=str(WORK / "matched.blend"))
    photo = Path(session.read(obj)[1].photos[0].path)
    moved = photo.rename(WORK / "later.png")
    bpy.ops.wm.open_mainfile(filepath=str(WORK / "matched.blend"))
    assert "idto3d.match_find_photo" in check_polls.draw_all_panels()
    matched(bpy.context.object)
    assert "idto3d.match_find_photo" in check_polls.draw_all_panels()
    moved.rename(photo)
    assert bpy.ops.idto3d.match_project() == {"FINISHED"}
    refused(bpy.ops.idto3d.match_find_photo, "being projected")  # the photos would never come onto the head
    match, end = session.get(), time.monotonic() + 20
    while match is not None and match.projecting:
        assert time.monotonic() < end
        pump.pump()
    assert bpy.ops.idto3d.match_find_photo(filepath=str(photo)) == {"FINISHED"}
    assert "idto3d.match_find_photo" not in check_polls.draw_all_panels()
    assert bpy.ops.idto3d.match_leave() == {"FINISHED"}


def check_other_photos() -> None:
    """In a file that is opened again the head may have been made anew, from fewer photos."""
    obj = new_head()
    assert bpy.ops.idto3d.match() == {"FINISHED"} and bpy.ops.idto3d.match_photo(photo=1) == {"FINISHED"}
    bpy.ops.wm.save_as_mainfile(filepath=str(WORK / "two.blend"))
    file = session.read(obj)[0] / "fit.json"
    before = file.read_text(encoding="utf-8")
    fit = json.loads(before)
    file.write_text(json.dumps({**fit, "photos": fit["photos"][:1]}), encoding="utf-8")
    bpy.ops.wm.open_mainfile(filepath=str(WORK / "two.blend"))
    assert bpy.ops.idto3d.match() == {"FINISHED"}
    assert [camera[stage.KEY] for camera in stage.cameras(bpy.context.scene)] == [0], "a photo that is none"
    matched(bpy.context.object)
    assert check_polls.draw_all_panels().count("idto3d.match_photo") == 1
    assert bpy.ops.idto3d.match_leave() == {"FINISHED"}
    assert not [key.name for key in bpy.context.object.data.shape_keys.key_blocks if stage.is_posed(key)]
    file.write_text(before, encoding="utf-8")


def check_no_backend() -> None:
    """Without it all photos can be looked at, and one that was moved be found."""
    obj = new_head()
    photo = Path(session.read(obj)[1].photos[1].path)
    moved = photo.rename(WORK / "elsewhere.png")
    assert bpy.ops.idto3d.match() == {"FINISHED"} and session.of(bpy.context.scene) is None
    assert check_polls.draw_all_panels().count("idto3d.match_photo") == 2
    assert bpy.ops.idto3d.match_photo(photo=1) == {"FINISHED"}
    assert "idto3d.match_find_photo" in check_polls.draw_all_panels()
    assert bpy.ops.idto3d.match_find_photo(filepath=str(moved)) == {"FINISHED"}
    shown = check_polls.draw_all_panels()
    assert "idto3d.match_find_photo" not in shown and {"idto3d.match", "idto3d.match_leave"} <= set(shown)
    assert bpy.ops.idto3d.match_leave() == {"FINISHED"}
    jobs.get().status = setup_backend.Status("ready", "Ready.", "cpu")
    with patch("tempfile.tempdir", str(WORK / "nowhere")):
        assert bpy.ops.idto3d.match() == {"FINISHED"}, "it can be looked at, and left"
    assert stage.matched(bpy.context.scene) == obj and session.get() is None
    (session.read(obj)[0] / "fit.json").unlink()
    refused(lambda: bpy.ops.idto3d.match_photo(photo=0), "fit.json")
    assert bpy.ops.idto3d.match_leave() == {"FINISHED"}


def main() -> None:
    idto3d_blender.register()
    write_fit(synthetic.write(WORK / "head"), WORK, WORK / "pack")
    (WORK / "pack").mkdir()
    (WORK / "pack" / "pack.json").write_text('{"name": "synthetic"}', encoding="utf-8")
    check_applied()
    check_applied_meanwhile(new_head())
    check_modes()
    check_scenes()
    check_ended(new_head())
    check_late(new_head())
    check_refused_pins(new_head())
    check_upright(new_head())
    check_own_key(new_head())
    check_rig(new_head())
    check_names()
    check_moved_photo()
    check_other_photos()
    check_no_backend()
    idto3d_blender.unregister()
    blender_session.leave()


main()
