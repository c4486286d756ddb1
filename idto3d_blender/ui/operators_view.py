# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to viewports on request: look at a head, show its colours, make room on the GPU."""

from collections.abc import Iterator
from typing import Any

import bpy

from ..jobs import graphics_memory, session
from ..polls import ExplainedPoll
from ..studio import live, view, viewport_colours


def _viewports(context: Any) -> list[Any]:
    """The 3D viewport in which a button was pressed; from elsewhere, as a script, all that are in sight."""
    if context.area is not None and context.area.type == "VIEW_3D":
        return [context.area]
    windows = context.window_manager.windows
    return [area for window in windows for area in window.screen.areas if area.type == "VIEW_3D"]


class IDTO3D_OT_look_at(bpy.types.Operator):
    """Move this viewport to the head, and before its face"""

    bl_idname = "idto3d.look_at"
    bl_label = "Look at It"
    bl_options = {"INTERNAL"}

    job: bpy.props.StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def execute(self, context: Any) -> set[str]:
        obj = live.find(self.job) if self.job else context.object
        if obj is None:
            self.report({"INFO"}, "It is not in this file yet")
            return {"CANCELLED"}
        moved = [view.look_at(area, area.spaces.active, obj) for area in _viewports(context)]
        if not any(moved):
            self.report({"INFO"}, "This viewport looks through a camera or is locked to something")
            return {"CANCELLED"}
        return {"FINISHED"}


class IDTO3D_OT_show_colours(bpy.types.Operator):
    """Show the skin in this viewport's Solid mode (Shading > Color > Texture), or the colours it had before"""

    bl_idname = "idto3d.show_colours"
    bl_label = "Colours in Solid View"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> set[str]:
        areas = _viewports(context)
        if not areas:
            return {"CANCELLED"}
        shown = viewport_colours.shows_pictures(areas[0].spaces.active.shading)
        for area in areas:
            viewport_colours.choose(area.spaces.active, not shown)
        return {"FINISHED"}


class IDTO3D_OT_free_gpu_memory(ExplainedPoll, bpy.types.Operator):
    """Make room on the graphics card: Material Preview and Rendered viewports go to Solid, and pictures leave its
    memory until they are shown again. Nothing is lost"""

    bl_idname = "idto3d.free_gpu_memory"
    bl_label = "Free GPU Memory"
    bl_options = {"INTERNAL"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        state = session.get()
        if state.status.device == "cpu":
            yield "Heads are made on the processor here: close other programs instead"
        if state.jobs.current is not None:
            yield "A head is being made. What its program holds is free when that ends"

    def execute(self, context: Any) -> set[str]:
        viewports = graphics_memory.free()
        set_to_solid = f", and {viewports} viewport{'s' * (viewports > 1)} set to Solid" if viewports else ""
        self.report({"INFO"}, f"Pictures are let go{set_to_solid}. Now resume the head")
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory(
    (IDTO3D_OT_look_at, IDTO3D_OT_show_colours, IDTO3D_OT_free_gpu_memory)
)
