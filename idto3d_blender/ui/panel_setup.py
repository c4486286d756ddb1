# SPDX-License-Identifier: GPL-3.0-or-later
"""The set-up box: at the top until the backend is ready, then folded away at the bottom."""

from typing import Any

import bpy

from .. import preferences
from ..jobs import driver, session, setup_backend
from . import panel_parts, progress_text


class IDTO3D_PT_setup(panel_parts.SidebarPanel, bpy.types.Panel):
    """What makes the heads has to be installed once"""

    bl_label = "Set-up"
    bl_order = 0

    @classmethod
    def poll(cls, context: Any) -> bool:
        return not _is_settled(session.get())

    def draw(self, context: Any) -> None:
        state = session.get()
        if state.setup is not None:
            _draw_running(self.layout, context, state)
            return
        panel_parts.text(self.layout, context, state.status.message, "INFO")
        if state.status.message == session.ELSEWHERE:
            self.layout.operator("idto3d.check_backend", icon="FILE_REFRESH")
            driver.ensure()
            return
        _draw_plan(self.layout, context)
        ended = state.setup_ended
        if ended is not None and ended.error is not None:
            box = self.layout.box()
            panel_parts.problem(box, context, ended.error, about="setup")
            box.operator("idto3d.open_log", icon="TEXT").path = str(ended.log)
            if state.status.state == "ready":  # what was to be repaired is there again
                box.operator("idto3d.dismiss", text="Dismiss", icon="X").of_setup = True


class IDTO3D_PT_setup_ready(panel_parts.SidebarPanel, bpy.types.Panel):
    """The backend that is installed"""

    bl_label = "Set-up"
    bl_order = 10
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return _is_settled(session.get())

    def draw(self, context: Any) -> None:
        layout = self.layout
        panel_parts.text(layout, context, session.get().status.message, "CHECKMARK")
        column = layout.column()
        column.operator("idto3d.check_backend", icon="FILE_REFRESH")
        column.operator("idto3d.install", text="Repair...", icon="TOOL_SETTINGS")
        column.operator("idto3d.remove_backend", text="Remove...", icon="TRASH")


def _is_settled(state: session.Session) -> bool:
    """There is nothing to do, and nothing to be told."""
    failed = state.setup_ended is not None and state.setup_ended.error is not None
    return state.status.state == "ready" and state.setup is None and not failed


def _draw_plan(layout: Any, context: Any) -> None:
    state = session.get()
    plan = session.plan()
    if plan is None:
        layout.label(text="Finding out what is needed...", icon="SORTTIME")
        driver.ensure()
    else:
        box = layout.box()
        for line in plan.lines:
            panel_parts.text(box, context, line)
        # That the network is off is said below, with the button that helps.
        if plan.problem is not None and plan.problem.code != "E_NETWORK":
            panel_parts.text(box, context, plan.problem.message, "ERROR")
            panel_parts.text(box, context, plan.problem.fix)
            panel_parts.remedy_buttons(box, plan.problem)
            # The plan is asked for once: without this, Install would stay grey after the user has mended it.
            box.operator("idto3d.check_backend", icon="FILE_REFRESH")
    if not panel_parts.online() and not preferences.get().wheels:
        box = layout.box()
        panel_parts.text(
            box, context, "Blender's online access is off, and nothing is downloaded without it.", "INTERNET"
        )
        box.operator("idto3d.online_preferences", icon="PREFERENCES")
        panel_parts.text(box, context, "Or name a folder of offline packages in the add-on's preferences.")
    row = layout.row()
    row.scale_y = 1.4
    title = {"missing": "Install...", "incomplete": "Set Up Again...", "outdated": "Update..."}
    row.operator("idto3d.install", text=title.get(state.status.state, "Repair..."), icon="IMPORT")
    if state.status.state != "missing":
        layout.operator("idto3d.remove_backend", text="Remove...", icon="TRASH")


def _draw_running(layout: Any, context: Any, state: session.Session) -> None:
    assert state.setup is not None
    snapshot = state.setup.snapshot
    column = layout.column()
    column.label(text=progress_text.stage(snapshot), icon="SORTTIME")
    panel_parts.bar(column, snapshot.fraction)
    column.label(text=progress_text.time_left(snapshot, setup_backend.SETUP_STAGES))
    for warning in snapshot.warnings:
        panel_parts.text(layout, context, warning.said, "INFO")
    row = layout.row(align=True)
    row.operator("idto3d.cancel_install", icon="CANCEL")
    row.operator("idto3d.open_log", icon="TEXT").path = str(snapshot.log)


register, unregister = bpy.utils.register_classes_factory((IDTO3D_PT_setup, IDTO3D_PT_setup_ready))
