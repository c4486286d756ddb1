# SPDX-License-Identifier: GPL-3.0-or-later
"""A preview of a head that is being made: as the worker writes it, and as a mesh with the colours of its vertices."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..head import frame, import_head, mesh_data
from ..head.material import linear
from ..head.parts import PAUSE, Parts
from ..head.prepare import corners_of

COLOURS = "Colour"
MATERIAL = "ID-to-3D preview"
_TOPOLOGY = "idto3d_topology"
_ROUGHNESS = 0.6


@dataclass(frozen=True)
class Shape:
    """A preview as it comes from the worker: vertices (V,3) float32 metres in the bundle's frame, origin (3,) float32:
    the neck's base in it, faces (F,4) int32, -1 last in a triangle, colours (V,4) float32 linear or None; topology:
    while it stays, so do faces and the order of the vertices."""

    job: str
    topology: int
    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colours: NDArray[np.float32] | None
    origin: NDArray[np.float32]


def read(path: Path, job: str, topology: int) -> Shape:
    """Read a preview file, in any thread. Raises OSError, ValueError or KeyError for a file that is none."""
    with np.load(path, allow_pickle=False) as stored:
        vertices = np.ascontiguousarray(stored["vertices"], dtype=np.float32)
        faces = np.ascontiguousarray(stored["faces"], dtype=np.int32)
        stored_colours = stored["colours"] if "colours" in stored.files else None
    if (
        vertices.ndim != 2
        or vertices.shape[1] != 3
        or faces.ndim != 2
        or faces.shape[1] not in (3, 4)
        or not len(faces)
    ):
        raise ValueError(f"{path.name} holds no mesh.")
    faces = np.pad(faces, ((0, 0), (0, 4 - faces.shape[1])), constant_values=-1)
    low = min(faces[:, :3].min(), faces[:, 3].min() + 1)
    if low < 0 or faces.max() >= len(vertices) or not np.isfinite(vertices).all():
        raise ValueError(f"{path.name} holds a broken mesh.")
    colours = None
    if stored_colours is not None:
        if stored_colours.shape != vertices.shape or stored_colours.dtype != np.uint8:
            raise ValueError(f"{path.name} holds colours of another shape.")
        colours = np.ones((len(vertices), 4), dtype=np.float32)
        colours[:, :3] = _LINEAR[stored_colours]
    return Shape(job, topology, vertices, faces, colours, frame.neck_base(vertices))


_LINEAR = np.array([linear(byte / 255) for byte in range(256)], dtype=np.float32)


def same_topology(mesh: Any, shape: Shape) -> bool:
    """The preview has the mesh's faces. A sketch's are compared once, as it does not say which previews are its."""
    if len(mesh.vertices) != len(shape.vertices):
        return False
    if _TOPOLOGY not in mesh and _same_faces(mesh, shape):
        mesh[_TOPOLOGY] = str(shape.topology)
    return bool(mesh.get(_TOPOLOGY) == str(shape.topology))


def _same_faces(mesh: Any, shape: Shape) -> bool:
    corners, starts = corners_of(shape.faces)
    if (len(mesh.loops), len(mesh.polygons)) != (len(corners), len(starts)):
        return False
    own_corners, own_starts = np.empty_like(corners), np.empty_like(starts)
    mesh.attributes[".corner_vert"].data.foreach_get("value", own_corners)
    mesh.polygons.foreach_get("loop_start", own_starts)
    return np.array_equal(own_corners, corners) and np.array_equal(own_starts, starts)


def move(mesh: Any, shape: Shape) -> None:
    """Put the vertices to their new places; a sketch's keys move along, and its pictures stay."""
    vertices = shape.vertices - np.array(mesh.get(frame.ORIGIN, shape.origin), np.float32)
    if mesh.shape_keys is None:
        _colour(mesh, shape)
    else:
        blocks = mesh.shape_keys.key_blocks
        shift = vertices - mesh_data.places(blocks[0])
        for block in blocks:
            block.points.foreach_set("co", (mesh_data.places(block) + shift).ravel())
    mesh.attributes["position"].data.foreach_set("vector", vertices.ravel())
    mesh.update()


def _colour(mesh: Any, shape: Shape) -> None:
    if shape.colours is None:
        return
    layer = mesh.color_attributes.get(COLOURS)
    if layer is None:
        layer = mesh.color_attributes.new(COLOURS, "FLOAT_COLOR", "POINT")
        mesh.color_attributes.active_color = layer
        mesh.materials.append(_preview_material())
    layer.data.foreach_set("color", shape.colours.ravel())


def new_mesh(parts: Parts, shape: Shape, name: str) -> import_head.Steps:
    """Steps that make ``parts.get("mesh")``."""
    mesh = parts.add("mesh", "meshes", bpy.data.meshes.new(name))
    import_head.add_vertices(mesh, shape.vertices - shape.origin)
    mesh[frame.ORIGIN] = shape.origin.tolist()
    yield
    corners, starts = corners_of(shape.faces)
    import_head.add_corners(parts.get("mesh"), corners)
    yield
    import_head.add_faces(parts.get("mesh"), starts)
    yield PAUSE
    parts.get("mesh").update(calc_edges=True)
    yield
    mesh = parts.get("mesh")
    _colour(mesh, shape)
    mesh[_TOPOLOGY] = str(shape.topology)  # any integer, and Blender's have 32 bits with a sign
    yield


def _preview_material() -> Any:
    """Shows the colours in Material Preview and Rendered viewports."""
    material = bpy.data.materials.new(MATERIAL)
    material.roughness = _ROUGHNESS
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    colours = tree.nodes.new("ShaderNodeVertexColor")
    colours.layer_name = COLOURS
    colours.location = (-300, 0)
    tree.links.new(colours.outputs["Color"], shader.inputs["Base Color"])
    return material
