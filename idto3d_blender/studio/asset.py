# SPDX-License-Identifier: GPL-3.0-or-later
"""A head in the asset library."""

from typing import Any

from ..head.import_head import PROPERTY


def mark(obj: Any) -> None:
    """Mark the head as an asset, with the thumbnail that it got at its import (see import_head.thumbnail)."""
    origin = obj[PROPERTY]
    obj.asset_mark()
    data = obj.asset_data
    data.description = "Head with a shape key for each expression"
    data.license = str(origin.get("licence", ""))
    for tag in ("head", "ID-to-3D"):
        if tag not in data.tags:
            data.tags.new(tag)
    if not has_thumbnail(obj):
        # Rendered by Blender, in the background.
        obj.asset_generate_preview()


def has_thumbnail(obj: Any) -> bool:
    """The object has a picture of its own."""
    return obj.preview is not None and min(obj.preview.image_size) > 0
