# SPDX-License-Identifier: GPL-3.0-or-later
"""Blend People: a new head of two or more, whose shares are sliders until it is made for good."""

from collections.abc import Iterator
from typing import Any

import bpy

from . import blend_materials, blend_people, mixture, naming, room
from .import_head import JOB, is_head, is_matched
from .operators_head import HeadOperator, select_only
from .stepwise import Refused, Steps, StepsOperator

_NONE = "NONE"
_ITEMS: list[tuple[str, str, str]] = []  # Blender keeps no reference to an enumeration's texts
_MOST = 6
_UNFINISHED = "A head of these people is not finished: wait for it, resume it, or use it as it is"


def blend_of(obj: Any) -> Any:
    """The sliders of a new head that is not made for good yet, or None."""
    return obj.idto3d_blend if obj is not None and len(obj.idto3d_blend.people) else None


def keep_pictures() -> None:
    """Let the file that is saved have what shows the mixtures in it."""
    for made in bpy.data.objects:
        if made.library is None and blend_of(made):
            for image in blend_materials.own_pictures(made):
                image.pack()


def show_again() -> None:
    """What shows the mixtures is no part of undo."""
    for made in bpy.data.objects:
        given = blend_of(made) if made.library is None else None
        heads = heads_of(given) if given else []
        if heads and None not in heads:
            blend_materials.show(made, heads, skin_shares(given), _donor(given))


def heads_of(given: Any) -> list[Any]:
    """The heads that are mixed; None among them where one was deleted."""
    return [person.head if person.head and is_head(person.head) else None for person in given.people]


def shape_shares(given: Any) -> list[float]:
    return mixture.shares([person.shape for person in given.people[1:]])


def skin_shares(given: Any) -> list[float]:
    return mixture.shares([person.skin for person in given.people[1:]])


def _donor(given: Any) -> Any:
    return None if given.hair == _NONE else given.people[int(given.hair)].head


def _move(person: Any, context: Any) -> None:
    made = person.id_data
    heads = heads_of(made.idto3d_blend)
    if None not in heads and made.mode == "OBJECT":
        blend_people.move(made, heads, shape_shares(made.idto3d_blend), _donor(made.idto3d_blend))


def _paint(person: Any, context: Any) -> None:
    given = person.id_data.idto3d_blend
    heads = heads_of(given)
    if None not in heads:
        blend_materials.own_preview(person.id_data)
        blend_materials.show(person.id_data, heads, skin_shares(given), _donor(given))


def _change_hair(given: Any, context: Any) -> None:
    made = given.id_data
    heads = heads_of(given)
    if None not in heads and made.mode == "OBJECT":
        blend_materials.own_preview(made)
        blend_people.set_hair(made, heads, _donor(given))
        blend_people.move(made, heads, shape_shares(given), _donor(given))
        blend_materials.show(made, heads, skin_shares(given), _donor(given))


def _hair_items(given: Any, context: Any) -> list[tuple[str, str, str]]:
    people = [(str(n), p.head.name if p.head else "", "") for n, p in enumerate(given.people)]
    _ITEMS[:] = [*people, (_NONE, "None", "Without hair")]
    return _ITEMS


class IDTO3D_blend_person(bpy.types.PropertyGroup):
    """One of the people who are mixed"""

    head: bpy.props.PointerProperty(type=bpy.types.Object)  # type: ignore[valid-type]
    shape: bpy.props.FloatProperty(  # type: ignore[valid-type]
        name="Shape", description="How much of this person's shape", min=0.0, max=1.0, update=_move
    )
    skin: bpy.props.FloatProperty(  # type: ignore[valid-type]
        name="Skin", description="How much of this person's colours: skin, lips, eyes", min=0.0, max=1.0, update=_paint
    )


class IDTO3D_blend(bpy.types.PropertyGroup):
    """The people of whom a new head is mixed"""

    people: bpy.props.CollectionProperty(type=IDTO3D_blend_person)  # type: ignore[valid-type]
    hair: bpy.props.EnumProperty(name="Hair", items=_hair_items, update=_change_hair)  # type: ignore[valid-type]


class IDTO3D_OT_blend_people(HeadOperator, StepsOperator, bpy.types.Operator):
    """Mix the selected heads to a new one. The active head is the one that the others are mixed into"""

    bl_idname = "idto3d.blend_people"
    bl_label = "Blend Selected Heads"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        heads = _selected(context)
        if len(heads) < 2:
            yield "Select two heads or more"
        if len(heads) > _MOST:
            yield f"Select no more than {_MOST} heads"
        if any(blend_of(head) for head in heads):
            yield "Make the new head for good first"
        if any(map(is_matched, heads)):
            yield "Leave the match first"
        if any(JOB in head for head in heads):
            yield _UNFINISHED
        if not naming.takes_new(context.collection):
            yield "The active collection cannot take new objects"

    def steps(self, context: Any) -> Steps[str]:
        heads = _selected(context)
        if reason := blend_people.why_not(heads):
            raise Refused(f"{reason}.")
        spot = room.free_spot(context.scene, context.view_layer)
        made = yield from blend_people.begin(heads, context.collection)
        made.location, made.scale = spot, heads[0].matrix_world.to_scale()
        for head in heads:
            made.idto3d_blend.people.add().head = head
        for person in list(made.idto3d_blend.people)[1:]:
            person.shape = person.skin = 1.0 / len(heads)
        select_only(context, made)
        return f"{made.name}: its shares are in the sidebar"


class _BlendOperator(HeadOperator):
    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        given = blend_of(context.object)
        if given is None:
            yield "This head is not being mixed"


class IDTO3D_OT_finish_blend(_BlendOperator, StepsOperator, bpy.types.Operator):
    """Make the mixture a head like any other, with keys, materials and pictures of its own"""

    bl_idname = "idto3d.finish_blend"
    bl_label = "Make Head"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if None in heads_of(blend_of(context.object)):
            yield "One of the people is not in the file any more"
        elif any(JOB in head for head in heads_of(blend_of(context.object))):
            yield _UNFINISHED

    def steps(self, context: Any) -> Steps[str]:
        made = context.object
        given = blend_of(made)
        heads = heads_of(given)
        if reason := blend_people.why_not(heads):
            raise Refused(f"{reason}.")
        blend_materials.own_preview(made)
        lost = yield from blend_people.finish(made, heads, shape_shares(given), skin_shares(given), _donor(given))
        driven = blend_people.drivers_left(heads)
        given.people.clear()
        left_out = f". Not all of them have {', '.join(lost)}, which {made.name} lacks" if lost else ""
        moved = f". Drivers of the keys of {', '.join(driven)} stay there" if driven else ""
        return f"{made.name} stands for itself now{left_out}{moved}"


def _selected(context: Any) -> list[Any]:
    """The active head, then the other selected ones."""
    others = [obj for obj in context.selected_objects if obj != context.object and is_head(obj)]
    return [context.object, *sorted(others, key=lambda obj: obj.name)]


_CLASSES = (IDTO3D_blend_person, IDTO3D_blend, IDTO3D_OT_blend_people, IDTO3D_OT_finish_blend)
_register, _unregister = bpy.utils.register_classes_factory(_CLASSES)


def register() -> None:
    _register()
    bpy.types.Object.idto3d_blend = bpy.props.PointerProperty(type=IDTO3D_blend)


def unregister() -> None:
    del bpy.types.Object.idto3d_blend
    _unregister()
