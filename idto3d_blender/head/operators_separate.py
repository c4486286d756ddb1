# SPDX-License-Identifier: GPL-3.0-or-later
"""Separate Parts, and Whole Head."""

from collections.abc import Iterator
from typing import Any

import bpy

from ..polls import ExplainedPoll
from . import hand_over, separate
from .import_head import PROPERTY
from .operators_head import IN_PIECES, HeadOperator
from .stepwise import Steps, StepsOperator


class IDTO3D_OT_separate_parts(HeadOperator, StepsOperator, bpy.types.Operator):
    """Make an object of each material or part, all with the keys, which follow the skin's. The whole head stays in the
    file, hidden: Whole Head brings it back. Exports, matching and densities are for the whole one"""

    remakes = True
    bl_idname = "idto3d.separate_parts"
    bl_label = "Separate Parts"
    bl_options = {"REGISTER", "UNDO"}

    by: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="By",
        items=(
            ("MATERIAL", "Material", "Skin, head, mouth, teeth, eyes, lashes and hair"),
            ("PART", "Part", "Each eyeball, each row of teeth, and all else for itself"),
        ),
    )

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if separate.is_part(context.object):
            yield IN_PIECES
        if not context.object[PROPERTY].get("parts"):
            yield "A head on a mesh of your own is in one piece"

    def steps(self, context: Any) -> Steps[str]:
        made = yield from separate.separate(context.object, self.by == "PART")
        context.object.select_set(False)
        made[0].select_set(True)
        context.view_layer.objects.active = made[0]
        return f"{len(made)} objects; {made[0].name} has the sliders"


class IDTO3D_OT_whole_head(ExplainedPoll, StepsOperator, bpy.types.Operator):
    """Take the objects of this head away, and show it in one piece again, in the pose that they have. Those that you
    have changed stay in the file, hidden"""

    bl_idname = "idto3d.whole_head"
    bl_label = "Whole Head"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        if not separate.is_part(context.object) or context.mode != "OBJECT":
            yield "Select a part of a head that was separated, in object mode"
        parts = separate.parts_of(context.object)
        if hand_over.is_tweaked(*parts, *(part.data.shape_keys for part in parts)):
            yield hand_over.TWEAKED

    def steps(self, context: Any) -> Steps[str]:
        whole, kept = yield from separate.together(context.object)
        whole.select_set(True)
        context.view_layer.objects.active = whole
        names = ", ".join(part.name for part in kept)
        return f"{whole.name} is in one piece" + (f"; hidden, as you have changed it: {names}" if kept else "")


register, unregister = bpy.utils.register_classes_factory((IDTO3D_OT_separate_parts, IDTO3D_OT_whole_head))
