# SPDX-License-Identifier: GPL-3.0-or-later
"""The box that takes a head to other programs."""

from typing import Any

import bpy

from ..head import export
from . import panel_parts


class IDTO3D_PT_export(panel_parts.HeadBox, bpy.types.Panel):
    """Take the head to a game engine or another program"""

    bl_label = "Export"
    bl_order = 6
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        grid = self.layout.grid_flow(columns=2, even_columns=True, align=True)
        for preset in export.PRESETS:
            row = grid.row(align=True)
            row.enabled = not export.unavailable(preset)
            row.operator("idto3d.export", text=f"{preset.title}...").preset = preset.name
        missing = {preset.title: export.unavailable(preset) for preset in export.PRESETS}
        for title, why in missing.items():
            if why:
                panel_parts.text(self.layout, context, f"{title}: {why[:1].lower()}{why[1:]}", "INFO")
        for line in export.changes(context.object):
            panel_parts.text(self.layout, context, line, "INFO")


register, unregister = bpy.utils.register_classes_factory((IDTO3D_PT_export,))
