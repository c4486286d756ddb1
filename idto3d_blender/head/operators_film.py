# SPDX-License-Identifier: GPL-3.0-or-later
"""Light and film a head."""

from collections.abc import Iterator
from typing import Any

import bpy

from ..polls import ExplainedPoll
from ..studio import light_rigs, turntable
from .operators_head import HeadOperator


class IDTO3D_OT_light_rig(HeadOperator, bpy.types.Operator):
    """Light the head. Replaces the lights set here before, and no others"""

    changes = False
    bl_idname = "idto3d.light_rig"
    bl_label = "Light Rig"
    bl_options = {"REGISTER", "UNDO"}

    rig: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Rig",
        items=(
            ("FRONT", "Front", "Soft light from the front, as in a portrait"),
            ("BACK", "Back", "Light from behind: rims and silhouette"),
            ("DIRECT", "Direct", "One small lamp: hard shadows"),
            ("DIFFUSE", "Diffuse", "Even light from everywhere: judge the colours"),
        ),
    )

    def execute(self, context: Any) -> set[str]:
        light_rigs.set_rig(context.scene, context.object, self.rig)
        return {"FINISHED"}


class IDTO3D_OT_remove_lights(bpy.types.Operator):
    """Remove the lights that were set here, and no others"""

    bl_idname = "idto3d.remove_lights"
    bl_label = "Remove Lights"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: Any) -> set[str]:
        return {"FINISHED"} if light_rigs.remove_rig(context.scene) else {"CANCELLED"}


class IDTO3D_OT_turntable(HeadOperator, bpy.types.Operator):
    """A camera that goes round the head, and the frames for one round. What stands in its way is hidden meanwhile"""

    changes = False
    bl_idname = "idto3d.turntable"
    bl_label = "Turntable"
    bl_options = {"REGISTER", "UNDO"}

    frames: bpy.props.IntProperty(  # type: ignore[valid-type]
        name="Frames", description="For one round", default=120, min=4, soft_max=500
    )
    start: bpy.props.IntProperty(name="Start", description="First frame", default=1)  # type: ignore[valid-type]
    engine: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Engine",
        items=(
            ("KEEP", "As It Is", "Leave the scene's render engine"),
            ("EEVEE", "EEVEE", "Fast"),
            ("CYCLES", "Cycles", "Path traced, with light inside the skin"),
        ),
    )

    def execute(self, context: Any) -> set[str]:
        engine = {"KEEP": None, "EEVEE": turntable.EEVEE, "CYCLES": turntable.CYCLES}[self.engine]
        hidden = turntable.add_turntable(context, context.object, self.start, self.frames, engine)
        meanwhile = f". Hidden meanwhile, as they stand in the way: {', '.join(hidden)}" if hidden else ""
        self.report({"INFO"}, f"Render > Render Animation makes the film{meanwhile}")
        if bound := turntable.bound(context.scene):
            what = f"Cameras bound to markers ({', '.join(bound)}) film instead: unbind them, or render a scene without"
            self.report({"WARNING"}, what)
        return {"FINISHED"}


class IDTO3D_OT_remove_turntable(ExplainedPoll, bpy.types.Operator):
    """Remove the turntable: the scene gets its frame range and its camera back, and what was hidden shows again"""

    bl_idname = "idto3d.remove_turntable"
    bl_label = "Remove Turntable"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        if not turntable.is_there(context.scene):
            yield "There is no turntable in this scene"

    def execute(self, context: Any) -> set[str]:
        turntable.remove_turntable(context)
        return {"FINISHED"}


_CLASSES = (
    IDTO3D_OT_light_rig,
    IDTO3D_OT_remove_lights,
    IDTO3D_OT_turntable,
    IDTO3D_OT_remove_turntable,
)
register, unregister = bpy.utils.register_classes_factory(_CLASSES)
