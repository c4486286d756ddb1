# SPDX-License-Identifier: GPL-3.0-or-later
"""The materials of a bundle, each as a Principled BSDF."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import bpy

from . import colour_space, naming, room, strands, wrinkles
from .bundle import SKIN, BundleError, Fade, MaterialHeader
from .parts import PAUSE, Parts
from .prepare import Prepared

# What Principled BSDF has of its own for a material of this name, in metres where it is a length.
# Light scatters some millimetres under skin, red the farthest. Little of it: brows and stubble are painted on.
_FLESH = {"Subsurface Weight": 0.12, "Subsurface Scale": 0.004, "Subsurface Radius": (1.0, 0.35, 0.2)}
_WET = {"Coat Weight": 0.6, "Coat Roughness": 0.06, "Coat IOR": 1.33}
_LOOKS: dict[str, dict[str, Any]] = {
    **dict.fromkeys((SKIN, "head"), _FLESH),
    # Spit lies on gums, tongue and teeth; enamel lets light in less far than flesh, and of all colours.
    "mouth": {**_FLESH, **_WET, "Coat Roughness": 0.15},
    "teeth": {**_WET, "Subsurface Weight": 0.15, "Subsurface Scale": 0.001, "Subsurface Radius": (1.0, 0.9, 0.8)},
    # The cornea, with the ball's own normals.
    "eyes": {"Coat Weight": 1.0, "Coat Roughness": 0.03, "Coat IOR": 1.376},
    # Strands hang down: their highlight is a band around the head, as Blender's own tangent runs.
    "hair": {"Anisotropic": 0.6},
}
# Under a coat: what has no gloss of its own, whatever programs without coats are told.
_UNDER_COAT = {"Roughness": 0.7, "Specular IOR Level": 0.0}
_SPECULAR = 0.5  # of a surface in full light
_BLANK = ("seen",)  # maps that are no part of how it looks
_LENGTH = "Subsurface Scale"
_METRE = "idto3d_metre"  # of a material: the metre, in units of a scene, that its lengths count in


def add_materials(parts: Parts, prepared: Prepared) -> Generator[Any, None, None]:
    """Steps that make a node material for each of the bundle's, with its maps packed, and give them to
    ``parts.get("mesh")`` in their order.

    An expression that has its own albedo is mixed in by its shape key's value, through a driver on the mesh's keys; so
    are the skin's wrinkle maps.
    """
    for given in prepared.head.materials:
        yield from _material(parts, prepared, given)
        parts.get("mesh").materials.append(parts.get(given.name))
        yield


def principled(tree: Any) -> Any:
    """The tree's Principled BSDF."""
    return next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")


def base_colour_socket(material: Any) -> Any:
    """The output socket that feeds the Principled BSDF's base colour."""
    return principled(material.node_tree).inputs["Base Color"].links[0].from_socket


def alpha_socket(material: Any) -> Any:
    """The output socket that feeds the Principled BSDF's alpha, or None where nothing can be seen through."""
    links = principled(material.node_tree).inputs["Alpha"].links
    return links[0].from_socket if links else None


def count_in(material: Any, metre: float, before: float) -> None:
    """Let the lengths of a material count in scenes whose metre is of so many units. before: what they count in so far,
    where the material, of an earlier release, does not say: heads may share it, of which each is made life-size."""
    for node in material.node_tree.nodes:
        if node.type == "BSDF_PRINCIPLED":
            node.inputs[_LENGTH].default_value *= metre / material.get(_METRE, before)
    material[_METRE] = metre


def in_metres(material: Any, socket: Any) -> Any:
    """The value of a node's input, whatever scenes its material counts for."""
    value = socket.default_value
    return round(value / material.get(_METRE, 1.0), 6) if socket.identifier == _LENGTH else value


def linear(value: float) -> float:
    """An sRGB value 0..1 as Blender counts light."""
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def _material(parts: Parts, prepared: Prepared, given: MaterialHeader) -> Generator[Any, None, None]:
    material = parts.add(given.name, "materials", bpy.data.materials.new(f"{prepared.name} {given.name}"))
    material[naming.ROLE] = given.name
    # Always on from Blender 5.0 on, where the property will go.
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    output.location = (320, 0)
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    for socket, value in _LOOKS.get(given.name, {}).items():
        shader.inputs[socket].default_value = value
    count_in(material, room.metre(bpy.context.scene), 1.0)
    if given.colour is not None:
        # What Solid viewports show of it, where they show no pictures.
        *colour, alpha = given.colour
        material.diffuse_color = (*map(linear, colour), alpha)
    yield
    files = {kind: file for kind, file in given.maps.items() if kind not in _BLANK}
    for kind, file in files.items():
        _load_packed(parts, prepared, f"{given.name}_{kind}", file)
        yield
    fades = prepared.head.fades if given.name == SKIN else ()
    if fades:
        yield PAUSE
    material = parts.get(given.name)
    images = {kind: parts.get(f"{given.name}_{kind}") for kind in files}
    _link_maps(material, images, fades, parts.get("mesh").shape_keys)
    shader = principled(material.node_tree)
    for value, socket in ((given.roughness, "Roughness"), (given.specular, "Specular IOR Level")):
        if value is not None:
            shader.inputs[socket].default_value = value
    if shader.inputs["Normal"].is_linked and shader.inputs["Coat Weight"].default_value > 0:
        _dull_under_coat(material.node_tree)
    _link_alpha(material, given.alpha)
    if given.name == strands.SHELL:
        strands.scatter(material.node_tree, shader)
    # What Solid viewports show that show textures, and what texture painting begins with.
    material.node_tree.nodes.active = material.node_tree.nodes["albedo"]
    yield


def _link_maps(material: Any, images: Mapping[str, Any], fades: Sequence[Fade], shape_keys: Any) -> None:
    tree = material.node_tree
    shader = principled(tree)
    colour = _image_node(tree, images["albedo"], "albedo", (-700, 300)).outputs["Color"]
    own = [kind for kind in images if kind.startswith("albedo_")]
    for row, kind in enumerate(own):
        node = _image_node(tree, images[kind], kind, (-1000, 300 - 320 * (row + 1)))
        colour = _mix(tree, colour, node.outputs["Color"], shape_keys, kind.removeprefix("albedo_"))
    for kind, socket, height in (("roughness", "Roughness", 0), ("specular", "Specular IOR Level", -300)):
        if kind in images:
            node = _image_node(tree, images[kind], kind, (-700, height))
            tree.links.new(node.outputs["Color"], shader.inputs[socket])
    if "specular" in images and shader.inputs["Coat Weight"].default_value > 0:
        _coat_as_specular(tree)
    if "normal" in images:
        normal = _image_node(tree, images["normal"], "normal", (-700, -600)).outputs["Color"]
        colour, normal = wrinkles.add(tree, images, fades, shape_keys, colour, normal)
        turn = tree.nodes.new("ShaderNodeNormalMap")
        turn.location = (-200, -600)
        tree.links.new(normal, turn.inputs["Color"])
        tree.links.new(turn.outputs["Normal"], shader.inputs["Normal"])
    tree.links.new(colour, shader.inputs["Base Color"])


def _coat_as_specular(tree: Any) -> None:
    """The throat gets no light: a lamp that shone on its spit was a grey patch in an open mouth."""
    coat = principled(tree).inputs["Coat Weight"]
    node = tree.nodes.new("ShaderNodeMath")
    node.operation = "MULTIPLY"
    node.inputs[1].default_value = coat.default_value / _SPECULAR
    node.location = (-360, -300)
    tree.links.new(tree.nodes["specular"].outputs["Color"], node.inputs[0])
    tree.links.new(node.outputs[0], coat)


def _dull_under_coat(tree: Any) -> None:
    for row, (socket, value) in enumerate(_UNDER_COAT.items()):
        node = tree.nodes.new("ShaderNodeValue")
        node.outputs[0].default_value = value
        node.location = (-360, -120 * (row + 1))
        tree.links.new(node.outputs[0], principled(tree).inputs[socket])


def _link_alpha(material: Any, alpha: str) -> None:
    """What Cycles and EEVEE see through, and how EEVEE draws what is behind. Hair ("clip") runs out softly, strand by
    strand; only exports cut it."""
    if alpha == "opaque":
        return
    tree = material.node_tree
    tree.links.new(tree.nodes["albedo"].outputs["Alpha"], principled(tree).inputs["Alpha"])
    material.surface_render_method = "DITHERED" if alpha == "clip" else "BLENDED"
    if alpha == "clip":
        material[naming.CLIPPED] = True


def _load_packed(parts: Parts, prepared: Prepared, name: str, file: str) -> None:
    """An image data-block with the checked PNG packed; nothing is decoded before something shows it."""
    path, data = prepared.head.folder / file, prepared.head.images[file]
    try:
        image = parts.add(name, "images", bpy.data.images.load(str(path), check_existing=False))
    except RuntimeError as error:
        raise BundleError("E_BUNDLE_MAP", f"Blender cannot read {path.name}.") from error
    image.name = f"{prepared.name} {name}"
    image[naming.ROLE] = name
    parts.add(name, "images", image)
    # Before packing: a change of the colour space reloads from the file.
    if "_albedo" in name:
        colour_space.set_colours(image)
    else:
        colour_space.set_data(image)
    if "_wrinkles" in name:
        image.alpha_mode = "CHANNEL_PACKED"  # a fourth number, not something to see through
    image.pack(data=data, data_len=len(data))
    # A saved file does not tell where on a person's disk the bundle lay. The raw path does not reload.
    image.filepath_raw = f"//{path.name}"


def _image_node(tree: Any, image: Any, name: str, location: tuple[int, int]) -> Any:
    node = tree.nodes.new("ShaderNodeTexImage")
    node.name = node.label = name
    node.image = image
    node.location = location
    return node


def _mix(tree: Any, base: Any, own: Any, shape_keys: Any, name: str) -> Any:
    node = tree.nodes.new("ShaderNodeMix")
    node.data_type = "RGBA"
    node.label = name
    # The node has a socket for each data type under one name; the identifier is unique.
    inputs = {socket.identifier: socket for socket in node.inputs}
    tree.links.new(base, inputs["A_Color"])
    tree.links.new(own, inputs["B_Color"])
    driver = inputs["Factor_Float"].driver_add("default_value").driver
    driver.type = "AVERAGE"
    variable = driver.variables.new()
    variable.targets[0].id_type = "KEY"
    variable.targets[0].id = shape_keys
    variable.targets[0].data_path = f'key_blocks["{name}"].value'
    return next(socket for socket in node.outputs if socket.identifier == "Result_Color")
