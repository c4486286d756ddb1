# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar tab of the 3D viewport."""

from __future__ import annotations

from typing import Any

import bpy

from . import operators
from .import_head import is_head


class IDTO3D_PT_head(bpy.types.Panel):
    """Import a head and move its expressions"""

    bl_label = "ID-to-3D"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "ID-to-3D"

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.operator(operators.IDTO3D_OT_import_head.bl_idname, icon="IMPORT")
        box = layout.box()
        box.label(text="Expressions", icon="SHAPEKEY_DATA")
        if not is_head(context.object):
            box.label(text="Select an imported head")
            return
        column = box.column(align=True)
        for key in context.object.data.shape_keys.key_blocks[1:]:
            column.prop(key, "value", text=key.name.replace("_", " ").capitalize(), slider=True)


def register() -> None:
    bpy.utils.register_class(IDTO3D_PT_head)


def unregister() -> None:
    bpy.utils.unregister_class(IDTO3D_PT_head)
