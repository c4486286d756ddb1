# SPDX-License-Identifier: GPL-3.0-or-later
"""A head bundle becomes one mesh object: UV, smooth shading, a shape key for each expression, its materials. It lies in
a collection of its own, with its origin at the neck's base, and all its data are called after it.

Faces have the integer attribute ``part``, into the names in the object's own property; points have ``seen``, 0..1: how
well the photographs showed that place.

The work is a generator that yields between steps of some milliseconds, so that a timer can spread it over ticks while
the user goes on working; ``import_prepared`` runs it to its end at once.
"""

import contextlib
from collections.abc import Generator
from typing import Any

import bpy
import numpy as np

from . import anchors, frame, material, naming, poses
from .bundle import POSES, PREVIEW
from .parts import PAUSE, Parts
from .prepare import Prepared

# Marks an object as one of ours, and holds where the head came from.
PROPERTY = "idto3d"
FOLDER = "folder"
"""In that: where the bundle is; see folders.py."""
JOB = "idto3d_job"
"""Marks an object whose head is still being made; see studio/live.py."""
MATCHED = "idto3d_match_head"
"""Property of a scene: the head that is matched to its photos there, whatever its name becomes; see match/scene.py."""
PREVIEW_SIDE = 256

Steps = Generator[Any, None, Any]
"""Yields None, or PAUSE."""


def import_prepared(prepared: Prepared, collection: Any) -> Any:
    """Import a bundle and link the new object to a new collection in ``collection`` (a bpy Collection).

    Metres, Z up, facing -Y, origin at the neck's base; all keys 0, which is the neutral pose. Images are packed.
    Returns the object; raises bundle.BundleError, with nothing left behind in the file.
    """
    obj = run_to_end(build(prepared))
    naming.own_collection(obj, collection)
    thumbnail(obj, prepared)
    return obj


def run_to_end(steps: Generator[Any, None, Any]) -> Any:
    """Run a generator of steps without a pause; returns its value."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def build(prepared: Prepared) -> Steps:
    """Steps that make the object, not linked to any collection; the last one returns it.

    The object may be used only until the caller's next pause. Raises BundleError, and parts.Interrupted when undo or
    another file took the half-built data away; then, and when closed early, nothing is left behind.
    """
    parts = Parts()
    try:
        yield from _mesh(parts, prepared)
        yield from _shape_keys(parts, prepared)
        yield from _pose_pictures(parts, prepared)
        yield from material.add_materials(parts, prepared)
        obj = parts.get("object")
        obj.color = obj.data.materials[0].diffuse_color
        # As text: a custom property holds no integer above 32 bits, as a seed may be.
        info = prepared.head.info
        obj[PROPERTY] = {
            **{key: str(info[key]) for key in ("generator", "pack", "seed", "licence", "consent")},
            "parts": ",".join(prepared.head.parts),
            FOLDER: str(prepared.head.folder.resolve()),
        }
        parts.release()
        naming.name_after(obj)
        return obj
    except (Exception, GeneratorExit):
        parts.discard()
        raise


def is_head(obj: Any) -> bool:
    """True for an object that was imported from a bundle and still has its shape keys."""
    return obj is not None and obj.type == "MESH" and PROPERTY in obj and obj.data.shape_keys is not None


def is_matched(obj: Any) -> bool:
    """In whichever scene."""
    return any(scene.get(MATCHED) == obj for scene in bpy.data.scenes)


def _mesh(parts: Parts, prepared: Prepared) -> Steps:
    head = prepared.head
    mesh = parts.add("mesh", "meshes", bpy.data.meshes.new(prepared.name))
    add_vertices(mesh, prepared.vertices)
    mesh[frame.ORIGIN] = prepared.origin.tolist()
    mesh[anchors.ANCHORS] = prepared.anchors
    yield
    add_corners(parts.get("mesh"), prepared.corners)
    yield
    add_faces(parts.get("mesh"), prepared.starts)
    yield PAUSE
    parts.get("mesh").update(calc_edges=True)
    yield
    mesh = parts.get("mesh")
    layer = mesh.uv_layers.new(name="UVMap")
    layer.uv.foreach_set("vector", prepared.corner_uv.ravel())
    for name, kind, domain, values in (
        ("material_index", "INT", "FACE", head.material),
        ("part", "INT", "FACE", head.part),
        ("seen", "FLOAT", "POINT", head.seen),
    ):
        if values is not None:
            mesh.attributes.new(name, kind, domain).data.foreach_set("value", values)
    parts.add("object", "objects", bpy.data.objects.new(prepared.name, mesh))
    yield


def add_vertices(mesh: Any, vertices: np.ndarray) -> None:
    """Fill an empty mesh with vertices (V,3) float32, through the attribute, which is a plain copy."""
    mesh.vertices.add(len(vertices))
    mesh.attributes["position"].data.foreach_set("vector", vertices.ravel())


def add_corners(mesh: Any, corners: np.ndarray) -> None:
    """The vertices (C,) int32 of all faces, one face after the other."""
    mesh.loops.add(len(corners))
    mesh.attributes[".corner_vert"].data.foreach_set("value", corners)


def add_faces(mesh: Any, starts: np.ndarray) -> None:
    """The faces that begin at these corners (F,) int32. They are smooth, as all faces are unless marked sharp."""
    mesh.polygons.add(len(starts))
    mesh.polygons.foreach_set("loop_start", starts)


def _shape_keys(parts: Parts, prepared: Prepared) -> Steps:
    parts.get("object").shape_key_add(name="Basis", from_mix=False)
    yield
    for name, shape in zip(prepared.head.expressions, prepared.shapes, strict=True):
        key = parts.get("object").shape_key_add(name=name, from_mix=False)
        key.points.foreach_set("co", shape.ravel())
        key.slider_min = 0.0
        key.slider_max = 1.0
        # A new key has the value 1.0 from Blender 5.0 on.
        key.value = 0.0
        yield


def _pose_pictures(parts: Parts, prepared: Prepared) -> Steps:
    if POSES not in prepared.head.images:
        return
    named = zip(prepared.head.expressions, prepared.head.expression_groups, strict=True)
    own = [name for name, group in named if group == "expression"]
    yield PAUSE
    pictures = poses.read(str(prepared.head.folder / POSES), len(own))
    yield
    if pictures is None:
        return
    packed = {}
    for number, name in enumerate(own):
        packed[name] = poses.packed(pictures, number)
        yield
    parts.get("object")[poses.PROPERTY] = packed


def thumbnail(obj: Any, prepared: Prepared) -> None:
    """Give the object its thumbnail, which shows as soon as the user marks it as an asset."""
    if prepared.front is None:
        return
    left, width = prepared.front
    file = prepared.head.folder / PREVIEW
    with contextlib.suppress(RuntimeError):  # A head without a thumbnail is still a head.
        image = bpy.data.images.load(str(file), check_existing=False)
        try:
            columns, rows = image.size
            if not rows:
                return
            flat = np.empty(4 * columns * rows, dtype=np.float32)
            image.pixels.foreach_get(flat)
        finally:
            bpy.data.images.remove(image)
        pixels = flat.reshape(rows, columns, 4)[:, left : left + width]
        preview = obj.preview_ensure()
        preview.image_size = (PREVIEW_SIDE, PREVIEW_SIDE)
        preview.image_pixels_float.foreach_set(_square(pixels).ravel())


def _square(pixels: np.ndarray) -> np.ndarray:
    """(H,W,4) -> (256,256,4), the whole picture in the middle of a transparent square; nearest pixels."""
    height, width = pixels.shape[:2]
    side = max(height, width)
    centre = (np.arange(PREVIEW_SIDE) + 0.5) * side / PREVIEW_SIDE
    row = np.floor(centre - (side - height) / 2).astype(int)
    column = np.floor(centre - (side - width) / 2).astype(int)
    square = pixels[row.clip(0, height - 1)][:, column.clip(0, width - 1)].copy()
    square[(row < 0) | (row >= height)] = 0.0
    square[:, (column < 0) | (column >= width)] = 0.0
    return square
