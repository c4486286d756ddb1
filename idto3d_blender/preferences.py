# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user sets once, in Edit > Preferences > Add-ons."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from . import ADDON


class IDTO3D_preferences(bpy.types.AddonPreferences):
    """Where things lie, and what the extension may do to the viewport"""

    bl_idname = ADDON

    heads_folder: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Heads",
        description="Folder for finished heads, where the panel names no other. Empty: ID-to-3D in your home folder",
        subtype="DIR_PATH",
    )
    wheels: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Offline Packages",
        description="Folder with all packages (wheels); the set-up then uses no network",
        subtype="DIR_PATH",
    )
    python: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Python",
        description="Interpreter that the set-up uses. Empty: Blender's own, which is what most need",
        subtype="FILE_PATH",
    )
    device: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Device",
        description="What the set-up installs for",
        items=(
            ("auto", "Automatic", "The GPU where there is one that works, else the processor"),
            ("cpu", "Processor", "Smaller download, works everywhere"),
            ("cuda", "NVIDIA GPU", "Larger download, for packs of larger weights"),
        ),
    )
    solid_colours: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Colours in Solid Viewports",
        description="Solid viewports in sight that show materials show a new head's skin; not saved with the file",
        default=True,
    )
    frame_view: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Look at New Heads",
        description="Move a viewport to a head when it first appears and none shows it",
        default=True,
    )

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.use_property_split = True
        column = layout.column()
        column.prop(self, "heads_folder")
        column.prop(self, "solid_colours")
        column.prop(self, "frame_view")
        column = layout.column(heading="Set-up")
        column.prop(self, "device")
        column.prop(self, "wheels")
        column.prop(self, "python")
        layout.label(text="Install, repair and remove: sidebar of the 3D viewport (N), tab ID-to-3D", icon="INFO")
        layout.operator("idto3d.open_guide", icon="HELP")


@dataclass(frozen=True)
class Chosen:
    """The preferences as plain values; the defaults stand where the extension runs without having any."""

    heads_folder: Path = Path.home() / "ID-to-3D"
    wheels: str = ""
    python: str = ""
    device: str = "auto"
    solid_colours: bool = True
    frame_view: bool = True


def get() -> Chosen:
    """What the user has chosen, paths made absolute."""
    addon = bpy.context.preferences.addons.get(ADDON)
    stored = addon.preferences if addon else None
    if stored is None:
        return Chosen()
    folder = bpy.path.abspath(stored.heads_folder) if stored.heads_folder else Chosen.heads_folder
    return Chosen(
        Path(folder),
        bpy.path.abspath(stored.wheels),
        bpy.path.abspath(stored.python),
        stored.device,
        stored.solid_colours,
        stored.frame_view,
    )


def register() -> None:
    bpy.utils.register_class(IDTO3D_preferences)


def unregister() -> None:
    bpy.utils.unregister_class(IDTO3D_preferences)
