# SPDX-License-Identifier: GPL-3.0-or-later
"""The box for a head's mesh: its density, what is cut off it or apart, and the user's own."""

from typing import Any

import bpy

from ..head import densities, operators_wrap, separate, wrap_head
from . import panel_parts


class IDTO3D_PT_mesh(panel_parts.HeadBox, bpy.types.Panel):
    """How many faces it has, in how many pieces, and on whose mesh it lies"""

    bl_label = "Mesh"
    bl_order = 5
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        now = densities.density_of(context.object)
        row = layout.row(align=True)
        for density, name in ((densities.FULL, "Full"), ("HALF", "Half"), ("QUARTER", "Quarter")):
            row.operator("idto3d.change_density", text=name, depress=density == now).density = density
        layout.label(text=f"{len(context.object.data.polygons):,} faces", icon="MESH_GRID")
        layout.operator("idto3d.multires_base", icon="MOD_MULTIRES")
        layout.operator("idto3d.cut_neck", icon="MOD_BOOLEAN")
        if separate.is_part(context.object):
            layout.operator("idto3d.whole_head", icon="OBJECT_DATA")
        else:
            row = layout.row(align=True)
            row.label(text="Separate", icon="MOD_EXPLODE")
            row.operator("idto3d.separate_parts", text="Materials").by = "MATERIAL"
            row.operator("idto3d.separate_parts", text="Parts").by = "PART"
        _wrap(layout, context)


def _wrap(layout: Any, context: Any) -> None:
    own = operators_wrap.own_mesh(context)
    layout.separator()
    layout.label(text=f"Onto {own.name}" if own else "Onto your own mesh", icon="MOD_SHRINKWRAP")
    row = layout.row(align=True)
    row.operator("idto3d.wrap_marks", icon="EMPTY_AXIS")
    row.operator("idto3d.wrap", icon="MOD_SHRINKWRAP")
    report = context.object.get(wrap_head.REPORT)
    if report is not None:
        column = layout.column(align=True)
        column.label(text=f"Off the head: {report['mean_mm']:.2f} mm on average,")
        column.label(text=f"95 % under {report['most_mm']:.2f} mm, worst {report['worst_mm']:.2f} mm")


register, unregister = bpy.utils.register_classes_factory((IDTO3D_PT_mesh,))
