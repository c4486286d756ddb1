# SPDX-License-Identifier: GPL-3.0-or-later
"""One click for an expression of the head's own."""

from typing import Any

import bpy

from ..studio import animation
from . import expressions
from .operators_head import HeadOperator


class IDTO3D_OT_pose(HeadOperator, bpy.types.Operator):
    """Show this expression alone"""

    poses = True
    bl_idname = "idto3d.pose"
    bl_label = "Pose"
    bl_options = {"REGISTER", "UNDO"}

    name: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})  # type: ignore[valid-type]
    strength: bpy.props.FloatProperty(  # type: ignore[valid-type]
        name="Strength", default=1.0, min=0.0, max=1.0, subtype="FACTOR"
    )

    @classmethod
    def description(cls, context: Any, properties: Any) -> str:
        return f"Show {expressions.label(properties.name)} alone; all other keys go to 0"

    def execute(self, context: Any) -> set[str]:
        key = context.object.data.shape_keys.key_blocks.get(self.name)
        if key is None:
            self.report({"ERROR"}, f"This head has no expression named {self.name}")
            return {"CANCELLED"}
        animation.reset(context.object)
        key.value = self.strength
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory((IDTO3D_OT_pose,))
