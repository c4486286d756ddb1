# SPDX-License-Identifier: GPL-3.0-or-later
"""The box for a head's armature."""

from typing import Any

import bpy

from ..head import rig
from . import panel_parts


class IDTO3D_PT_rig(panel_parts.HeadBox, bpy.types.Panel):
    """Bones for neck, head, jaw and eyes"""

    bl_label = "Rig"
    bl_order = 3
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        made = rig.rig_of(context.object)
        if made is None:
            layout.operator("idto3d.add_rig", icon="ARMATURE_DATA")
            return
        layout.prop(made, f'["{rig.LOOK_AT}"]', text="Eyes on the Target", slider=True)
        layout.operator("idto3d.rig_to_bone", icon="BONE_DATA")
        layout.operator("idto3d.remove_rig", icon="X")


register, unregister = bpy.utils.register_classes_factory((IDTO3D_PT_rig,))
