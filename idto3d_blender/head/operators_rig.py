# SPDX-License-Identifier: GPL-3.0-or-later
"""Add Rig, Remove Rig, and a rig on the bone of a body."""

from typing import Any

import bpy

from . import rig
from .operators_head import JOB, HeadOperator


def _armatures(self: Any, context: Any) -> list[tuple[str, str, str]]:
    # Blender keeps no reference to the strings: they must not go while the menu shows them.
    own = rig.rig_of(context.object) if context.object is not None else None
    others = [obj for obj in context.scene.objects if obj.type == "ARMATURE" and obj != own]
    _ITEMS[:] = [(obj.name, obj.name, "") for obj in others]
    return _ITEMS


_ITEMS: list[tuple[str, str, str]] = []


class IDTO3D_OT_add_rig(HeadOperator, bpy.types.Operator):
    """Give the head an armature: neck, head, jaw, eyes, and a target that the eyes can look at"""

    bl_idname = "idto3d.add_rig"
    bl_label = "Add Rig"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not super().poll(context):
            return False
        if rig.rig_of(context.object) is not None:
            cls.poll_message_set("This head has a rig already")
            return False
        if JOB in context.object:
            cls.poll_message_set("Wait until the head is finished")
            return False
        if not context.object.visible_get():
            cls.poll_message_set("Show the head first")
            return False
        return True

    def execute(self, context: Any) -> set[str]:
        taken = [name for name in rig.BONES if name in context.object.vertex_groups]
        if taken:
            self.report({"ERROR"}, f"The head has vertex groups called {', '.join(taken)} already: rename them first")
            return {"CANCELLED"}
        made, missing = rig.add(context, context.object)
        if missing:
            self.report(
                {"WARNING"}, f"{made.name}: made. The head lacks keys that its bones would move: {', '.join(missing)}"
            )
        else:
            self.report({"INFO"}, f"{made.name}: select it, and go to Pose Mode")
        return {"FINISHED"}


class _RigOperator(HeadOperator):
    @classmethod
    def poll(cls: Any, context: Any) -> bool:
        if not super().poll(context):
            return False
        if rig.rig_of(context.object) is None:
            cls.poll_message_set("This head has no rig")
            return False
        return True


class IDTO3D_OT_select_head(bpy.types.Operator):
    """Go back to the head that this rig moves, for its sliders and boxes"""

    bl_idname = "idto3d.select_head"
    bl_label = "Select the Head"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        head = rig.head_of(context.object)
        if head is None or not head.visible_get():
            cls.poll_message_set("Select the rig of a head that can be seen")
            return False
        return True

    def execute(self, context: Any) -> set[str]:
        head = rig.head_of(context.object)
        if context.mode != "OBJECT":
            bpy.ops.object.mode_set(mode="OBJECT")
        for other in context.selected_objects:
            other.select_set(False)
        head.select_set(True)
        context.view_layer.objects.active = head
        return {"FINISHED"}


class IDTO3D_OT_remove_rig(_RigOperator, bpy.types.Operator):
    """Take the armature off the head, with its weights and the keys that its bones move"""

    bl_idname = "idto3d.remove_rig"
    bl_label = "Remove Rig"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: Any) -> set[str]:
        rig.remove(context, context.object)
        return {"FINISHED"}


class IDTO3D_OT_rig_to_bone(_RigOperator, bpy.types.Operator):
    """Hang the head's rig on the bone of a body's armature, where it stands now"""

    bl_idname = "idto3d.rig_to_bone"
    bl_label = "Attach to Body"
    bl_options = {"REGISTER", "UNDO"}

    armature: bpy.props.EnumProperty(name="Armature", items=_armatures)  # type: ignore[valid-type]
    bone: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Bone", description="Empty: the bone that carries the head in Rigify's and Mixamo's armatures"
    )

    @classmethod
    def poll(cls: Any, context: Any) -> bool:
        if not super().poll(context):
            return False
        own = rig.rig_of(context.object)
        if not any(obj.type == "ARMATURE" and obj != own for obj in context.scene.objects):
            cls.poll_message_set("There is no other armature in this scene")
            return False
        return True

    def invoke(self, context: Any, event: Any) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: Any) -> set[str]:
        body = context.scene.objects.get(self.armature)
        bone = self.bone or (rig.head_bone(body) if body is not None else "")
        if body is None or bone not in body.data.bones:
            self.report({"ERROR"}, f"{self.armature} has no bone {bone or 'that carries a head'}: name one")
            return {"CANCELLED"}
        rig.hang_on_bone(context, rig.rig_of(context.object), body, bone)
        self.report({"INFO"}, f"The head moves with {bone} of {body.name}")
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory(
    (IDTO3D_OT_add_rig, IDTO3D_OT_select_head, IDTO3D_OT_remove_rig, IDTO3D_OT_rig_to_bone)
)
