# SPDX-License-Identifier: GPL-3.0-or-later
"""Export presets by program: file format, axes, unit, names of keys. No bpy."""

from dataclasses import dataclass
from typing import Literal

Format = Literal["FBX", "GLTF", "USD"]
Axis = Literal["Y", "Z"]
Textures = Literal["INSIDE", "BESIDE"]


@dataclass(frozen=True)
class Preset:
    """name: the identifier, and the end of the folder's name; up: the axis that points up, the face looks along +Z then
    or, with Z up, along -Y; unit: in metres; textures: where that program likes them; vrm: with VRM's expressions;
    title, tip: for people."""

    name: str
    title: str
    tip: str
    format: Format
    up: Axis
    unit: float
    textures: Textures
    vrm: bool = False

    @property
    def animated(self) -> bool:
        """Animation can go along, and be read back."""
        return self.format != "USD"


# FBX counts in centimetres, and both engines read it best so: every object at scale 1 and not rotated. Unreal's own up
# is Z, as Blender's; Unity, glTF and its readers have Y up.
PRESETS = (
    Preset("UNREAL", "Unreal", "FBX in centimetres, Z up, ready for Live Link", "FBX", "Z", 0.01, "INSIDE"),
    Preset("UNITY", "Unity", "FBX in centimetres, Y up, blend shapes from 0 to 100", "FBX", "Y", 0.01, "BESIDE"),
    Preset("GODOT", "Godot", "glTF with its buffer and its textures beside it", "GLTF", "Y", 1.0, "BESIDE"),
    Preset("THREE", "three.js", "One GLB with everything in it", "GLTF", "Y", 1.0, "INSIDE"),
    Preset("VRM", "VRM Names", "One GLB that has VRM 1.0's expressions as well", "GLTF", "Y", 1.0, "INSIDE", True),
    Preset("USD", "USD", "Crate file with blend shapes, in metres, Z up", "USD", "Z", 1.0, "BESIDE"),
)
BY_NAME = {preset.name: preset for preset in PRESETS}

LIMITS: dict[Format, str] = {
    "FBX": "FBX leaves out subsurface scattering; what becomes of roughness and specular depends on the program",
    "GLTF": "glTF leaves out subsurface scattering and coats",
    "USD": "USD leaves out subsurface scattering, coats and specular maps",
}
"""What Blender's exporters leave out without a word."""


def ending(preset: Preset, textures: Textures) -> str:
    """Of the main file, with its dot."""
    if preset.format == "FBX":
        return ".fbx"
    inside = textures == "INSIDE"
    if preset.format == "USD":
        return ".usdz" if inside else ".usdc"
    return ".glb" if inside else ".gltf"
