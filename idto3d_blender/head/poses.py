# SPDX-License-Identifier: GPL-3.0-or-later
"""The head's own expressions as pictures to click on. They lie in the object, so that they are there in a saved file
and on another machine; Blender's pose library knows bones only."""

import zlib
from typing import Any

import bpy
import bpy.utils.previews
import numpy as np

PROPERTY = "idto3d_poses"
"""Of the object: expression -> packed RGB pixels (SIDE,SIDE,3) uint8, the lowest row first."""
SIDE = 128
_icons: Any = None


def read(file: str, count: int) -> np.ndarray | None:
    """``count`` square pictures side by side, (SIDE,count*SIDE,4) 0..1; None where there are none of that size."""
    try:
        image = bpy.data.images.load(file, check_existing=False)
    except RuntimeError:
        return None
    try:
        width, height = image.size
        if height != SIDE or width != SIDE * count:
            return None
        flat = np.empty(4 * width * height, dtype=np.float32)
        image.pixels.foreach_get(flat)
    finally:
        bpy.data.images.remove(image)
    return flat.reshape(height, width, 4)


def packed(pictures: np.ndarray, number: int) -> bytes:
    """One of them as the object keeps it."""
    own = pictures[:, number * SIDE : (number + 1) * SIDE, :3]
    return zlib.compress(np.round(255 * own).astype(np.uint8).tobytes(), 1)


def pictured(obj: Any) -> list[str]:
    """The expressions that have a picture and a key."""
    blocks = obj.data.shape_keys.key_blocks
    return [name for name in obj.get(PROPERTY, {}).keys() if name in blocks]


def icon(obj: Any, name: str) -> int:
    """The number of the picture's icon for a layout; 0 where it has none."""
    kept = obj.get(PROPERTY, {}).get(name)
    if kept is None or _icons is None:
        return 0
    kept = bytes(kept)
    key = f"{zlib.crc32(kept)}-{name}"
    if key not in _icons:
        try:
            pixels = np.frombuffer(zlib.decompress(kept), np.uint8).reshape(SIDE, SIDE, 3)
        except (zlib.error, ValueError):
            return 0
        made = _icons.new(key)
        made.image_size = (SIDE, SIDE)
        rgba = np.ones((SIDE, SIDE, 4), np.float32)
        rgba[..., :3] = pixels / np.float32(255)
        made.image_pixels_float.foreach_set(rgba.ravel())
    return int(_icons[key].icon_id)


def register() -> None:
    global _icons
    _icons = bpy.utils.previews.new()


def unregister() -> None:
    global _icons
    if _icons is not None:
        bpy.utils.previews.remove(_icons)
    _icons = None
