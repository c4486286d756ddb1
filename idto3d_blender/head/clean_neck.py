# SPDX-License-Identifier: GPL-3.0-or-later
"""A bust cut level at the neck, for a plinth or a body: shoulders go, keys, maps and weights stay."""

from typing import Any

import bmesh
from mathutils import Vector

from . import frame
from .mesh_data import part_names

_NEAR = 1e-6


def cut(obj: Any, height: float, close: bool) -> int:
    """Cut the skin of a head level at ``height`` metres above its origin, which is the neck's base, and take away what
    lies below; hair that hangs there stays. close: with a flat face. Returns how many edges the cut's rim has, 0
    where it meets nothing, and then all is as it was."""
    skin = {number for number, name in enumerate(part_names(obj)) if name in frame.SKIN_PARTS}
    work = bmesh.new()
    try:
        work.from_mesh(obj.data)
        part = work.faces.layers.int.get("part")
        faces = [face for face in work.faces if part is None or not skin or face[part] in skin]
        edges = {edge for face in faces for edge in face.edges}
        vertices = {vertex for face in faces for vertex in face.verts}
        made = bmesh.ops.bisect_plane(
            work,
            geom=[*faces, *edges, *vertices],
            dist=_NEAR,
            plane_co=Vector((0.0, 0.0, height)),
            plane_no=Vector((0.0, 0.0, 1.0)),
            clear_inner=True,
        )
        rim = [edge for edge in made["geom_cut"] if isinstance(edge, bmesh.types.BMEdge) and edge.is_boundary]
        count = len(rim)
        if not rim:
            return 0
        if close:
            _close(work, rim)
        work.to_mesh(obj.data)
    finally:
        work.free()
    obj.data.update()
    return count


def _close(work: Any, rim: list[Any]) -> None:
    """A flat face in the rim, which has the material and the colours of the skin beside it."""
    uv = work.loops.layers.uv.active
    for face in bmesh.ops.edgeloop_fill(work, edges=rim)["faces"]:
        neighbour = rim[0].link_faces[0]
        face.copy_from(neighbour)
        face.smooth = False
        face.normal_update()
        if face.normal.z > 0.0:
            face.normal_flip()
        for loop in face.loops:
            if uv is not None:
                own = next(one for one in loop.vert.link_loops if one.face != face)
                loop[uv].uv = own[uv].uv
    for edge in rim:
        edge.smooth = False
