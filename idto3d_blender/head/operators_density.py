# SPDX-License-Identifier: GPL-3.0-or-later
"""Change Density: the head in all, half or a quarter of its quads."""

from collections.abc import Iterator
from typing import Any

import bpy

from . import densities, mesh_data, multires, separate
from .operators_head import IN_PIECES, HeadOperator
from .stepwise import Refused, Steps, StepsOperator

_CHANGED = "The full head has changed: what was made of it before stays, hidden, as"
_ITEMS = (
    (densities.FULL, "Full", "All quads, as the head was made"),
    ("HALF", "Half", "Half of the quads"),
    ("QUARTER", "Quarter", "A quarter of the quads"),
)


class IDTO3D_OT_change_density(HeadOperator, StepsOperator, bpy.types.Operator):
    """Show this head in all, half or a quarter of its quads, with all keys, materials and weights. The full head stays
    in the file, hidden; what has been made once, which takes some seconds, is only shown again while that one stays
    as it is"""

    remakes = True
    bl_idname = "idto3d.change_density"
    bl_label = "Change Density"
    bl_options = {"REGISTER", "UNDO"}

    density: bpy.props.EnumProperty(name="Density", items=_ITEMS, default="HALF")  # type: ignore[valid-type]

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if separate.is_part(context.object):
            yield IN_PIECES

    def steps(self, context: Any) -> Steps[str]:
        before = context.object
        if self.density == densities.density_of(before):
            return f"{before.name} is in this density already"
        if densities.full_of(before) == before and densities.density_of(before) != densities.FULL:
            raise Refused("The full head that this one was made from is not in the file any more")
        had = densities.made_of(densities.full_of(before), self.density)
        made = yield from densities.change(before, self.density)
        before.select_set(False)
        made.select_set(True)
        context.view_layer.objects.active = made
        sizes = [len(polygon.vertices) for polygon in made.data.polygons]
        outdated = ", ".join(obj.name for obj in had if densities.EARLIER in obj)
        kept = f". {_CHANGED} {outdated}" if outdated else ""
        return f"{made.name}: {len(sizes):,} faces, {sizes.count(4):,} of them quads{kept}"


class IDTO3D_OT_multires_base(HeadOperator, StepsOperator, bpy.types.Operator):
    """A new object to sculpt on: the skin in a quarter of its quads with a Multiresolution modifier that holds the full
    head's shape, and all keys. Without hair, eyes and teeth"""

    remakes = True
    bl_idname = "idto3d.multires_base"
    bl_label = "Multires Base"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if "face" not in mesh_data.part_names(context.object):
            yield "This head does not say which of its faces are skin: import it again"
        if not context.object.visible_get():
            yield "Show the head first"

    def steps(self, context: Any) -> Steps[str]:
        full = densities.full_of(context.object)
        given = [modifier.name for modifier in full.modifiers if modifier.type != "ARMATURE"]
        made, off = yield from multires.base(context, context.object)
        left = f". Modifiers left out: {', '.join(given)}" if given else ""
        return f"{made.name}: {len(made.data.polygons):,} faces, {1000 * off:.3f} mm off the full head{left}"


register, unregister = bpy.utils.register_classes_factory((IDTO3D_OT_change_density, IDTO3D_OT_multires_base))
