# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene while a head is matched: a camera a photo, the photo behind it, the head as in the photo; and all back.

What was before is kept in the scene itself, so that it comes back after undo, too, and after the file was closed.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ..head import applied, carrier, frame, import_head, mesh_data, rig
from ..head.bundle import FitCamera, FitFile
from ..studio import own_collection
from .lens import SENSOR, lens_of

KIND = "match"
KEY = "idto3d_match"
"""Property of the scene: what to give back, as JSON; of a camera: which photo, and its pinhole; of an armature: whether
it was posed."""
POSE = "photo: "
"""What the names of the keys begin with that show the head as in its photos."""
_POSED = re.compile(rf"{POSE}\d+(\.\d+)?")
_EVEN, _NEAR = 1.001, 0.003  # scales that are one; metres from the bundle's vertices in the median
_RENDER = ("resolution_x", "resolution_y", "pixel_aspect_x", "pixel_aspect_y")


def matched(scene: Any) -> Any:
    """The head that is matched in the scene, or None."""
    obj = scene.get(import_head.MATCHED)
    there = obj is not None and scene in obj.users_scene
    return obj if there and import_head.is_head(obj) else None


def misplaced(obj: Any, vertices: NDArray[np.float32]) -> str:
    """Why the mesh is not where photos show it, as a sentence, empty where it is; vertices (V,3): of its bundle.
    What was sculpted is near to it, in most places."""
    scale = np.abs(obj.matrix_world.to_scale())
    if scale.max() > _EVEN * scale.min():
        return "The head is stretched: give it one scale in all directions."
    points = mesh_data.places(obj.data.shape_keys.key_blocks[0]) if carrier.is_moved(obj) else applied.made_places(obj)
    own = points - mesh_data.moved(obj.data) + origin_of(obj)
    if len(own) == len(vertices) and np.median(np.linalg.norm(own - vertices, axis=1)) > _NEAR:
        return "Its place, rotation or scale was applied to this head's mesh, or its origin moved: import it again."
    return ""


def begin(scene: Any, obj: Any, fit: FitFile, pictures: Mapping[int, str]) -> None:
    """Make the cameras and the keys of the photos; pictures: number of a photo to the path of what it shows."""
    if _pose_keys(obj):  # of a match whose scene somebody has deleted
        give_back({}, [obj], obj)
    render = scene.render
    saved: dict[str, Any] = {
        "render": {name: getattr(render, name) for name in _RENDER},
        "wire": obj.show_wire,
        "only_key": obj.show_only_shape_key,
        "active_key": obj.active_shape_key_index,
    }
    for one in _rigs(obj):  # noted there: names change, and other objects get them
        one.data[KEY] = one.data.get(KEY, one.data.pose_position)
        one.data.pose_position = "REST"
    collection = own_collection.renew(scene, KIND, f"{obj.name} photos")
    for number, photo in enumerate(fit.photos):
        data = bpy.data.cameras.new(f"{obj.name} {Path(photo.name).stem}")
        camera = own_collection.add(collection, bpy.data.objects.new(data.name, data))
        camera.hide_render = camera.hide_select = True
        camera.parent = obj
        camera[KEY] = number
        place(camera, obj, photo.camera, (photo.width, photo.height))
        data.sensor_fit, data.sensor_width = "HORIZONTAL", SENSOR
        size = obj.matrix_world.median_scale
        data.clip_start, data.clip_end, data.show_passepartout = 0.01 * size, max(data.clip_end, 100.0 * size), False
        if number in pictures:
            show_picture(camera, pictures[number])
    for number in range(len(fit.photos)):
        key = obj.shape_key_add(name=f"{POSE}{number + 1}", from_mix=False)
        # A new key has the value 1.0 from Blender 5.0 on, and the shape of the mesh as it was entered last.
        key.value = 0.0
        key.lock_shape = True  # pins move it, and what a brush did would be lost
        key.points.foreach_set("co", mesh_data.places(obj.data.shape_keys.key_blocks[0]).ravel())
    scene[KEY] = json.dumps(saved)
    scene[import_head.MATCHED] = obj


def _rigs(obj: Any) -> list[Any]:
    """Armatures that deform the head: photos are matched in rest."""
    return [one.object for one in obj.modifiers if one.type == "ARMATURE" and one.object is not None]


def outgrown(scene: Any) -> str:
    """The name of the rig of the matched head, if that is not where its bones were made for: pins leave them behind."""
    head = matched(scene)
    made = rig.rig_of(head) if head is not None else None
    return made.name if made is not None and rig.is_outgrown(head, made) else ""


def show_picture(camera: Any, path: str) -> None:
    """Put a picture behind what the camera shows."""
    image = bpy.data.images.load(path, check_existing=True)
    behind = camera.data.background_images
    slot = behind[0] if len(behind) else behind.new()
    old, slot.image, slot.frame_method = slot.image, image, "FIT"
    if old is not None and old.users == 0:
        bpy.data.images.remove(old)
    camera.data.show_background_images = True


def picture_of(camera: Any) -> str:
    """The path of what is behind what a camera shows, "" for nothing."""
    behind = camera.data.background_images
    return behind[0].image.filepath if len(behind) and behind[0].image is not None else ""


def has_picture(camera: Any) -> bool:
    """Its photo is behind it, and where it was."""
    pictures = [slot.image for slot in camera.data.background_images if slot.image is not None]
    return any(one.packed_file is not None or Path(bpy.path.abspath(one.filepath)).is_file() for one in pictures)


def place(camera: Any, obj: Any, pinhole: FitCamera, size: tuple[int, int]) -> None:
    """Make a camera object of a photo's pinhole."""
    origin = np.array(obj.data.get(frame.ORIGIN, (0.0, 0.0, 0.0)))
    lens = lens_of(pinhole, size, origin)
    data = camera.data
    data.lens, data.shift_x, data.shift_y = lens.lens, lens.shift_x, lens.shift_y
    camera.matrix_parent_inverse.identity()
    camera.matrix_basis = Matrix(lens.matrix.tolist())
    camera["pinhole"] = json.dumps(
        {
            "focal": pinhole.focal,
            "principal": pinhole.principal.tolist(),
            "rotation": pinhole.rotation.tolist(),
            "translation": pinhole.translation.tolist(),
            "size": list(size),
        }
    )


def pinhole_of(camera: Any) -> tuple[FitCamera, tuple[int, int]]:
    """What `place` made a camera of."""
    given = json.loads(camera["pinhole"])
    arrays = (np.array(given[name], np.float64) for name in ("principal", "rotation", "translation"))
    return FitCamera(given["focal"], *arrays), tuple(given["size"])


def cameras(scene: Any) -> list[Any]:
    """The photos' cameras in their order."""
    return sorted((o for o in scene.objects if o.type == "CAMERA" and KEY in o), key=lambda o: o[KEY])


def show_photo(scene: Any, obj: Any, number: int) -> Any:
    """Show the head as in one of its photos; returns that photo's camera, or None where it is gone."""
    camera = next((one for one in cameras(scene) if one[KEY] == number), None)
    index = obj.data.shape_keys.key_blocks.find(f"{POSE}{number + 1}")
    if camera is None or index < 0:
        return None
    obj.idto3d_match.photo = number
    obj.show_only_shape_key = True
    obj.active_shape_key_index = index
    _, (width, height) = pinhole_of(camera)
    render = scene.render
    render.resolution_x, render.resolution_y = width, height
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0
    show_look(obj)
    return camera


def show_look(obj: Any) -> None:
    """Lay photo and head over one another as the head's settings say."""
    given = obj.idto3d_match
    for scene in (one for one in bpy.data.scenes if matched(one) == obj):
        # Not the display as wires, which shows sockets and teeth through the face.
        obj.show_wire = given.look == "WIRE" or json.loads(scene[KEY])["wire"]
        for camera in cameras(scene):
            for slot in camera.data.background_images:
                slot.display_depth = "BACK" if given.look == "SOLID" else "FRONT"
                slot.alpha = given.alpha


def end(scene: Any) -> None:
    """Take cameras, photos and their keys out of the file, and give back what was before."""
    saved = json.loads(scene.get(KEY, "{}"))
    if not saved:
        return
    head = matched(scene)
    pictures = [slot.image for one in cameras(scene) for slot in one.data.background_images if slot.image]
    own_collection.remove(scene, KIND)
    for image in {one.name: one for one in pictures}.values():
        if image.users == 0:
            bpy.data.images.remove(image)
    for name, value in saved["render"].items():
        setattr(scene.render, name, value)
    for key in (KEY, import_head.MATCHED):
        scene.pop(key, None)
    give_back(saved, bpy.data.objects, head)


def give_back(saved: Mapping[str, Any], objects: Iterable[Any], head: Any = None) -> None:
    """Heads that are matched in no scene show what they did before: the one that was, ``head``, also where somebody has
    taken its photos' keys away, and copies that were made of it meanwhile. saved: of `begin`; empty where that is not
    known, as of heads that come from another file."""
    shown = [matched(scene) for scene in bpy.data.scenes]
    there = [obj for obj in objects if obj not in shown and obj.library is None]
    left = [obj for obj in there if obj == head or _pose_keys(obj)]
    for obj in left:
        obj.show_wire = saved.get("wire", False)
        obj.show_only_shape_key = saved.get("only_key", False)
    held = {one.data for head in filter(None, shown) for one in _rigs(head)}
    for armature in set(bpy.data.armatures) - held:
        if KEY in armature:
            armature.pose_position = armature.pop(KEY)
    for obj in left:
        for key in _pose_keys(obj):
            obj.shape_key_remove(key)
        obj.active_shape_key_index = min(saved.get("active_key", 0), len(obj.data.shape_keys.key_blocks) - 1)


def is_posed(key: Any) -> bool:
    """It shows a head as in one of its photos, or is a copy of such a key. Other keys that are called photo are the
    user's."""
    return _POSED.fullmatch(key.name) is not None


def _pose_keys(obj: Any) -> list[Any]:
    if not import_head.is_head(obj) or obj.data.library is not None:
        return []
    return [key for key in obj.data.shape_keys.key_blocks if is_posed(key)]


def origin_of(obj: Any) -> NDArray[np.float64]:
    """(3,) where the mesh has its origin in the bundle's frame."""
    return np.array(obj.data.get(frame.ORIGIN, (0.0, 0.0, 0.0)), np.float64)


def shown(obj: Any) -> NDArray[np.float32]:
    """(V,3) the head as in the photo that is shown, in the bundle's frame."""
    key = obj.data.shape_keys.key_blocks[f"{POSE}{obj.idto3d_match.photo + 1}"]
    return mesh_data.places(key) + origin_of(obj).astype(np.float32)


def has_pose(obj: Any) -> bool:
    """The key of the photo that is shown is there."""
    return obj is not None and f"{POSE}{obj.idto3d_match.photo + 1}" in obj.data.shape_keys.key_blocks


def show_pose(obj: Any, arrays: Mapping[str, NDArray[Any]], number: int) -> None:
    """Only what is looked at, for the time of a drag: the head as in one photo."""
    blocks = obj.data.shape_keys.key_blocks
    now = mesh_data.places(blocks[0]) - mesh_data.moved(obj.data) + arrays["moved"] + arrays["posed"][number]
    blocks[f"{POSE}{number + 1}"].points.foreach_set("co", np.ascontiguousarray(now, np.float32).ravel())
    obj.data.update()


def settle(obj: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Move the whole head: neutral and all keys by what pins change; what was sculpted since stays."""
    step = arrays["moved"] - mesh_data.moved(obj.data)
    blocks = obj.data.shape_keys.key_blocks
    # Only where there is something to do: an undo step holds what has changed.
    if step.any():
        for key in blocks:
            if not is_posed(key):
                key.points.foreach_set("co", np.ascontiguousarray(mesh_data.places(key) + step, np.float32).ravel())
        obj.data.attributes["position"].data.foreach_set("vector", mesh_data.places(blocks[0]).ravel())
        layer = obj.data.attributes.get(mesh_data.MOVED)
        layer = layer or obj.data.attributes.new(mesh_data.MOVED, "FLOAT_VECTOR", "POINT")
        layer.data.foreach_set("vector", np.ascontiguousarray(arrays["moved"], np.float32).ravel())
    basis = mesh_data.places(blocks[0])
    for number, pose in enumerate(arrays["posed"]):
        key = blocks.get(f"{POSE}{number + 1}")
        if key is not None:
            key.points.foreach_set("co", np.ascontiguousarray(basis + pose, np.float32).ravel())
    obj.data.update()


def place_all(scene: Any, obj: Any, rows: list[dict[str, Any]]) -> None:
    """Put the cameras where an answer has them; rows: its `photos`."""
    for camera in cameras(scene):
        if camera[KEY] < len(rows):
            place(camera, obj, camera_of(rows[camera[KEY]]), pinhole_of(camera)[1])


def camera_of(row: Mapping[str, Any]) -> FitCamera:
    """A photo's pinhole from the protocol."""
    names = ("principal_point_px", "rotation", "translation_m")
    return FitCamera(float(row["focal_length_px"]), *(np.array(row[name], np.float64) for name in names))
