# SPDX-License-Identifier: GPL-3.0-or-later
"""What is drawn over the photo: the outlines of the head's features, handles on them, and the pins."""

import math
from collections.abc import Sequence
from typing import Any

import bpy
import gpu
import numpy as np
from bpy_extras.view3d_utils import location_3d_to_region_2d
from gpu_extras.batch import batch_for_shader
from numpy.typing import NDArray

from . import scene as stage
from . import session

LINE, HANDLE, PIN, OFF = (1.0, 0.69, 0.25, 0.75), (1.0, 1.0, 1.0, 0.9), (0.2, 0.85, 0.35, 1.0), (1.0, 0.25, 0.2, 1.0)
RIM = (0.0, 0.0, 0.0, 0.8)
RADIUS, PIN_RADIUS, REACH = 2.5, 5.0, 12.0  # pixels at 1x
_CIRCLE = [(math.cos(a), math.sin(a)) for a in np.linspace(0, 2 * math.pi, 12, endpoint=False)]

_handle: Any = None


class Frame:
    """Where a photo lies in a region: pixels of the one to pixels of the other."""

    def __init__(self, region: Any, space: Any, scene: Any) -> None:
        """Raises ValueError where the region does not look through a photo's camera."""
        camera = space.camera if space.use_local_camera else scene.camera
        view = space.region_3d
        if view.view_perspective != "CAMERA" or camera is None or stage.KEY not in camera:
            raise ValueError("no photo")
        corners = [camera.matrix_world @ corner for corner in camera.data.view_frame(scene=scene)]
        flat = [location_3d_to_region_2d(region, view, corner) for corner in corners]
        if None in flat:
            raise ValueError("no photo")
        # Top right, bottom right, bottom left, top left.
        self.low, self.high = np.array(flat[2]), np.array(flat[0])
        self.photo = int(camera[stage.KEY])
        self.pinhole, (self.width, self.height) = stage.pinhole_of(camera)

    def to_region(self, pixel: NDArray[np.floating]) -> NDArray[np.floating]:
        """(...,2)"""
        share = (np.asarray(pixel) + 0.5) / [self.width, self.height]
        return self.low + (self.high - self.low) * (share * [1, -1] + [0, 1])

    def to_photo(self, place: Sequence[float] | NDArray[np.floating]) -> tuple[float, float]:
        """(2,)"""
        share = (np.array(place) - self.low) / (self.high - self.low)
        x, y = (share * [1, -1] + [0, 1]) * [self.width, self.height] - 0.5
        return float(x), float(y)


def places(obj: Any, corners: NDArray[np.integer], weights: NDArray[np.floating]) -> NDArray[np.floating]:
    """(N,3) points of the head as in the photo, bundle's frame. Reads only the vertices that are asked for."""
    key = obj.data.shape_keys.key_blocks[f"{stage.POSE}{obj.idto3d_match.photo + 1}"]
    data = key.points
    there = np.array([[data[i].co for i in triangle] for triangle in np.asarray(corners).tolist()], np.float64)
    return np.einsum("njc,nj->nc", there.reshape(-1, 3, 3), weights) + stage.origin_of(obj)


def draw() -> None:
    """The draw handler of 3D viewports."""
    context = bpy.context
    match = session.of(context.scene)
    obj = stage.matched(context.scene)
    if match is None or match.corners is None or match.weights is None or context.region is None:
        return
    if not stage.has_pose(obj):
        return
    try:
        frame = Frame(context.region, context.space_data, context.scene)
    except ValueError:
        return
    if frame.photo != obj.idto3d_match.photo:
        return
    scale = context.preferences.system.ui_scale
    at = frame.to_region(frame.pinhole.project(places(obj, match.corners, match.weights))[0])
    gpu.state.blend_set("ALPHA")
    for outline in match.outlines:
        rows = [*outline["handles"], *(outline["handles"][:1] if outline["closed"] else [])]
        _line(at[rows], LINE)
    _dots(at, RADIUS * scale, HANDLE)
    _pins(frame, obj, match, scale)
    gpu.state.blend_set("NONE")


def _pins(frame: Frame, obj: Any, match: session.Match, scale: float) -> None:
    """Pins where they are wanted, with a line to where the head has them, should it not be the same."""
    pins = [session.as_pin(pin) for pin in obj.idto3d_match.pins]
    held = match.drag
    if held is not None:
        number, pin = held
        pins[number:] = [pin, *pins[number + 1 :]]
    own = [(n, pin) for n, pin in enumerate(pins) if pin["photo"] == frame.photo]
    if not own:
        return
    corners, weights, pixels = (np.array([pin[name] for _, pin in own]) for name in ("corners", "weights", "pixel"))
    there, goal = frame.to_region(frame.pinhole.project(places(obj, corners, weights))[0]), frame.to_region(pixels)
    for (number, _), a, b in zip(own, there, goal, strict=True):
        wrong = held is not None and number == held[0] and match.problem is not None
        if np.linalg.norm(a - b) > 2:
            _line(np.stack([a, b]), OFF)
        _dots(b[None], (PIN_RADIUS + 1.5) * scale, RIM)
        _dots(b[None], PIN_RADIUS * scale, OFF if wrong else PIN)


def _line(points: NDArray[np.floating], colour: tuple[float, ...]) -> None:
    shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
    batch = batch_for_shader(shader, "LINE_STRIP", {"pos": [(*p, 0.0) for p in points.tolist()]})
    shader.bind()
    shader.uniform_float("viewportSize", gpu.state.viewport_get()[2:])
    shader.uniform_float("lineWidth", 1.5)
    shader.uniform_float("color", colour)
    batch.draw(shader)


def _dots(points: NDArray[np.floating], radius: float, colour: tuple[float, ...]) -> None:
    """Filled circles as triangles: not every backend of the GPU draws points of a size."""
    positions: list[tuple[float, float]] = []
    indices: list[tuple[int, int, int]] = []
    for x, y in points.tolist():
        first = len(positions)
        positions += [(x + radius * c, y + radius * s) for c, s in _CIRCLE]
        indices += [(first, first + k, first + k + 1) for k in range(1, len(_CIRCLE) - 1)]
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    batch = batch_for_shader(shader, "TRIS", {"pos": [(*p, 0.0) for p in positions]}, indices=indices)
    shader.bind()
    shader.uniform_float("color", colour)
    batch.draw(shader)


def register() -> None:
    global _handle
    if not bpy.app.background:
        _handle = bpy.types.SpaceView3D.draw_handler_add(draw, (), "WINDOW", "POST_PIXEL")


def unregister() -> None:
    global _handle
    if _handle is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
    _handle = None
