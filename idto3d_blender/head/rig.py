# SPDX-License-Identifier: GPL-3.0-or-later
"""An armature for a head, on request: ``root``, ``neck``, ``head``, ``jaw``, ``eye.L``, ``eye.R`` and a target that the
eyes look at.

Neck, head and eyeballs move by weights. Jaw and lids move by keys, so that a turned jaw has the shape that the key has:
``rig_jawOpen`` is a twin of ``jawOpen`` that a driver on the bone moves. So bone and key can both be animated, and add
up; nothing is moved twice by one of them, and nothing depends on itself. Other programs have no such drivers: a
copy for them has weights for the jaw as well (`weigh_jaw`).
"""

import contextlib
import zlib
from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

from . import anatomy, densities, hand_over, mesh_data, naming, rig_keys, separate, widgets
from .import_head import run_to_end

BONES = ("root", "neck", "head", "jaw", "eye.L", "eye.R")
TARGET = "eyes_target"
LOOK_AT = "look_at"
"""Property of the armature: 0 the eye bones are turned by hand, 1 they look at the target."""
_MARK = "idto3d_rig"
_PINNED = "idto3d_pinned"
"""Of the armature: a checksum of how pins had moved the head when its bones were made."""
_MODIFIER = "ID-to-3D rig"
_STEPS = 200  # weights are told apart by so much
_TARGET_AWAY = 0.4
_PARENTS = ("DEF-spine.006", "spine.006", "DEF-head", "head", "Head", "mixamorig:Head", "ORG-spine.006")
"""Bones that carry a head in Rigify's, Mixamo's and other armatures, in the order in which they are looked for."""


def rig_of(obj: Any) -> Any:
    """The armature that we made for the head, or None."""
    for modifier in obj.modifiers:
        if modifier.type == "ARMATURE" and modifier.object is not None and _MARK in modifier.object:
            return modifier.object
    return None


def is_flat(obj: Any) -> bool:
    """A scale of the object is 0, so that nobody can say how it would hang on anything."""
    return bool(obj.matrix_world.to_3x3().determinant() == 0.0)


def head_of(obj: Any) -> Any:
    """The head whose rig an object is, or None."""
    if obj is None or obj.type != "ARMATURE":
        return None
    heads = [child for child in obj.children if child.type == "MESH" and rig_of(child) == obj]
    return next((head for head in heads if head.visible_get()), heads[0] if heads else None)


def add(context: Any, obj: Any) -> tuple[Any, list[str]]:
    """Make the armature of a head in object mode, hang the head on it, and pose nothing. Returns it, and the names of
    the keys that the head lacks for the jaw and the lids."""
    context.view_layer.update()
    points, members, offsets = _read(obj)
    measured = anatomy.measure(points, members, offsets)
    armature = bpy.data.armatures.new(f"{obj.name} rig")
    rig = bpy.data.objects.new(f"{obj.name} rig", armature)
    rig[_MARK] = True
    naming.collection_of(obj).objects.link(rig)
    rig.matrix_world = obj.matrix_world
    if obj.parent is not None:
        hang_beside(rig, obj, obj.matrix_world)
    with _editing(context, rig):
        _make_bones(armature, measured)
    _pose(rig, measured)
    _collect(armature)
    widgets.give(rig, naming.collection_of(obj), float(measured.crown[2]))
    _skin(obj, anatomy.weights(measured, points, members))
    armature[_PINNED] = _pinned(obj)
    modifier = obj.modifiers.new(_MODIFIER, "ARMATURE")
    modifier.object = rig
    # Before what makes faces of its own: subdivided, a bent neck stays smooth.
    obj.modifiers.move(len(obj.modifiers) - 1, 0)
    world = obj.matrix_world.copy()
    hang(obj, rig, "OBJECT", "", world)
    rigid = np.concatenate([own for part, own in members.items() if part in anatomy.EYEBALLS] or [np.zeros(0, int)])
    missing = rig_keys.add(obj, rig, measured, offsets, rigid)
    context.view_layer.update()
    return rig, missing


def is_outgrown(obj: Any, rig: Any) -> bool:
    """Pins have moved the head since the bones of its rig were made. Rigs of earlier releases do not say of what."""
    return bool(rig.data.get(_PINNED, "") not in ("", _pinned(obj)))


def _pinned(obj: Any) -> str:
    # To a tenth of a millimetre: without its pins a head has moved by -0.0.
    return f"{zlib.crc32(np.rint(mesh_data.moved(obj.data) / 1e-4).astype(np.int32).tobytes()):08x}"


def clear_left(obj: Any) -> None:
    """Take off a head without a rig what one that somebody has deleted left on it: weights, keys, a modifier without an
    object."""
    empty = [one for one in obj.modifiers if one.type == "ARMATURE" and one.object is None]
    if any(one.name.startswith(_MODIFIER) for one in empty) or any(
        rig_keys.is_twin(key.name) for key in obj.data.shape_keys.key_blocks
    ):
        _let_go(obj, None)


def remove(context: Any, obj: Any) -> None:
    """Take the armature, its weights and its keys off the head, which stays where it stands in its rest pose; off its
    other densities and its separated parts, too. Where a copy of the head has the same armature, that one keeps it."""
    rig, forms = rig_of(obj), separate.forms(obj)
    rigged = [other for other in bpy.data.objects if other.type == "MESH" and rig_of(other) == rig]
    own = [other for other in rigged if other in forms or _is_outdated(other)]
    shared = len(own) < len(rigged)
    for other in own:
        if other.library is None:
            _let_go(other, rig)
    for child in [child for child in rig.children if child in own or not shared]:
        world = child.matrix_world.copy()
        hang_beside(child, rig, world)
    if shared:
        context.view_layer.update()
        return
    for holder in hand_over.holders(rig.animation_data):
        holder.action.use_fake_user = True  # hours of somebody's work, perhaps
    widgets.remove(rig)
    armature = rig.data
    bpy.data.objects.remove(rig)
    if armature.users == 0:
        bpy.data.armatures.remove(armature)
    context.view_layer.update()


def _is_outdated(obj: Any) -> bool:
    """A hidden form that a head had before its keys changed. Shown, it is somebody's own."""
    return densities.EARLIER in obj and not obj.visible_get()


def _let_go(obj: Any, rig: Any) -> None:
    if obj.data.shape_keys is not None:
        rig_keys.remove(obj)
    for modifier in [one for one in obj.modifiers if one.type == "ARMATURE" and one.object == rig]:
        if rig is not None or modifier.name.startswith(_MODIFIER):
            obj.modifiers.remove(modifier)
    for name in BONES:
        group = obj.vertex_groups.get(name)
        if group is not None:
            obj.vertex_groups.remove(group)


def weigh_jaw(obj: Any) -> bool:
    """Hang chin, lower teeth and tongue of a copy of a rigged head, which has its keys still, on the bone of the jaw as
    well as on that of the head. False where no key says how the jaw opens."""
    points, members, offsets = _read(obj)
    opening = next((offsets[name] for name in anatomy.JAW_KEYS if name in offsets), None)
    head = obj.vertex_groups.get("head")
    if opening is None or head is None:
        return False
    share = anatomy.jaw_share(anatomy.measure(points, members, offsets), points, opening)
    jaw = obj.vertex_groups.new(name="jaw")
    for number in np.flatnonzero(share).tolist():
        groups = obj.data.vertices[number].groups
        own = next((group.weight for group in groups if group.group == head.index), 0.0)
        jaw.add([number], own * share[number], "REPLACE")
        head.add([number], own * (1 - share[number]), "REPLACE")
    return True


def head_bone(armature: Any) -> str:
    """The bone of another armature that carries the head, "" where none has such a name."""
    return next((name for name in _PARENTS if name in armature.data.bones), "")


def hang_on_bone(context: Any, rig: Any, armature: Any, bone: str) -> None:
    """Parent a rig to a bone of a body's armature; it stays where it is."""
    context.view_layer.update()
    hang(rig, armature, "BONE", bone, rig.matrix_world.copy())
    context.view_layer.update()


def hang(obj: Any, parent: Any, kind: str, bone: str, world: Matrix) -> None:
    """Parent ``obj`` so that it stays at ``world`` without a change of its own location, rotation and scale: these may
    be animated."""
    obj.parent = parent
    if parent is None:
        obj.matrix_world = world
        return
    obj.parent_type, obj.parent_bone = kind, bone
    base = parent.matrix_world
    if kind == "BONE":
        # A child hangs on the bone's tail.
        tail = Matrix.Translation((0.0, parent.data.bones[bone].length, 0.0))
        base = base @ parent.pose.bones[bone].matrix @ tail
    obj.matrix_parent_inverse = base.inverted() @ world @ obj.matrix_basis.inverted()


def hang_beside(obj: Any, other: Any, world: Matrix) -> None:
    """`hang` an object on what another one hangs on."""
    if other.parent_type in ("OBJECT", "BONE") or other.parent is None:
        hang(obj, other.parent, other.parent_type, other.parent_bone, world)
        return
    # Where vertices carry is Blender's to say.
    base = other.matrix_world @ (other.matrix_parent_inverse @ other.matrix_basis).inverted()
    obj.parent, obj.parent_type = other.parent, other.parent_type
    obj.parent_vertices = other.parent_vertices
    obj.matrix_parent_inverse = base.inverted() @ world @ obj.matrix_basis.inverted()


def _read(obj: Any) -> tuple[NDArray[Any], dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    blocks = obj.data.shape_keys.key_blocks
    points = mesh_data.places(blocks[0])
    offsets = run_to_end(mesh_data.offsets(obj, blocks.keys()[1:]))
    return points, mesh_data.members(obj), offsets


@contextlib.contextmanager
def _editing(context: Any, rig: Any) -> Iterator[None]:
    """In edit mode of ``rig`` alone; afterwards what was selected is selected again."""
    layer = context.view_layer
    active, selected = layer.objects.active, list(layer.objects.selected)
    for other in selected:
        other.select_set(False)
    layer.objects.active = rig
    rig.select_set(True)
    bpy.ops.object.mode_set(mode="EDIT")
    try:
        yield
    finally:
        bpy.ops.object.mode_set(mode="OBJECT")
        rig.select_set(False)
        for other in selected:
            other.select_set(True)
        layer.objects.active = active


def _make_bones(armature: Any, measured: anatomy.Anatomy) -> None:
    """The X axis of every bone points to the person's left: turning about it bends forwards."""
    base = Vector((0.0, 0.0, 0.0))
    skull, jaw = Vector(measured.skull), Vector(measured.jaw)
    places = [
        ("root", "", base - Vector((0.0, 0.0, 0.06)), base),
        ("neck", "root", base, skull),
        ("head", "neck", skull, Vector(measured.crown)),
        ("jaw", "head", jaw, Vector(measured.chin)),
    ]
    for side, centre in measured.eyes.items():
        places.append((f"eye.{side}", "head", Vector(centre), Vector(centre) + Vector((0.0, -0.03, 0.0))))
    if measured.eyes:
        ahead = Vector(np.mean(list(measured.eyes.values()), axis=0)) + Vector((0.0, -_TARGET_AWAY, 0.0))
        places.append((TARGET, "root", ahead, ahead + Vector((0.0, -0.03, 0.0))))
    for name, parent, head, tail in places:
        bone = armature.edit_bones.new(name)
        bone.head, bone.tail = head, tail
        bone.align_roll(Vector((1.0, 0.0, 0.0)).cross(tail - head))
        bone.parent = armature.edit_bones.get(parent)
        bone.use_deform = name in BONES and name != "jaw"


def _pose(rig: Any, measured: anatomy.Anatomy) -> None:
    rig[LOOK_AT] = 0.0
    rig.id_properties_ui(LOOK_AT).update(min=0.0, max=1.0, description="The eyes look at the target")
    # In a shot the head is mostly an override of a linked one.
    rig.property_overridable_library_set(f'["{LOOK_AT}"]', True)
    for bone in rig.pose.bones:
        bone.rotation_mode = "XYZ"
    for side in measured.eyes:
        bone = rig.pose.bones[f"eye.{side}"]
        bone.lock_location = (True, True, True)
        look = bone.constraints.new("DAMPED_TRACK")
        look.name, look.target, look.subtarget, look.track_axis = "Look At", rig, TARGET, "TRACK_Y"
        limit = bone.constraints.new("LIMIT_ROTATION")
        limit.name, limit.owner_space = "Socket", "LOCAL"
        limit.use_limit_x = limit.use_limit_z = True
        limit.min_x, limit.max_x, limit.min_z, limit.max_z = -0.6, 0.7, -0.8, 0.8
        for constraint in (look, limit):
            driver = constraint.driver_add("influence").driver
            driver.type = "SUM"
            target = driver.variables.new().targets[0]
            target.id, target.data_path = rig, f'["{LOOK_AT}"]'


def _collect(armature: Any) -> None:
    for title, names, palette in (
        ("Head", ("root", "neck", "head", "jaw"), "THEME04"),
        ("Eyes", ("eye.L", "eye.R", TARGET), "THEME03"),
    ):
        collection = armature.collections.new(title)
        for name in names:
            bone = armature.bones.get(name)
            if bone is not None:
                collection.assign(bone)
                bone.color.palette = palette


def _skin(obj: Any, weights: dict[str, NDArray[Any]]) -> None:
    for name, weight in weights.items():
        group = obj.vertex_groups.get(name) or obj.vertex_groups.new(name=name)
        steps = np.rint(weight * _STEPS).astype(int)
        for step in np.unique(steps[steps > 0]).tolist():
            group.add(np.flatnonzero(steps == step).tolist(), step / _STEPS, "REPLACE")
