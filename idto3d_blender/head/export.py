# SPDX-License-Identifier: GPL-3.0-or-later
"""A head for other programs: glTF, FBX and USD, with its shape keys and maps.

What a format cannot carry is left out by Blender's exporters without a word; `LIMITS` says it for them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy

from . import material
from .import_head import PROPERTY

ENDINGS = {"GLTF": ".glb", "FBX": ".fbx", "USD": ".usdc"}
_OPERATORS = {"GLTF": "EXPORT_SCENE_OT_gltf", "FBX": "EXPORT_SCENE_OT_fbx"}
_ADDONS = {"GLTF": "glTF 2.0 format", "FBX": "FBX format"}
LIMITS = {
    "GLTF": "no subsurface scattering",
    "FBX": "no subsurface scattering; roughness and specular depend on the program that reads it",
    "USD": "no subsurface scattering, no specular map",
}


class ExportError(Exception):
    """An export that did not work: a stable code and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code


def unavailable(kind: str) -> str:
    """Why this Blender cannot write the format now, as a sentence; empty when it can."""
    if kind in _OPERATORS and not hasattr(bpy.types, _OPERATORS[kind]):
        return f"Switch on the add-on {_ADDONS[kind]} in the preferences"
    if kind == "USD" and not bpy.app.build_options.usd:
        return "This Blender was built without USD"
    return ""


def export(context: Any, obj: Any, folder: Path, kinds: list[str]) -> dict[str, Path]:
    """Write ``obj`` in each of ``kinds`` ("GLTF", "FBX", "USD") into ``folder``; returns the files.

    The pose is the neutral one, whatever the sliders say. An export is written aside and moved to its place when it is
    whole. Raises ExportError.
    """
    writers: dict[str, Callable[[Path], None]] = {"GLTF": _gltf, "FBX": _fbx, "USD": _usd}
    files = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_selected(context, obj), _neutral(obj), _plain_colours(obj):
            for kind in kinds:
                if reason := unavailable(kind):
                    raise ExportError("E_EXPORT_ADDON", f"{reason}.")
                name = _file_name(obj.name)
                # USD puts the maps beside the file, under names that another head's maps have, too.
                parent = folder / f"{name}_usd" if kind == "USD" else folder
                parent.mkdir(exist_ok=True)
                files[kind] = parent / f"{name}{ENDINGS[kind]}"
                # glTF knows what is there or not from what is half there; to the others only a picture is plain.
                with contextlib.nullcontext() if kind == "GLTF" else _plain_alphas(obj):
                    _write_whole(writers[kind], files[kind])
    except OSError as error:
        raise ExportError("E_EXPORT_WRITE", f"{folder.name} cannot be written: {error.strerror}.") from error
    except RuntimeError as error:
        raise ExportError("E_EXPORT", str(error).strip()) from error
    return files


def limits(obj: Any, kinds: list[str]) -> list[str]:
    """What the formats leave out of this head, a sentence for each."""
    lines = [f"{kind}: {LIMITS[kind]}" for kind in kinds]
    if any(_own_albedo(tree) for tree in _trees(obj)):
        lines.append("An expression's own skin colour stays in Blender")
    return lines


def _file_name(name: str) -> str:
    return bpy.path.clean_name(name) or "head"


def _write_whole(write: Callable[[Path], None], file: Path) -> None:
    temporary = file.with_name(f".{file.stem}.part{file.suffix}")
    try:
        write(temporary)
        if not temporary.is_file():
            raise ExportError("E_EXPORT", f"Blender did not write {file.name}.")
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _gltf(file: Path) -> None:
    bpy.ops.export_scene.gltf(
        filepath=str(file),
        export_format="GLB",
        use_selection=True,
        export_morph=True,
        export_morph_normal=True,
        export_animations=False,
        export_yup=True,
    )


def _fbx(file: Path) -> None:
    bpy.ops.export_scene.fbx(
        filepath=str(file),
        use_selection=True,
        object_types={"MESH"},
        path_mode="COPY",
        embed_textures=True,
        mesh_smooth_type="OFF",
        bake_anim=False,
        add_leaf_bones=False,
    )


def _usd(file: Path) -> None:
    options: dict[str, Any] = {"export_textures_mode": "NEW"}
    if bpy.app.version < (4, 5):
        options = {"export_textures": True, "overwrite_textures": True}
    bpy.ops.wm.usd_export(
        filepath=str(file),
        selected_objects_only=True,
        export_animation=False,
        export_shapekeys=True,
        export_materials=True,
        generate_preview_surface=True,
        **options,
    )


@contextlib.contextmanager
def _only_selected(context: Any, obj: Any) -> Iterator[None]:
    layer = context.view_layer
    selected, active = list(context.selected_objects), layer.objects.active
    for other in selected:
        other.select_set(False)
    obj.select_set(True)
    layer.objects.active = obj
    try:
        yield
    finally:
        obj.select_set(False)
        for other in selected:
            other.select_set(True)
        layer.objects.active = active


@contextlib.contextmanager
def _neutral(obj: Any) -> Iterator[None]:
    """All keys at 0, and not moved from there by an animation while the exporter evaluates the scene."""
    keys = obj.data.shape_keys
    blocks, moving = keys.key_blocks[1:], keys.animation_data
    values = [key.value for key in blocks]
    action = moving.action if moving is not None else None
    slot = getattr(moving, "action_slot", None)  # since 4.4
    if action is not None:
        moving.action = None
    for key in blocks:
        key.value = 0.0
    try:
        yield
    finally:
        for key, value in zip(blocks, values, strict=True):
            key.value = value
        if action is not None:
            moving.action = action
        if slot is not None:
            moving.action_slot = slot


@contextlib.contextmanager
def _plain_colours(obj: Any) -> Iterator[None]:
    """Exporters follow a picture that is plugged in directly, not one behind mixes that drivers control."""
    trees = [tree for tree in _trees(obj) if _own_albedo(tree)]
    with _plugged([(tree, "Base Color", "Color") for tree in trees]):
        yield


@contextlib.contextmanager
def _plain_alphas(obj: Any) -> Iterator[None]:
    trees = [tree for tree in _trees(obj) if _linked_to(tree, "Alpha", "MATH")]
    with _plugged([(tree, "Alpha", "Alpha") for tree in trees]):
        yield


@contextlib.contextmanager
def _plugged(wanted: list[tuple[Any, str, str]]) -> Iterator[None]:
    """(tree, input of its shader, output of its albedo that is plugged in there meanwhile)."""
    changed = []
    for tree, name, output in wanted:
        socket = material.principled(tree).inputs[name]
        changed.append((tree, socket, socket.links[0].from_socket))
        tree.links.new(tree.nodes["albedo"].outputs[output], socket)
    try:
        yield
    finally:
        for tree, socket, before in changed:
            tree.links.new(before, socket)


def _trees(obj: Any) -> list[Any]:
    """The node trees of a head's own materials."""
    if PROPERTY not in obj:
        return []
    trees = [slot.material.node_tree for slot in obj.material_slots if slot.material is not None]
    return [tree for tree in trees if tree is not None and "albedo" in tree.nodes]


def _own_albedo(tree: Any) -> bool:
    return _linked_to(tree, "Base Color", "MIX")


def _linked_to(tree: Any, socket: str, kind: str) -> bool:
    shaders = [node for node in tree.nodes if node.type == "BSDF_PRINCIPLED"]
    links: Any = shaders[0].inputs[socket].links if shaders else []
    return bool(links) and links[0].from_node.type == kind
