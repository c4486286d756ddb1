# SPDX-License-Identifier: GPL-3.0-or-later
"""A head's materials as every exporter understands them: one Principled BSDF, each input a value or a picture.

Exporters follow a picture that is plugged in directly, and lose what lies behind mixes, drivers or a second shader. The
pictures become files, so that all formats find them in the same way.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from .. import colour_space
from .errors import ExportError
from .presets import Format

ALPHA_CLIP, ALPHA_BLEND = "clip", "blend"
# Kind of map -> the input of the Principled BSDF.
_SOCKETS = {"albedo": "Base Color", "roughness": "Roughness", "specular": "Specular IOR Level", "normal": "Normal"}
_MAIN = "albedo"
_SHEEN = ("Sheen Weight", "Sheen Roughness")  # of hair, whose tint is its albedo
_GLTF_SPECULAR = 2.0
# Nodes that change a picture, and that our materials are made without.
_RECOLOURING = {
    f"ShaderNode{name}"
    for name in ("HueSaturation", "BrightContrast", "Gamma", "Invert", "RGBCurve", "ValToRGB", "MixRGB")
}
_SHARP = ("ROUND", "GREATER_THAN", "LESS_THAN")
_PNG = b"\x89PNG"


@dataclass(frozen=True)
class Look:
    """What a material says in an export: kind of map -> picture, input -> value where there is none; alpha: "opaque",
    "clip" or "blend"."""

    maps: dict[str, Any]
    values: dict[str, Any]
    alpha: str


def look_of(given: Any) -> Look:
    """What there is of a material, whatever nodes it has. One without a Principled BSDF has its viewport colour."""
    shader = _shader(given)
    if shader is None:
        return Look({}, {"Base Color": tuple(given.diffuse_color) if given else (0.8, 0.8, 0.8, 1.0)}, "opaque")
    maps, values = {}, {}
    coated = shader.inputs["Coat Weight"].default_value > 0
    for kind, name in _SOCKETS.items():
        if kind == "normal" and coated:
            continue  # of what lies under the coat, which the formats have not
        socket = shader.inputs[name]
        image = _image_behind(socket, kind)
        if image is not None:
            maps[kind] = image
        elif kind != "normal":
            value = socket.default_value
            values[name] = tuple(value) if kind == _MAIN else float(value)
    if _MAIN in maps and shader.inputs[_SHEEN[0]].default_value > 0 and shader.inputs["Sheen Tint"].is_linked:
        values |= {name: float(shader.inputs[name].default_value) for name in _SHEEN}
    if _image_behind(shader.inputs["Alpha"], _MAIN) is None:
        return Look(maps, values, "opaque")
    maths = [node.operation for node in _upstream(shader.inputs["Alpha"]) if node.type == "MATH"]
    return Look(maps, values, ALPHA_CLIP if any(one in _SHARP for one in maths) else ALPHA_BLEND)


def plain(given: Any, name: str, folder: Path, format: Format) -> Any:
    """A new material called ``name`` that says what ``given`` says, its pictures written into ``folder``.

    In FBX the alpha is a picture of its own, of which some programs read the grey and some the alpha. Else what is
    there or not is cut by a node that rounds, by which the exporters of glTF and USD tell it from what is half there.
    glTF's specular is an alpha, and 1 where Blender's is 0.5 (KHR_materials_specular); its exporter leaves both to us.
    """
    look = look_of(given)
    made = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0):
        made.use_nodes = True
    tree = made.node_tree
    tree.nodes.clear()
    output, shader = tree.nodes.new("ShaderNodeOutputMaterial"), tree.nodes.new("ShaderNodeBsdfPrincipled")
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    for socket, value in look.values.items():
        shader.inputs[socket].default_value = value
    for kind, image in look.maps.items():
        node = tree.nodes.new("ShaderNodeTexImage")
        file, in_alpha = folder / f"{name}_{kind}.png", kind == "specular" and format == "GLTF"
        node.image = _grey_and_alpha(image, 0, _GLTF_SPECULAR, file) if in_alpha else _written(image, file)
        colour = node.outputs["Alpha" if in_alpha else "Color"]
        if kind == "normal":
            turn = tree.nodes.new("ShaderNodeNormalMap")
            tree.links.new(colour, turn.inputs["Color"])
            colour = turn.outputs["Normal"]
        tree.links.new(colour, shader.inputs[_SOCKETS[kind]])
        if kind == _MAIN and _SHEEN[0] in look.values:
            tree.links.new(colour, shader.inputs["Sheen Tint"])
        if kind == _MAIN and look.alpha != "opaque":
            clear = node.outputs["Alpha"]
            if format == "FBX":
                cover = tree.nodes.new("ShaderNodeTexImage")
                cover.image = _grey_and_alpha(node.image, 3, 1.0, folder / f"{name}_opacity.png")
                clear = cover.outputs["Alpha"]
            elif look.alpha == ALPHA_CLIP:
                cut = tree.nodes.new("ShaderNodeMath")
                cut.operation = "ROUND"
                tree.links.new(clear, cut.inputs[0])
                clear = cut.outputs[0]
            tree.links.new(clear, shader.inputs["Alpha"])
    # Hair, lashes and films are seen from both sides; a closed skin is not.
    made.use_backface_culling = look.alpha == "opaque"
    made.surface_render_method = "BLENDED" if look.alpha == ALPHA_BLEND else "DITHERED"
    if given is not None:
        made.diffuse_color = given.diffuse_color
    return made


def own_albedo(given: Any) -> bool:
    """The material's colour changes with an expression, which stays in Blender."""
    shader = _shader(given)
    links: Any = shader.inputs["Base Color"].links if shader is not None else ()
    return bool(links) and links[0].from_node.type == "MIX"


def is_recoloured(given: Any) -> bool:
    """Nodes of the user's lie between a picture and the shader, which stay in Blender."""
    shader = _shader(given)
    sockets = [shader.inputs[name] for name in (*_SOCKETS.values(), "Alpha")] if shader is not None else []
    return any(node.bl_idname in _RECOLOURING for socket in sockets for node in _upstream(socket))


def _shader(given: Any) -> Any:
    tree = given.node_tree if given is not None else None
    nodes = tree.nodes if tree is not None else ()
    return next((node for node in nodes if node.type == "BSDF_PRINCIPLED"), None)


def _image_behind(socket: Any, kind: str) -> Any:
    """The picture that a socket's value comes from: the node that has the kind's name, or else the nearest one."""
    nodes = _upstream(socket)
    pictures = [node for node in nodes if node.type == "TEX_IMAGE" and node.image is not None]
    named = [node for node in pictures if node.name == kind]
    best = named or pictures
    return best[0].image if best else None


def _upstream(socket: Any) -> list[Any]:
    """Nodes behind a socket, the nearest first, the sides of a mix in the order of its inputs, groups looked into."""
    found: list[Any] = []
    waiting = list(socket.links)
    while waiting:
        link = waiting.pop(0)
        node = link.from_node
        if node in found:
            continue
        found.append(node)
        if node.type == "GROUP" and node.node_tree is not None:
            ends = [one for one in node.node_tree.nodes if one.type == "GROUP_OUTPUT"]
            same = link.from_socket.identifier
            waiting += [each for end in ends for put in end.inputs if put.identifier == same for each in put.links]
        waiting += [each for put in node.inputs for each in put.links]
    return found


def _written(image: Any, file: Path) -> Any:
    """A new image of the file, into which ``image`` was written as it is: its PNG where it is one, else its pixels."""
    file.parent.mkdir(parents=True, exist_ok=True)
    packed = bytes(image.packed_file.data) if image.packed_file is not None and not image.is_dirty else b""
    if packed.startswith(_PNG):
        file.write_bytes(packed)
    else:
        _save_as_it_is(image, file)
    made = bpy.data.images.load(str(file), check_existing=False)
    made.name = file.stem
    made.colorspace_settings.name = image.colorspace_settings.name
    return made


def _grey_and_alpha(image: Any, channel: int, factor: float, file: Path) -> Any:
    """A new image of the file: a channel of a picture times a factor, at most 1, as grey and as alpha."""
    grey = np.repeat(np.minimum(factor * _pixels(image)[channel::4], 1.0), 4)
    made = bpy.data.images.new(file.stem, *image.size, alpha=True)
    colour_space.set_data(made)
    _save(made, grey.astype(np.float32), file)
    loaded = bpy.data.images.load(str(file), check_existing=False)
    loaded.name = file.stem
    colour_space.set_data(loaded)
    return loaded


def _save_as_it_is(image: Any, file: Path) -> None:
    """A copy of the image would not have what is painted on it and not saved yet."""
    if not image.size[0]:
        where = f" at {image.filepath}" if image.filepath else ""
        raise ExportError(
            "E_EXPORT_PICTURE",
            f"The picture {image.name}{where} cannot be read.",
            "Find it again (File > External Data), or take it out of the material.",
        )
    alpha = image.depth in (32, 128)
    made = bpy.data.images.new(file.stem, *image.size, alpha=alpha, float_buffer=image.is_float)
    made.colorspace_settings.name, made.alpha_mode = image.colorspace_settings.name, image.alpha_mode
    _save(made, _pixels(image), file)


def _pixels(image: Any) -> NDArray[np.float32]:
    flat = np.empty(4 * image.size[0] * image.size[1], np.float32)
    image.pixels.foreach_get(flat)
    return flat


def _save(made: Any, pixels: NDArray[np.float32], file: Path) -> None:
    """Write pixels as the PNG of an image that goes afterwards."""
    try:
        made.pixels.foreach_set(pixels)
        made.filepath_raw, made.file_format = str(file), "PNG"
        made.save()
    finally:
        bpy.data.images.remove(made)
