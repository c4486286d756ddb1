# SPDX-License-Identifier: GPL-3.0-or-later
"""The head that sculpts itself in the viewport while a job runs, and becomes the finished head in its place.

Seconds after the beginning there may be a sketch: a whole head already, with keys and pictures, that takes the object's
place like the finished one and is still moved by what the previews say.

The object is found by its job's id in a custom property, at every step anew: between two steps the user may undo, or
open another file. What happens to it decides what we do:

- It is gone after an undo: the next preview makes it again.
- The user deleted it, or its scene: previews stop, until the job is resumed. The finished head is imported all the
  same, as a new object, because deleting it takes one key and making it again takes minutes.
- It is being edited or sculpted: previews pause, and the finished head waits, until it is back in object mode.
- Its mesh was worked on: see worked_on.py.
- A sketch's keys are set, moved or read by drivers: previews of other faces, which have no keys, pause. The finished
  head has all keys, and is set, moved and read by the same values, actions, strips and drivers.
- Another file was opened: see file_events.py.
"""

from collections.abc import Generator
from typing import Any

import bpy

from ..head import hand_over, import_head, naming, poses, room
from ..head.import_head import JOB
from ..head.material import count_in
from ..head.parts import Interrupted, Parts
from . import worked_on
from .preview_mesh import MATERIAL, Shape, move, new_mesh, same_topology

_SKETCH = "idto3d_sketch"  # marks a sketch's materials and pictures, which go when the finished head comes

_shown: set[str] = set()
_deleted: set[str] = set()
_names: dict[str, str] = {}
# Jobs that had no object when the file had so many: going through all of a large file takes milliseconds.
_missing: dict[str, int] = {}
_noted: tuple[str, ...] = ()


def find(job: str) -> Any:
    """The job's object in the open file, or None. Not to be kept beyond the next pause."""
    objects = bpy.data.objects
    known = objects.get(_names.get(job, ""))
    if known is not None and _is_made(known, job):
        return known
    if _missing.get(job) == len(objects):
        return None
    # The first is the one that was made, the others are Blender's copies of it.
    made = (obj for obj in objects if JOB in obj and _is_made(obj, job))
    first = min(made, key=lambda o: o.session_uid, default=None)
    if first is None:
        _missing[job] = len(objects)
        return None
    _names[job] = first.name
    _missing.pop(job, None)
    return first


def _is_of(obj: Any, job: str) -> bool:
    # An object whose scene was deleted may still lie in the file.
    return obj.get(JOB) == job and obj.library is None and obj.type == "MESH" and bool(obj.users_scene)


def _is_made(obj: Any, job: str) -> bool:
    # What an override of another file's object is given, Blender forgets.
    return _is_of(obj, job) and obj.override_library is None


def busy(job: str) -> bool:
    """The object is in edit, sculpt or paint mode, where its mesh must not be touched."""
    obj = find(job)
    return obj is not None and _is_in_a_mode(obj)


def _is_in_a_mode(obj: Any) -> bool:
    """As `busy`; an object that was made of it with Alt+D has the same mesh."""
    if obj.mode != "OBJECT":
        return True
    return obj.data.users > 1 and any(other.mode != "OBJECT" and other.data == obj.data for other in bpy.data.objects)


def show(shape: Shape, name: str) -> Generator[Any, None, bool]:
    """Steps that bring the job's object to ``shape``, making it as ``name`` if it was not there yet.

    Returns True when it did, False when the user does not want it or is working on it.
    """
    obj = find(shape.job)
    if obj is None and shape.job in _shown:
        _deleted.add(shape.job)
    if shape.job in _deleted or _is_kept_from_us(obj):
        return False
    if obj is not None and same_topology(obj.data, shape):
        move(obj.data, shape)
        worked_on.note(obj)
        yield
        return True
    if obj is not None and _in_use(obj.data.shape_keys):
        return False
    parts = Parts()
    try:
        yield from new_mesh(parts, shape, name)
        _place(shape, name, parts)
    except (Exception, GeneratorExit):
        parts.discard()
        raise
    yield
    return True


def _place(shape: Shape, name: str, parts: Parts) -> None:
    """Hand the new mesh to the job's object, or make the object."""
    mesh = parts.get("mesh")
    obj = find(shape.job)
    if (obj is None and shape.job in _shown) or _is_kept_from_us(obj):
        raise Interrupted("The object went, or is being edited, since its mesh was begun.")
    parts.release()
    if obj is not None:
        exchange(obj, mesh)
        naming.name_after(obj)
        obj.pop(import_head.PROPERTY, None)  # it may have been a sketch
    else:
        obj = bpy.data.objects.new(name, mesh)
        obj[JOB] = shape.job
        link(obj)
        _names[shape.job] = obj.name
        _shown.add(shape.job)
    worked_on.note(obj)


def _is_kept_from_us(obj: Any) -> bool:
    """Somebody works on the job's object, None where it has none, or did."""
    return obj is not None and (_is_in_a_mode(obj) or not worked_on.is_untouched(obj))


def _in_use(keys: Any) -> bool:
    if keys is None:
        return False
    if hand_over.is_moved(keys) or any(key.value for key in keys.key_blocks[1:]):
        return True
    return any(naming.ROLE not in user for user, _ in hand_over.readers(keys))  # but a head's own materials


def exchange(obj: Any, mesh: Any) -> None:
    """Give ``obj`` another mesh, under the old mesh's name; the old one goes if nothing else uses it."""
    old, name = obj.data, obj.data.name
    obj.data = mesh
    if _remove_mesh(old):
        mesh.name = name


def _remove_mesh(mesh: Any) -> bool:
    """Remove a mesh that nothing uses, with the materials and pictures that previews and sketches have of their own.
    False when something uses it."""
    if mesh.users:
        return False
    materials = {material for material in mesh.materials if material is not None}
    bpy.data.meshes.remove(mesh)
    for material in materials:
        if material.users == 0 and (material.name.startswith(MATERIAL) or _SKETCH in material):
            images = {node.image for node in material.node_tree.nodes if node.type == "TEX_IMAGE"}
            bpy.data.materials.remove(material)
            bpy.data.batch_remove([image for image in images if image is not None and image.users == 0])
    return True


def sketch(job: str, built: Any) -> Any:
    """The unlinked object ``built``, a whole head that is not finished, takes the place of the job's object. Previews
    with the same faces move it. Returns the object that stays, or None, with nothing left of ``built``, when the user
    does not want it or is working on the object."""
    if find(job) is None and job in _shown:
        _deleted.add(job)
    _mark(built)
    if job in _deleted or _is_kept_from_us(find(job)):
        _discard(built)
        return None
    _shown.add(job)
    obj = _put(job, built)
    worked_on.note(obj)
    return obj


def finish(job: str, built: Any) -> str:
    """The finished, unlinked object ``built`` takes the place of the job's object, or is linked. Location, name,
    collections and modifiers of the job's object stay as they are. Returns the name of the object that has the mesh
    that somebody has worked on meanwhile; empty where nobody has. Raises Interrupted, with nothing left of ``built``,
    where somebody is at it."""
    if busy(job):
        _mark(built)
        _discard(built)
        raise Interrupted("The object is being edited since the head was begun.")
    obj = find(job)
    kept = worked_on.keep(obj) if _is_kept_from_us(obj) else ""
    _put(job, built)
    return kept


def _mark(built: Any) -> None:
    """What a head's materials are goes with its mesh."""
    for material in built.data.materials:
        material[_SKETCH] = True


def _discard(built: Any) -> None:
    """Remove an unlinked object, with its mesh."""
    mesh = built.data
    bpy.data.objects.remove(built)
    _remove_mesh(mesh)


def _put(job: str, built: Any) -> Any:
    """The object that a head has after ``built`` has taken its place, or was linked."""
    obj = find(job)
    if obj is None:
        link(built)
        built[JOB] = job
        _names[job] = built.name
        _count_there(built)
        return built
    before, keys = obj.data.shape_keys, built.data.shape_keys
    posed = {key.name: key.value for key in before.key_blocks[1:]} if before else {}
    for key in keys.key_blocks[1:]:
        key.value = posed.get(key.name, 0.0)
    if before:
        hand_over.give_motion(before, keys)
        hand_over.give_drivers(before, keys)
        hand_over.aim_drivers(before, keys)
    exchange(obj, built.data)
    obj[import_head.PROPERTY] = built[import_head.PROPERTY].to_dict()
    if poses.PROPERTY in built:
        obj[poses.PROPERTY] = {name: bytes(kept) for name, kept in built[poses.PROPERTY].items()}
    # For viewports that show the colours of vertices, for the next head's sake: there it has none.
    obj.color = built.color
    obj.active_shape_key_index = 0
    bpy.data.objects.remove(built)
    naming.name_after(obj)
    _count_there(obj)
    return obj


def _count_there(obj: Any) -> None:
    """The materials count in the unit of the scene in which a head stands; built they were for the one in sight."""
    metre = room.metre(obj.users_scene[0])
    for own in obj.data.materials:
        count_in(own, metre, metre)


def let_go(job: str) -> None:
    """The job is over: its object is an object like any other, and so are copies that were made of it."""
    for obj in [obj for obj in bpy.data.objects if JOB in obj and _is_of(obj, job)]:
        del obj[JOB]
        worked_on.forget(obj)
        for material in obj.data.materials:
            if material is not None:
                material.pop(_SKETCH, None)
    for kept in (_shown, _deleted):
        kept.discard(job)
    _names.pop(job, None)
    _missing.pop(job, None)


def jobs() -> set[str]:
    """Those that have an object in the open file."""
    return {str(obj[JOB]) for obj in bpy.data.objects if JOB in obj and obj.library is None}


def remove(job: str) -> None:
    """Take an unfinished preview out of the file."""
    obj = find(job)
    if obj is not None and obj.mode == "OBJECT":
        mesh, collections = obj.data, list(obj.users_collection)
        bpy.data.objects.remove(obj)
        _remove_mesh(mesh)
        naming.remove_empty(collections)
    let_go(job)


def after_undo() -> None:
    """What is missing now was undone, or never there in this file, and not deleted by the user."""
    _shown.clear()
    _deleted.clear()
    _missing.clear()


def link(obj: Any) -> None:
    """Link a new object to a new collection in the active one of the first window, at a free spot.

    It becomes the selected object if nothing was done to the selection since ``note_selection``: a user who only waits
    for the head gets it ready for use, and one who works on something else keeps that.
    """
    manager = bpy.context.window_manager
    window = bpy.context.window or (manager.windows[0] if manager.windows else None)
    scene, layer = (window.scene, window.view_layer) if window else (bpy.context.scene, bpy.context.view_layer)
    if scene.library is not None:  # another file's takes nothing new
        scene = next((own for own in bpy.data.scenes if own.library is None), scene)
        layer = scene.view_layers[0]
    collection = layer.active_layer_collection.collection
    if not naming.takes_new(collection):
        collection = scene.collection
    obj.location, obj.scale = room.free_spot(scene, layer), [room.metre(scene)] * 3
    naming.own_collection(obj, collection)
    active = layer.objects.active
    undisturbed = _selection(layer) == _noted or not layer.objects.selected
    # In an excluded collection it is in the file, but not in the view layer.
    if undisturbed and (active is None or active.mode == "OBJECT") and obj.name in layer.objects:
        for other in list(layer.objects.selected):
            other.select_set(False, view_layer=layer)
        obj.select_set(True, view_layer=layer)
        layer.objects.active = obj


def ask_for(job: str) -> None:
    """A head that was deleted and is asked for again comes again."""
    _deleted.discard(job)
    if find(job) is None:
        _shown.discard(job)


def note_selection() -> None:
    """Remember what is selected, by name, as a head is asked for."""
    global _noted
    _noted = _selection(bpy.context.view_layer)


def _selection(layer: Any) -> tuple[str, ...]:
    return (getattr(layer.objects.active, "name", ""), *sorted(obj.name for obj in layer.objects.selected))
