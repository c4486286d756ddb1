# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh's data as arrays."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import naming
from .import_head import PROPERTY
from .stepwise import Steps

Int32s = NDArray[np.int32]
MOVED = "idto3d_moved"
"""Attribute of a mesh: how pins have moved it, metres."""
_ROWS = 1000  # vertices whose weights are read at a time


def places(key: Any) -> NDArray[np.float32]:
    """(V,3) where a shape key puts the vertices."""
    out = np.empty((len(key.points), 3), np.float32)
    key.points.foreach_get("co", out.reshape(-1))
    return out


def offsets(obj: Any, names: Collection[str]) -> Steps[dict[str, NDArray[np.float32]]]:
    """Steps to shape key -> (V,3) how far it moves each vertex of an object from the key that it is relative to, as its
    mask lets it."""
    keys = [key for key in obj.data.shape_keys.key_blocks if key.name in names]
    of = {name: obj.vertex_groups[name].index for key in keys if (name := key.vertex_group) in obj.vertex_groups}
    read = (yield from weights(obj)) if of else np.zeros((0, 3), np.float32)
    masks = {name: np.zeros((len(obj.data.vertices), 1), np.float32) for name in of}
    for name, index in of.items():
        own = read[read[:, 1] == index]
        masks[name][own[:, 0].astype(int), 0] = own[:, 2]
        yield 0.0
    out = {}
    for key in keys:
        moved = places(key) - places(key.relative_key)
        out[key.name] = moved * masks[key.vertex_group] if key.vertex_group in masks else moved
        yield len(out) / len(keys)
    return out


def vertices(mesh: Any) -> NDArray[np.float32]:
    """(V,3) of a mesh as it is stored."""
    out = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.attributes["position"].data.foreach_get("vector", out.reshape(-1))
    return out


def corners(mesh: Any) -> tuple[Int32s, Int32s]:
    """(C,) the vertex of each corner, one face after the other, and (F,) how many corners each face has."""
    vertex, count = np.empty(len(mesh.loops), np.int32), np.empty(len(mesh.polygons), np.int32)
    # The attribute is a plain copy, as quick as a slider wants it.
    mesh.attributes[".corner_vert"].data.foreach_get("value", vertex)
    mesh.polygons.foreach_get("loop_total", count)
    return vertex, count


def weights(obj: Any) -> Steps[NDArray[np.float32]]:
    """Steps to (N,3) all weights that vertices have: vertex, group, weight. Blender gives them one by one only."""
    pieces, vertices = [np.zeros((0, 3), np.float32)], obj.data.vertices
    for start in range(0, len(vertices), _ROWS):
        own = enumerate(vertices[start : start + _ROWS], start)
        rows = [(number, group.group, group.weight) for number, vertex in own for group in vertex.groups]
        pieces.append(np.array(rows, np.float32).reshape(-1, 3))
        yield 0.0
    return np.concatenate(pieces)


def moved(mesh: Any) -> NDArray[np.float32]:
    """(V,3) how pins have moved the neutral head so far, metres."""
    layer, out = mesh.attributes.get(MOVED), np.zeros((len(mesh.vertices), 3), np.float32)
    if layer is not None:
        layer.data.foreach_get("vector", out.reshape(-1))
    return out


def uv_layer(mesh: Any) -> Any:
    """The layer that pictures are shown by, or None: another one may be the active one, which is edited."""
    return next((layer for layer in mesh.uv_layers if layer.active_render), None)


def uv_name(mesh: Any) -> str:
    """Of that layer, empty where there is none."""
    layer = uv_layer(mesh)
    return layer.name if layer is not None else ""


def uv_of(mesh: Any) -> NDArray[np.float32]:
    """(C,2) of each corner, zeros where there is none."""
    out, layer = np.zeros((len(mesh.loops), 2), np.float32), uv_layer(mesh)
    if layer is not None:
        layer.uv.foreach_get("vector", out.reshape(-1))
    return out


def slots(mesh: Any) -> Int32s:
    """(F,) the slot of each face's material."""
    out = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("material_index", out)
    return out


def parts(mesh: Any) -> Int32s:
    """(F,) the part of the head that each face belongs to, see `part_names`; 0 where the mesh does not say."""
    out = np.zeros(len(mesh.polygons), np.int32)
    if "part" in mesh.attributes:
        mesh.attributes["part"].data.foreach_get("value", out)
    return out


def layers(obj: Any) -> str:
    """What an object's mesh has, as text to compare: faces, keys, groups, texture places and materials, which are told
    by their roles, as renaming a head renames them."""
    mesh = obj.data
    keys = mesh.shape_keys.key_blocks.keys() if mesh.shape_keys is not None else []
    materials = [str(material.get(naming.ROLE, "")) if material is not None else "" for material in mesh.materials]
    counts = (len(mesh.vertices), len(mesh.polygons))
    return repr((counts, keys, obj.vertex_groups.keys(), mesh.uv_layers.keys(), materials))


def part_names(obj: Any) -> list[str]:
    """The names of a head's parts by number; one without a name where it does not know."""
    return str(obj[PROPERTY].get("parts", "")).split(",") if PROPERTY in obj else [""]


def members(obj: Any, names: Sequence[str] = ()) -> dict[str, NDArray[np.intp]]:
    """Part -> numbers of its vertices, of the parts that have any. names: of the parts by number, "" for what is not
    asked for; by default the object's own."""
    vertex, count = corners(obj.data)
    of_corner = np.repeat(parts(obj.data), count)
    found = {
        name: np.unique(vertex[of_corner == number])
        for number, name in enumerate(names or part_names(obj))
        if name or not names
    }
    return {name: own.astype(np.intp) for name, own in found.items() if len(own)}
