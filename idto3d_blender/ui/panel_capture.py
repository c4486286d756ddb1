# SPDX-License-Identifier: GPL-3.0-or-later
"""The box for face capture: a take or a video, how it is treated, and the button that bakes it."""

from typing import Any

import bpy

from .. import thumbnails
from ..capture import properties, takes
from ..jobs.snapshot import Snapshot
from . import panel_parts, progress_text


class IDTO3D_PT_capture(panel_parts.SidebarPanel, bpy.types.Panel):
    """A captured face onto the selected head"""

    bl_label = "Face Capture"
    bl_order = 4
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout, given, now = self.layout, properties.settings(), takes.running()
        if now is not None:
            _draw_running(layout, now)
            return
        layout.prop(given, "performer")
        layout.operator("idto3d.capture_open", text="Open CSV or Video...", icon="FILE_FOLDER")
        layout.operator("idto3d.capture_camera", text="Film With Camera...", icon="OUTLINER_OB_CAMERA")
        if takes.state.problem is not None:
            panel_parts.problem(layout.box(), context, takes.state.problem, about="capture")
        take = takes.state.take
        if take is None:
            return
        row = layout.row()
        row.label(text=f"{takes.state.name}, {take.duration:.1f} s", icon="REC")
        row.operator("idto3d.capture_close", text="", icon="X", emboss=False)
        for warning in takes.state.warnings[-2:]:
            panel_parts.text(layout, context, warning.said, "INFO")
        _draw_settings(layout, given)
        row = layout.row()
        row.scale_y = 1.4
        row.operator("idto3d.capture_bake", icon="ACTION")


def _draw_running(layout: Any, now: Snapshot) -> None:
    layout.template_icon(thumbnails.progress(now.picture), scale=6.0)
    panel_parts.bar(layout, now.fraction)
    row = layout.row()
    row.label(text=progress_text.stage(now))
    left = row.row()
    left.alignment = "RIGHT"
    left.label(text=progress_text.time_left(now, takes.STAGES))
    layout.operator("idto3d.capture_cancel", icon="CANCEL")


def _draw_settings(layout: Any, given: Any) -> None:
    layout.use_property_split = True
    layout.use_property_decorate = False
    layout.prop(given, "rest")
    if given.rest == "RANGE":
        column = layout.column(align=True)
        column.prop(given, "rest_from")
        column.prop(given, "rest_to")
    column = layout.column(align=True)
    column.prop(given, "smooth")
    if given.smooth:
        column.prop(given, "cutoff")
        column.prop(given, "beta")
        column.prop(given, "zero_lag")
    layout.prop(given, "gain", slider=True)
    header, body = layout.panel("idto3d_capture_more", default_closed=True)
    header.label(text="Regions, Head, Corrections")
    if body is not None:
        column = body.column(align=True)
        for region in ("brow", "eye", "cheek", "jaw", "mouth"):
            column.prop(given, f"gain_{region}", slider=True)
        column = body.column()
        column.prop(given, "blinks")
        column.prop(given, "head")
        if given.head:
            column.prop(given, "turn", slider=True)
            row = column.row(heading="Other Way", align=True)
            for index, title in enumerate(("Yaw", "Pitch", "Roll")):
                row.prop(given, "flip", index=index, text=title, toggle=True)
        column.prop(given, "eyes")
        column.prop(given, "swap_mouth")
    column = layout.column(align=True)
    column.prop(given, "trim_in", text="Trim In")
    column.prop(given, "trim_out")
    column = layout.column()
    column.prop(given, "start")
    column.prop(given, "as_strip")


register, unregister = bpy.utils.register_classes_factory((IDTO3D_PT_capture,))
