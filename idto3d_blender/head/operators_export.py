# SPDX-License-Identifier: GPL-3.0-or-later
"""Export of a head, with its choices and all that the file will not hold beside the file browser."""

# Blender reads the properties from the annotations: no postponed evaluation here.
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from . import export, separate
from .import_head import is_matched
from .operators_head import IN_PIECES, UNFINISHED, HeadOperator
from .stepwise import Refused, Steps, StepsOperator

_CHARACTERS = 32  # in a line of the file browser's side region


class IDTO3D_OT_export(HeadOperator, StepsOperator, bpy.types.Operator):
    """Write the head with its keys and maps for another program"""

    changes = False
    bl_idname = "idto3d.export"
    bl_label = "Export Head"

    directory: bpy.props.StringProperty(subtype="DIR_PATH")  # type: ignore[valid-type]
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN"})  # type: ignore[valid-type]
    preset: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="For",
        description="The program that will read it",
        items=[(preset.name, preset.title, preset.tip) for preset in export.PRESETS],
    )
    # A tick each: a set of toggles would be left with the one that is clicked on.
    arkit: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="ARKit", description="The 52 shapes of Apple's face tracking", default=True
    )
    moods: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Expressions", description="smile, anger and the other whole expressions", default=True
    )
    visemes: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Visemes", description="The 15 mouth shapes of speech", default=True
    )
    other: bpy.props.BoolProperty(name="Own Keys", description="Keys that you made", default=True)  # type: ignore[valid-type]
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
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if is_matched(context.object):  # the photos' keys would go along
            yield "Leave the match first"
        if len(context.object.idto3d_blend.people):  # keys at 0 and pictures are still the first one's
            yield UNFINISHED
        if separate.is_part(context.object):
            yield IN_PIECES

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
        column = layout.column(align=True)
        column.label(text="Keys:")
        for group in export.keys.GROUPS:
            column.prop(self, group.lower())
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
        groups = tuple(group for group in export.keys.GROUPS if getattr(self, group.lower()))
        return export.Choice(export.BY_NAME[self.preset], groups, textures, self.rig, self.animation)


register, unregister = bpy.utils.register_classes_factory((IDTO3D_OT_export,))
