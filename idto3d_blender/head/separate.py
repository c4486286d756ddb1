# SPDX-License-Identifier: GPL-3.0-or-later
"""A head as several objects, one for each material or each part, with all keys: hair can be hidden, teeth replaced.

The skin's object has the sliders; the keys of the others follow it by drivers. The whole head stays in the file,
hidden, so that it can be had back.
"""

from __future__ import annotations

from typing import Any

import bmesh
import bpy
import numpy as np
from numpy.typing import NDArray

from . import densities, naming, poses
from .bundle import SKIN
from .import_head import PROPERTY
from .stepwise import Steps

WHOLE = "idto3d_whole"
"""Property of each object: the head that it is a part of."""
_FIRST = (SKIN, "face")


def is_part(obj: Any) -> bool:
    """The object is one of several that a head was separated into, and that head is still there."""
    return obj is not None and obj.get(WHOLE) is not None


def separate(head: Any, by_part: bool) -> Steps[list[Any]]:
    """Steps, one an object, to the objects of a head; the first has the sliders. The head is hidden."""
    of_face, names = _groups(head, by_part)
    present = [number for number in range(len(names)) if (of_face == number).any()]
    present.sort(key=lambda number: names[number] not in _FIRST)
    made: list[Any] = []
    try:
        for number in present:
            yield len(made) / len(present)
            made.append(_part(head, names[number], of_face == number))
            if len(made) > 1:
                _follow(made[-1], made[0])
    except BaseException:
        _remove(made)
        raise
    head.hide_set(True)
    head.hide_render = True
    return made


def together(obj: Any) -> Any:
    """Remove the objects of a head that was separated; returns the head, shown again in their pose."""
    whole = obj[WHOLE]
    parts = [other for other in bpy.data.objects if other.get(WHOLE) == whole]
    posed = next((part for part in parts if PROPERTY in part), obj)
    densities.take_pose(whole, posed)
    _remove(parts)
    whole.hide_set(False)
    whole.hide_render = False
    return whole


def _groups(head: Any, by_part: bool) -> tuple[NDArray[np.int32], list[str]]:
    """(F,) the group of each face, and the groups' names."""
    mesh = head.data
    of_face = np.zeros(len(mesh.polygons), np.int32)
    if by_part and "part" in mesh.attributes:
        mesh.attributes["part"].data.foreach_get("value", of_face)
        return of_face, densities.part_names(head)
    mesh.polygons.foreach_get("material_index", of_face)
    return of_face, [str(one.get(naming.ROLE, one.name)) if one is not None else "bare" for one in mesh.materials]


def _part(head: Any, name: str, chosen: NDArray[np.bool_]) -> Any:
    mesh = head.data.copy()
    work = bmesh.new()
    work.from_mesh(mesh)
    work.faces.ensure_lookup_table()
    others = [work.faces[number] for number in np.flatnonzero(~chosen).tolist()]
    bmesh.ops.delete(work, geom=others, context="FACES")
    work.to_mesh(mesh)
    work.free()
    _only_used(mesh)
    made = head.copy()
    made.data = mesh
    made.name = mesh.name = f"{head.name} {name}"
    mesh.shape_keys.name = f"{made.name} keys"
    made[WHOLE] = head
    naming.collection_of(head).objects.link(made)
    densities.own_drivers(made, head)
    return made


def _only_used(mesh: Any) -> None:
    """Take materials that no face has any more off a mesh."""
    slot = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("material_index", slot)
    used, new = np.unique(slot, return_inverse=True)
    materials = [mesh.materials[number] for number in used.tolist() if number < len(mesh.materials)]
    mesh.materials.clear()
    for material in materials:
        mesh.materials.append(material)
    mesh.polygons.foreach_set("material_index", new.reshape(-1).astype(np.int32))
    mesh.update()


def _follow(made: Any, first: Any) -> None:
    """The keys do what those of the first object do."""
    for name in (PROPERTY, poses.PROPERTY):
        made.pop(name, None)
    keys = made.data.shape_keys
    keys.animation_data_clear()
    for block in keys.key_blocks[1:]:
        driver = block.driver_add("value").driver
        driver.type = "SUM"
        target = driver.variables.new().targets[0]
        target.id_type, target.id = "KEY", first.data.shape_keys
        target.data_path = f'key_blocks["{bpy.utils.escape_identifier(block.name)}"].value'


def _remove(parts: list[Any]) -> None:
    """Objects, with the meshes and materials that are their own."""
    meshes = [part.data for part in parts]
    materials = {material for mesh in meshes for material in mesh.materials if material is not None}
    bpy.data.batch_remove([*parts, *meshes])
    bpy.data.batch_remove([material for material in materials if material.users == 0])
