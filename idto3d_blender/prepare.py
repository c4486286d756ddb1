# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of an import that needs no Blender: reading, checking and arranging, to be done in a thread. No bpy."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import bundle

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Decoding a larger picture takes Blender's main thread too long for a thumbnail.
_LARGEST_PREVIEW = 1024 * 1024


@dataclass(frozen=True)
class Prepared:
    """A bundle, ready to be handed to Blender.

    head: the checked bundle; shapes (E,V,3) float32: vertices of each expression; loop_uv (3F,2) float32;
    images: PNG file -> its bytes, for all maps; preview: the preview picture and (left, width) in pixels of the part
    of it that shows the head from the front, or None when it is too large.
    """

    head: bundle.Head
    shapes: NDArray[np.float32]
    loop_uv: NDArray[np.float32]
    images: Mapping[Path, bytes]
    preview: tuple[Path, int, int] | None


def prepare(folder: str | Path) -> Prepared:
    """Read the bundle in ``folder``. Raises bundle.BundleError E_BUNDLE_*."""
    path = Path(folder)
    head = bundle.read(path)
    _refuse_double_faces(head.faces, len(head.vertices))
    images = {}
    for file in (*head.maps.values(), *head.expression_albedo.values()):
        images[file] = file.read_bytes()
        _check_pixels(file.name, images[file])
    return Prepared(
        head,
        head.vertices + head.offsets,
        np.ascontiguousarray(head.uv[head.faces_uv].reshape(-1, 2)),
        images,
        _front_view(path / "preview.png"),
    )


def _refuse_double_faces(faces: NDArray[np.int32], vertices: int) -> None:
    """Blender cannot hold two faces of the same vertices; its own check would block the main thread for 60 ms."""
    a, b, c = np.sort(faces, axis=1).astype(np.int64).T
    if len(np.unique((a * vertices + b) * vertices + c)) != len(faces):
        raise bundle.BundleError("E_BUNDLE_INDEX", "A face is there twice.")


def _check_pixels(name: str, data: bytes) -> None:
    """The pixels of a PNG whose chunks are whole can be unpacked. Raises E_BUNDLE_MAP."""
    width, height, depth, kind = struct.unpack_from(">IIBB", data, 16)
    packed, position = [], 8
    while position < len(data):
        length, chunk = struct.unpack_from(">I4s", data, position)
        if chunk == b"IDAT":
            packed.append(data[position + 8 : position + 8 + length])
        position += 12 + length
    row = 1 + width * _CHANNELS.get(kind, 0) * depth // 8
    try:
        whole = len(zlib.decompress(b"".join(packed))) >= row * height
    except zlib.error:
        whole = False
    if not whole:
        raise bundle.BundleError("E_BUNDLE_MAP", f"{name} is damaged.")


def _front_view(file: Path) -> tuple[Path, int, int] | None:
    """The worker's preview is a strip of squares: photo, front, and others. Any other picture is taken whole."""
    data = file.read_bytes()[:24]
    if data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    if not 0 < width * height <= _LARGEST_PREVIEW:
        return None
    return (file, height, height) if width >= 2 * height and width % height == 0 else (file, 0, width)
