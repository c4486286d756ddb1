# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: what users' own nodes show is what is exported, or it is said before.

``python check_export_looks.py WORK`` as check_import.py.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.head import export, mesh_data
from idto3d_blender.head.export import looks
from tests.blender import blender_session
from tests.blender.exported import FILES, WORK, new_head, read

RED, GREEN = (0.8, 0.1, 0.1, 1.0), (0.1, 0.6, 0.2, 1.0)
PRESETS = ("UNREAL", "THREE", "USD")


def shader(material: Any, kind: str = "BsdfPrincipled") -> Any:
    """A new shader of a kind, shown in the place of the one before."""
    nodes = material.node_tree.nodes
    made = nodes.new(f"ShaderNode{kind}")
    show(material, made)
    return made


def show(material: Any, node: Any) -> None:
    output = next(one for one in material.node_tree.nodes if one.type == "OUTPUT_MATERIAL")
    material.node_tree.links.new(node.outputs[0], output.inputs["Surface"])


def image(name: str, colour: tuple[float, ...], size: int = 8) -> Any:
    made = bpy.data.images.new(name, size, size)
    made.pixels.foreach_set(np.tile(np.array(colour, np.float32), size * size))
    made.pack()
    return made


def picture(material: Any, socket: Any, name: str, colour: tuple[float, ...]) -> Any:
    """A node with a picture of one colour, plugged into a socket."""
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image(name, colour)
    material.node_tree.links.new(node.outputs["Color"], socket)
    return node


def told(head: Any, preset: str = "THREE") -> str:
    return " ".join(export.notes(head, export.Choice(export.BY_NAME[preset])))


def written(
    head: Any, change: Callable[[Any], None], folder: str, presets: tuple[str, ...] = PRESETS
) -> dict[str, Any]:
    """The skin's look in the files of a head that was changed by ``change``."""
    change(head.material_slots[0].material)
    for name in presets:
        assert bpy.ops.idto3d.export(directory=str(WORK / folder), preset=name) == {"FINISHED"}, name
    found = {}
    for name in presets:
        objects, _ = read(name, WORK / folder / FILES[name])
        mesh = next(obj for obj in objects if obj.type == "MESH")
        skin = next(one for one in mesh.data.materials if one.name == "Zoe_2_skin")
        look = looks.look_of(skin)
        first = {kind: [round(v, 2) for v in one.pixels[:4]] for kind, one in look.maps.items()}
        if look.cover is not None:
            first["cover"] = [round(look.cover[0].pixels[look.cover[1]], 2)]
        found[name] = {"look": look, "first": first}
    return found


def near(one: Any, other: Any, off: float = 0.01) -> bool:
    return bool(np.abs(np.array(one) - np.array(other)).max() < off)


def check_what_is_shown() -> None:
    """The Principled BSDF that the output shows, not the first of the nodes."""

    def second(material: Any) -> None:
        picture(material, shader(material).inputs["Base Color"], "green", GREEN)

    for name, one in written(new_head(), second, "second").items():
        assert near(one["first"]["albedo"][:3], GREEN[:3]) and set(one["look"].maps) == {"albedo"}, (name, one)

    def grouped(material: Any) -> None:
        tree = bpy.data.node_groups.new("own skin", "ShaderNodeTree")
        tree.interface.new_socket("Tone", in_out="INPUT", socket_type="NodeSocketColor")
        tree.interface.new_socket("Skin", in_out="OUTPUT", socket_type="NodeSocketShader")
        enter, inner, leave, bend = (
            tree.nodes.new(kind)
            for kind in ("NodeGroupInput", "ShaderNodeBsdfPrincipled", "NodeGroupOutput", "NodeReroute")
        )
        tree.links.new(enter.outputs[0], bend.inputs[0])
        tree.links.new(bend.outputs[0], inner.inputs["Base Color"])
        tree.links.new(inner.outputs[0], leave.inputs[0])
        group = material.node_tree.nodes.new("ShaderNodeGroup")
        group.node_tree = tree
        show(material, group)
        picture(material, group.inputs[0], "red", RED)

    head = new_head()
    for name, one in written(head, grouped, "grouped").items():
        assert near(one["first"]["albedo"][:3], RED[:3]), (name, one)


def check_other_shaders() -> None:
    def diffuse(material: Any) -> None:
        picture(material, shader(material, "BsdfDiffuse").inputs["Color"], "red", RED)

    head = new_head()
    assert "Principled BSDF" not in told(head)
    for name, one in written(head, diffuse, "diffuse").items():
        assert near(one["first"]["albedo"][:3], RED[:3]), (name, one)
    head = new_head()
    diffuse(head.material_slots[0].material)
    assert "shader of Zoë 2 skin, which is no Principled BSDF, the colour goes along" in told(head)

    def shines(material: Any) -> None:
        lamp = shader(material, "Emission")
        lamp.inputs["Color"].default_value, lamp.inputs["Strength"].default_value = GREEN, 1.0

    for name, one in written(new_head(), shines, "shines").items():
        assert near(one["look"].values["Emission Color"][:3], GREEN[:3]), (name, one)
        assert near(one["look"].values["Base Color"][:3], 0.0), (name, one)
    head = new_head()
    material = head.material_slots[0].material
    mix, other = shader(material, "MixShader"), material.node_tree.nodes.new("ShaderNodeBsdfPrincipled")
    first = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED" and node != other)
    mix.inputs[0].default_value = 0.75
    other.inputs["Base Color"].default_value = GREEN
    for put, node in zip(mix.inputs[1:], (first, other), strict=True):
        material.node_tree.links.new(node.outputs[0], put)
    assert near(looks.look_of(material).values["Base Color"][:3], GREEN[:3])
    assert "Of the shaders that Zoë 2 skin mixes, one Principled BSDF goes along" in told(head)
    mix.inputs[0].default_value = 1.0
    assert near(looks.look_of(material).values["Base Color"][:3], GREEN[:3])


def check_values() -> None:
    """Metal, light of its own, light that goes through, and what is half there."""

    def metal(material: Any) -> None:
        made = shader(material)
        made.inputs["Metallic"].default_value, made.inputs["Roughness"].default_value = 0.75, 0.25
        made.inputs["Emission Color"].default_value, made.inputs["Emission Strength"].default_value = GREEN, 1.0
        made.inputs["Alpha"].default_value = 0.5

    for name, one in written(new_head(), metal, "metal").items():
        values = one["look"].values
        assert near((values["Metallic"], values["Roughness"], values["Alpha"]), (0.75, 0.25, 0.5)), (name, values)
        assert near(values["Emission Color"][:3], GREEN[:3]) and one["look"].alpha == "blend", (name, values)

    def maps(material: Any) -> None:
        made = shader(material)
        for socket, name, colour in (
            ("Base Color", "red", RED),
            ("Metallic", "metal", (0.5, 0.5, 0.5, 1.0)),
            ("Emission Color", "glow", GREEN),
            ("Alpha", "holes", (0.2, 0.2, 0.2, 1.0)),
            ("Roughness", "gloss", (0.3, 0.3, 0.3, 1.0)),
        ):
            node = picture(material, made.inputs[socket], name, colour)
            if socket in ("Metallic", "Alpha", "Roughness"):
                node.image.colorspace_settings.is_data = True
        node.image = image("gloss", (0.3, 0.3, 0.3, 1.0), 16)
        made.inputs["Emission Strength"].default_value = 1.0

    for name, one in written(new_head(), maps, "maps").items():
        assert {"albedo", "metallic", "emission", "roughness"} <= set(one["look"].maps), (name, one)
        assert near(one["first"]["emission"][:3], GREEN[:3]), (name, one["first"])
        assert one["look"].alpha == "blend" and near(one["first"]["cover"], 0.2), (name, one["first"])

    def glass(material: Any) -> None:
        made = shader(material)
        made.inputs["Transmission Weight"].default_value, made.inputs["IOR"].default_value = 0.5, 1.33

    head = new_head()
    values = written(head, glass, "glass", ("THREE",))["THREE"]["look"].values
    assert near((values["Transmission Weight"], values["IOR"]), (0.5, 1.33)), values
    head = new_head()
    glass(head.material_slots[0].material)
    for preset in PRESETS:
        assert ("only glTF holds that" in told(head, preset)) == (preset != "THREE"), preset

    def clear(material: Any) -> None:
        picture(material, shader(material).inputs["Transmission Weight"], "clear", (0.5, 0.5, 0.5, 1.0))

    head = new_head()
    for name, one in written(head, clear, "clear").items():
        assert ("transmission" in one["look"].maps) == (name == "THREE"), (name, one["look"].maps)

    def packed(material: Any) -> None:
        """Occlusion, roughness and metal in one picture."""
        made, apart = shader(material), material.node_tree.nodes.new("ShaderNodeSeparateColor")
        node = picture(material, apart.inputs[0], "packed", (1.0, 0.3, 0.8, 1.0))
        node.image.colorspace_settings.is_data = True
        material.node_tree.links.new(apart.outputs["Green"], made.inputs["Roughness"])
        material.node_tree.links.new(apart.outputs["Blue"], made.inputs["Metallic"])

    for name, one in written(new_head(), packed, "packed").items():
        found, first = one["look"], one["first"]
        parts = {kind: first[kind][found.channels.get(kind, 0)] for kind in ("roughness", "metallic")}
        assert near(parts["roughness"], 0.3, 0.02) and near(parts["metallic"], 0.8, 0.02), (name, parts, first)


def check_places() -> None:
    """Pictures that one mapping moves are where it moves them; of what cannot be kept it is told."""

    def mapped(material: Any) -> None:
        tree = material.node_tree
        place, where = tree.nodes.new("ShaderNodeMapping"), tree.nodes.new("ShaderNodeTexCoord")
        tree.links.new(where.outputs["UV"], place.inputs["Vector"])
        place.inputs["Scale"].default_value = (2.0, 3.0, 1.0)
        place.inputs["Location"].default_value = (5.0, 7.0, 0.0)
        for node in [node for node in tree.nodes if node.type == "TEX_IMAGE"]:
            tree.links.new(place.outputs[0], node.inputs["Vector"])

    head = new_head()
    before = mesh_data.uv_of(head.data)
    for name in written(head, mapped, "mapped"):
        skin = uv_of_skin(name, WORK / "mapped" / FILES[name])
        assert near(skin.min(axis=0), (5, 7), 0.02) and near(skin.max(axis=0), (7, 10), 0.02), (name, skin)
    assert before.max() <= 1.0
    head = new_head()
    material = head.material_slots[0].material
    mapped(material)
    assert "Where nodes put" not in told(head)
    node = next(node for node in material.node_tree.nodes if node.type == "TEX_IMAGE" and node.name == "roughness")
    named = material.node_tree.nodes.new("ShaderNodeUVMap")
    material.node_tree.links.new(named.outputs[0], node.inputs["Vector"].links[0].from_node.inputs["Vector"])
    for layer, kept in ((mesh_data.uv_name(head.data), True), ("another", False)):
        named.uv_map = layer
        assert ("Where nodes put" not in told(head)) == kept, layer
    named.uv_map = ""
    material.node_tree.links.remove(node.inputs["Vector"].links[0])
    assert "Where nodes put the pictures of Zoë 2 skin stays in Blender" in told(head)
    assert near(mesh_data.uv_of(head.data), before, 1e-6), "the head's own UV has moved"


def uv_of_skin(name: str, file: Path) -> np.ndarray:
    objects, _ = read(name, file)
    mesh = next(obj for obj in objects if obj.type == "MESH").data
    slot = mesh.materials.keys().index("Zoe_2_skin")
    count = mesh_data.corners(mesh)[1]
    return mesh_data.uv_of(mesh)[np.repeat(mesh_data.slots(mesh) == slot, count)]


def check_told() -> None:
    head = new_head()
    material, film = head.material_slots[0].material, head.material_slots[3].material
    plain = told(head)
    assert not any(word in plain for word in ("UDIM", "What nodes do", "Displacement", "Of the shader")), plain
    tiles = bpy.data.images.new("tiles", 4, 4, tiled=True)
    tiles.tiles.new(1002)
    shown = next(node for node in film.node_tree.nodes if node.type == "TEX_IMAGE")
    shown.image = tiles
    assert "tiles (UDIM) of the pictures of Zoë 2 film" in told(head)
    shown.image = image("drops", (1.0, 1.0, 1.0, 1.0))
    assert "one picture goes along" not in told(head)
    shown.image.source = "SEQUENCE"
    assert "Of the films that Zoë 2 film shows, one picture goes along" in told(head)
    nodes, links = material.node_tree.nodes, material.node_tree.links
    own = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    bump = nodes.new("ShaderNodeBump")
    links.new(nodes["roughness"].outputs["Color"], bump.inputs["Height"])
    links.new(bump.outputs[0], own.inputs["Normal"])
    assert "What nodes do to the pictures and values of Zoë 2 skin" in told(head)
    assert "normal" not in looks.look_of(material).maps, "heights are no normals"
    links.remove(own.inputs["Normal"].links[0])
    assert "What nodes do" not in told(head)
    tattoo = nodes.new("ShaderNodeMix")
    tattoo.data_type = "RGBA"
    sockets = {socket.identifier: socket for socket in tattoo.inputs}
    links.new(own.inputs["Base Color"].links[0].from_socket, sockets["A_Color"])
    links.new(next(one for one in tattoo.outputs if one.identifier == "Result_Color"), own.inputs["Base Color"])
    assert "What nodes do to the pictures and values of Zoë 2 skin" in told(head)
    turn = next(node for node in nodes if node.type == "NORMAL_MAP")
    links.remove(own.inputs["Base Color"].links[0])
    links.new(turn.outputs[0], own.inputs["Normal"])
    assert "What nodes do" not in told(head)
    turn.space = "OBJECT"
    assert "What nodes do" in told(head) and "normal" not in looks.look_of(material).maps
    turn.space = "TANGENT"
    # A sweaty skin keeps its relief.
    own.inputs["Coat Weight"].default_value = 0.2
    assert "normal" in looks.look_of(material).maps


def main() -> None:
    warnings.simplefilter("ignore")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    check_what_is_shown()
    check_other_shaders()
    check_values()
    check_places()
    check_told()
    idto3d_blender.unregister()
    blender_session.leave()


main()
