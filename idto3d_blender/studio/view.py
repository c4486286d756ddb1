# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the viewports look. A view is the user's own: it is moved for a new head that it would not show, and then only
one of them, and turned only where it would show the back of the head."""

import math
from typing import Any

import bpy
from mathutils import Vector

from .. import CATEGORY
from ..head import room
from . import stage

# Blender's viewport shows, at a lens of 50 mm, so much of the world along its longer side at distance 1.
_FIELD = 1.44
_FIELD_LENS = 50.0
# Height of the head in a viewport that looks at it; what counts as too small or too large to be seen: shares of the
# viewport's height.
_HEIGHT, _SMALLEST, _LARGEST = 0.5, 0.1, 2.0
# Degrees: a face that is turned away farther than this is turned to us, to one of these places (azimuth), the first
# that nothing stands in front of.
_TURNED = 50.0
_PLACES = (30.0, -30.0, 0.0)
_ELEVATION = 10.0


def bring_into_sight(obj: Any) -> bool:
    """Move a viewport to ``obj`` if none shows it. True when one was moved."""
    spaces = _viewports(obj)
    if not spaces or any(shows(area, space, obj) for area, space in spaces):
        return False
    area, space = max(spaces, key=lambda pair: (_shows_our_tab(pair[0]), pair[0].width * pair[0].height))
    return look_at(area, space, obj)


def look_at(area: Any, space: Any, obj: Any) -> bool:
    """Move a viewport so that ``obj`` fills a good part of it, face to us. False when it is bound to something else."""
    view = space.region_3d
    if view is None or view.view_perspective == "CAMERA" or space.lock_object is not None or space.lock_cursor:
        return False
    low, high = room.box(obj)
    middle = Vector((low + high) / 2)
    width, height = _size(area)
    share = _HEIGHT * height / max(width, height)
    distance = float((high - low).max()) / (share * _FIELD * _FIELD_LENS / space.lens)
    if not (view.lock_rotation or view.is_orthographic_side_view):
        _turn(view, obj, middle, distance)
    view.view_location = middle
    view.view_distance = distance
    return True


def shows(area: Any, space: Any, obj: Any) -> bool:
    """``obj`` is in the middle part of the viewport, neither tiny nor all over it, and nothing stands in front."""
    view = space.region_3d
    if view.view_perspective == "CAMERA":
        return True  # The user films something: not to be disturbed.
    low, high = room.box(obj)
    middle = Vector((low + high) / 2)
    eye = view.view_location + view.view_rotation @ Vector((0.0, 0.0, view.view_distance))
    seen = view.view_rotation.inverted() @ (middle - eye)
    depth = -seen.z if view.view_perspective == "PERSP" else view.view_distance
    if depth <= 0.0:
        return False
    width, height = _size(area)
    pixels = max(width, height) / (depth * _FIELD * _FIELD_LENS / space.lens)
    large = float(high[2] - low[2]) * pixels / height
    aside = abs(seen.x) * pixels > 0.45 * width - _sidebar(area) * (seen.x > 0)
    if aside or abs(seen.y) * pixels > 0.45 * height or not _SMALLEST < large < _LARGEST:
        return False
    return not room.in_between(eye, middle, *room.boxes(bpy.context.scene, bpy.context.view_layer))


def _turn(view: Any, obj: Any, middle: Vector, distance: float) -> None:
    """Turn the view, where it shows less than half of the face."""
    to_eye = view.view_rotation @ Vector((0.0, 0.0, 1.0))
    facing = math.degrees(room.placed(obj).to_euler().z)
    azimuth = math.degrees(math.atan2(to_eye.x, -to_eye.y)) - facing
    azimuth = (azimuth + 180.0) % 360.0 - 180.0
    if abs(azimuth) <= _TURNED and abs(math.degrees(math.asin(max(-1.0, min(1.0, to_eye.z))))) <= _TURNED:
        return
    lows, highs = room.boxes(bpy.context.scene, bpy.context.view_layer)
    side = math.copysign(1.0, azimuth)
    ways = [stage.direction(side * place + facing, _ELEVATION) for place in _PLACES]
    free = (way for way in ways if not room.in_between(middle + way * distance, middle, lows, highs))
    view.view_rotation = next(free, ways[0]).to_track_quat("Z", "Y")


def _viewports(obj: Any) -> list[tuple[Any, Any]]:
    """(area, space) of the viewports in windows that could show the object: in local view they show other things."""
    return [
        (area, area.spaces.active)
        for window in bpy.context.window_manager.windows
        if obj.name in window.view_layer.objects
        for area in window.screen.areas
        if area.type == "VIEW_3D" and area.spaces.active.region_3d is not None and area.spaces.active.local_view is None
    ]


def _size(area: Any) -> tuple[int, int]:
    region = next(region for region in area.regions if region.type == "WINDOW")
    # Regions have no size before they are first drawn, and in background mode.
    return max(region.width, 1), max(region.height, 1)


def _sidebar(area: Any) -> float:
    """Pixels of the viewport that its sidebar covers."""
    if not (area.spaces.active.show_region_ui and bpy.context.preferences.system.use_region_overlap):
        return 0.0
    return float(next(region.width for region in area.regions if region.type == "UI"))


def _shows_our_tab(area: Any) -> bool:
    if not area.spaces.active.show_region_ui:
        return False
    sidebar = next((region for region in area.regions if region.type == "UI"), None)
    return getattr(sidebar, "active_panel_category", "") == CATEGORY
