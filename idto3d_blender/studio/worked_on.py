# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody does to the mesh of a head that is still being made. What was applied to it as a whole, by Ctrl+A, is
its object's again, so that the next step of the head comes to stand where it stood. Any other work, paint
too, stops the previews, and stays in the file beside the finished head."""

from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..head import anchors, applied, import_head, mesh_data, naming, poses
from ..head.hidden import hide

_WRITTEN = ".idto3d_written"  # attribute, hidden by its name: where each vertex was put
_LAYERS = "idto3d_layers"  # of the mesh: what else there was
_NEAR = 2e-6  # metres, and of a larger head's size: by how much numbers differ after Ctrl+A


def note(obj: Any) -> None:
    """The mesh lies as we have put it."""
    mesh = obj.data
    attribute = mesh.attributes.get(_WRITTEN) or mesh.attributes.new(_WRITTEN, "FLOAT_VECTOR", "POINT")
    attribute.data.foreach_set("vector", _places(mesh).ravel())
    mesh[_LAYERS] = _besides(obj)


def forget(obj: Any) -> None:
    """The head is finished, or used as it is."""
    attribute = obj.data.attributes.get(_WRITTEN)
    if attribute is not None:
        obj.data.attributes.remove(attribute)
    obj.data.pop(_LAYERS, None)


def is_untouched(obj: Any) -> bool:
    """The mesh is as we have put it, once the object has got what was applied to it."""
    mesh = obj.data
    attribute = mesh.attributes.get(_WRITTEN)
    if attribute is None:
        return _LAYERS not in mesh  # of a release that noted nothing
    if mesh.get(_LAYERS) != _besides(obj):
        return False
    now, made = _places(mesh), np.empty((len(mesh.vertices), 3), np.float32)
    attribute.data.foreach_get("vector", made.ravel())
    if np.abs(now - made).max() <= _NEAR:
        return True
    matrix = anchors.similarity(made.astype(float), now.astype(float))
    if matrix is None or not _is_near(made @ matrix[:3, :3].T + matrix[:3, 3], now):
        return False
    matrix = Matrix(matrix.tolist())
    if applied.is_stretched(obj, matrix) or naming.shares_mesh(obj):
        return False
    applied.give(obj, matrix)
    note(obj)
    bpy.context.view_layer.update()
    return True


def keep(obj: Any) -> str:
    """The mesh with somebody's work goes to an object of its own, beside the head's, hidden. Returns its name."""
    kept = obj.copy()
    kept.name = kept.data.name = f"{obj.name} edited"
    for name in (import_head.JOB, import_head.PROPERTY, poses.PROPERTY):
        kept.pop(name, None)
    forget(kept)
    naming.collection_of(obj).objects.link(kept)
    hide(kept)
    return str(kept.name)


def _besides(obj: Any) -> str:
    """What else there is, as text to compare. Who paints on the mesh makes an attribute, and a picture that was painted
    on is packed anew when it is saved."""
    attributes = sorted(one.name for one in obj.data.attributes if not one.name.startswith("."))
    packed = [(one.packed_file.size if one.packed_file else 0, one.is_dirty) for one in naming.images(obj)]
    return f"{mesh_data.layers(obj)} {attributes} {sorted(packed)}"


def _places(mesh: Any) -> Any:
    return mesh_data.vertices(mesh) if mesh.shape_keys is None else mesh_data.places(mesh.shape_keys.reference_key)


def _is_near(places: Any, now: Any) -> bool:
    return bool(np.abs(places - now).max() <= _NEAR * max(1.0, np.abs(now).max()))
