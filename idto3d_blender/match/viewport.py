# SPDX-License-Identifier: GPL-3.0-or-later
"""The viewport that looks through a photo's camera, and what it looked at before."""

from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from . import scene as stage
from .overlay import Frame

TOOL = "idto3d.pins"
FACE = 0.6  # of the viewport's height
_before: dict[int, dict[str, Any]] = {}
"""What each viewport that was entered looked at, by its address. An undo that takes the photo's camera away lets them
look through the scene's own."""
_tools: dict[str, str] = {}
"""The tool that each workspace had."""


def enter(context: Any, camera: Any, face: NDArray[np.floating]) -> None:
    """Look through a photo's camera in the viewport of the context, at its face (K,2) in the photo's pixels, with the
    tool for pins."""
    space = context.space_data
    if space is None or space.type != "VIEW_3D" or camera is None:
        return
    view = space.region_3d
    tool = context.workspace.tools.from_space_view3d_mode("OBJECT", create=False)
    if tool is not None and tool.idname != TOOL:
        _tools[context.workspace.name] = tool.idname
    if space.as_pointer() not in _before:
        _before[space.as_pointer()] = {
            "perspective": view.view_perspective,
            "matrix": view.view_matrix.copy(),
            "distance": view.view_distance,
            "local": space.use_local_camera,
            "camera": space.camera.name if space.camera else "",
            "extras": space.overlay.show_extras,
            "outline": space.overlay.show_outline_selected,
        }
    space.use_local_camera = True
    space.camera = camera
    view.view_perspective = "CAMERA"
    space.overlay.show_extras = space.overlay.show_outline_selected = False
    bpy.ops.wm.tool_set_by_id(name=TOOL)
    region = next((r for r in context.area.regions if r.type == "WINDOW"), None)
    if region is not None:
        _look_at_face(region, space, context.scene, face)
    redraw()


def _look_at_face(region: Any, space: Any, scene: Any, face: NDArray[np.floating]) -> None:
    """Zoom and shift a camera's view to where the photo has the face; face (K,2): pixels of the photo."""
    view = space.region_3d
    view.view_camera_zoom, view.view_camera_offset = 0.0, (0.0, 0.0)
    middle = (face.min(0) + face.max(0)) / 2

    def shown() -> tuple[NDArray[np.floating], float]:
        view.update()
        at = Frame(region, space, scene).to_region(face)
        return Frame(region, space, scene).to_region(middle), float(np.ptp(at[:, 1]))

    # A zoom of z magnifies as (sqrt(2) + z / 50)^2 (BKE_screen_view3d_zoom_to_fac).
    wanted = FACE * region.height / max(1.0, shown()[1])
    view.view_camera_zoom = float(np.clip(50 * (np.sqrt(2 * wanted) - np.sqrt(2)), -30, 600))
    start, _ = shown()
    view.view_camera_offset = (0.1, 0.1)
    step = (shown()[0] - start) / 0.1
    goal = np.array([region.width, region.height]) / 2
    view.view_camera_offset = tuple(np.clip((goal - start) / np.where(step == 0, 1, step), -1, 1).tolist())
    view.update()


def leave() -> None:
    """Give viewports back what they showed before, and the tool, also in workspaces that are not shown now."""
    for space in _ours():
        before = _before.get(space.as_pointer(), {})
        space.use_local_camera = before.get("local", False)
        space.camera = bpy.data.objects.get(before.get("camera", "")) or space.camera
        view = space.region_3d
        perspective = before.get("perspective", "PERSP")
        view.view_perspective = "PERSP" if perspective == "CAMERA" else perspective
        if before:
            view.view_distance = before["distance"]
            view.view_matrix = before["matrix"]
        if perspective == "CAMERA" and space.camera is not None and stage.KEY not in space.camera:
            view.view_perspective = "CAMERA"
        space.overlay.show_extras = before.get("extras", True)
        space.overlay.show_outline_selected = before.get("outline", True)
    for workspace in bpy.data.workspaces:
        tool = workspace.tools.from_space_view3d_mode("OBJECT", create=False)
        if tool is not None and tool.idname == TOOL:
            with bpy.context.temp_override(workspace=workspace):
                name = _tools.get(workspace.name, "builtin.select_box")
                bpy.ops.wm.tool_set_by_id(name=name, space_type="VIEW_3D")
    forget()
    redraw()


def entered() -> bool:
    """Whether a viewport looks through a photo's camera since `enter`."""
    return bool(_before)


def forget() -> None:
    """Another file was loaded: what its viewports looked at before is not known."""
    _before.clear()
    _tools.clear()


def _ours() -> Iterator[Any]:
    """Viewports that look through a photo's camera, or did before it was removed."""
    for screen in bpy.data.screens:
        for area in screen.areas:
            if area.type == "VIEW_3D":
                space = area.spaces.active
                gone = space.use_local_camera and space.camera is None
                if gone or space.as_pointer() in _before or (space.camera is not None and stage.KEY in space.camera):
                    yield space


def redraw() -> None:
    """Have all viewports drawn."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()
