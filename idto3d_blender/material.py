# SPDX-License-Identifier: GPL-3.0-or-later
"""The maps of a bundle as a Principled BSDF."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy

from .bundle import BundleError
from .parts import Parts
from .prepare import Prepared

# Light scatters some millimetres under skin, red the farthest. The weight is small because the albedo also covers hair.
SUBSURFACE_WEIGHT = 0.12
SUBSURFACE_SCALE = 0.004
SUBSURFACE_RADIUS = (1.0, 0.35, 0.2)


def skin(parts: Parts, prepared: Prepared) -> Generator[None, None, None]:
    """Steps that make a node material with the three base maps, packed, as ``parts.get("material")``.

    An expression that has its own albedo is mixed in by its shape key's value, through a driver on
    the Key data-block of ``parts.get("mesh")``.
    """
    head = prepared.head
    material = parts.add("material", "materials", bpy.data.materials.new(f"{head.name} skin"))
    # Always on from Blender 5.0 on, where the property will go.
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    output.location = (320, 0)
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    shader.inputs["Subsurface Weight"].default_value = SUBSURFACE_WEIGHT
    shader.inputs["Subsurface Scale"].default_value = SUBSURFACE_SCALE
    shader.inputs["Subsurface Radius"].default_value = SUBSURFACE_RADIUS
    yield
    files = {
        **head.maps,
        **{f"albedo_{name}": file for name, file in head.expression_albedo.items()},
    }
    for name, file in files.items():
        _load_packed(parts, file, name, prepared.images[file])
        yield
    tree = parts.get("material").node_tree
    shader = principled(tree)
    colour = _image_node(tree, parts.get("albedo"), "albedo", (-700, 300)).outputs["Color"]
    for row, name in enumerate(head.expression_albedo):
        own = _image_node(tree, parts.get(f"albedo_{name}"), f"albedo_{name}", (-1000, 300 - 320 * (row + 1)))
        colour = _mix(tree, colour, own.outputs["Color"], parts.get("mesh").shape_keys, name)
    tree.links.new(colour, shader.inputs["Base Color"])
    roughness = _image_node(tree, parts.get("roughness"), "roughness", (-700, 0))
    tree.links.new(roughness.outputs["Color"], shader.inputs["Roughness"])
    specular = _image_node(tree, parts.get("specular"), "specular", (-700, -300))
    tree.links.new(specular.outputs["Color"], shader.inputs["Specular IOR Level"])
    # What Solid viewports show that show textures, and what texture painting begins with.
    tree.nodes.active = tree.nodes["albedo"]
    yield


def principled(tree: Any) -> Any:
    """The tree's Principled BSDF."""
    return next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")


def base_colour_socket(material: Any) -> Any:
    """The output socket that feeds the Principled BSDF's base colour."""
    return principled(material.node_tree).inputs["Base Color"].links[0].from_socket


def _load_packed(parts: Parts, file: Path, name: str, data: bytes) -> None:
    """An image data-block whose PNG ``data`` is packed; nothing is decoded before something shows it."""
    try:
        image = parts.add(name, "images", bpy.data.images.load(str(file), check_existing=False))
    except RuntimeError as error:
        raise BundleError("E_BUNDLE_MAP", f"Blender cannot read {file.name}.") from error
    image.name = name
    parts.add(name, "images", image)
    # Before packing: a change of the colour space reloads from the file.
    image.colorspace_settings.name = "sRGB" if name.startswith("albedo") else "Non-Color"
    image.pack(data=data, data_len=len(data))
    # A saved file does not tell where on a person's disk the bundle lay. The raw path does not reload.
    image.filepath_raw = f"//{file.name}"


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
