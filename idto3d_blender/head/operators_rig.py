# SPDX-License-Identifier: GPL-3.0-or-later
"""Add Rig, Remove Rig, and a rig on the bone of a body."""

from collections.abc import Iterator
from typing import Any

import bpy

from ..polls import ExplainedPoll
from . import applied, carrier, densities, hand_over, naming, rig, separate
from .operators_head import SHARED, HeadOperator, select_only


def _armatures(self: Any, context: Any) -> list[tuple[str, str, str]]:
    # Blender keeps no reference to the strings: they must not go while the menu shows them.
    own = rig.rig_of(context.object) if context.object is not None else None
    _ITEMS[:] = [(obj.name, obj.name, "") for obj in _bodies(context, own)]
    return _ITEMS


def _bodies(context: Any, own: Any) -> list[Any]:
    """Armatures that a head's own one can hang on: not those that hang on it, as that of its hair may."""
    below = [] if own is None else [own, *own.children_recursive]
    return [obj for obj in context.scene.objects if obj.type == "ARMATURE" and obj not in below]


_ITEMS: list[tuple[str, str, str]] = []
FLAT = "This head has a scale of 0: give it one"


class IDTO3D_OT_add_rig(HeadOperator, bpy.types.Operator):
    """Give the head an armature: neck, head, jaw, eyes, and a target that the eyes can look at"""

    remakes = True
    bl_idname = "idto3d.add_rig"
    bl_label = "Add Rig"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if rig.rig_of(context.object) is not None:
            yield "This head has a rig already"
        if not context.object.visible_get():
            yield "Show the head first"
        if naming.shares_mesh(context.object):
            yield SHARED
        if rig.is_flat(context.object):
            yield FLAT
        if densities.full_of(context.object) != context.object or separate.is_part(context.object):
            yield "Show the full head in one piece first: what is made of it has its rig, too"

    def execute(self, context: Any) -> set[str]:
        rig.clear_left(context.object)
        taken = [name for name in rig.BONES if name in context.object.vertex_groups]
        if taken:
            self.report({"ERROR"}, f"The head has vertex groups called {', '.join(taken)} already: rename them first")
            return {"CANCELLED"}
        if why := applied.hindrance(context.object):
            self.report({"ERROR"}, why)
            return {"CANCELLED"}
        moved = carrier.is_moved(context.object)
        carrier.lift(context, [context.object])
        if applied.take_back(context.object):
            self.report({"INFO"}, applied.TOLD.format(context.object.name))
        made, missing = rig.add(context, context.object)
        if moved:
            self.report({"INFO"}, carrier.TOLD.format(context.object.name))
        if missing:
            self.report(
                {"WARNING"}, f"{made.name}: made. The head lacks keys that its bones would move: {', '.join(missing)}"
            )
        else:
            self.report({"INFO"}, f"{made.name}: select it, and go to Pose Mode")
        return {"FINISHED"}


class _RigOperator(HeadOperator):
    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if rig.rig_of(context.object) is None:
            yield "This head has no rig"


class IDTO3D_OT_select_head(ExplainedPoll, bpy.types.Operator):
    """Go back to the head that this rig moves, for its sliders and boxes"""

    bl_idname = "idto3d.select_head"
    bl_label = "Select the Head"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        head = rig.head_of(context.object)
        if head is None or not head.visible_get():
            yield "Select the rig of a head that can be seen"

    def execute(self, context: Any) -> set[str]:
        head = rig.head_of(context.object)
        if context.mode != "OBJECT":
            bpy.ops.object.mode_set(mode="OBJECT")
        select_only(context, head)
        return {"FINISHED"}


class IDTO3D_OT_remove_rig(_RigOperator, bpy.types.Operator):
    """Take the armature off the head, with its weights and the keys that its bones move. Their actions stay in the
    file"""

    bl_idname = "idto3d.remove_rig"
    bl_label = "Remove Rig"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if naming.shares_mesh(context.object):
            yield SHARED
        if hand_over.is_tweaked(rig.rig_of(context.object)):
            yield hand_over.TWEAKED
        if rig.is_flat(context.object):
            yield FLAT

    def execute(self, context: Any) -> set[str]:
        obj = context.object
        made = rig.rig_of(obj)
        if carrier.is_moved(made):
            carrier.lift(context, [made])
            self.report({"INFO"}, carrier.TOLD.format(obj.name))
        rig.remove(context, obj)
        return {"FINISHED"}


class IDTO3D_OT_rig_to_bone(_RigOperator, bpy.types.Operator):
    """Hang the head's rig on the bone of a body's armature, where it stands now"""

    poses = True
    bl_idname = "idto3d.rig_to_bone"
    bl_label = "Attach to Body"
    bl_options = {"REGISTER", "UNDO"}

    armature: bpy.props.EnumProperty(name="Armature", items=_armatures)  # type: ignore[valid-type]
    bone: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Bone", description="Empty: the bone that carries the head in Rigify's and Mixamo's armatures"
    )

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if not _bodies(context, rig.rig_of(context.object)):
            yield "There is no other armature in this scene that this head's could hang on"

    def invoke(self, context: Any, event: Any) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: Any) -> set[str]:
        body = context.scene.objects.get(self.armature)
        bone = self.bone or (rig.head_bone(body) if body is not None else "")
        if body is None or bone not in body.data.bones:
            self.report({"ERROR"}, f"{self.armature} has no bone {bone or 'that carries a head'}: name one")
            return {"CANCELLED"}
        if rig.is_flat(body) or body.pose.bones[bone].matrix.determinant() == 0.0:
            self.report({"ERROR"}, f"{bone} of {body.name} has a scale of 0: give it one")
            return {"CANCELLED"}
        rig.hang_on_bone(context, rig.rig_of(context.object), body, bone)
        self.report({"INFO"}, f"The head moves with {bone} of {body.name}")
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory(
    (IDTO3D_OT_add_rig, IDTO3D_OT_select_head, IDTO3D_OT_remove_rig, IDTO3D_OT_rig_to_bone)
)
