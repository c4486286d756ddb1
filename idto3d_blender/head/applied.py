# SPDX-License-Identifier: GPL-3.0-or-later
"""Place, turn or scale of a head that somebody has applied to its mesh, or an origin set elsewhere: rigs, takes and
photos know the head as it was made. Taken back off the mesh, the object has them, and nothing moves that is seen."""

from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from . import mesh_data, naming
from .anchors import ANCHORS, anchors, moved

TOLD = "What was applied to the mesh of {} is the object's again"


def note(obj: Any) -> None:
    """A head's mesh lies as it is made."""
    obj.data[ANCHORS] = _anchors(obj)


def matrix_of(obj: Any) -> Matrix | None:
    """What was applied to a head's mesh; None where nothing was, or where it cannot be told."""
    noted = obj.data.get(ANCHORS)
    if noted is None:
        return None
    now = _anchors(obj)
    parts = [part for part in now if part in noted]
    points = [np.array([list(given[part]) for part in parts]).reshape(-1, 3) for given in (noted, now)]
    found = moved(*points)
    return None if found is None else Matrix(found.tolist())


def take_back(obj: Any) -> bool:
    """Let a head's object have what was applied to its mesh; whether there was any."""
    matrix = matrix_of(obj) if obj.data.library is None and not naming.shares_mesh(obj) else None
    if matrix is None:
        return False
    back = matrix.inverted()
    obj.data.transform(back, shape_keys=True)
    obj.data.update()
    for child in obj.children:
        if child.parent_type == "OBJECT":
            child.matrix_parent_inverse = back @ child.matrix_parent_inverse
    obj.matrix_basis = obj.matrix_basis @ matrix
    bpy.context.view_layer.update()
    return True


def _anchors(obj: Any) -> dict[str, list[float]]:
    return anchors(mesh_data.places(obj.data.shape_keys.reference_key), mesh_data.members(obj))
