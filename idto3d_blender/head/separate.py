# SPDX-License-Identifier: GPL-3.0-or-later
"""A head as several objects, one for each material or each part, with all keys: hair can be hidden, teeth replaced.

The skin's object has the sliders; the keys of the others follow it by drivers. The whole head stays in the file,
hidden, so that it can be had back.
"""

from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from . import densities, full_state, hand_over, mesh_data, naming, poses
from .bundle import SKIN
from .hidden import hide
from .import_head import PROPERTY
from .stepwise import Steps, scaled

WHOLE = "idto3d_whole"
"""Property of each object: the head that it is a part of."""
_FIRST = (SKIN, "face")
_MADE = "idto3d_part_made"
"""Property of each object: what it was as it was made."""


def is_part(obj: Any) -> bool:
    """The object is one of several that a head was separated into, and that head is still there."""
    return obj is not None and obj.get(WHOLE) is not None


def parts_of(obj: Any) -> list[Any]:
    """The objects that a head was separated into, of which ``obj`` is one; ``obj`` alone where it was not. Copies that
    Blender has made of all of them are objects of their own: they follow the copy of the one with the sliders."""
    if not is_part(obj):
        return [obj]
    parts = [other for other in bpy.data.objects if other.get(WHOLE) == obj[WHOLE]]
    firsts = sorted((part for part in parts if PROPERTY in part), key=lambda part: part.session_uid)

    def first_of(part: Any) -> Any:
        own = (first for first in firsts if first == part or first.data.shape_keys == _followed(part))
        return next(own, firsts[0] if firsts else None)

    return [part for part in parts if first_of(part) == first_of(obj)]


def _followed(part: Any) -> Any:
    """The keys that the drivers of a part's keys read."""
    data = part.data.shape_keys.animation_data if part.data.shape_keys is not None else None
    variables = (variable for curve in (data.drivers if data else ()) for variable in curve.driver.variables)
    return next((variable.targets[0].id for variable in variables if variable.targets[0].id_type == "KEY"), None)


def origins(obj: Any) -> Iterator[Any]:
    """A form of a head, the form that it was made from, and so on to the full head in one piece."""
    while obj is not None:
        yield obj
        obj = obj.get(WHOLE) or obj.get(densities.FROM)


def forms(obj: Any) -> list[Any]:
    """All forms of a head: the full one, thinner ones, and the parts of these."""
    *_, full = origins(obj)
    return [other for other in bpy.data.objects if full in origins(other)]


def own_forms(full: Any) -> list[Any]:
    """As `forms`, but for the full head, and for Blender's copies of a form, which are heads of their own."""
    thinner = [made[0] for density in densities.SHARES if (made := densities.made_of(full, density))]
    parts: list[Any] = []
    for whole in (full, *thinner):
        first = [one for one in bpy.data.objects if one.get(WHOLE) == whole and PROPERTY in one]
        parts += parts_of(min(first, key=lambda one: one.session_uid)) if first else []
    return [*thinner, *parts]


def separate(head: Any, by_part: bool) -> Steps[list[Any]]:
    """Steps to the objects of a head; the first has the sliders. The head is hidden."""
    of_face, names = _groups(head, by_part)
    present = [number for number in range(len(names)) if (of_face == number).any()]
    present.sort(key=lambda number: names[number] not in _FIRST)
    made: list[Any] = []
    try:
        for number in present:
            done = len(made) / len(present)
            cut = densities.without_faces(head.data, of_face != number)
            mesh = yield from scaled(cut, done, done + 1 / len(present))
            made.append(densities.beside(head, mesh, f"{head.name} {names[number]}"))
            made[-1][WHOLE] = head
            densities.stand_alone(made[-1])
            if len(made) > 1:
                _follow(made[-1], made[0])
            made[-1][_MADE] = yield from _state(made[-1])
            full_state.note(made[-1], made[-1], (yield from full_state.of(made[-1])))
    except BaseException:
        remove(made)
        raise
    hand_over.give_children(head, made[0])
    head.hide_set(True)
    head.hide_render = True
    return made


def together(obj: Any) -> Steps[tuple[Any, list[Any]]]:
    """Steps to the head that was separated, shown again in the pose of its objects. They are removed, but for those
    that somebody has changed: these come second, hidden, as objects that follow the head's keys."""
    whole = obj[WHOLE]
    parts = parts_of(obj)
    kept = []
    for part in parts:
        state = yield from full_state.of(part)
        full_state.note_unknown(part, part, state)
        if not full_state.is_noted(part, part, state) or _MADE in part and part[_MADE] != (yield from _state(part)):
            kept.append(part)
    posed = next((part for part in parts if PROPERTY in part), obj)
    if any(other.get(WHOLE) == whole for other in bpy.data.objects if other not in parts):
        whole = densities.beside(whole, whole.data.copy(), whole.name)  # that one is for the other parts
    if PROPERTY not in posed:  # its keys follow those of an object that somebody has deleted
        posed.data.shape_keys.animation_data_clear()
    densities.show_instead(whole, posed)
    for part in parts:
        hand_over.give_children(part, whole)
    hand_over.aim_drivers(posed.data.shape_keys, whole.data.shape_keys)
    for part in kept:
        _follow(part, whole)
        for name in (WHOLE, _MADE, full_state.NOTED, full_state.MATERIALS):
            part.pop(name, None)
        hide(part)
    remove([part for part in parts if part not in kept])
    return whole, kept


def _state(part: Any) -> Steps[str]:
    """A checksum of a part's shape and keys, and what else it has."""
    modifiers = [f"{one.type} {one.name}" for one in part.modifiers]
    return f"{(yield from densities.checksum(part))} {mesh_data.layers(part)} {modifiers}"


def _groups(head: Any, by_part: bool) -> tuple[NDArray[np.int32], list[str]]:
    """(F,) the group of each face, and the groups' names."""
    mesh = head.data
    if by_part and "part" in mesh.attributes:
        return mesh_data.parts(mesh), mesh_data.part_names(head)
    names = [str(one.get(naming.ROLE, one.name)) if one is not None else "bare" for one in mesh.materials]
    # Faces of a slot that is gone show the last one that is there.
    return np.minimum(mesh_data.slots(mesh), max(len(names) - 1, 0)), names or ["bare"]


def _follow(made: Any, first: Any) -> None:
    """The keys do what those of the first object do."""
    for name in (PROPERTY, poses.PROPERTY):
        made.pop(name, None)
    keys = made.data.shape_keys
    keys.animation_data_clear()
    given = first.data.shape_keys.key_blocks
    for block in [block for block in keys.key_blocks[1:] if block.name in given]:
        driver = block.driver_add("value").driver
        driver.type = "SUM"
        target = driver.variables.new().targets[0]
        target.id_type, target.id = "KEY", first.data.shape_keys
        target.data_path = f'key_blocks["{bpy.utils.escape_identifier(block.name)}"].value'


def remove(parts: list[Any]) -> None:
    """Objects, with the meshes and materials that are their own."""
    materials = {material for part in parts for material in part.data.materials if material is not None}
    naming.remove_objects(parts)
    bpy.data.batch_remove([material for material in materials if material.users == 0])
