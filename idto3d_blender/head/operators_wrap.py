# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrap: marks on the user's own mesh, and the head put onto it."""

from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from . import densities, mesh_data, naming, wrap_head, wrap_maps, wrap_marks
from .operators_head import HeadOperator, select_only
from .stepwise import Refused, Steps, StepsOperator, in_thread, scaled

_MARK = "idto3d_mark"
_LEAST = 4
_OVERLAP = 0.02  # of a mesh's UV, from which on it is told


def own_mesh(context: Any) -> Any:
    """The selected mesh that is not the active head, or None where there is none or are several."""
    others = [obj for obj in context.selected_objects if obj.type == "MESH" and obj != context.object]
    return others[0] if len(others) == 1 else None


def marks_of(obj: Any) -> dict[str, Any]:
    """Name -> empty, of the marks that hang on a mesh."""
    return {str(child[_MARK]): child for child in obj.children if _MARK in child}


class _WrapOperator(HeadOperator):
    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if "face" not in mesh_data.part_names(context.object):
            yield "This head does not say which of its faces are skin: import it again"
        own = own_mesh(context)
        if own is None:
            yield "Select your own mesh, then this head with Shift, so that the head is the active one"
        if not len(own.data.polygons):
            yield f"{own.name} has no faces"
        if own.matrix_world.determinant() == 0:
            yield f"{own.name} has a scale of 0"
        if own.matrix_world.determinant() < 0:
            again = "Object > Apply > Scale, then Mesh > Normals > Recalculate Outside in edit mode"
            yield f"{own.name} is mirrored by a negative scale: {again}"
        if half := [one.name for one in own.modifiers if one.type == "MIRROR" and one.show_viewport]:
            yield f"{half[0]} mirrors {own.name}, of which only one half is there: apply the modifier first"


class IDTO3D_OT_wrap_marks(_WrapOperator, bpy.types.Operator):
    """Put marks for eyes, nose, mouth, chin, ears and crown on your mesh where they may belong. Move them to the right
    places before you wrap; delete those that your mesh has no place for"""

    bl_idname = "idto3d.wrap_marks"
    bl_label = "Place Marks"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: Any) -> set[str]:
        head, own = context.object, own_mesh(context)
        context.view_layer.update()
        for mark in marks_of(own).values():
            bpy.data.objects.remove(mark)
        skin = wrap_head.skin_of(head)
        places = wrap_marks.landmarks(skin.points, mesh_data.members(head))
        # As it stands in the scene, since a mesh may be stored lying down, and along the head's axes: it looks the way
        # that the head does.
        to_world, turn = np.array(own.matrix_world), np.array(head.matrix_world.to_quaternion().to_matrix())
        mine = (wrap_head.mesh_of(own).points @ to_world[:3, :3].T + to_world[:3, 3]) @ turn
        guessed = wrap_marks.guess(mine, skin.points[np.unique(skin.triangles)], places)
        size = 0.03 * float(np.ptp(mine[:, 2]))
        for name, place in guessed.items():
            mark = bpy.data.objects.new(name, None)
            mark[_MARK] = name
            mark.empty_display_type, mark.empty_display_size = "SPHERE", size / 3
            mark.show_name = mark.show_in_front = True
            naming.collection_of(own).objects.link(mark)
            mark.parent = own
            mark.matrix_parent_inverse = own.matrix_world.inverted()
            mark.location = Vector(turn @ place)
        self.report({"INFO"}, f"{len(guessed)} marks on {own.name}: move each to its place")
        return {"FINISHED"}


class IDTO3D_OT_wrap(_WrapOperator, StepsOperator, bpy.types.Operator):
    """Put this head onto your mesh: a new object with the faces of yours, the shape of this head and all its keys.
    With its skin in your UV it takes half a minute or more; Escape gives up"""

    remakes = True
    bl_idname = "idto3d.wrap"
    bl_label = "Wrap"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if len(marks_of(own_mesh(context))) < _LEAST:
            yield f"Place the marks first; {_LEAST} at least"

    def steps(self, context: Any) -> Steps[str]:
        head, own = context.object, own_mesh(context)
        context.view_layer.update()
        places = wrap_marks.landmarks(densities.net_of(head).points, mesh_data.members(head))
        inverse = own.matrix_world.inverted()
        marks = {
            name: (np.array(inverse @ mark.matrix_world.translation), places[name])
            for name, mark in marks_of(own).items()
            if name in places
        }
        surface = wrap_head.mesh_of(own)
        given = wrap_head.textured(own, surface.points, surface.triangles)
        used = {slot.material for slot in own.material_slots if slot.material is not None}
        if tiled := [one.name for one in used if wrap_maps.is_tiled(one)]:
            names = ", ".join(sorted(tiled))
            raise Refused(f"{names} has a picture for each tile (UDIM): give each a material (E_WRAP_TILES)")
        if gone := next(naming.missing(head), None):
            fix = "File > External Data > Find Missing Files"
            raise Refused(f"The picture {gone.name} is not where it was: {fix} (E_WRAP_PICTURE)")
        twice = yield from scaled(in_thread(wrap_maps.overlap(given)), 0.0, 0.05)
        try:
            made, report = yield from scaled(wrap_head.wrapped(head, own, marks), 0.05, 1.0)
        except wrap_head.InsideOutError as error:
            fix = "Mesh > Normals > Recalculate Outside in edit mode"
            raise Refused(f"The faces of {own.name} look inwards: {fix} (E_WRAP_INSIDE)") from error
        except wrap_head.TooFarError as error:
            raise Refused(
                f"{own.name} lies {1000 * error.mean:.1f} mm off the head on average. Move the marks to "
                "their places, and see that the mesh is a head of a like shape (E_WRAP_FAR)"
            ) from error
        select_only(context, made)
        told = [f"{made.name}: {report['mean_mm']:.2f} mm off the head on average", *_left_out(head, own, given)]
        if twice > _OVERLAP:
            told.append(f"{twice:.0%} of its UV lies over other parts, and shows one of both")
        return ". ".join(told)


def _left_out(head: Any, own: Any, given: wrap_maps.Textured) -> Iterator[str]:
    """What the new object has not, a sentence for each."""
    if wrap_maps.skin_of(head) is None:
        yield f"The skin of {head.name} has another material than it was made with: nothing is painted"
    elif not np.ptp(given.uv):
        yield f"{own.name} has no UV: the skin is not painted on it. Unwrap it, and wrap again"
    if len(own.modifiers):
        yield f"Modifiers stay on {own.name}: {', '.join(own.modifiers.keys())}"


register, unregister = bpy.utils.register_classes_factory((IDTO3D_OT_wrap_marks, IDTO3D_OT_wrap))
