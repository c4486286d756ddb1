# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands where in a scene, so that a new head stands in nothing and is hidden by nothing.

Read in bulk: a scene may have tens of thousands of objects, and this runs beside the user's work.
"""

from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

# A head with its air around it, from the neck's base on, metres. A ground that it stands on is not in its way.
_HEAD = 0.34
_LOW, _HIGH = np.array((-0.5, -0.5, 0.0)), np.array((0.5, 0.5, 1.0))
_SOLID = ("MESH", "CURVE", "SURFACE", "META", "FONT")
# An object as large as this, metres, is a room or a ground to stand in, not something to step aside for.
_LARGEST = 8.0
_PLACES = 200

Boxes = tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]


def metre(scene: Any) -> float:
    """A metre in units of a scene, as large as which heads are made there."""
    units = scene.unit_settings
    return 1.0 if units.system == "NONE" else float(1.0 / units.scale_length)


def free_spot(scene: Any, layer: Any, placed: Matrix | None = None) -> Vector:
    """The 3D cursor, or the next place along X where a head stands inside of nothing that the view layer shows. placed:
    where a head is already, as large and turned as it is, instead of upright at the cursor and as heads are made."""
    placed = Matrix.Translation(scene.cursor.location) @ Matrix.Scale(metre(scene), 4) if placed is None else placed
    spot, scale = placed.translation.copy(), placed.median_scale
    lows, highs = boxes(scene, layer, scale)
    middle, half = _HEAD * (_LOW + _HIGH) / 2, _HEAD * (_HIGH - _LOW) / 2
    matrix = np.array(placed.to_3x3())
    off, half = matrix @ middle, np.abs(matrix) @ half
    for _ in range(_PLACES):
        low, high = np.array(spot) + off - half, np.array(spot) + off + half
        if not ((low < highs) & (high > lows)).all(axis=1).any():
            break
        spot.x += 2 * half[0]
    return spot


def boxes(scene: Any, layer: Any, scale: float | None = None) -> Boxes:
    """World-space corners, lowest and highest (N,3) each, of the solid objects that a view layer of ``scene`` shows and
    that are no larger than a piece of furniture. scale: of a head there, where it is not as the scene's unit has it."""
    objects = scene.objects
    count = len(objects)
    kinds = np.empty(count, np.int32)
    matrices, corners = np.empty((count, 4, 4), np.float32), np.empty((count, 8, 3), np.float32)
    objects.foreach_get("type", kinds)
    objects.foreach_get("matrix_world", matrices.reshape(-1))
    # Made a moment ago and never evaluated: only its own transform is known.
    new = (matrices == np.eye(4, dtype=np.float32)).all(axis=(1, 2))
    if new.any():
        own = np.empty_like(matrices)
        objects.foreach_get("matrix_basis", own.reshape(-1))
        matrices[new] = own[new]
    objects.foreach_get("bound_box", corners.reshape(-1))
    solid = bpy.types.Object.bl_rna.properties["type"].enum_items
    # There is no reading this in bulk; half a microsecond each.
    shown = np.fromiter((obj.visible_get(view_layer=layer) for obj in objects), bool, count)
    keep = np.isin(kinds, [solid[kind].value for kind in _SOLID]) & shown
    # Of the eight corners the first is the lowest, the seventh the highest. Blender hands matrices out by columns.
    low, high = corners[keep, 0], corners[keep, 6]
    axes, places = matrices[keep, :3, :3], matrices[keep, 3, :3]
    middles = np.einsum("na,nab->nb", (low + high) / 2, axes) + places
    halves = np.einsum("na,nab->nb", (high - low) / 2, np.abs(axes))
    lows, highs = middles - halves, middles + halves
    small = (highs - lows).max(axis=1) < _LARGEST * (metre(scene) if scale is None else scale)
    return lows[small], highs[small]


def placed(obj: Any) -> Matrix:
    """Where an object stands: as it was set, which its matrix_world is only after the next evaluation, unless others
    have a say in it."""
    held = obj.parent is not None or obj.rigid_body is not None or any(not one.mute for one in obj.constraints)
    return obj.matrix_world if held else obj.matrix_basis


def box(obj: Any) -> Boxes:
    """World-space corners (3,) and (3,) of one object."""
    matrix = placed(obj)
    corners = np.array([matrix @ Vector(corner) for corner in obj.bound_box])
    return corners.min(axis=0), corners.max(axis=0)


def in_between(start: Vector, end: Vector, lows: NDArray[Any], highs: NDArray[Any]) -> bool:
    """A box stands on the straight way from ``start`` to ``end``; one that holds ``end`` does not count."""
    begin, stop = np.array(start, dtype=np.float64), np.array(end, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        near, far = (lows - begin) / (stop - begin), (highs - begin) / (stop - begin)
    # 0 / 0: the way runs in the face of a box.
    enter = np.nan_to_num(np.minimum(near, far), nan=0.0).max(axis=1)
    leave = np.nan_to_num(np.maximum(near, far), nan=1.0).min(axis=1)
    around_end = ((lows <= stop) & (stop <= highs)).all(axis=1)
    return bool(((enter < leave) & (enter < 1.0) & (leave > 0.0) & ~around_end).any())
