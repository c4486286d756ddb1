# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pictures in the panel: the photos, and the newest preview of a running job."""

from pathlib import Path
from typing import Any

import bpy.utils.previews

_photos: Any = None
_progress: Any = None


def photo(path: str) -> int:
    """Icon of a photo; Blender reads the file in a thread of its own, when the icon is first drawn. 0 for none."""
    if _photos is None or not path:
        return 0
    if path not in _photos:
        _photos.load(path, path, "IMAGE")
    return int(_photos[path].icon_id)


def progress(path: Path | None) -> int:
    """Icon of a preview picture that ``load_progress`` has read, 0 before."""
    if _progress is None or path is None or str(path) not in _progress:
        return 0
    return int(_progress[str(path)].icon_id)


def load_progress(path: Path) -> bool:
    """Read a job's newest preview picture and forget the older ones. False when it is not there any more."""
    if _progress is None or str(path) in _progress or not path.is_file():
        return False
    older = list(_progress)
    picture = _progress.load(str(path), str(path), "IMAGE")
    # Read now, some milliseconds: drawn unread, it would flash empty at every change.
    picture.image_size[:]
    for key in older[:-1]:
        del _progress[key]
    return True


def register() -> None:
    global _photos, _progress
    _photos = bpy.utils.previews.new()
    _progress = bpy.utils.previews.new()


def unregister() -> None:
    global _photos, _progress
    for collection in (_photos, _progress):
        if collection is not None:
            bpy.utils.previews.remove(collection)
    _photos = _progress = None
