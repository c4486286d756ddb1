# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of an import that needs no Blender: reading, checking and arranging, to be done in a thread. No bpy."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import anchors, frame
from .bundle import PREVIEW, HeadFiles, read_bundle_files, size_of

# Decoding a larger picture takes Blender's main thread too long for a thumbnail.
_LARGEST_PREVIEW = 1024 * 1024


@dataclass(frozen=True, eq=False)
class Prepared:
    """A bundle, ready to be handed to Blender.

    name: of the head; head: the checked bundle; origin (3,) float32: the neck's base in the bundle's frame; anchors: of
    the mesh; vertices (V,3) float32: seen from the origin; corners (C,) int32: the vertices of all faces, one face
    after the other; starts (F,) int32: where each face begins in it; corner_uv (C,2) float32; shapes (E,V,3) float32:
    vertices of each expression; front: (left, width) in pixels of the part of the preview picture that shows the head
    from the front, or None when that is too large.
    """

    name: str
    head: HeadFiles
    origin: NDArray[np.float32]
    anchors: dict[str, list[float]]
    vertices: NDArray[np.float32]
    corners: NDArray[np.int32]
    starts: NDArray[np.int32]
    corner_uv: NDArray[np.float32]
    shapes: NDArray[np.float32]
    front: tuple[int, int] | None


def prepare(folder: str | Path) -> Prepared:
    """Read the bundle in ``folder``. Raises bundle.BundleError E_BUNDLE_*."""
    head = read_bundle_files(folder)
    corners, starts = corners_of(head.faces)
    skin = frame.vertices_of(head.faces, head.part, head.parts, *frame.SKIN_PARTS)
    origin = frame.neck_base(head.vertices[skin] if len(skin) else head.vertices)
    vertices = head.vertices - origin
    members = {part: frame.vertices_of(head.faces, head.part, head.parts, part) for part in anchors.PARTS}
    return Prepared(
        Path(folder).resolve().name,
        head,
        origin,
        anchors.anchors(vertices, members),
        vertices,
        corners,
        starts,
        np.ascontiguousarray(head.uv[head.faces_uv[head.faces_uv >= 0]]),
        vertices + head.offsets,
        _front_view(head.images[PREVIEW]),
    )


def corners_of(faces: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Faces (F,4), -1 last in a triangle, as Blender has them: all corners (C,), and where each face begins (F,)."""
    there = faces >= 0
    count = there.sum(axis=1, dtype=np.int32)
    return np.ascontiguousarray(faces[there]), np.cumsum(count, dtype=np.int32) - count


def _front_view(picture: bytes) -> tuple[int, int] | None:
    """The worker's preview is a strip of squares: photo, front, and others. Any other picture is taken whole."""
    width, height = size_of(picture)
    if width * height > _LARGEST_PREVIEW:
        return None
    return (height, height) if width >= 2 * height and width % height == 0 else (0, width)
