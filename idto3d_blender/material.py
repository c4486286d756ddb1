# SPDX-License-Identifier: GPL-3.0-or-later
"""The maps of a bundle as a Principled BSDF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from .bundle import BundleError, Head

# Light scatters some millimetres under skin, red the farthest. The weight is small because the albedo also covers hair.
SUBSURFACE_WEIGHT = 0.12
SUBSURFACE_SCALE = 0.004
SUBSURFACE_RADIUS = (1.0, 0.35, 0.2)


def skin_material(head: Head, shape_keys: Any) -> Any:
    """A node material with the three base maps, packed.

    An expression that has its own albedo is mixed in by its shape key's value, through a driver on ``shape_keys``
    (the mesh's Key data-block).
    """
    material = bpy.data.materials.new(f"{head.name} skin")
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

    colour = _image_node(tree, head.maps["albedo"], "albedo", "sRGB", (-700, 300)).outputs["Color"]
    for row, (name, file) in enumerate(head.expression_albedo.items()):
        own = _image_node(tree, file, f"albedo_{name}", "sRGB", (-1000, 300 - 320 * (row + 1)))
        colour = _mix(tree, colour, own.outputs["Color"], shape_keys, name)
    tree.links.new(colour, shader.inputs["Base Color"])
    roughness = _image_node(tree, head.maps["roughness"], "roughness", "Non-Color", (-700, 0))
    tree.links.new(roughness.outputs["Color"], shader.inputs["Roughness"])
    specular = _image_node(tree, head.maps["specular"], "specular", "Non-Color", (-700, -300))
    tree.links.new(specular.outputs["Color"], shader.inputs["Specular IOR Level"])
    return material


def base_colour_socket(material: Any) -> Any:
    """The output socket that feeds the Principled BSDF's base colour."""
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    return shader.inputs["Base Color"].links[0].from_socket


def _image_node(tree: Any, file: Path, name: str, colour_space: str, location: tuple[int, int]) -> Any:
    image = bpy.data.images.load(str(file), check_existing=False)
    if not image.size[0]:
        raise BundleError("E_BUNDLE_MAP", f"Blender cannot read {file.name}.")
    image.name = name
    # Before packing: a change of the colour space reloads from the file.
    image.colorspace_settings.name = colour_space
    image.pack()
    # A saved file does not tell where on a person's disk the bundle lay. The raw path does not reload.
    image.filepath_raw = f"//{file.name}"
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    node.name = node.label = name
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
