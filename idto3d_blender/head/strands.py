# SPDX-License-Identifier: GPL-3.0-or-later
"""How a shell of hair, which is smooth, takes light as strands do."""

from typing import Any

SHELL = "hair"
"""Role of the material of a shell of strands. A beard is none: without its shadows its strands are as pale as the skin
below."""
KINDS = frozenset(("BSDF_PRINCIPLED", "MIX_SHADER", "BSDF_TRANSLUCENT", "BSDF_TRANSPARENT"))
"""Of the nodes that `scatter` makes a surface of."""
# Strands turn sides to every light: they shine in their own colour where they are seen at a grazing angle, as at a
# head's outline, where a smooth shell would be black, or white of a lamp behind it.
SHEEN = {"Sheen Weight": 1.0, "Sheen Roughness": 0.4}  # the same in the backend's head.glb
THROUGH = 0.15  # of the light that goes through to the other side, in the hair's colour; with more, its front is dark
THIN_SHADOWS = 0.7  # of a lamp's light that passes unseen: without it each lock lies in a black line


def scatter(tree: Any, shader: Any) -> None:
    """Let light graze and pass through a material's Principled BSDF, whose base colour is linked."""
    alpha = next((link.from_socket for link in shader.inputs["Alpha"].links), 1.0)
    for socket, value in SHEEN.items():
        shader.inputs[socket].default_value = value
    through = _node(tree, "BsdfTranslucent", (20, -700))
    # One place for all three: whoever changes the hair's colour on the way to it changes its sheen as well.
    colour = tree.nodes.new("NodeReroute")
    colour.location = (-120, 200)
    tree.links.new(shader.inputs["Base Color"].links[0].from_socket, colour.inputs[0])
    for socket in (shader.inputs["Base Color"], shader.inputs["Sheen Tint"], through.inputs["Color"]):
        tree.links.new(colour.outputs[0], socket)
    clear = _node(tree, "BsdfTransparent", (20, -850))
    behind = _mix(tree, alpha, (clear, through), (220, -700))
    both = _mix(tree, THROUGH, (shader, behind), (420, 0))
    rays, thinner = _node(tree, "LightPath", (220, 350)), _node(tree, "Math", (420, 200))
    thinner.operation = "MULTIPLY"
    thinner.inputs[1].default_value = THIN_SHADOWS
    tree.links.new(rays.outputs["Is Shadow Ray"], thinner.inputs[0])
    shown = _mix(tree, thinner.outputs[0], (both, clear), (620, 0))
    output = next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL")
    output.location = (820, 0)
    tree.links.new(shown.outputs[0], output.inputs["Surface"])
    # EEVEE takes hair for as thick as the head is, and lets no head cast a shadow on it, unless it is told.
    thickness = _node(tree, "Value", (620, -200))
    tree.links.new(thickness.outputs[0], output.inputs["Thickness"])


def _mix(tree: Any, share: Any, shaders: tuple[Any, Any], place: tuple[int, int]) -> Any:
    """A mix of two nodes' shaders; share of the second: a value or an output socket."""
    node = _node(tree, "MixShader", place)
    if isinstance(share, float):
        node.inputs[0].default_value = share
    else:
        tree.links.new(share, node.inputs[0])
    for socket, shader in zip(node.inputs[1:], shaders, strict=True):
        tree.links.new(shader.outputs[0], socket)
    return node


def _node(tree: Any, kind: str, place: tuple[int, int]) -> Any:
    node = tree.nodes.new(f"ShaderNode{kind}")
    node.location = place
    return node
