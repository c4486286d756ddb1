# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom shapes of a rig's bones, so that they can be picked around a head instead of inside it."""

import math
from typing import Any

import bpy

from . import naming

_MARK = "idto3d_widget"
_ROUND = 32


def give(rig: Any, collection: Any, height: float) -> None:
    """Give each bone a circle. height: of the head, metres. The shapes lie in a collection of their own beside the rig,
    out of sight."""
    hidden = bpy.data.collections.new(f"{rig.name} widgets")
    hidden[_MARK] = True
    hidden.hide_viewport = hidden.hide_render = True
    collection.children.link(hidden)
    _exclude(hidden)
    # Radius, and place along the bone, 0..1.
    for name, radius, along in (
        ("root", 0.62 * height, 0.5),
        ("neck", 0.34 * height, 0.4),
        ("head", 0.52 * height, 0.75),
        ("jaw", 0.16 * height, 1.05),
        ("eye.L", 0.07 * height, 1.0),
        ("eye.R", 0.07 * height, 1.0),
        ("eyes_target", 0.12 * height, 0.0),
    ):
        bone = rig.pose.bones.get(name)
        if bone is None:
            continue
        shape = bpy.data.objects.new(f"WGT-{rig.name} {name}", _circle(f"WGT-{rig.name} {name}"))
        shape[_MARK] = True
        shape.hide_viewport = shape.hide_render = True  # appended with the rig it lies in no hidden collection
        hidden.objects.link(shape)
        bone.custom_shape = shape
        bone.use_custom_shape_bone_size = False
        bone.custom_shape_scale_xyz = (radius, radius, radius)
        bone.custom_shape_translation = (0.0, along * bone.length, 0.0)


def name_after(rig: Any) -> None:
    """Call the shapes of a rig, and their collection, as the rig is called."""
    for bone in rig.pose.bones:
        shape = bone.custom_shape
        if shape is not None and _MARK in shape:
            shape.name = shape.data.name = f"WGT-{rig.name} {bone.name}"
            for collection in shape.users_collection:
                if _MARK in collection:
                    collection.name = f"{rig.name} widgets"


def _exclude(hidden: Any) -> None:
    """Take a collection out of all view layers: in the outliner it is one grey line, and nothing in it is drawn."""
    below = [layer.layer_collection for scene in bpy.data.scenes for layer in scene.view_layers]
    while below:
        one = below.pop()
        if one.collection == hidden:
            one.exclude = True
        below += one.children


def remove(rig: Any) -> None:
    """Remove the shapes of a rig, and their collection, but for what a copy of the rig has, too."""
    ours = {shape for shape in _shapes(rig) if _MARK in shape}
    for other in bpy.data.objects:
        if other.type == "ARMATURE" and other != rig:
            ours -= _shapes(other)
    collections = {collection for shape in ours for collection in shape.users_collection}
    naming.remove_objects(ours)
    bpy.data.batch_remove([one for one in collections if _MARK in one and not one.objects])


def _shapes(rig: Any) -> set[Any]:
    return {bone.custom_shape for bone in rig.pose.bones if bone.custom_shape is not None}


def _circle(name: str) -> Any:
    """A circle of radius 1 across the Y axis."""
    mesh = bpy.data.meshes.new(name)
    turns = [2 * math.pi * number / _ROUND for number in range(_ROUND)]
    edges = [(number, (number + 1) % _ROUND) for number in range(_ROUND)]
    mesh.from_pydata([(math.cos(turn), 0.0, math.sin(turn)) for turn in turns], edges, [])
    return mesh
