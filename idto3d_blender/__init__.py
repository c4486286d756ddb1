# SPDX-License-Identifier: GPL-3.0-or-later
"""ID-to-3D's Blender side: photos become a head with shape keys and a material, made by a backend process.

Nothing here imports bpy before it is needed, so that ``idto3d_blender.head.bundle`` also works in a plain Python.
"""

from typing import Any

ADDON = __package__ or ""
"""What Blender knows the extension by: the name of its folder, with that of the repository before it."""


CATEGORY = "ID-to-3D"
"""The sidebar's tab."""


def _modules() -> tuple[Any, ...]:
    """What Blender gets to know, in this order, and forgets in the opposite one."""
    from . import preferences, properties, thumbnails
    from .capture import operators_capture, takes
    from .capture import properties as capture_properties
    from .head import (
        operators_blend,
        operators_density,
        operators_export,
        operators_film,
        operators_head,
        operators_import,
        operators_pose,
        operators_rig,
        operators_separate,
        operators_wrap,
        poses,
    )
    from .jobs import driver, file_events, operators_job, operators_setup
    from .match import operators_match, operators_pins, overlay, pump
    from .match import properties as match_properties
    from .ui import (
        operators_photos,
        operators_remedy,
        operators_view,
        panel_blend,
        panel_capture,
        panel_export,
        panel_generate,
        panel_head,
        panel_jobs,
        panel_match,
        panel_mesh,
        panel_rig,
        panel_setup,
    )

    return (
        preferences,
        properties,
        thumbnails,
        poses,
        operators_photos,
        operators_setup,
        operators_job,
        operators_remedy,
        operators_head,
        operators_film,
        operators_pose,
        operators_import,
        operators_export,
        operators_rig,
        operators_blend,
        operators_density,
        operators_wrap,
        operators_separate,
        match_properties,
        operators_match,
        operators_pins,
        overlay,
        pump,
        capture_properties,
        takes,
        operators_capture,
        operators_view,
        panel_setup,
        panel_generate,
        panel_jobs,
        panel_head,
        panel_match,
        panel_rig,
        panel_blend,
        panel_mesh,
        panel_capture,
        panel_export,
        driver,
        file_events,
    )


def register() -> None:
    """Called by Blender when the extension is enabled."""
    for module in _modules():
        module.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled: timers, handlers and processes end."""
    for module in reversed(_modules()):
        module.unregister()
