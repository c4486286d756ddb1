# SPDX-License-Identifier: GPL-3.0-or-later
"""Place, turn or scale of a head that somebody has applied to its mesh, or an origin set elsewhere: rigs, takes and
photos know the head as it was made. Taken back off the mesh, the object has them, and stands where it stood; lengths of
its modifiers count again as they did before."""

from collections.abc import Iterator, Sequence
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from . import mesh_data, naming, separate
from .anchors import ANCHORS, PARTS, anchors, moved
from .import_head import PROPERTY

TOLD = "What was applied to the mesh of {} is the object's again"
STRETCHED = "Something was applied to the mesh of {0}, and {0} is stretched: give it one scale in all directions"
_NEAR = 0.05  # of the scale, metres: by how much the same looks otherwise in another form
_EVEN = 1e-4  # of an object's size: what a place, a turn and a scale do not say of it


def note(obj: Any) -> None:
    """A head's mesh lies as it is made."""
    obj.data[ANCHORS] = _anchors([obj])


def matrix_of(obj: Any) -> Matrix | None:
    """What was applied to a head's mesh; None where nothing was, or where it cannot be told."""
    return _matrix(separate.parts_of(obj))


def made_places(obj: Any) -> NDArray[np.float32]:
    """(V,3) the neutral head as it was made."""
    points, matrix = mesh_data.places(obj.data.shape_keys.reference_key), matrix_of(obj)
    if matrix is None:
        return points
    back = np.array(matrix.inverted(), np.float32)
    return np.asarray(points @ back[:3, :3].T + back[:3, 3], np.float32)


def hindrance(obj: Any) -> str:
    """Why an object cannot have what was applied to its mesh, as a sentence; empty where it can."""
    matrix = matrix_of(obj)
    return STRETCHED.format(obj.name) if matrix is not None and is_stretched(obj, matrix) else ""


def is_stretched(obj: Any, matrix: Matrix) -> bool:
    """With what was applied to its mesh an object would have what no place, turn and scale say."""
    whole = obj.matrix_basis @ matrix
    off = np.abs(np.array(whole) - np.array(Matrix.LocRotScale(*whole.decompose())))
    return bool(off.max() > _EVEN * whole.median_scale)


def give(obj: Any, matrix: Matrix) -> None:
    """Let an object have what was applied to its mesh."""
    back = matrix.inverted()
    obj.data.transform(back, shape_keys=True)
    obj.data.update()
    for child in obj.children:
        if child.parent_type == "OBJECT":
            child.matrix_parent_inverse = back @ child.matrix_parent_inverse
    obj.matrix_basis = obj.matrix_basis @ matrix


def take_back(obj: Any) -> bool:
    """Let a head's object have what was applied to its mesh, and those of its other forms, which take its place, what
    was to theirs. Returns whether the first had any."""
    found, exact = False, _matrix([[*separate.origins(obj)][-1]])
    for pieces in _forms(obj):
        matrix = _matrix(pieces)
        if (
            matrix is not None
            and exact is not None
            and np.abs(np.array(exact) - matrix).max() < _NEAR * exact.median_scale
        ):
            matrix = exact  # of the full head, from which this form was made: thinned eyes lie a little elsewhere
        if matrix is None or any(one.data.library or naming.shares_mesh(one) for one in pieces):
            continue
        found = found or obj in pieces
        for one in pieces:
            give(one, matrix)
    bpy.context.view_layer.update()
    return found


def _forms(obj: Any) -> Iterator[list[Any]]:
    """The pieces of each form of a head; a copy that Blender has made of a form is a head of its own."""
    *_, full = separate.origins(obj)
    own = separate.own_forms(full)
    seen: list[Any] = []
    for form in (obj, full, *own) if obj == full or obj in own else (obj,):
        if form not in seen:
            pieces = separate.parts_of(form)
            seen += pieces
            yield pieces


def _matrix(pieces: Sequence[Any]) -> Matrix | None:
    noted = pieces[0].data.get(ANCHORS)
    if noted is None:
        return None
    now = _anchors(pieces)
    parts = [part for part in now if part in noted]
    points = [np.array([list(given[part]) for part in parts]).reshape(-1, 3) for given in (noted, now)]
    found = moved(*points)
    return None if found is None else Matrix(found.tolist())


def _anchors(pieces: Sequence[Any]) -> dict[str, list[float]]:
    first = next((one for one in pieces if PROPERTY in one), pieces[0])
    names = [name if name in PARTS else "" for name in mesh_data.part_names(first)]
    out: dict[str, list[float]] = {}
    for one in pieces:
        keys = one.data.shape_keys
        points = mesh_data.vertices(one.data) if keys is None else mesh_data.places(keys.reference_key)
        out |= anchors(points, mesh_data.members(one, names))
    return out
