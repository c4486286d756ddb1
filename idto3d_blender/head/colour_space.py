# SPDX-License-Identifier: GPL-3.0-or-later
"""What the numbers of an image mean. Studios bring colour configurations of their own, whose spaces have other names
than Blender's."""

from typing import Any

_SRGB = ("sRGB", "sRGB - Texture", "Utility - sRGB - Texture", "sRGB Encoded Rec.709 (sRGB)")
"""What Blender, ACES 1.3, ACES 1.2 and 1.0, and ACES 2.0 call it."""


def set_colours(image: Any) -> None:
    """sRGB; where no space of a known name is that, what the configuration gives pictures."""
    settings = image.colorspace_settings
    there = settings.bl_rna.properties["name"].enum_items.keys()
    known = next((name for name in _SRGB if name in there), None)
    if known is not None:
        settings.name = known


def set_data(image: Any) -> None:
    """Numbers that are no colours."""
    image.colorspace_settings.is_data = True
