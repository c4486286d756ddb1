# SPDX-License-Identifier: GPL-3.0-or-later
"""What a head keeps of its photos and pins: in the file, so that undo and saving have it.

Where the photos lie is not kept in the file: fit.json in the head's folder says it.
"""

from typing import Any

import bpy


class IDTO3D_pin(bpy.types.PropertyGroup):
    """A place of the skin, and where a photo has it"""

    photo: bpy.props.IntProperty(name="Photo")  # type: ignore[valid-type]
    corners: bpy.props.IntVectorProperty(name="Corners", size=3)  # type: ignore[valid-type]
    weights: bpy.props.FloatVectorProperty(name="Weights", size=3)  # type: ignore[valid-type]
    pixel: bpy.props.FloatVectorProperty(name="Pixel", size=2)  # type: ignore[valid-type]


def _changed(self: Any, context: Any) -> None:
    from . import scene

    scene.show_look(self.id_data)


class IDTO3D_match(bpy.types.PropertyGroup):
    """Photos and pins of a head"""

    pins: bpy.props.CollectionProperty(type=IDTO3D_pin)  # type: ignore[valid-type]
    photo: bpy.props.IntProperty(name="Photo", min=0)  # type: ignore[valid-type]
    look: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Look",
        items=(
            ("BLEND", "Blend", "The photo lies over the head, and lets it through"),
            ("WIRE", "Wire", "The same, with the head's edges"),
            ("SOLID", "Head", "The head before the photo"),
        ),
        update=_changed,
    )
    alpha: bpy.props.FloatProperty(  # type: ignore[valid-type]
        name="Photo", description="How much of the photo shows", default=0.6, min=0, max=1, update=_changed
    )


def register() -> None:
    bpy.utils.register_class(IDTO3D_pin)
    bpy.utils.register_class(IDTO3D_match)
    bpy.types.Object.idto3d_match = bpy.props.PointerProperty(type=IDTO3D_match)


def unregister() -> None:
    del bpy.types.Object.idto3d_match
    bpy.utils.unregister_class(IDTO3D_match)
    bpy.utils.unregister_class(IDTO3D_pin)
