# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: a head over its photos, and pins. ``python check_match.py WORK``."""

import contextlib
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

import idto3d_blender
from idto3d_blender.head import mesh_data, naming
from idto3d_blender.head.bundle import BundleError
from idto3d_blender.head.import_head import JOB
from idto3d_blender.jobs import packs, setup_backend
from idto3d_blender.jobs import session as jobs
from idto3d_blender.match import lens, operators_pins, overlay, pump, session
from idto3d_blender.match import scene as stage
from idto3d_blender.match.link import Link
from idto3d_blender.properties import settings
from tests.blender import blender_session, check_polls, fake_pins
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import key_places, refused
from tests.blender.match_backend import backend
from tests.blender.synthetic_fit import SIZES, camera, write_fit

WORK = Path(sys.argv[-1])
PACK = WORK / "pack"


def check_cameras(scene: Any, obj: Any) -> None:
    """Blender's cameras have every vertex where the fit has it, wherever the head stands."""
    obj.location, obj.rotation_euler = (1.0, -2.0, 0.5), (0.2, 0.4, 1.0)
    obj.scale = (2.0, 2.0, 2.0)
    places = key_places(obj) + stage.origin_of(obj)
    for number, size in enumerate(SIZES):
        shown = stage.show_photo(scene, obj, number)
        bpy.context.view_layer.update()
        assert (scene.render.resolution_x, scene.render.resolution_y) == size
        expected, depth = camera(0.3 * number, size).project(places)
        for n in range(0, len(places), 37):
            x, y, _ = world_to_camera_view(scene, shown, obj.matrix_world @ Vector(key_places(obj)[n]))
            pixel = np.array([x * size[0] - 0.5, (1 - y) * size[1] - 0.5])
            assert np.abs(pixel - expected[n]).max() < 0.02, (number, n, pixel, expected[n])
        assert depth.min() > 0.5
        assert shown.data.background_images[0].image.filepath.endswith(f"photo {number}.png")
    obj.scale = (1.0, 1.0, 1.0)


def check_pick(obj: Any, skin: np.ndarray) -> None:
    """The frontmost triangle at a pixel, and where on it, in perspective."""
    pinhole = camera(0.0, SIZES[0])
    places = np.array([[-0.1, 0, 0], [0.1, 0, 0], [0, 0.3, 0.2], [-0.1, 0.5, 0], [0.1, 0.5, 0], [0, 0.8, 0.2]])
    truth = np.array([0.2, 0.3, 0.5])
    pixel = pinhole.project(truth @ places[:3])[0]
    hit = lens.pick(pinhole, places, np.array([[3, 4, 5], [0, 1, 2]]), tuple(pixel))
    assert hit is not None and hit.corners == (0, 1, 2) and np.allclose(hit.weights, truth)
    assert lens.pick(pinhole, places, np.array([[0, 1, 2]]), (0.0, 0.0)) is None
    assert lens.pick(pinhole, places, np.array([[0, 2, 1]]), tuple(pixel)) is None  # its back


def check_turns(obj: Any, match: session.Match) -> None:
    """Pictures of a projection come one a turn: a large head's take the window too long at once. Undone in the middle,
    the rest stays away."""
    count = len(list(naming.images(obj)))
    for stopped in (False, True):
        assert bpy.ops.idto3d.match_project() == {"FINISHED"}
        laid, end = [0], time.monotonic() + 20
        with patch.object(pump, "_keep_painted", wraps=pump._keep_painted) as taken:
            while match.projecting and not (stopped and laid[-1]):
                assert time.monotonic() < end
                pump.pump()
                laid.append(taken.call_count)
            if stopped:
                pump._undone()
                pump.take(match.link.wait(match.first))
                pump.pump()
                laid.append(taken.call_count)
        assert max(np.diff(laid)) == 1 and laid[-1] == (1 if stopped else count), laid


def check_elsewhere(scene: Any, obj: Any, match: session.Match) -> None:
    """An answer reaches the head also while another scene is shown, where the match neither shows nor ends."""
    (pin,) = obj.idto3d_match.pins
    before = key_places(obj)
    other = bpy.data.scenes.new("other")
    for pixel, way in (((160, 100), 10), ((150, 100), 0)):
        pin.pixel = pixel
        ticket = match.link.ask(session.request(match, obj))
        bpy.context.window.scene = other
        pump.take(match.link.wait(ticket))
        assert np.allclose(key_places(obj) - before, [way * fake_pins.STEP, 0, 0], atol=1e-6), "the answer is lost"
        pump._undone()
        assert session.get() is match and session.of(other) is None and session.of(scene) is match
        pump.take(match.link.wait(match.first))
        assert not bpy.ops.idto3d.pins_clear.poll()
        bpy.context.window.scene = scene
    bpy.data.scenes.remove(other)


def check_pack(obj: Any, folder: Path) -> None:
    """A head is reckoned with its own pack, or the one of its name that is chosen where that is gone, or not at all."""
    moved = PACK.rename(WORK / "pack moved")
    ready, jobs.get().status = jobs.get().status, setup_backend.Status("ready", "Ready.", "cpu")
    assert bpy.ops.idto3d.match() == {"FINISHED"} and session.get() is None, "asked without the head's pack"
    assert bpy.ops.idto3d.match_leave() == {"FINISHED"}
    jobs.get().status = ready
    given = settings()
    given.pack, given.pack_folder = "FOLDER", str(moved)
    assert packs.pack_of(obj) == str(moved)
    (moved / "pack.json").write_text(json.dumps({"name": "another"}), encoding="utf-8")
    with contextlib.suppress(BundleError):
        raise AssertionError(packs.pack_of(obj))
    given.pack = "STARTER"
    moved.rename(PACK)
    obj["idto3d"]["folder"] = str(WORK / "nowhere")
    assert packs.pack_of(obj) is None
    obj["idto3d"]["folder"] = str(folder)


def copy_of(obj: Any, linked: bool) -> Any:
    """As Blender's Duplicate makes one."""
    blender_session.select(obj)
    assert bpy.ops.object.duplicate(linked=linked) == {"FINISHED"}
    made = bpy.context.object
    blender_session.select(obj)
    return made


def check_appended(file: Path, keys: list[str]) -> None:
    """A head from a file that was saved during a match is a head as any other."""
    there, before = set(bpy.data.objects), bpy.context.object
    assert bpy.ops.wm.append(directory=f"{file}/Object/", filename="head") == {"FINISHED"}
    made = set(bpy.data.objects) - there
    (head,) = (one for one in made if one.type == "MESH")
    assert [key.name for key in head.data.shape_keys.key_blocks] == keys and not head.show_only_shape_key
    bpy.data.batch_remove(made)
    blender_session.select(before)


def check_refused(obj: Any) -> None:
    """Another folder without photos is not kept; what was made from no photos, or is not the mesh of them, is told."""
    kept = obj["idto3d"]["folder"]
    refused(lambda: bpy.ops.idto3d.match(directory=str(synthetic.write(WORK / "other"))), "earlier version")
    another = synthetic.write(WORK / "another", rows=14)
    write_fit(another, WORK, PACK)
    refused(lambda: bpy.ops.idto3d.match(directory=str(another)), "another head's folder")
    assert obj["idto3d"]["folder"] == kept
    obj["idto3d"]["blend"] = "anna: shape 0.50, skin 0.50"
    refused(bpy.ops.idto3d.match, "mixture")
    del obj["idto3d"]["blend"]
    obj[JOB] = "1"
    refused(bpy.ops.idto3d.match, "is not finished")
    del obj[JOB]
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    refused(bpy.ops.idto3d.match, "full head")
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}


def check_busy(scene: Any, obj: Any) -> None:
    """Pins move the mesh that a head is matched with, and its photos have keys: nothing else remakes it meanwhile,
    whichever scene is shown."""
    ops, other = bpy.ops.idto3d, bpy.data.scenes.new("other")
    other.collection.objects.link(obj)
    copy = copy_of(obj, linked=False)
    for shown in (scene, other):
        bpy.context.window.scene = shown
        blender_session.select(obj)
        for operator in (ops.cut_neck, ops.change_density, ops.separate_parts, ops.add_rig, ops.multires_base):
            refused(operator, "Leave the match first")
        refused(ops.mirror_keys, "Leave the match first")
        refused(ops.export, "Leave the match first")
    bpy.context.window.scene = scene
    blender_session.select(copy)
    obj.select_set(True)
    refused(ops.blend_people, "Leave the match first")
    bpy.data.objects.remove(copy)
    bpy.data.scenes.remove(other)
    blender_session.select(obj)


def check_handle(scene: Any, obj: Any, match: session.Match) -> None:
    """A click on a handle takes hold of its pin, although that wants it elsewhere: no place has two pins in a photo."""
    number = stage.cameras(scene)[0][stage.KEY]
    pin = obj.idto3d_match.pins.add()
    assert match.corners is not None and match.weights is not None
    pin.photo, pin.corners, pin.weights = number, match.corners[0].tolist(), match.weights[0].tolist()
    pin.pixel = (1, 1)
    pinhole = stage.pinhole_of(stage.cameras(scene)[0])[0]
    frame: Any = SimpleNamespace(photo=number, pinhole=pinhole, to_region=np.asarray, to_photo=tuple)
    context: Any = SimpleNamespace(preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1.0)))
    at = pinhole.project(overlay.places(obj, match.corners[:1], match.weights[:1]))[0][0]
    found = operators_pins.find(context, obj, frame, at)
    assert found is not None and found[0] == len(obj.idto3d_match.pins) - 1, "a second pin on the handle"
    pin.photo = number + 1
    found = operators_pins.find(context, obj, frame, at)
    assert found is not None and found[0] == -1, "the pin of another photo"
    obj.idto3d_match.pins.remove(len(obj.idto3d_match.pins) - 1)


def check_deleted(obj: Any, before: tuple[float, ...]) -> None:
    """A match is left although its head is gone, or the keys of its photos: then sliders move it again."""
    assert bpy.ops.idto3d.match() == {"FINISHED"} and obj.show_only_shape_key
    for key in [key for key in obj.data.shape_keys.key_blocks if key.name.startswith(stage.POSE)]:
        obj.shape_key_remove(key)
    assert bpy.ops.idto3d.match_leave() == {"FINISHED"} and not obj.show_only_shape_key
    assert bpy.ops.idto3d.match() == {"FINISHED"}
    bpy.data.objects.remove(obj)
    assert "idto3d.match_leave" in check_polls.draw_all_panels() and bpy.ops.idto3d.match_leave() == {"FINISHED"}
    scene = bpy.context.scene
    assert (scene.render.resolution_x, scene.render.resolution_y, scene.render.pixel_aspect_x) == before


def main() -> None:
    idto3d_blender.register()
    bundle = synthetic.write(WORK / "head")
    assert bpy.ops.idto3d.import_head(filepath=str(bundle)) == {"FINISHED"}
    scene, obj = bpy.context.scene, bpy.context.object
    refused(bpy.ops.idto3d.match, "earlier version")
    files = write_fit(bundle, WORK, PACK)
    PACK.mkdir()
    (PACK / "pack.json").write_text(json.dumps({"name": "synthetic"}), encoding="utf-8")
    before = (scene.render.resolution_x, scene.render.resolution_y, scene.render.pixel_aspect_x)
    keys = [key.name for key in obj.data.shape_keys.key_blocks]
    start = {key.name: mesh_data.places(key) for key in obj.data.shape_keys.key_blocks}
    objects = len(bpy.data.objects)
    assert not bpy.ops.idto3d.pin_drag.poll() and not bpy.ops.idto3d.match_leave.poll()

    assert bpy.ops.idto3d.match() == {"FINISHED"}
    assert stage.matched(scene) == obj and len(stage.cameras(scene)) == 2
    shown = check_polls.draw_all_panels()
    assert bpy.context.object == obj and "idto3d.match_leave" in shown
    assert not {"idto3d.reset_expressions", "idto3d.cut_neck", "idto3d.add_rig"} & set(shown)
    check_busy(scene, obj)
    check_cameras(scene, obj)

    fake = str(Path(__file__).with_name("fake_pins.py"))
    link = Link(backend(fake, WORK))
    folder, fit = session.read(obj)
    paths = [session.find_photo(photo, folder) for photo in fit.photos]
    assert paths == [str(file) for file in files]
    match = session.start(scene, folder, fit, paths, link)
    assert session.request(match, obj)["pack"] == str(PACK)
    assert not bpy.ops.idto3d.pin_drag.poll()
    refused(bpy.ops.idto3d.remove_backend, "Leave the match first")
    pump.take(link.wait(match.first))
    assert match.skin is not None and bpy.ops.idto3d.pin_drag.poll()
    check_pick(obj, match.skin)

    # the head is shown as in the photo, and the neutral head has not moved
    assert bpy.ops.idto3d.match_photo(photo=0) == {"FINISHED"}
    assert np.allclose(key_places(obj), start["Basis"])
    assert obj.show_only_shape_key and obj.active_shape_key.name == "photo: 1"
    assert np.allclose(mesh_data.places(obj.active_shape_key) - key_places(obj), [0, 0, fake_pins.POSED], atol=1e-6)

    # a place of the skin is dragged: neutral and all keys go along, and what was sculpted stays
    sculpted = start["Basis"].copy()
    sculpted[5, 2] += 0.01
    obj.data.shape_keys.key_blocks[0].points.foreach_set("co", sculpted.ravel())
    nose = start["Basis"][np.argmin(start["Basis"][:, 1])] + stage.origin_of(obj)
    at = camera(0.0, SIZES[0]).project(nose)[0]
    assert bpy.ops.idto3d.pin_drag(start=at.tolist(), pixel=(150, 100)) == {"FINISHED"}
    (pin,) = obj.idto3d_match.pins
    assert tuple(pin.pixel) == (150, 100) and abs(sum(pin.weights) - 1) < 1e-5
    step = np.array([50 * fake_pins.STEP, 0, 0])
    assert np.allclose(key_places(obj) - sculpted, step, atol=1e-6)
    for name in keys[1:]:
        key = obj.data.shape_keys.key_blocks[name]
        assert np.allclose(mesh_data.places(key) - start[name], step, atol=1e-6), name
    flat = np.empty(3 * len(obj.data.vertices), np.float32)
    obj.data.vertices.foreach_get("co", flat)
    assert np.allclose(flat.reshape(-1, 3), key_places(obj))

    check_elsewhere(scene, obj, match)

    # a wrong one is refused with a word, and all stays as it was
    last = key_places(obj)
    refused(lambda: bpy.ops.idto3d.pin_drag(pin=0, pixel=(2000, 100)), "Nobody has such a head")
    refused(lambda: bpy.ops.idto3d.pin_drag(start=at.tolist(), pixel=(2000, 100)), "Nobody has")
    refused(lambda: bpy.ops.idto3d.pin_drag(start=(1, 1), pixel=(2, 2)), "no skin")
    assert np.array_equal(key_places(obj), last) and len(obj.idto3d_match.pins) == 1
    assert tuple(obj.idto3d_match.pins[0].pixel) == (150, 100)

    # a pin is taken hold of where it is; one that there is not is told
    assert bpy.ops.idto3d.pin_drag(start=(150.3, 99.8), pixel=(160, 100)) == {"FINISHED"}
    assert [tuple(pin.pixel) for pin in obj.idto3d_match.pins] == [(160, 100)], "a second pin on the first"
    assert bpy.ops.idto3d.pin_drag(start=(160, 100), pixel=(150, 100)) == {"FINISHED"}
    refused(lambda: bpy.ops.idto3d.pin_drag(pin=1, pixel=(150, 100)), "no such pin")
    assert np.allclose(key_places(obj), last, atol=1e-6) and len(obj.idto3d_match.pins) == 1
    check_handle(scene, obj, match)

    # photos anew: the map changes, the head's own folder does not
    assert bpy.ops.idto3d.match_project(wait=True) == {"FINISHED"}
    assert (WORK / "head pinned 1" / "head.json").is_file() and match.bundle == bundle
    image = next(image for image in naming.images(obj) if image[naming.ROLE] == "skin_albedo")
    assert np.allclose(np.array(image.pixels[:3]) * 255, fake_pins.PROJECTED, atol=1)
    assert not [one for one in bpy.data.images if "painted" in one.name], "nobody has painted"
    check_turns(obj, match)
    # What was painted on a map is still there when it is laid anew, painted in this session or before.
    for red in (0.8, 0.4):
        pixels = np.array(image.pixels[:], np.float32)
        pixels[0] = red
        image.pixels.foreach_set(pixels)
        if red < 0.5:
            image.pack()
        assert bpy.ops.idto3d.match_project(wait=True) == {"FINISHED"}
        assert np.allclose(np.array(image.pixels[:3]) * 255, fake_pins.PROJECTED, atol=1)
    unpacked = WORK / "unpacked.png"
    unpacked.write_bytes(image.packed_file.data)
    image.filepath_raw = str(unpacked)
    image.unpack(method="REMOVE")
    assert image.packed_file is None and bpy.ops.idto3d.match_project(wait=True) == {"FINISHED"}
    painted = [one for one in bpy.data.images if "painted" in one.name]
    assert [round(one.pixels[0], 1) for one in painted] == [0.8, 0.4] and all(one.packed_file for one in painted)
    bpy.data.batch_remove(painted)

    # pins are in the file
    file = WORK / "file.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    assert obj["idto3d"]["folder"] == str(folder)
    bpy.ops.wm.open_mainfile(filepath=str(file))
    scene, obj = bpy.context.scene, bpy.context.object
    # The bundle's folder is stored as seen from the file, and found.
    assert obj["idto3d"]["folder"] == "//head" and session.read(obj)[0] == folder
    assert session.get() is None and len(obj.idto3d_match.pins) == 1 and stage.matched(scene) == obj
    link = Link(backend(fake, WORK))
    match = session.start(scene, folder, fit, paths, link)
    pump.take(link.wait(match.first))
    assert np.allclose(key_places(obj), last, atol=1e-7)  # what the pins have done is not done twice
    assert bpy.ops.idto3d.pins_clear() == {"FINISHED"}
    assert np.allclose(key_places(obj), sculpted, atol=1e-6) and not obj.idto3d_match.pins

    # a photo that is another one now, and one that was moved
    refused(lambda: bpy.ops.idto3d.match_find_photo(filepath=str(files[1])), "not the photo")
    moved = files[0].rename(WORK / "moved.png")
    assert session.find_photo(fit.photos[0], folder) == ""
    assert bpy.ops.idto3d.match_find_photo(filepath=str(moved)) == {"FINISHED"}
    assert match.paths[0] == str(moved)

    # after a machine has slept the backend still answers, and an answer that cannot be read is no end either
    with patch("time.monotonic", return_value=time.monotonic() + 1e4):
        match.link.poll()
    assert match.link.state != "gone"
    with patch.object(np, "load", side_effect=OSError("gone")):
        problem = match.link.wait(match.link.ask(session.request(match, obj)), 10.0).problem
    assert problem is not None and "could not be read" in problem.message
    assert match.link.wait(match.link.ask(session.request(match, obj)), 10.0).problem is None

    # a backend that has ended answers at once, and says so
    match.link._process.kill()
    end = time.monotonic() + 20
    while match.link.state != "gone" and time.monotonic() < end:
        match.link.poll()
        time.sleep(0.01)
    problem = match.link.wait(match.link.ask({}), 5.0).problem
    assert problem is not None and problem.code == "E_BACKEND_DIED"
    assert not bpy.ops.idto3d.pin_drag.poll()

    # everything is given back, whatever the head is called by now, and to its copies
    copies = [copy_of(obj, linked) for linked in (False, True)]
    file = WORK / "matched.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True)
    obj.name = "renamed"
    assert stage.matched(scene) == obj
    assert bpy.ops.idto3d.match_leave() == {"FINISHED"}
    assert "idto3d.reset_expressions" in check_polls.draw_all_panels()
    after = (scene.render.resolution_x, scene.render.resolution_y, scene.render.pixel_aspect_x)
    assert after == before and stage.KEY not in scene
    assert [key.name for key in obj.data.shape_keys.key_blocks] == keys and not obj.show_only_shape_key
    for copy in copies:
        assert [key.name for key in copy.data.shape_keys.key_blocks] == keys and not copy.show_only_shape_key
        bpy.data.objects.remove(copy)
    if bpy.app.version >= (4, 3):
        check_appended(file, keys)
    assert len(bpy.data.objects) == objects and not [c for c in bpy.data.cameras if c.name.startswith("head")]
    assert not [i for i in bpy.data.images if i.name.startswith(("photo", "moved"))], list(bpy.data.images)
    check_pack(obj, folder)
    check_refused(obj)
    check_deleted(obj, before)
    idto3d_blender.unregister()
    blender_session.leave()


main()
