# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces that several of our panels draw."""

from typing import Any, Literal

import bpy

from .. import CATEGORY
from ..head.import_head import is_head
from ..jobs.snapshot import Problem
from ..match.scene import matched
from .progress_text import wrap
from .remedies import remedies

About = Literal["head", "setup", "capture"]
# A character's width in pixels in Blender's interface font, and the longest message that a panel shows in full.
_CHARACTER = 6.6
_MOST_LINES = 8


class SidebarPanel:
    """The place of all our panels."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = CATEGORY


class HeadBox(SidebarPanel):
    """A box in the panel of the head. While the head is laid over its photos it has their expression, whatever sliders
    say, and must keep its vertices: then the box Match is alone, and in sight."""

    bl_parent_id = "IDTO3D_PT_head"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return is_head(context.object) and matched(context.scene) != context.object


def text(layout: Any, context: Any, message: str, icon: str = "NONE") -> None:
    """A message in as many labels as the sidebar's width needs."""
    scale = context.preferences.system.ui_scale
    width = max(18, int((context.region.width / scale - 60) / _CHARACTER)) if context.region else 36
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(wrap(message, width)[:_MOST_LINES]):
        column.label(text=line, icon=icon if number == 0 else ("BLANK1" if icon != "NONE" else "NONE"))


def problem(layout: Any, context: Any, what: Problem, resume: str = "", about: About = "head") -> None:
    """An error: one sentence, the buttons that help, the report, and its code. resume: the job that may go on; about:
    what failed, which is what is reported; of captures there are no reports."""
    first = what.message.splitlines()[0] if what.message else "Something went wrong."
    text(layout, context, first, "ERROR")
    if what.fix:
        text(layout, context, what.fix, "BLANK1")
    remedy_buttons(layout, what, about == "head")
    if resume:
        resume_buttons(layout, resume)
    if about != "capture":
        layout.operator("idto3d.copy_report", icon="COPYDOWN").of_setup = about == "setup"
    # In a row of its own: beside a button the longest codes are cut off.
    layout.label(text=what.code)


def remedy_buttons(layout: Any, what: Problem, of_head: bool = True) -> None:
    """The buttons that help against an error, if there are any."""
    column = layout.column()
    for remedy in remedies(what.code, of_head):
        button = column.operator(remedy.operator, text=remedy.text, icon=remedy.icon)
        for name, value in remedy.values.items():
            setattr(button, name, value)


def resume_buttons(layout: Any, job: str) -> None:
    """What can be done with an unfinished head."""
    row = layout.row(align=True)
    row.operator("idto3d.resume_job", icon="PLAY").job = job
    row.operator("idto3d.forget_job", icon="TRASH").job = job


def bar(layout: Any, fraction: float) -> None:
    """A progress bar with its percentage. Always the same widget: Blender 4.3 flashes when another takes its place."""
    layout.progress(factor=fraction, type="BAR", text=f"{fraction:.0%}")


def online() -> bool:
    return bool(bpy.app.online_access)
