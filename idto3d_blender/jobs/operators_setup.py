# SPDX-License-Identifier: GPL-3.0-or-later
"""Install, repair, cancel and remove the backend's environment."""

from collections.abc import Iterator
from typing import Any

import bpy

from .. import preferences
from ..capture import takes
from ..match import session as match
from ..polls import ExplainedPoll
from . import driver, session, setup_backend

OFFLINE = "Blender's online access is off. Allow it in Preferences > System, or name a folder of offline packages"


def _why_busy() -> Iterator[str]:
    state = session.get()
    if state.setup is not None:
        yield "The set-up is running"
    if state.jobs.busy:
        yield "Wait for the running head, or cancel it"
    if takes.running() is not None:
        yield "Wait until the video is read, or cancel it"
    if match.get() is not None:
        yield "Leave the match first"


def _free(operator: Any) -> bool:
    """No other Blender works with what is about to be replaced; else the operator says so."""
    if not session.get().jobs.records.others_at_work():
        return True
    why = "Another Blender is at work with it. Wait for that, cancel it, or leave its match first (E_JOB_ELSEWHERE)"
    operator.report({"ERROR"}, why)
    return False


class IDTO3D_OT_install(ExplainedPoll, bpy.types.Operator):
    """Install what makes the heads, in a folder of its own; goes on where an earlier set-up stopped"""

    bl_idname = "idto3d.install"
    bl_label = "Install the Backend"
    bl_options = {"INTERNAL"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from _why_busy()
        if not bpy.app.online_access and not preferences.get().wheels:
            yield OFFLINE
        plan = session.plan()
        if plan is not None and plan.problem is not None:
            yield f"{plan.problem.message} {plan.problem.fix}"

    def invoke(self, context: Any, event: Any) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, width=640, confirm_text="Install")

    def draw(self, context: Any) -> None:
        plan = session.plan()
        column = self.layout.column(align=True)
        for line in plan.lines if plan else ("Finding out what is needed...",):
            column.label(text=line)

    def execute(self, context: Any) -> set[str]:
        if not _free(self):
            return {"CANCELLED"}
        state, chosen = session.get(), preferences.get()
        state.begin_setup(
            python=chosen.python, device=chosen.device, wheels=chosen.wheels, online=bpy.app.online_access
        )
        driver.ensure()
        if not bpy.app.background:
            return {"FINISHED"}
        driver.run_until_idle()
        ended = state.setup_ended
        if ended is not None and ended.error is not None:
            self.report({"ERROR"}, ended.error.said)
            return {"CANCELLED"}
        self.report({"INFO"}, state.status.message)
        return {"FINISHED"}


class IDTO3D_OT_cancel_install(ExplainedPoll, bpy.types.Operator):
    """Stop the set-up; what is downloaded so far is kept"""

    bl_idname = "idto3d.cancel_install"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        setup = session.get().setup
        if setup is None or setup.state == "cancelling":
            yield "No set-up is running" if setup is None else "It is being cancelled"

    def execute(self, context: Any) -> set[str]:
        setup = session.get().setup
        if setup is not None:
            setup.cancel()
        driver.redraw()
        return {"FINISHED"}


class IDTO3D_OT_remove_backend(ExplainedPoll, bpy.types.Operator):
    """Delete what the set-up has installed. Finished heads stay"""

    bl_idname = "idto3d.remove_backend"
    bl_label = "Remove the Backend"
    bl_options = {"INTERNAL"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        return _why_busy()

    def invoke(self, context: Any, event: Any) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: Any) -> set[str]:
        if not _free(self):
            return {"CANCELLED"}
        state = session.get()
        state.jobs.end_warm()
        try:
            thread = setup_backend.remove(state.folder)
        except OSError as error:
            self.report({"ERROR"}, f"It could not be removed: {error.strerror}. Restart Blender and try again")
            return {"CANCELLED"}
        if bpy.app.background:
            thread.join()
        state.setup_ended = None
        state.look_up()
        driver.ensure()
        driver.redraw()
        return {"FINISHED"}


class IDTO3D_OT_check_backend(bpy.types.Operator):
    """Look again at what is installed"""

    bl_idname = "idto3d.check_backend"
    bl_label = "Check Again"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> set[str]:
        session.get().look_up()
        driver.ensure()
        self.report({"INFO"}, session.get().status.message)
        return {"FINISHED"}


class IDTO3D_OT_allow_online(bpy.types.Operator):
    """Open the preferences where Blender's online access is allowed"""

    bl_idname = "idto3d.online_preferences"
    bl_label = "Open Preferences"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> set[str]:
        context.preferences.active_section = "SYSTEM"
        return set(bpy.ops.screen.userpref_show("INVOKE_DEFAULT"))


class IDTO3D_OT_open_log(bpy.types.Operator):
    """Open the log in the program that your system uses for text"""

    bl_idname = "idto3d.open_log"
    bl_label = "Open Log"
    bl_options = {"INTERNAL"}

    path: bpy.props.StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def execute(self, context: Any) -> set[str]:
        return set(bpy.ops.wm.path_open(filepath=self.path))


_CLASSES = (
    IDTO3D_OT_install,
    IDTO3D_OT_cancel_install,
    IDTO3D_OT_remove_backend,
    IDTO3D_OT_check_backend,
    IDTO3D_OT_allow_online,
    IDTO3D_OT_open_log,
)
register, unregister = bpy.utils.register_classes_factory(_CLASSES)
