# SPDX-License-Identifier: GPL-3.0-or-later
"""A head bundle becomes one mesh object: UV, smooth shading, a shape key for each expression, a material."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import bundle, material

# Marks an object as one of ours, and holds where the head came from.
PROPERTY = "idto3d"


def import_head(folder: str | Path, collection: Any) -> Any:
    """Import the bundle in ``folder`` and link the new object to ``collection`` (a bpy Collection).

    Metres, Z up, facing -Y, as in the bundle; all keys 0, which is the neutral pose. Images are packed.
    Returns the object; raises bundle.BundleError, with nothing left behind in the file.
    """
    head = bundle.read(folder)
    before = set(_data_blocks())
    try:
        mesh = bpy.data.meshes.new(head.name)
        _fill_mesh(mesh, head)
        obj = bpy.data.objects.new(head.name, mesh)
        _add_shape_keys(obj, head)
        mesh.materials.append(material.skin_material(head, mesh.shape_keys))
    except Exception:
        bpy.data.batch_remove([block for block in _data_blocks() if block not in before])
        raise
    # As text: a custom property holds no integer above 32 bits, as a seed may be.
    obj[PROPERTY] = {key: str(head.info.get(key, "")) for key in ("generator", "pack", "seed", "licence", "consent")}
    collection.objects.link(obj)
    return obj


def is_head(obj: Any) -> bool:
    """True for an object that was imported from a bundle and still has its shape keys."""
    return obj is not None and obj.type == "MESH" and PROPERTY in obj and obj.data.shape_keys is not None


def _data_blocks() -> list[Any]:
    data = bpy.data
    return [block for blocks in (data.objects, data.meshes, data.materials, data.images) for block in blocks]


def _fill_mesh(mesh: Any, head: bundle.Head) -> None:
    count = len(head.faces)
    mesh.vertices.add(len(head.vertices))
    mesh.vertices.foreach_set("co", head.vertices.ravel())
    mesh.loops.add(3 * count)
    mesh.loops.foreach_set("vertex_index", head.faces.ravel())
    mesh.polygons.add(count)
    mesh.polygons.foreach_set("loop_start", np.arange(0, 3 * count, 3, dtype=np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(count, dtype=bool))
    layer = mesh.uv_layers.new(name="UVMap")
    layer.uv.foreach_set("vector", head.uv[head.faces_uv].ravel())
    mesh.update(calc_edges=True)
    # validate() returns True when it had to drop something, for example a face that is there twice.
    if mesh.validate():
        raise bundle.BundleError("E_BUNDLE_INDEX", "The mesh has faces that Blender cannot hold.")


def _add_shape_keys(obj: Any, head: bundle.Head) -> None:
    obj.shape_key_add(name="Basis", from_mix=False)
    for name, offset in zip(head.expressions, head.offsets, strict=True):
        key = obj.shape_key_add(name=name, from_mix=False)
        key.data.foreach_set("co", (head.vertices + offset).ravel())
        key.slider_min = 0.0
        key.slider_max = 1.0
        # A new key has the value 1.0 from Blender 5.0 on.
        key.value = 0.0
