# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that stay in the file, out of sight."""

from typing import Any


def hide(obj: Any) -> None:
    """In renders and in all view layers that have it: an excluded collection is in none."""
    obj.hide_render = True
    for scene in obj.users_scene:
        for layer in scene.view_layers:
            obj.hide_get(view_layer=layer)  # brings the layer's list up to date
            if obj in layer.objects.values():
                obj.hide_set(True, view_layer=layer)
