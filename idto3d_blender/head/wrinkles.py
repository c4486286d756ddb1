# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines that expressions fold the skin into: nodes that put wrinkle maps over the skin's normals and colour, as much of
each as the drivers of its mask's channels say."""

from collections.abc import Mapping, Sequence
from typing import Any

from .bundle import Fade

STRENGTH = "lines"
"""Name of the node that holds how strong all lines are."""
_FLAT = (128 / 255, 128 / 255, 1.0)  # a normal that leans nowhere, in 8 bits
_CREASE = (0.72, 0.54, 0.47, 1.0)  # the skin at the bottom of a crease, of what it is beside: less light, more blood
_MOST_KEYS = 24  # an expression of a driver holds 255 characters


def is_map(kind: str) -> bool:
    """True for a map of lines, which holds normals; its masks do not."""
    return kind.startswith("wrinkles_") and "_mask" not in kind


def is_crease(mix: Any) -> bool:
    """A mix of colours is one of those that darken the skin in a line."""
    deep = next(socket for socket in mix.inputs if socket.identifier == "B_Color").default_value
    same = all(abs(a - b) < 1e-4 for a, b in zip(deep, _CREASE, strict=True))
    return mix.data_type == "RGBA" and mix.blend_type == "MULTIPLY" and same


def add(tree: Any, images: Mapping[str, Any], fades: Sequence[Fade], shape_keys: Any, colour: Any, normal: Any) -> Any:
    """Nodes between the skin's colours and its normals as a picture gives them (sockets) and its shader. images: of the
    kinds that the fades name. Returns both sockets again, as the lines leave them."""
    if not fades:
        return colour, normal
    strength = tree.nodes.new("ShaderNodeValue")
    strength.name = strength.label = STRENGTH
    strength.outputs[0].default_value = 1.0
    strength.location = (-1500, -700)
    for row, kind in enumerate(dict.fromkeys(fade.map for fade in fades)):
        place = (-1500, -900 - 900 * row)
        picture = tree.nodes.new("ShaderNodeTexImage")
        picture.name = picture.label = kind
        picture.image, picture.location = images[kind], place
        shown = _shown(tree, images, [fade for fade in fades if fade.map == kind], shape_keys, place)
        shown = _math(tree, "MULTIPLY", shown, strength.outputs[0])
        lean = _vector(tree, "SUBTRACT", picture.outputs["Color"], _FLAT)
        # Slopes add up, as heights do; what reads the sum makes it as long as a normal is.
        normal = _vector(tree, "MULTIPLY_ADD", lean, shown, normal)
        deep = _math(tree, "SUBTRACT", 1.0, picture.outputs["Alpha"])
        colour = _darkened(tree, colour, _math(tree, "MULTIPLY", deep, shown))
    return colour, normal


def _shown(tree: Any, images: Mapping[str, Any], fades: Sequence[Fade], shape_keys: Any, place: Any) -> Any:
    """A socket, 0..1: how much of a map is seen at a place."""
    total: Any = 0.0
    for row, kind in enumerate(dict.fromkeys(fade.mask for fade in fades)):
        mask = tree.nodes.new("ShaderNodeTexImage")
        mask.name = mask.label = kind
        mask.image, mask.location = images[kind], (place[0], place[1] - 300 * (row + 1))
        values = tree.nodes.new("ShaderNodeCombineXYZ")
        values.label = kind
        values.location = (place[0] + 200, place[1] - 300 * (row + 1) - 60)
        for fade in fades:
            if fade.mask == kind:
                _drive(values.inputs[fade.channel], fade.gains, shape_keys)
        total = _math(tree, "ADD", total, _vector(tree, "DOT_PRODUCT", mask.outputs["Color"], values.outputs[0]))
    return total


def _drive(socket: Any, gains: Mapping[str, float], shape_keys: Any) -> None:
    """Simple enough for Blender to work out without Python, which a file from elsewhere may not run."""
    driver = socket.driver_add("default_value").driver
    driver.type = "SCRIPTED"
    strongest = sorted(gains, key=lambda name: -gains[name])[:_MOST_KEYS]
    for number, name in enumerate(strongest):
        variable = driver.variables.new()
        variable.name = f"v{number}"
        variable.targets[0].id_type = "KEY"
        variable.targets[0].id = shape_keys
        variable.targets[0].data_path = f'key_blocks["{name}"].value'
    terms = "+".join(f"v{number}*{gains[name]:.2f}" for number, name in enumerate(strongest)) or "0"
    driver.expression = f"min({terms},1)"


def _darkened(tree: Any, colour: Any, share: Any) -> Any:
    node = tree.nodes.new("ShaderNodeMix")
    node.data_type, node.blend_type = "RGBA", "MULTIPLY"
    # A socket for each data type has one name; the identifier is unique.
    inputs = {socket.identifier: socket for socket in node.inputs}
    tree.links.new(share, inputs["Factor_Float"])
    tree.links.new(colour, inputs["A_Color"])
    inputs["B_Color"].default_value = _CREASE
    node.location = (-360, 480)
    return next(socket for socket in node.outputs if socket.identifier == "Result_Color")


def _math(tree: Any, operation: str, *operands: Any) -> Any:
    return _operation(tree, "ShaderNodeMath", operation, operands).outputs["Value"]


def _vector(tree: Any, operation: str, *operands: Any) -> Any:
    node = _operation(tree, "ShaderNodeVectorMath", operation, operands)
    return node.outputs["Value" if operation == "DOT_PRODUCT" else "Vector"]


def _operation(tree: Any, kind: str, operation: str, operands: Sequence[Any]) -> Any:
    node = tree.nodes.new(kind)
    node.operation = operation
    for socket, operand in zip(node.inputs, operands, strict=False):
        if hasattr(operand, "links"):
            tree.links.new(operand, socket)
            node.location = (operand.node.location.x + 220, operand.node.location.y)
        else:
            socket.default_value = operand
    return node
