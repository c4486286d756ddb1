# SPDX-License-Identifier: GPL-3.0-or-later
"""What feeds an input of a material's nodes, as renderers see it: through reroutes, into groups and out of them, past
muted nodes, and not over links that are muted or invalid."""

from dataclasses import dataclass
from typing import Any

import bpy

PRINCIPLED = "BSDF_PRINCIPLED"


@dataclass(frozen=True, eq=False)
class Source:
    """node, output: what is plugged in, None where nothing is; put: the input where the way ends, whose value counts
    then; around: the group nodes that it lies in, the outermost first."""

    node: Any
    output: Any
    put: Any
    around: tuple[Any, ...]

    def kind(self) -> str:
        """The node's type, empty where nothing is plugged in."""
        return self.node.type if self.node is not None else ""

    def inputs(self, name: str) -> "Source":
        """What feeds an input of the node."""
        return behind(self.node.inputs[name], self.around)


def behind(put: Any, around: tuple[Any, ...] = ()) -> Source:
    """What feeds an input, of a node in these groups."""
    while True:
        # Panels ask, and for its links each socket looks through all of the tree's.
        links = put.links if put.is_linked else ()
        link = next((link for link in links if link.is_valid and not link.is_muted), None)
        if link is None:
            return Source(None, None, put, around)
        node, output = link.from_node, link.from_socket
        if node.type == "REROUTE":
            further = node.inputs[0]
        elif node.mute:
            further = next((inner.from_socket for inner in node.internal_links if inner.to_socket == output), None)
        elif node.type == "GROUP" and node.node_tree is not None:
            further, around = _inside(node, output), (*around, node)
        elif node.type == "GROUP_INPUT" and around:
            further, around = _same(around[-1].inputs, output), around[:-1]
        else:
            return Source(node, output, put, around)
        if further is None:
            return Source(None, None, put, around)
        put = further


def upstream(put: Any, around: tuple[Any, ...] = (), past: str = "") -> list[Source]:
    """All that lies behind an input, the nearest first, the sides of a mix in the order of its inputs; not what lies
    behind nodes of the type ``past``."""
    found = dict[tuple[Any, ...], Source]()
    waiting = [(put, around)]
    while waiting:
        one = behind(*waiting.pop(0))
        if one.node is None or (one.node, *one.around) in found:
            continue
        found[one.node, *one.around] = one
        if one.kind() != past:
            waiting += [(further, one.around) for further in one.node.inputs if further.enabled and further.is_linked]
    return list(found.values())


def output_of(material: Any) -> Any:
    """The output that renderers take, or None."""
    # Always on from Blender 5.0 on, where the property will go.
    if material is None or material.node_tree is None or bpy.app.version < (5, 0) and not material.use_nodes:
        return None
    outputs = [node for node in material.node_tree.nodes if node.type == "OUTPUT_MATERIAL" and not node.mute]
    return min(outputs, key=lambda node: (not node.is_active_output, node.target != "ALL"), default=None)


def shader_of(material: Any) -> Source | None:
    """The Principled BSDF that a material shows, of several the one with the larger share; where there is none, another
    shader, and None where there is none either."""
    shaders = (one for one in _surface(material) if not any(put.type == "SHADER" for put in one.node.inputs))
    return min(shaders, key=lambda one: one.kind() != PRINCIPLED, default=None)


def kinds(material: Any) -> list[str]:
    """The types of all nodes that a material's surface is mixed of, itself where it is one shader."""
    return [one.kind() for one in _surface(material)]


def _surface(material: Any) -> list[Source]:
    """What a surface is mixed of: each mix before what it mixes, of that the larger share first."""

    def below(put: Any, around: tuple[Any, ...]) -> list[Source]:
        one = behind(put, around)
        if one.node is None:
            return []
        return [one, *(further for each in _mixed(one.node) for further in below(each, one.around))]

    output = output_of(material)
    return below(output.inputs["Surface"], ()) if output is not None else []


def _mixed(node: Any) -> list[Any]:
    """The shaders that a node mixes, the larger share first, without one that has none."""
    shaders = [put for put in node.inputs if put.type == "SHADER"]
    if node.type != "MIX_SHADER" or node.inputs[0].is_linked:
        return shaders
    share = node.inputs[0].default_value
    if share in (0.0, 1.0):
        return shaders[int(share) : int(share) + 1]
    return shaders[::-1] if share > 0.5 else shaders


def _inside(group: Any, output: Any) -> Any:
    ends = [node for node in group.node_tree.nodes if node.type == "GROUP_OUTPUT" and node.is_active_output]
    return _same(ends[0].inputs, output) if ends else None


def _same(sockets: Any, other: Any) -> Any:
    return next((one for one in sockets if one.identifier == other.identifier), None)
