# SPDX-License-Identifier: GPL-3.0-or-later
"""The box for heads that are mixed of several."""

from typing import Any

import bpy

from ..head import operators_blend
from . import panel_parts


class IDTO3D_PT_blend(panel_parts.HeadBox, bpy.types.Panel):
    """A new head of several people"""

    bl_label = "Blend People"
    bl_order = 4
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        given = operators_blend.blend_of(context.object)
        if given is None:
            layout.operator("idto3d.blend_people", icon="COMMUNITY")
            return
        shape, skin = operators_blend.shape_shares(given), operators_blend.skin_shares(given)
        for number, person in enumerate(given.people):
            name = person.head.name if person.head else "Deleted"
            column = layout.column(align=True)
            column.label(text=f"{name}: shape {shape[number]:.0%}, skin {skin[number]:.0%}", icon="USER")
            if number:
                row = column.row(align=True)
                row.prop(person, "shape", slider=True)
                row.prop(person, "skin", slider=True)
        layout.prop(given, "hair")
        layout.operator("idto3d.finish_blend", icon="CHECKMARK")


register, unregister = bpy.utils.register_classes_factory((IDTO3D_PT_blend,))
