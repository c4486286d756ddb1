# SPDX-License-Identifier: GPL-3.0-or-later
"""ID-to-3D's Blender side: a bundle made by the generator becomes a mesh with shape keys and a material.

Nothing here imports bpy before it is needed, so that ``idto3d_blender.bundle`` also works in a plain Python.
"""


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from . import operators, panel

    operators.register()
    panel.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled."""
    from . import operators, panel

    panel.unregister()
    operators.unregister()
