# SPDX-License-Identifier: GPL-3.0-or-later
"""A head in half or a quarter of its faces, with all its keys, UV, materials and weights, beside the full one.

What is left of the vertices are vertices of the full head, so that every key is as exact there as it was. The full head
stays as it is, hidden; so one can go back to it at any time.
"""

import zlib
from typing import Any

import bmesh
import bpy
import numpy as np
from numpy.typing import NDArray

from . import blend_materials, chords, collapse, full_state, hand_over, keyless, mesh_data, naming
from .hidden import hide
from .net import Closed, Net
from .rig_keys import is_twin
from .stepwise import Steps, in_thread, scaled
from .thinning import thin

SHARES = {"HALF": 0.5, "QUARTER": 0.25}
FULL = "FULL"
FROM = "idto3d_full"
DENSITY = "idto3d_density"
EARLIER = "idto3d_was_thinner"
"""Of a thinner head that shows what the full one was once."""
SHAPE = "idto3d_full_shape"
"""Of a thinner head: a checksum of the shape and the keys that the full one had."""
_UV_STEPS = 1 << 20


def full_of(obj: Any) -> Any:
    """The full head of which ``obj`` is a thinner one; itself for a full one, or where that one was deleted."""
    return obj.get(FROM) or obj


def density_of(obj: Any) -> str:
    """FULL, HALF or QUARTER."""
    return str(obj.get(DENSITY, FULL))


def show_instead(made: Any, obj: Any) -> None:
    """Show one form of a head in the place and pose of another, which is hidden. One that the view layer lacks, since
    it was deleted or lies in another scene or in a collection left out here, is linked again."""
    take_pose(made, obj)
    layer = bpy.context.view_layer
    for collection in (naming.collection_of(obj), bpy.context.scene.collection):
        if made not in layer.objects.values() and made not in collection.objects.values():
            collection.objects.link(made)
            layer.update()
    _show_locally(made, obj)
    obj.hide_render, made.hide_render = True, False
    for one in bpy.context.scene.view_layers:
        hidden = obj.hide_get(view_layer=one) and one != layer  # asked first: it brings the layer's list up to date
        objects = one.objects.values()
        for other, value in ((obj, True), (made, hidden)):
            if other in objects:
                other.hide_set(value, view_layer=one)
    hand_over.give_children(obj, made)


def _show_locally(made: Any, obj: Any) -> None:
    """In viewports that show ``obj`` in a local view show ``made``, too."""
    for area in (area for window in bpy.context.window_manager.windows for area in window.screen.areas):
        space = area.spaces.active
        if space.type == "VIEW_3D" and space.local_view is not None and obj.local_view_get(space):
            made.local_view_set(space, True)


def change(obj: Any, density: str) -> Steps[Any]:
    """Steps to the head ``obj`` in another density, made or found, shown with the same pose; the one before is
    hidden."""
    full = full_of(obj)
    if obj in made_of(full, density_of(obj))[1:]:
        full = _own_full(obj, full)
    made = full if density == FULL else (yield from existing(full, density))
    if made is None:
        for outdated in made_of(full, density):
            stand_alone(outdated)
            outdated[EARLIER] = True
        made = yield from _thinner(full, density)
    if made != obj:
        show_instead(made, obj)
    return made


def existing(full: Any, density: str) -> Steps[Any]:
    """Steps to the object that a full head has in a density, or None: none, too, once pins or a sculptor moved the full
    one, its keys are others, it has got another rig, or somebody has changed what else it is made of."""
    made = [obj for obj in made_of(full, density) if _armatures(obj) == _armatures(full)]
    if not made:
        return None
    shape, state = (yield from checksum(full)), (yield from full_state.of(full))
    for obj in made:
        full_state.note_unknown(obj, full, state)
    same = (obj for obj in made if obj.get(SHAPE) == shape and full_state.is_noted(obj, full, state))
    return next(same, None)


def _armatures(obj: Any) -> list[Any]:
    return [modifier.object for modifier in obj.modifiers if modifier.type == "ARMATURE"]


def stand_alone(obj: Any) -> None:
    """A thinner head becomes one of its own."""
    for name in (FROM, DENSITY, SHAPE, EARLIER, full_state.NOTED, full_state.MATERIALS):
        obj.pop(name, None)


def made_of(full: Any, density: str) -> list[Any]:
    """The first is the one that was made, the others are Blender's copies of it."""
    made = (obj for obj in bpy.data.objects if obj.get(FROM) == full and obj.get(DENSITY) == density)
    return sorted((obj for obj in made if obj.users_scene), key=lambda obj: obj.session_uid)


def _own_full(obj: Any, full: Any) -> Any:
    """A copy of the full head for a copy that Blender has made of a thinner one: the full head is the other one's."""
    own = beside(full, full.data.copy(), full.name)
    hide(own)
    obj[FROM] = own
    if full_state.NOTED in obj:  # those of the copy are copies, too
        full_state.note(obj, own, obj[full_state.NOTED])
    return own


def checksum(head: Any) -> Steps[str]:
    """Of the neutral shape and the keys of a head, or of a part of one, but for those of a rig."""
    found = 0
    for block in head.data.shape_keys.key_blocks:
        yield 0.0
        if not is_twin(block.name):
            found = zlib.crc32(mesh_data.places(block).tobytes(), zlib.crc32(block.name.encode(), found))
    return f"{found:08x}"


def _thinner(full: Any, density: str) -> Steps[Any]:
    net = net_of(full)
    hair = np.array([name == "hair" for name in mesh_data.part_names(full)])
    hair = hair[net.group % len(hair)]
    closed = yield from scaled(in_thread(_thinned(net, hair, SHARES[density])), 0.0, 0.8)
    mesh = keyless.copy_of(full.data)
    try:
        yield from scaled(_weld(mesh, closed), 0.8, 0.9)
        yield from scaled(keyless.give_keys(mesh, full.data), 0.9, 1.0)
        shape = yield from scaled(checksum(full), 1.0, 1.0)
        state = yield from scaled(full_state.of(full), 1.0, 1.0)
    except BaseException:
        bpy.data.meshes.remove(mesh)
        raise
    made = beside(full, mesh, f"{full.name} {density.lower()}")
    made[FROM], made[DENSITY], made[SHAPE] = full, density, shape
    full_state.note(made, full, state)
    return made


def _thinned(net: Net, hair: NDArray[np.bool_], share: float) -> Steps[Closed]:
    """Which vertices stay for ``share`` of the faces. Quads stay quads; hair, of triangles, is thinned out triangle by
    triangle."""
    loose = hair | (net.faces[:, 3] < 0) & _of_triangles(net)
    vertex, corner = np.arange(len(net.points)), np.arange(net.corners.max() + 1)
    rest: list[tuple[Any, ...]] = []
    for chosen, method, low in ((~loose, chords.close_strips, 0.0), (loose, collapse.close_edges, 0.5)):
        own = np.flatnonzero(chosen)
        if not len(own):
            continue
        own_net = Net(net.points, net.faces[own], net.corners[own], net.group[own])
        part = yield from scaled(thin(own_net, share, method), low, low + 0.5)
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
    key = mesh.shape_keys.key_blocks[0] if mesh.shape_keys is not None else None
    points = mesh_data.places(key) if key is not None else mesh_data.vertices(mesh)
    (vertex, totals), places = mesh_data.corners(mesh), corner_numbers(mesh)
    starts, own = np.cumsum(totals) - totals, totals <= 4
    index = starts[own][:, None] + np.arange(4)
    index = np.where(np.arange(4) < totals[own][:, None], index, -1)
    faces, corners = (np.where(index >= 0, values[index], -1) for values in (vertex, places))
    group = mesh_data.parts(mesh) + len(mesh_data.part_names(obj)) * mesh_data.slots(mesh)
    return Net(points.astype(float), faces, corners, group[own])


def corner_numbers(mesh: Any) -> NDArray[np.int64]:
    """(C,) numbers of the texture places of a mesh's corners: the same vertex at the same UV is one."""
    vertices = mesh_data.corners(mesh)[0]
    steps = np.rint(mesh_data.uv_of(mesh) * _UV_STEPS).astype(np.int64)
    place = np.unique((steps[:, 0] << 32) + steps[:, 1], return_inverse=True)[1].reshape(-1).astype(np.int64)
    return np.unique(vertices * (place.max(initial=0) + 1) + place, return_inverse=True)[1].reshape(-1)


def _of_triangles(net: Net) -> NDArray[np.bool_]:
    """(F,) faces whose group has more triangles than quads."""
    of = np.unique(net.group, return_inverse=True)[1].reshape(-1)
    triangles = np.bincount(of, net.faces[:, 3] < 0) / np.bincount(of)
    return np.asarray(triangles[of] > 0.5)


def _weld(mesh: Any, closed: Closed) -> Steps[None]:
    """Steps that close a mesh in place. BMesh keeps weights and attributes of what stays."""
    places = corner_numbers(mesh)
    layer = mesh_data.uv_layer(mesh)
    if layer is not None:
        of_place = np.zeros((places.max() + 1, 2), np.float32)
        of_place[places] = mesh_data.uv_of(mesh)
        # Not by the layer's own `uv`: till Blender 5.0 at least, that writes into the mesh of which this one is a copy.
        uv = mesh.attributes[layer.name].data
        uv.foreach_set("vector", of_place[closed.corner[places]].reshape(-1))
    work = bmesh.new()
    try:
        work.from_mesh(mesh)
        yield 1.0
        work.verts.ensure_lookup_table()
        gone = np.flatnonzero(closed.vertex != np.arange(len(closed.vertex)))
        pairs = zip(gone.tolist(), closed.vertex[gone].tolist(), strict=True)
        targets = {work.verts[a]: work.verts[b] for a, b in pairs}
        yield 1.0
        bmesh.ops.weld_verts(work, targetmap=targets)
        yield 1.0
        work.to_mesh(mesh)
    finally:
        work.free()
    mesh.update()


def beside(head: Any, mesh: Any, name: str) -> Any:
    """A copy of ``head`` with ``mesh``, a changed copy of its own. Pictures that fade in with an expression follow the
    keys of a head: the copy has materials of its own for them, and shares the others."""
    made = head.copy()
    made.data = mesh
    made.name = mesh.name = name
    mesh.shape_keys.name = f"{made.name} keys"
    naming.collection_of(head).objects.link(made)
    for slot, material in enumerate(mesh.materials):
        tree = material.node_tree if material is not None else None
        if tree is not None and tree.animation_data is not None and len(tree.animation_data.drivers):
            own = material.copy()
            own.name = f"{made.name} {material.get(naming.ROLE, material.name)}"
            mesh.materials[slot] = own
            blend_materials.aim_drivers(own, head.data.shape_keys, mesh.shape_keys)
    return made


def without_faces(mesh: Any, chosen: NDArray[np.bool_]) -> Steps[Any]:
    """Steps to a copy of a mesh without the chosen faces (F,), and without the materials that no face has any more."""
    made = keyless.copy_of(mesh)
    try:
        yield from _delete(made, chosen)
        used, new = np.unique(mesh_data.slots(made), return_inverse=True)
        materials = [made.materials[number] for number in used.tolist() if number < len(made.materials)]
        made.materials.clear()
        for material in materials:
            made.materials.append(material)
        made.polygons.foreach_set("material_index", new.reshape(-1).astype(np.int32))
        made.update()
        yield from keyless.give_keys(made, mesh)
    except BaseException:
        bpy.data.meshes.remove(made)
        raise
    return made


def _delete(mesh: Any, chosen: NDArray[np.bool_]) -> Steps[None]:
    work = bmesh.new()
    try:
        yield 0.0
        work.from_mesh(mesh)
        yield 0.0
        work.faces.ensure_lookup_table()
        faces = [work.faces[number] for number in np.flatnonzero(chosen).tolist()]
        bmesh.ops.delete(work, geom=faces, context="FACES")
        yield 0.0
        work.to_mesh(mesh)
    finally:
        work.free()


def take_pose(made: Any, other: Any) -> None:
    """Place ``made`` where ``other`` is, moved as that one is, with the same values, ranges, mutes and animation of its
    keys, and the drivers of those that have none."""
    keys = other.data.shape_keys
    for block in made.data.shape_keys.key_blocks[1:]:
        if block.name in keys.key_blocks:
            for name in keyless.OF_SLIDER:
                setattr(block, name, getattr(keys.key_blocks[block.name], name))
    hand_over.give_motion(keys, made.data.shape_keys)
    hand_over.give_drivers(keys, made.data.shape_keys)
    hand_over.give_place(other, made)
