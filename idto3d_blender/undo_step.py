# SPDX-License-Identifier: GPL-3.0-or-later
"""A step of undo for what a timer changes, which no operator does."""

import bpy


def push(message: str) -> None:
    """Put in a step, unless somebody is in a mode or a modal operator, whose own steps it would come between."""
    windows = bpy.context.window_manager.windows
    if not bpy.app.background and bpy.context.mode == "OBJECT" and not any(w.modal_operators for w in windows):
        bpy.ops.ed.undo_push(message=message)
