# SPDX-License-Identifier: GPL-3.0-or-later
"""The box for a head's photos: laid over one another, and pinned."""

from typing import Any

import bpy

from ..head.import_head import is_head
from ..match import pump, session
from ..match import scene as stage
from . import panel_parts


class IDTO3D_PT_match(panel_parts.HeadBox, bpy.types.Panel):
    """The head over its photos, mended with pins"""

    bl_label = "Match"
    bl_order = 2

    @classmethod
    def poll(cls, context: Any) -> bool:
        # A matched head may be gone, and the way out of the match must not go with it.
        return is_head(context.object) or stage.KEY in context.scene

    def draw(self, context: Any) -> None:
        layout = self.layout
        obj, match = stage.matched(context.scene), session.of(context.scene)
        if obj is None or match is None:
            layout.operator("idto3d.match", icon="CAMERA_DATA")
        if obj is not None:
            _photos(layout, context.scene, obj, match)
        if obj is not None and match is not None:
            _pins(layout, context, obj, match)
        if stage.KEY in context.scene:
            layout.operator("idto3d.match_leave", icon="X")


def _photos(layout: Any, scene: Any, obj: Any, match: session.Match | None) -> None:
    given = obj.idto3d_match
    column = layout.column(align=True)
    for camera in stage.cameras(scene):
        number = camera[stage.KEY]
        if match is not None:
            name, found = match.fit.photos[number].name, bool(match.paths[number])
        else:
            name, found = camera.name.removeprefix(f"{obj.name} "), stage.has_picture(camera)
        icon = "IMAGE_DATA" if found else "ERROR"
        shown = number == given.photo
        column.operator("idto3d.match_photo", text=name, icon=icon, depress=shown).photo = number
        if shown and not found:
            layout.operator("idto3d.match_find_photo", icon="VIEWZOOM")
    row = layout.row(align=True)
    row.prop(given, "look", expand=True)
    layout.prop(given, "alpha", slider=True)


def _pins(layout: Any, context: Any, obj: Any, match: session.Match) -> None:
    count = len(obj.idto3d_match.pins)
    state = match.link.state
    wrong = match.link.ended or match.problem
    if wrong is not None:
        panel_parts.text(layout, context, wrong.said, "ERROR")
    elif obj.mode in pump.HINDERING:
        layout.label(text="Waits for Object Mode", icon="TIME")
    elif match.skin is None:
        what = "The backend is starting..." if state == "starting" else "Reading the head..."
        layout.label(text=what, icon="TIME")
    elif match.projecting:
        layout.label(text=f"Projecting: {match.link.stage}...", icon="TIME")
    else:
        pinned = f"{count} pin{'' if count == 1 else 's'}" if count else "Drag a handle or any place of the skin"
        layout.label(text=pinned, icon="PINNED" if count else "UNPINNED")
    row = layout.row(align=True)
    row.operator("idto3d.pins_clear", text="Remove All", icon="TRASH")
    row.operator("idto3d.match_project", icon="TEXTURE")


register, unregister = bpy.utils.register_classes_factory((IDTO3D_PT_match,))
