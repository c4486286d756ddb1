# SPDX-License-Identifier: GPL-3.0-or-later
"""A head in half or a quarter of its faces, with all its keys, UV, materials and weights, beside the full one.

What is left of the vertices are vertices of the full head, so that every key is as exact there as it was. The full head
stays as it is, hidden; so one can go back to it at any time.
"""

from __future__ import annotations

from typing import Any

import bmesh
import bpy
import numpy as np
from numpy.typing import NDArray

from . import blend_materials, chords, collapse, naming
from .import_head import PROPERTY
from .net import Closed, Net
from .stepwise import Steps, in_thread, scaled

SHARES = {"HALF": 0.5, "QUARTER": 0.25}
FULL = "FULL"
FROM = "idto3d_full"
DENSITY = "idto3d_density"
_UV_STEPS = 1 << 20


def full_of(obj: Any) -> Any:
    """The full head of which ``obj`` is a thinner one; itself for a full one, or where that one was deleted."""
    return obj.get(FROM) or obj


def density_of(obj: Any) -> str:
    """FULL, HALF or QUARTER."""
    return str(obj.get(DENSITY, FULL))


def change(obj: Any, density: str) -> Steps[Any]:
    """Steps to the head ``obj`` in another density, made or found, shown with the same pose; the one before is
    hidden."""
    full = full_of(obj)
    made = full if density == FULL else _found(full, density)
    if made is None:
        made = yield from _thinner(full, density)
    if made != obj:
        take_pose(made, obj)
        for other, hidden in ((obj, True), (made, False)):
            other.hide_set(hidden)
            other.hide_render = hidden
    return made


def _found(full: Any, density: str) -> Any:
    users = [obj for obj in bpy.data.objects if obj.get(FROM) == full and obj.get(DENSITY) == density]
    return users[0] if users and users[0].users_scene else None


def _thinner(full: Any, density: str) -> Steps[Any]:
    net = net_of(full)
    hair = np.isin(net.group, [number for number, name in enumerate(part_names(full)) if name == "hair"])
    closed = yield from in_thread(_thinned(net, hair, SHARES[density]))
    mesh = full.data.copy()
    _weld(mesh, closed)
    made = full.copy()
    made.data = mesh
    made.name = mesh.name = f"{full.name} {density.lower()}"
    mesh.shape_keys.name = f"{made.name} keys"
    made[FROM], made[DENSITY] = full, density
    naming.collection_of(full).objects.link(made)
    own_drivers(made, full)
    return made


def _thinned(net: Net, hair: NDArray[np.bool_], share: float) -> Steps[Closed]:
    """Which vertices stay for ``share`` of the faces. Quads stay quads; hair, of triangles, is thinned out triangle by
    triangle."""
    loose = hair | (net.faces[:, 3] < 0) & _of_triangles(net)
    vertex, corner = np.arange(len(net.points)), np.arange(net.corners.max() + 1)
    rest: list[tuple[Any, ...]] = []
    for chosen, method, low in ((~loose, chords.thin, 0.0), (loose, collapse.thin, 0.5)):
        own = np.flatnonzero(chosen)
        if not len(own):
            continue
        own_net = Net(net.points, net.faces[own], net.corners[own], net.group[own])
        part = yield from scaled(method(own_net, share), low, low + 0.5)
        vertex = np.where(part.vertex != np.arange(len(vertex)), part.vertex, vertex)
        moved = np.flatnonzero(part.corner != np.arange(len(part.corner)))
        corner[moved] = part.corner[moved]
        rest.append((part.faces, part.corners, own[part.origin]))
    faces, corners, origin = (np.concatenate(arrays) for arrays in zip(*rest, strict=True))
    return Closed(vertex, corner, faces, corners, origin)


def net_of(obj: Any) -> Net:
    """The faces of three and four corners of a mesh in its neutral pose. Faces of more, as a closed neck has one, are
    left out: they lose the corners that their neighbours lose."""
    mesh = obj.data
    flat = np.empty(3 * len(mesh.vertices), np.float32)
    keys = mesh.shape_keys
    if keys is not None:
        keys.key_blocks[0].points.foreach_get("co", flat)
    else:
        mesh.vertices.foreach_get("co", flat)
    starts, totals, slot = (np.empty(len(mesh.polygons), np.int32) for _ in range(3))
    mesh.polygons.foreach_get("loop_start", starts)
    mesh.polygons.foreach_get("loop_total", totals)
    mesh.polygons.foreach_get("material_index", slot)
    part = np.zeros(len(mesh.polygons), np.int32)
    if "part" in mesh.attributes:
        mesh.attributes["part"].data.foreach_get("value", part)
    vertices, places = np.empty(len(mesh.loops), np.int32), corner_numbers(mesh)
    mesh.loops.foreach_get("vertex_index", vertices)
    own = totals <= 4
    index = starts[own][:, None] + np.arange(4)
    index = np.where(np.arange(4) < totals[own][:, None], index, -1)
    faces, corners = (np.where(index >= 0, values[index], -1) for values in (vertices, places))
    return Net(flat.reshape(-1, 3).astype(float), faces, corners, part[own] + len(part_names(obj)) * slot[own])


def corner_numbers(mesh: Any) -> NDArray[np.int64]:
    """(C,) numbers of the texture places of a mesh's corners: the same vertex at the same UV is one."""
    vertices, uv = np.empty(len(mesh.loops), np.int32), np.zeros((len(mesh.loops), 2), np.float32)
    mesh.loops.foreach_get("vertex_index", vertices)
    if mesh.uv_layers.active is not None:
        mesh.uv_layers.active.uv.foreach_get("vector", uv.reshape(-1))
    steps = np.rint(uv * _UV_STEPS).astype(np.int64)
    place = np.unique((steps[:, 0] << 32) + steps[:, 1], return_inverse=True)[1].reshape(-1).astype(np.int64)
    return np.unique(vertices * (place.max(initial=0) + 1) + place, return_inverse=True)[1].reshape(-1)


def part_names(obj: Any) -> list[str]:
    return str(obj[PROPERTY].get("parts", "")).split(",") if PROPERTY in obj else [""]


def _of_triangles(net: Net) -> NDArray[np.bool_]:
    """(F,) faces whose group has more triangles than quads."""
    of = np.unique(net.group, return_inverse=True)[1].reshape(-1)
    triangles = np.bincount(of, net.faces[:, 3] < 0) / np.bincount(of)
    return np.asarray(triangles[of] > 0.5)


def _weld(mesh: Any, closed: Closed) -> None:
    """Close a mesh in place. BMesh keeps keys, weights and attributes of what stays."""
    places = corner_numbers(mesh)
    uv = np.zeros((len(mesh.loops), 2), np.float32)
    layer = mesh.uv_layers.active
    if layer is not None:
        layer.uv.foreach_get("vector", uv.reshape(-1))
        of_place = np.zeros((places.max() + 1, 2), np.float32)
        of_place[places] = uv
        layer.uv.foreach_set("vector", of_place[closed.corner[places]].reshape(-1))
    work = bmesh.new()
    work.from_mesh(mesh)
    work.verts.ensure_lookup_table()
    gone = np.flatnonzero(closed.vertex != np.arange(len(closed.vertex)))
    pairs = zip(gone.tolist(), closed.vertex[gone].tolist(), strict=True)
    bmesh.ops.weld_verts(work, targetmap={work.verts[a]: work.verts[b] for a, b in pairs})
    work.to_mesh(mesh)
    work.free()
    mesh.update()


def own_drivers(made: Any, full: Any) -> None:
    """Pictures that fade in with an expression follow the keys of a head: a thinner one has materials of its own for
    them, and shares the others."""
    for slot, material in enumerate(made.data.materials):
        tree = material.node_tree if material is not None else None
        if tree is not None and tree.animation_data is not None and len(tree.animation_data.drivers):
            own = material.copy()
            made.data.materials[slot] = own
            blend_materials.aim_drivers(own, full.data.shape_keys, made.data.shape_keys)


def take_pose(made: Any, other: Any) -> None:
    """Place ``made`` where ``other`` is, with the same values of its keys."""
    keys = other.data.shape_keys.key_blocks
    for block in made.data.shape_keys.key_blocks[1:]:
        if block.name in keys:
            block.value = keys[block.name].value
    made.matrix_world = other.matrix_world
