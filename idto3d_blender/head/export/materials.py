# SPDX-License-Identifier: GPL-3.0-or-later
"""A head's materials as every exporter understands them: one Principled BSDF, each input a value or a picture.

Exporters follow a picture that is plugged in directly, and lose what lies behind mixes, drivers or a second shader. The
pictures become files, so that all formats find them in the same way.
"""

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from .. import colour_space, mesh_data
from .errors import ExportError
from .looks import ALPHA_BLEND, ALPHA_CLIP, CLEAR, MAIN, SHEEN, SOCKETS, Look
from .presets import Format

_GLTF_SPECULAR = 2.0
_PNG = b"\x89PNG"


def plain(look: Look, given: Any, name: str, folder: Path, format: Format) -> Any:
    """A new material called ``name`` that says what the look of ``given`` is, its pictures written into ``folder``.

    In FBX the alpha is a picture of its own, of which some programs read the grey and some the alpha. Else what is
    there or not is cut by a node that rounds, by which the exporters of glTF and USD tell it from what is half there.
    glTF's specular is an alpha, and 1 where Blender's is 0.5 (KHR_materials_specular); its exporter leaves both to us.
    """
    made = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0):
        made.use_nodes = True
    tree = made.node_tree
    tree.nodes.clear()
    output, shader = tree.nodes.new("ShaderNodeOutputMaterial"), tree.nodes.new("ShaderNodeBsdfPrincipled")
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    for socket, value in look.values.items():
        shader.inputs[socket].default_value = value
    colours = {}
    for kind, image in look.maps.items():
        if kind == CLEAR and format != "GLTF":
            continue
        node = tree.nodes.new("ShaderNodeTexImage")
        file, in_alpha = folder / f"{name}_{kind}.png", kind == "specular" and format == "GLTF"
        if in_alpha or kind in look.channels:
            factor = _GLTF_SPECULAR if in_alpha else 1.0
            node.image = _grey_and_alpha(image, look.channels.get(kind, 0), factor, file)
        else:
            node.image = _written(image, file)
        colour = node.outputs["Alpha" if in_alpha else "Color"]
        if kind == "normal":
            turn = tree.nodes.new("ShaderNodeNormalMap")
            turn.inputs["Strength"].default_value = look.strength
            tree.links.new(colour, turn.inputs["Color"])
            colour = turn.outputs["Normal"]
        tree.links.new(colour, shader.inputs[SOCKETS[kind]])
        if kind == MAIN and SHEEN[0] in look.values:
            tree.links.new(colour, shader.inputs["Sheen Tint"])
        colours[kind] = node
    if look.cover is not None:
        tree.links.new(
            _clear(tree, look, colours.get(MAIN), folder / f"{name}_opacity.png", format), shader.inputs["Alpha"]
        )
    # Hair, lashes and films are seen from both sides; a closed skin is not.
    made.use_backface_culling = look.alpha == "opaque"
    made.surface_render_method = "BLENDED" if look.alpha == ALPHA_BLEND else "DITHERED"
    if given is not None:
        made.diffuse_color = given.diffuse_color
    return made


def _clear(tree: Any, look: Look, colours: Any, file: Path, format: Format) -> Any:
    """The output that says what is there, 0..1. colours: the node of the albedo, or None."""
    image, channel = look.cover or (None, 0)
    if format != "FBX" and channel == 3 and colours is not None and image == look.maps[MAIN]:
        clear = colours.outputs["Alpha"]
    else:
        cover = tree.nodes.new("ShaderNodeTexImage")
        cover.image = _grey_and_alpha(image, channel, 1.0, file)
        clear = cover.outputs["Alpha"]
    if format == "FBX" or look.alpha != ALPHA_CLIP:
        return clear
    cut = tree.nodes.new("ShaderNodeMath")
    cut.operation = "ROUND"
    tree.links.new(clear, cut.inputs[0])
    return cut.outputs[0]


def put_uv(mesh: Any, slot: int, matrix: Matrix) -> None:
    """Move the places in the pictures of a material's faces: not all formats can move pictures."""
    layer = mesh_data.uv_layer(mesh)
    if layer is None or matrix == Matrix():
        return
    uv, count = mesh_data.uv_of(mesh), mesh_data.corners(mesh)[1]
    mine = np.repeat(np.minimum(mesh_data.slots(mesh), len(mesh.materials) - 1) == slot, count)
    turn = np.array(matrix, np.float32)
    uv[mine] = uv[mine] @ turn[:2, :2].T + turn[:2, 3]
    # By the attribute, see densities._weld.
    mesh.attributes[layer.name].data.foreach_set("vector", uv.reshape(-1))


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
