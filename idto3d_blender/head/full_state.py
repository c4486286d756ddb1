# SPDX-License-Identifier: GPL-3.0-or-later
"""What a head is besides its shape: texture places, weights, other attributes, modifiers, masks of keys and materials.
A thinner head notes what the full one was, a part what it was itself, so that one can tell whether that has changed."""

import zlib
from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np

from . import material, mesh_data, naming
from .rig_keys import is_twin
from .stepwise import Steps

NOTED = "idto3d_full_state"
MATERIALS = "idto3d_full_materials"
"""Of a thinner head: slot -> the material that the full one had there. By themselves: names change."""
_VALUES = {
    "FLOAT": ("value", 1), "INT": ("value", 1), "INT8": ("value", 1), "BOOLEAN": ("value", 1), "FLOAT2": ("vector", 2),
    "FLOAT_VECTOR": ("vector", 3), "FLOAT_COLOR": ("color", 4), "BYTE_COLOR": ("color", 4),
}  # fmt: skip
_WHOLE = ("INT", "INT8", "BOOLEAN")
_LOOKED_AT = ("open_", "show_", "paint_", "preview_", "use_preview_", "select")  # for who edits them
_WITHIN = frozenset(
    "color_ramp mapping texture_mapping color_mapping falloff_curve map_curve elements curves points".split()
)
_PLAIN = ("BOOLEAN", "INT", "FLOAT", "STRING", "ENUM")


def of(full: Any) -> Steps[str]:
    """Steps to a checksum of all that but the materials themselves, as this Blender counts it: each has settings that
    others lack."""
    found = 0
    for piece in _attributes(full.data):
        found = zlib.crc32(piece, found)
        yield 0.0
    found = zlib.crc32((yield from _weights(full)), found)
    texts = [*_keys(full.data), *(text for modifier in full.modifiers for text in _modifier(modifier))]
    texts += [text for slot in full.material_slots for text in _material(slot.material)]
    return f"{bpy.app.version[0]}.{bpy.app.version[1]} {zlib.crc32(repr(texts).encode(), found):08x}"


def note(made: Any, full: Any, state: str) -> None:
    """A thinner head shows what the full one, of which ``state`` tells, is now."""
    made[NOTED], made[MATERIALS] = state, _materials(full)


def note_unknown(made: Any, full: Any, state: str) -> None:
    """A thinner head of an earlier release does not say of what it was made, and one that another Blender noted says it
    in other numbers: it notes what is now."""
    if MATERIALS not in made:
        note(made, full, state)
    elif made[NOTED].split()[0] != state.split()[0]:
        made[NOTED] = state


def is_noted(made: Any, full: Any, state: str) -> bool:
    """A thinner head was made of the full one as it is now."""
    return bool(made[NOTED] == state and dict(made[MATERIALS].items()) == _materials(full))


def _materials(full: Any) -> dict[str, Any]:
    return {str(n): slot.material for n, slot in enumerate(full.material_slots) if slot.material is not None}


def _attributes(mesh: Any) -> Iterator[bytes]:
    """UV, the faces' materials and what else a mesh has of each place, but where it lies. Edit Mode, left as it was
    entered, writes them in another order and without those that are 0, as what pins have moved is without pins."""
    shown = mesh_data.uv_layer(mesh)
    yield str(shown.name if shown is not None else "").encode()
    for attribute in sorted(mesh.attributes, key=lambda one: str(one.name)):
        if attribute.name == "position" or attribute.name.startswith(".") or attribute.data_type not in _VALUES:
            continue
        name, width = _VALUES[attribute.data_type]
        values = np.empty(width * len(attribute.data), np.int32 if attribute.data_type in _WHOLE else np.float32)
        attribute.data.foreach_get(name, values)
        if values.any():
            values += 0  # there is a -0.0
            yield attribute.name.encode() + values.tobytes()


def _weights(obj: Any) -> Steps[bytes]:
    if not len(obj.vertex_groups):
        return b""
    return repr(obj.vertex_groups.keys()).encode() + (yield from mesh_data.weights(obj)).tobytes()


def _keys(mesh: Any) -> Iterator[str]:
    """What is no place of them, and is not handed on with the pose."""
    for block in mesh.shape_keys.key_blocks:
        if not is_twin(block.name):
            yield f"{block.name} {block.relative_key.name} {block.vertex_group} {block.interpolation}"


def _modifier(modifier: Any) -> Iterator[str]:
    yield modifier.type
    if modifier.type != "ARMATURE":  # a rig is told by itself
        yield f"{modifier.show_viewport} {modifier.show_render}"
        yield from _settings(modifier)
    if modifier.type == "NODES":
        inputs = ((name, modifier[name]) for name in modifier.keys())
        yield from (f"{name} {value!r}" for name, value in inputs if not isinstance(value, bpy.types.ID))


def _material(given: Any) -> Iterator[str]:
    """Of one that follows a head's keys, which a thinner head has as a copy; others both have."""
    tree = given.node_tree if given is not None else None
    if tree is None or tree.animation_data is None or not len(tree.animation_data.drivers):
        return
    driven = {curve.data_path for curve in tree.animation_data.drivers}
    yield from _settings(given)
    for node in tree.nodes:
        yield f"{node.bl_idname} {node.mute}"
        yield from _settings(node)
        for side in ("inputs", "outputs"):  # a Value or a Colour holds what it gives in its output
            for number, socket in enumerate(getattr(node, side)):
                path = f"{node.path_from_id()}.{side}[{number}].default_value"
                if hasattr(socket, "default_value") and path not in driven:
                    yield f"{side} {number} {_value(material.in_metres(given, socket))}"
    for link in tree.links:
        ends = (link.from_node.name, link.from_socket.identifier, link.to_node.name, link.to_socket.identifier)
        yield f"{ends} {link.is_muted}"


def _settings(struct: Any) -> Iterator[str]:
    """What somebody can set of a modifier, a material or a node that not all of them have: what all have is how they
    are called and shown."""
    shared = struct.bl_rna.base.properties.keys() if struct.bl_rna.base is not None else ()
    for one in struct.bl_rna.properties:
        name = one.identifier
        if name in shared or name.startswith(_LOOKED_AT):
            continue
        if one.type in _PLAIN and not one.is_readonly:
            yield f"{name} {_value(getattr(struct, name))}"
        elif one.type == "POINTER" and isinstance(other := getattr(struct, name), bpy.types.ID):
            yield f"{name} {other.get(naming.ROLE, other.name)}"
        elif name in _WITHIN and one.type == "POINTER" and getattr(struct, name) is not None:
            yield from _settings(getattr(struct, name))
        elif name in _WITHIN and one.type == "COLLECTION":
            yield from (text for each in getattr(struct, name) for text in _settings(each))


def _value(value: Any) -> str:
    if isinstance(value, set):
        return repr(sorted(value))  # their order is another one in each session
    return repr(tuple(value) if hasattr(value, "__len__") and not isinstance(value, str) else value)
