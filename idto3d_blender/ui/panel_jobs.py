# SPDX-License-Identifier: GPL-3.0-or-later
"""The box that shows what runs, what waits, what went wrong and what can be resumed."""

import time
from typing import Any

import bpy

from .. import thumbnails
from ..jobs import driver, session, setup_backend
from ..jobs.records import Record
from ..jobs.snapshot import Snapshot
from ..studio import live
from . import panel_parts, progress_text

_MOST_RESUMABLE = 5


class IDTO3D_PT_jobs(panel_parts.SidebarPanel, bpy.types.Panel):
    """Heads that are being made"""

    bl_label = "Heads in the Making"
    bl_order = 2

    @classmethod
    def poll(cls, context: Any) -> bool:
        state = session.get()
        return bool(state.jobs.busy or state.ended or state.resumable or state.ready)

    def draw(self, context: Any) -> None:
        layout, state = self.layout, session.get()
        running = state.running()
        if running is not None:
            _draw_running(layout.box(), context, state, running)
        _draw_waiting(layout, state)
        for job in state.ready:
            row = layout.box().row()
            row.label(text=f"{_name(state.jobs.record(job), job)} is finished", icon="CHECKMARK")
            row.operator("idto3d.import_ready", icon="IMPORT").job = job
        if state.ended is not None and state.ended.id not in state.ready:
            _draw_ended(layout.box(), context, state, state.ended)
        shown = state.ended.id if state.ended is not None else ""
        _draw_resumable(layout, [record for record in state.resumable if record.id != shown])


def _name(record: Record | None, job: str) -> str:
    return str(record.note.get("name") or job) if record is not None else job


def _draw_running(layout: Any, context: Any, state: session.Session, running: Snapshot) -> None:
    # The same rows in the same places from beginning to end: what is not known yet is drawn blank.
    record = state.jobs.record(running.id)
    layout.label(text=_name(record, running.id), icon="USER")
    # Until there is a picture of the head, the photo that it is made from.
    photo = str(record.request["photos"][0]) if record is not None and record.request.get("photos") else ""
    layout.template_icon(thumbnails.progress(running.picture) or thumbnails.photo(photo), scale=6.0)
    panel_parts.bar(layout, running.fraction)
    row = layout.row()
    row.label(text=progress_text.stage(running))
    left = row.row()
    left.alignment = "RIGHT"
    left.label(text=progress_text.time_left(running, setup_backend.GENERATE_STAGES))
    row = layout.row(align=True)
    row.operator("idto3d.cancel_job", icon="CANCEL").job = running.id
    row.operator("idto3d.look_at", icon="ZOOM_SELECTED").job = running.id
    layout.operator("idto3d.use_sketch", icon="CHECKMARK").job = running.id
    for warning in running.warnings[-2:]:
        panel_parts.text(layout, context, warning.said, "INFO")


def _draw_waiting(layout: Any, state: session.Session) -> None:
    if not state.jobs.waiting:
        return
    box = layout.box()
    box.label(text=f"Waiting: {len(state.jobs.waiting)}", icon="SORTTIME")
    column = box.column(align=True)
    for number, record in enumerate(state.jobs.waiting, start=1):
        row = column.row()
        row.label(text=f"{number}. {_name(record, record.id)}")
        row.operator("idto3d.cancel_job", text="", icon="X", emboss=False).job = record.id


def _draw_ended(layout: Any, context: Any, state: session.Session, ended: Snapshot) -> None:
    name = _name(state.jobs.record(ended.id), ended.id)
    row = layout.row()
    unfinished = any(record.id == ended.id for record in state.resumable)
    if ended.error is not None:
        row.label(text=name, icon="USER")
        row.operator("idto3d.dismiss", text="", icon="X", emboss=False)
        panel_parts.problem(layout, context, ended.error, ended.id if unfinished else "")
    elif ended.state == "done":
        row.label(text=f"{name}: {'opening' if driver.importing(ended.id) else 'finished'}", icon="CHECKMARK")
        # For another file that was opened since, or a head that was deleted.
        row.operator("idto3d.import_ready", text="", icon="IMPORT", emboss=False).job = ended.id
        row.operator("idto3d.dismiss", text="", icon="X", emboss=False)
        for warning in ended.warnings[-3:]:
            panel_parts.text(layout, context, warning.said, "INFO")
    else:
        row.label(text=f"{name}: cancelled", icon="PAUSE")
        row.operator("idto3d.dismiss", text="", icon="X", emboss=False)
        if unfinished:
            panel_parts.resume_buttons(layout, ended.id)
            if ended.sketch is not None and live.find(ended.id) is not None:
                layout.operator("idto3d.use_sketch", icon="CHECKMARK").job = ended.id


def _draw_resumable(layout: Any, records: list[Record]) -> None:
    if not records:
        return
    box = layout.box()
    box.label(text="Unfinished", icon="PAUSE")
    column = box.column(align=True)
    for record in records[:_MOST_RESUMABLE]:
        row = column.row(align=True)
        day = time.strftime("%d %b %H:%M", time.localtime(record.created))
        row.label(text=f"{_name(record, record.id)}, {day}")
        row.operator("idto3d.resume_job", text="", icon="PLAY").job = record.id
        row.operator("idto3d.forget_job", text="", icon="TRASH").job = record.id
    if len(records) > _MOST_RESUMABLE:
        column.label(text=f"and {len(records) - _MOST_RESUMABLE} more")


register, unregister = bpy.utils.register_classes_factory((IDTO3D_PT_jobs,))
