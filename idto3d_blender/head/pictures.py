# SPDX-License-Identifier: GPL-3.0-or-later
"""New images of a head. Blender's own packing encodes in the main thread, half a second for a large map: here a thread
does."""

import struct
import zlib
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from .stepwise import Steps, aside


def packed(name: str, pixels: NDArray[np.floating[Any]], like: Any) -> Steps[Any]:
    """Steps to a new packed image of pixels (H,W,4) 0..1 as they are stored, the lowest row first, in the colour space
    of ``like``, an image, and with alpha where that has it. Closed early, there is none."""
    alpha = like.depth == 32
    data = yield from aside(lambda: encoded(pixels, 4 if alpha else 3))
    image = bpy.data.images.new(name, 1, 1, alpha=alpha)
    image.source = "FILE"
    image.colorspace_settings.name = like.colorspace_settings.name
    image.alpha_mode = like.alpha_mode
    image.pack(data=data, data_len=len(data))
    image.filepath_raw = f"//{bpy.path.clean_name(name)}.png"
    return image


def encoded(pixels: NDArray[np.floating[Any]], channels: int) -> bytes:
    """A PNG of 8 bits, each row as it differs from the one above (filter 2 of the PNG specification, 9.2)."""
    height, width = pixels.shape[:2]
    rows = np.rint(255 * pixels[::-1, :, :channels].clip(0, 1)).astype(np.uint8).reshape(height, -1)
    lines = np.full((height, rows.shape[1] + 1), 2, np.uint8)
    lines[0, 1:] = rows[0]
    lines[1:, 1:] = rows[1:] - rows[:-1]
    header = struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    body = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)
