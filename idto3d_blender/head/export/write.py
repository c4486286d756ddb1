# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls Blender's exporters with a preset's options, and adds licence and consent to the files."""

import importlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy

from .presets import Preset, Textures, ending

OPERATORS = {"GLTF": "EXPORT_SCENE_OT_gltf", "FBX": "EXPORT_SCENE_OT_fbx"}
_ADDONS = {"GLTF": "glTF 2.0 format", "FBX": "FBX format"}
TEXTURES = "textures"
_ROW = 12  # bytes of a row of a morph target: three floats
_VERTICES = 34962  # ARRAY_BUFFER
# Blender's name of the axis that is "forward" for who looks the head in the face, with each axis up.
_FORWARD = {"Y": "-Z", "Z": "Y"}


def unavailable(preset: Preset) -> str:
    """Why this Blender cannot write the preset's format now, as a sentence; empty when it can."""
    if preset.format in OPERATORS and not hasattr(bpy.types, OPERATORS[preset.format]):
        return f"Switch on the add-on {_ADDONS[preset.format]} in the preferences"
    if preset.format == "USD" and not bpy.app.build_options.usd:
        return "This Blender was built without USD"
    return ""


def write(file: Path, preset: Preset, textures: Textures, notes: Mapping[str, str], moving: bool) -> None:
    """Write what is selected in the window's scene; moving: with its animation. Raises RuntimeError as operators do,
    and OSError."""
    if preset.format == "FBX":
        _fbx(file, preset, textures, moving)
    elif preset.format == "USD":
        _usd(file)
        _note_in_usd(file, notes)
    else:
        _gltf(file, textures, notes, moving)
        _complete_gltf(file, notes, preset.name == "GODOT")


def main_file(folder: Path, name: str, preset: Preset, textures: Textures) -> Path:
    """Where ``write`` is to write."""
    return folder / f"{name}{ending(preset, textures)}"


def _gltf(file: Path, textures: Textures, notes: Mapping[str, str], moving: bool) -> None:
    bpy.ops.export_scene.gltf(
        filepath=str(file),
        export_format="GLB" if textures == "INSIDE" else "GLTF_SEPARATE",
        export_texture_dir="" if textures == "INSIDE" else TEXTURES,
        export_copyright=notes.get("licence", ""),
        export_extras=True,
        use_selection=True,
        use_active_scene=True,
        export_morph=True,
        export_morph_normal=True,
        export_animations=moving,
        export_animation_mode="ACTIVE_ACTIONS",
        # Or else Blender before 4.4 adds what other actions of the file do to armatures.
        export_anim_single_armature=False,
        export_frame_range=True,
        # A take that begins at frame 500 begins at once.
        export_anim_slide_to_zero=True,
        export_def_bones=True,
        export_yup=True,
    )


def _fbx(file: Path, preset: Preset, textures: Textures, moving: bool) -> None:
    bpy.ops.export_scene.fbx(
        filepath=str(file),
        use_selection=True,
        object_types={"MESH", "ARMATURE"},
        axis_up=preset.up,
        axis_forward=_FORWARD[preset.up],
        apply_scale_options="FBX_SCALE_NONE",
        path_mode="COPY" if textures == "INSIDE" else "RELATIVE",
        embed_textures=textures == "INSIDE",
        # Unreal complains of a file without smoothing groups.
        mesh_smooth_type="FACE",
        use_mesh_modifiers=False,
        use_custom_props=True,
        bake_anim=moving,
        bake_anim_use_nla_strips=False,
        bake_anim_use_all_actions=False,
        use_armature_deform_only=True,
        add_leaf_bones=False,
    )
    # It says where pictures lie on this disk, too: in a folder that will be gone, and that is nobody's business.
    folder = os.path.normpath(os.path.abspath(file.parent)).encode("utf-8")
    here = b"." + b"/" * (len(folder) - 1)  # as long: the format counts bytes
    file.write_bytes(file.read_bytes().replace(folder, here))


def _usd(file: Path) -> None:
    options: dict[str, Any] = {"export_textures_mode": "NEW"}
    if bpy.app.version < (4, 5):
        options = {"export_textures": True, "overwrite_textures": True}
    bpy.ops.wm.usd_export(
        filepath=str(file),
        selected_objects_only=True,
        export_animation=False,
        export_shapekeys=True,
        export_armatures=True,
        only_deform_bones=True,
        export_materials=True,
        generate_preview_surface=True,
        export_custom_properties=True,
        **options,
    )


def _note_in_usd(file: Path, notes: Mapping[str, str]) -> None:
    """customLayerData, where this Blender has USD's Python (not all builds do); the root object has it in any case."""
    if file.suffix != ".usdc":
        return
    try:
        sdf = importlib.import_module("pxr.Sdf")
    except ImportError:
        return
    layer = sdf.Layer.FindOrOpen(str(file))
    layer.customLayerData = {**layer.customLayerData, **notes}
    layer.Save()


def _complete_gltf(file: Path, notes: Mapping[str, str], zeros: bool) -> None:
    """What the exporter has no option for: asset.extras, the animation's name; zeros: see `_zeros_below`."""
    content, data = _gltf_parts(file)
    content["asset"]["extras"] = {**content["asset"].get("extras", {}), **notes}
    for animation in content.get("animations", ()):
        animation["name"] = bpy.context.scene.name
    data += bytes(-len(data) % 4)
    if zeros:
        data += _zeros_below(content, len(data))
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    if file.suffix == ".gltf":
        file.write_bytes(text)
        (file.parent / content["buffers"][0]["uri"]).write_bytes(data)
        return
    text += b" " * (-len(text) % 4)
    with file.open("wb") as stream:
        stream.write(struct.pack("<4sIII4s", b"glTF", 2, 28 + len(text) + len(data), len(text), b"JSON") + text)
        stream.write(struct.pack("<I4s", len(data), b"BIN\0"))
        stream.write(data)


def _zeros_below(content: dict[str, Any], start: int) -> bytes:
    """Zeros that are to be appended to the one buffer, which has ``start`` bytes: all accessors without a buffer view,
    which are morph targets, get one with them.

    The specification has zeros there anyway, but Godot before 4.1 reads the first buffer view
    (https://github.com/godotengine/godot/pull/76875). For Godot alone: Babylon.js (9.35) writes the targets' values
    into a buffer view that they share.
    """
    bare = [accessor for accessor in content["accessors"] if "bufferView" not in accessor]
    zeros = bytes(_ROW * max((accessor["count"] for accessor in bare), default=0))
    if zeros:
        view = {"buffer": 0, "byteOffset": start, "byteLength": len(zeros), "byteStride": _ROW, "target": _VERTICES}
        content["bufferViews"].append(view)
        content["buffers"][0]["byteLength"] = start + len(zeros)
    for accessor in bare:
        accessor["bufferView"] = len(content["bufferViews"]) - 1
    return zeros


def _gltf_parts(file: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON of a .gltf or .glb, and its one buffer."""
    data = file.read_bytes()
    if file.suffix == ".gltf":
        content = json.loads(data)
        return content, (file.parent / content["buffers"][0]["uri"]).read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length]), data[28 + length :]
