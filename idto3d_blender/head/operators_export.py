# SPDX-License-Identifier: GPL-3.0-or-later
"""Export of a head, with its choices and all that the file will not hold beside the file browser."""

# Blender reads the properties from the annotations: no postponed evaluation here.
import textwrap
from pathlib import Path
from typing import Any

import bpy

from . import export
from .operators_head import HeadOperator
from .stepwise import Refused, Steps, StepsOperator

_CHARACTERS = 32  # in a line of the file browser's side region

_GROUPS = (
    ("ARKIT", "ARKit", "The 52 shapes of Apple's face tracking"),
    ("MOODS", "Expressions", "smile, anger and the other whole expressions"),
    ("VISEMES", "Visemes", "The 15 mouth shapes of speech"),
    ("OTHER", "Own Keys", "Keys that you made"),
)


class IDTO3D_OT_export(HeadOperator, StepsOperator, bpy.types.Operator):
    """Write the head with its keys and maps for another program"""

    changes = False
    bl_idname = "idto3d.export"
    bl_label = "Export Head"

    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"})  # type: ignore[valid-type]
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN"})  # type: ignore[valid-type]
    preset: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="For",
        description="The program that will read it",
        items=[(preset.name, preset.title, preset.tip) for preset in export.PRESETS],
    )
    groups: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Keys",
        description="Which shape keys go along",
        items=_GROUPS,
        options={"ENUM_FLAG"},
        default={name for name, _, _ in _GROUPS},
    )
    textures: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Textures",
        items=(
            ("PRESET", "Default", "Where that program looks for them first"),
            ("INSIDE", "Inside", "In the file itself"),
            ("BESIDE", "Beside", "In the folder textures beside the file"),
        ),
    )
    rig: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Rig", description="The armature goes along, where the head has one", default=True
    )

    animation: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Animation",
        description="The active actions of keys and rig go along, in the scene's frames; else the head is at rest",
        default=True,
    )
    _asked = False

    @classmethod
    def description(cls, context: Any, properties: Any) -> str:
        return export.BY_NAME[properties.preset].tip

    def invoke(self, context: Any, event: Any) -> set[str]:
        self._asked = True
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.prop(self, "preset")
        layout.column().prop(self, "groups")
        layout.prop(self, "textures")
        layout.prop(self, "rig")
        layout.prop(self, "animation")
        if context.object is not None:
            column = layout.column(align=True)
            for line in export.notes(context.object, self._choice()):
                for number, piece in enumerate(textwrap.wrap(line, _CHARACTERS)):
                    column.label(text=piece, icon="BLANK1" if number else "INFO")

    def execute(self, context: Any) -> set[str]:
        # From the file browser, and not from a script.
        return self.go_on_beside(context) if self._asked else super().execute(context)

    def steps(self, context: Any) -> Steps[str]:
        if not self.directory:
            raise Refused("Choose a folder (E_EXPORT)")
        obj, choice = context.object, self._choice()
        if self.directory.startswith("//") and not bpy.data.filepath:
            raise Refused("Save the file before you name its folder by // (E_EXPORT_WRITE)")
        left_out = export.notes(obj, choice)
        folder = Path(bpy.path.abspath(self.directory))
        try:
            file = yield from export.steps(context, obj, folder, choice, aside=self._asked)
        except export.ExportError as error:
            raise Refused(str(error)) from error
        return f"Wrote {file.parent.name}/{file.name}, and read it back. {'. '.join(left_out)}"

    def _choice(self) -> export.Choice:
        textures = None if self.textures == "PRESET" else self.textures
        return export.Choice(export.BY_NAME[self.preset], tuple(self.groups), textures, self.rig, self.animation)


register, unregister = bpy.utils.register_classes_factory((IDTO3D_OT_export,))
