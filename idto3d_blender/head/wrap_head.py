# SPDX-License-Identifier: GPL-3.0-or-later
"""A head put onto a mesh of the user's: its shape, all its keys, and a report of how far it lies from what it was."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

from . import densities, hand_over, keyless, mesh_data, naming, rig_keys, room, wrap, wrap_maps
from .import_head import PROPERTY
from .stepwise import Steps, in_thread, scaled

REPORT = "idto3d_wrap"
"""Property of a wrapped mesh: mean_mm, most_mm (95 of 100 places), worst_mm: how far the head's face lies off it."""
SKIN = ("face", "back_head", "mouth_socket", "eye_socket")
FARTHEST_MEAN = 0.003
_SMOOTH_KEYS = 0.02
_INWARDS = 0.5  # cosine between normals of a mesh that is inside out and of the skin

Floats = NDArray[np.floating[Any]]


class TooFarError(Exception):
    """The mesh does not lie on the head. mean: metres."""

    def __init__(self, mean: float) -> None:
        super().__init__(mean)
        self.mean = mean


class InsideOutError(Exception):
    """The mesh's faces look inwards."""


@dataclass(frozen=True, eq=False)
class Surface:
    """points (V,3) metres in the head's frame; triangles (T,3); nearest: how the nearest place is found on it."""

    points: Floats
    triangles: NDArray[np.integer[Any]]

    def nearest(self) -> wrap.Nearest:
        tree = BVHTree.FromPolygons(self.points.tolist(), self.triangles.tolist())
        normals = wrap.vertex_normals(self.points, self.triangles)

        def find(places: Floats) -> wrap.Found:
            hits = [tree.find_nearest(place) for place in places.tolist()]
            where = np.array([hit[0][:] for hit in hits])
            number = np.array([hit[2] for hit in hits])
            share = wrap.barycentric(where, self.points[self.triangles[number]])
            normal = (normals[self.triangles[number]] * share[:, :, None]).sum(axis=1)
            return wrap.Found(where, normal / np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-9), number)

        return find


def skin_of(head: Any, parts: tuple[str, ...] = SKIN) -> Surface:
    """The neutral skin of a head, in its own frame."""
    net = densities.net_of(head)
    wanted = [number for number, name in enumerate(mesh_data.part_names(head)) if name in parts]
    faces = net.faces[np.isin(net.group % len(mesh_data.part_names(head)), wanted)]
    halves = faces[faces[:, 3] >= 0][:, [0, 2, 3]]
    return Surface(net.points, np.concatenate([faces[:, :3], halves]))


def mesh_of(obj: Any) -> Surface:
    """A mesh of the user's as it is stored, in its own frame, cut into triangles."""
    mesh = obj.data
    mesh.calc_loop_triangles()
    triangles = np.empty((len(mesh.loop_triangles), 3), np.int32)
    mesh.loop_triangles.foreach_get("vertices", triangles.reshape(-1))
    return Surface(mesh_data.vertices(mesh).astype(float), triangles)


def wrapped(head: Any, obj: Any, marks: Mapping[str, tuple[Floats, Floats]]) -> Steps[tuple[Any, dict[str, float]]]:
    """Steps that make a new object of the topology of ``obj`` in the shape of ``head``; returns it and its report.
    marks: name -> (place on obj, in its frame; place on the head, in the head's). Raises TooFarError and
    InsideOutError. With these, and when closed early, nothing is left."""
    own, skin = mesh_of(obj), skin_of(head)
    nearest, face = skin.nearest(), mesh_data.members(head)["face"]
    names = [block.name for block in head.data.shape_keys.key_blocks[1:] if not rig_keys.is_twin(block.name)]
    offsets = yield from scaled(mesh_data.offsets(head, names), 0.0, 0.1)
    work = _laid(own, (skin, nearest, face), list(marks.values()), offsets)
    placed, report, moves = yield from scaled(in_thread(work), 0.1, 0.5)
    made = _object(head, obj, placed)
    try:
        _keys(made, head, placed, moves)
        made[REPORT] = report
        target = textured(made, placed, own.triangles)
        yield from scaled(wrap_maps.bake(made, head, target, _textured_skin(head, skin), nearest), 0.5, 1.0)
    except BaseException:
        bpy.data.batch_remove([made, made.data])
        raise
    return made, report


def _laid(
    own: Surface,
    on: tuple[Surface, wrap.Nearest, NDArray[np.integer[Any]]],
    marks: list[tuple[Floats, Floats]],
    offsets: Mapping[str, Floats],
) -> Steps[tuple[Floats, dict[str, float], dict[str, Floats]]]:
    """Where the vertices of ``own`` lie on the skin (V,3), the report, and how each key moves them. on: the skin, its
    nearest places, and the vertices of the face."""
    skin, nearest, face = on
    start, end = (np.array([pair[side] for pair in marks]) for side in (0, 1))
    turn = wrap.similarity(start, end)
    points = own.points @ turn[:3, :3].T + turn[:3, 3]
    if _is_inside_out(Surface(points, own.triangles), nearest):
        raise InsideOutError
    near = [int(np.argmin(((own.points - place) ** 2).sum(axis=1))) for place in start]
    fitted = wrap.fit(points, own.triangles, (np.array(near), end), nearest)
    placed, valid = yield from scaled(fitted, 0.0, 0.8)
    report = _distances(Surface(placed, own.triangles), skin.points[face])
    if report["mean_mm"] > 1000 * FARTHEST_MEAN:
        raise TooFarError(report["mean_mm"] / 1000)
    graph = wrap.Graph(wrap.edges_of(own.triangles), len(placed))
    found, moves = nearest(placed), {}
    for number, (name, offset) in enumerate(offsets.items()):
        moves[name] = _moved(offset, (skin, found, valid), graph)
        yield 0.8 + 0.2 * number / len(offsets)
    return placed, report, moves


def _is_inside_out(own: Surface, nearest: wrap.Nearest) -> bool:
    """Most faces look the other way than the skin that they lie on: inwards."""
    facing = (wrap.vertex_normals(own.points, own.triangles) * nearest(own.points).normal).sum(axis=1)
    return bool(np.median(facing) < -_INWARDS)


def _moved(offset: Floats, on: tuple[Surface, wrap.Found, NDArray[np.bool_]], graph: wrap.Graph) -> Floats:
    """A key moves a vertex as it moves the place of the head where it lies; where there is none, as its neighbours."""
    skin, found, valid = on
    corners = skin.triangles[found.triangle]
    share = wrap.barycentric(found.place, skin.points[corners])
    moved = (offset[corners] * share[:, :, None]).sum(axis=1)
    if valid.all():
        return np.asarray(moved)
    pull = np.where(valid, 1.0, 0.0)
    return graph.smooth(moved, pull, _SMOOTH_KEYS, moved * pull[:, None])


def _distances(surface: Surface, places: Floats) -> dict[str, float]:
    """Millimetres from places of the head's face to a surface: mean, 95th percentile, worst."""
    far = 1000 * np.linalg.norm(surface.nearest()(places).place - places, axis=1)
    return {"mean_mm": float(far.mean()), "most_mm": float(np.quantile(far, 0.95)), "worst_mm": float(far.max())}


def textured(made: Any, placed: Floats, triangles: NDArray[np.integer[Any]]) -> wrap_maps.Textured:
    """A mesh of the user's with its UV. placed (V,3): its vertices; triangles: it is cut into these, see `mesh_of`."""
    mesh = made.data
    mesh.calc_loop_triangles()
    corners = np.empty((len(mesh.loop_triangles), 3), np.int32)
    mesh.loop_triangles.foreach_get("loops", corners.reshape(-1))
    polygon = np.empty(len(triangles), np.int32)
    mesh.loop_triangles.foreach_get("polygon_index", polygon)
    uv, slot = mesh_data.uv_of(mesh), mesh_data.slots(mesh)
    return wrap_maps.Textured(placed, triangles, uv[corners].astype(float), slot[polygon])


def _textured_skin(head: Any, skin: Surface) -> wrap_maps.Textured:
    net, count = densities.net_of(head), len(mesh_data.part_names(head))
    wanted = np.isin(net.group % count, [n for n, name in enumerate(mesh_data.part_names(head)) if name in SKIN])
    places = densities.corner_numbers(head.data)
    of_place = np.zeros((places.max() + 1, 2))
    of_place[places] = mesh_data.uv_of(head.data)
    corners, slot = net.corners[wanted], net.group[wanted] // count
    quads = net.faces[wanted][:, 3] >= 0
    corners = np.concatenate([corners[:, :3], corners[quads][:, [0, 2, 3]]])
    return wrap_maps.Textured(skin.points, skin.triangles, of_place[corners], np.concatenate([slot, slot[quads]]))


def _object(head: Any, obj: Any, placed: Floats) -> Any:
    mesh = obj.data.copy()
    shell = bpy.data.objects.new(f"{head.name} on {obj.name}"[:60], mesh)
    if mesh.shape_keys is not None:
        shell.shape_key_clear()
    mesh.vertices.foreach_set("co", placed.astype(np.float32).ravel())
    mesh.update()
    mesh.name = shell.name
    info = head[PROPERTY].to_dict()
    shell[PROPERTY] = {**info, "parts": ""}
    # Before it is linked: it would be in its own way.
    spot = room.free_spot(bpy.context.scene, bpy.context.view_layer, head.matrix_world)
    naming.collection_of(head).objects.link(shell)
    shell.matrix_world = Matrix.Translation(spot - head.matrix_world.translation) @ head.matrix_world
    return shell


def _keys(made: Any, head: Any, placed: Floats, moves: Mapping[str, Floats]) -> None:
    made.shape_key_add(name="Basis", from_mix=False)
    given = head.data.shape_keys
    for name, moved in moves.items():
        key = made.shape_key_add(name=name, from_mix=False)
        key.points.foreach_set("co", (placed + moved).astype(np.float32).ravel())
        for one in keyless.OF_SLIDER:
            setattr(key, one, getattr(given.key_blocks[name], one))
        key.value = 0.0
    hand_over.give_drivers(given, made.data.shape_keys)
