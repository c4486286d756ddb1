# SPDX-License-Identifier: GPL-3.0-or-later
"""Frees graphics memory that Blender itself can do without for a while.

The program that makes heads holds nothing of it between two of them.
"""

import bpy


def free() -> int:
    """Let go of it; returns how many viewports were set to Solid."""
    viewports = 0
    for screen in bpy.data.screens:
        for area in screen.areas:
            if area.type == "VIEW_3D" and area.spaces.active.shading.type in ("MATERIAL", "RENDERED"):
                area.spaces.active.shading.type = "SOLID"
                viewports += 1
    for image in bpy.data.images:
        image.gl_free()
    for scene in bpy.data.scenes:
        if scene.render.use_persistent_data:
            # Switching it off is what lets go of the last render's data.
            scene.render.use_persistent_data = False
            scene.render.use_persistent_data = True
    return viewports
