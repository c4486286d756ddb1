# SPDX-License-Identifier: GPL-3.0-or-later
"""The materials of mixed people: nodes that mix while the shares are chosen, pictures and values of their own after."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from . import blend_scalp, colour_space, mesh_data, mixture, naming
from .pictures import packed
from .stepwise import Steps, aside, scaled

_SHARE = "idto3d_share"  # on a node of the preview: the number of the head that it mixes in
_PLACES = "idto3d_share_of_places"  # on a node of the preview: its picture says how much of that head each place has
_VALUES = ("VALUE", "RGBA", "VECTOR")
# Solid viewports show one picture of a material, whatever its nodes do: a small one, mixed at every step of a slider.
_SMALL = 256
_small: dict[int, NDArray[np.float32]] = {}


def only_hair(made: Any) -> set[int]:
    """Slots that none but hair uses."""
    names = mesh_data.part_names(made)
    if "hair" not in names:
        return set()
    slot, hair = mesh_data.slots(made.data), mesh_data.parts(made.data) == names.index("hair")
    return set(slot[hair].tolist()) - set(slot[~hair].tolist())


def unused(made: Any) -> set[int]:
    """Slots that no face uses."""
    return set(range(len(made.data.materials))) - set(mesh_data.slots(made.data).tolist())


def begin(made: Any, heads: Sequence[Any]) -> Steps[None]:
    """Steps that give the new head copies of the first head's materials that mix in the pictures of the others."""
    for image in (image for head in heads for image in naming.images(head)):
        _small.pop(image.session_uid, None)  # somebody may have painted on it since
    hairy, count = only_hair(made), len(made.data.materials)
    for slot, material in enumerate(made.data.materials):
        yield 0.3 * slot / count
        if material is None or slot in hairy:
            continue
        own = material.copy()
        made.data.materials[slot] = own
        aim_drivers(own, heads[0].data.shape_keys, made.data.shape_keys)
        for node in list(_pictures(own)):
            others = [_same_picture(head, _role(own, node.image)) for head in heads[1:]]
            _chain(own.node_tree, node, others)
        active = own.node_tree.nodes.active
        if active is not None and active.type == "TEX_IMAGE" and active.image is not None:
            yield 0.3 * slot / count
            _add_small(own, active.image)
    small = [node.image for _, node in _nodes(made) if _is_own(node)]
    shown = [image for one in small for image in _same_pictures(heads, one[naming.ROLE])]
    for n, image in enumerate(shown):
        yield 0.3 + 0.4 * n / len(shown)
        _small_pixels(image)
    yield from scaled(blend_scalp.learn(heads), 0.7, 1.0)
    for role in blend_scalp.roles(heads):
        for material in filter(None, made.data.materials):
            if material.get(naming.ROLE) == role:
                _add_places(material.node_tree, f"{material.name} share")
    show(made, heads, [1.0, *(0.0 for _ in heads[1:])], heads[0])


def own_preview(made: Any) -> None:
    """Give a mixture that Blender has copied materials and pictures of its own to show it with."""
    mixing = {material for material, _ in _nodes(made)}
    for slot, material in enumerate(made.data.materials):
        if material not in mixing:
            continue
        if material.users - material.use_fake_user > 1:
            material = made.data.materials[slot] = material.copy()
            for node in material.node_tree.nodes:
                if _SHARE in node and _is_own(node):
                    node.image = node.image.copy()
        for target in _key_targets(material):
            if target.id != made.data.shape_keys:
                target.id = made.data.shape_keys


def own_data(made: Any, heads: Sequence[Any]) -> list[Any]:
    """The materials and pictures that `begin` has made so far."""
    others = {material for head in heads for material in head.data.materials}
    own = [material for material in made.data.materials if material is not None and material not in others]
    return [*own, *own_pictures(made)]


def own_pictures(made: Any) -> list[Any]:
    """Of the preview; Blender saves them only packed."""
    return [node.image for _, node in _nodes(made) if _is_own(node)]


def show(made: Any, heads: Sequence[Any], weights: Sequence[float], donor: Any) -> None:
    """Let the nodes mix by these shares, and the pictures that Solid viewports show. donor: whose hair it has."""
    for _ in blend_scalp.learn(heads):  # in a file that was opened again
        pass
    for material, node in _nodes(made):
        each = blend_scalp.shares(heads, material.get(naming.ROLE, ""), weights, donor)
        number = node[_SHARE]
        if number == 0:
            if images := _same_pictures(heads, node.image.get(naming.ROLE, "")):
                small = [_small_pixels(image) for image in images]
                each = _picture_shares(heads, material, images, weights, donor)
                _fill(node.image, mixture.mixed_picture(small, each, False))
            continue
        part = each[number] / np.maximum(sum(each[: number + 1]), 1e-6)
        if _PLACES in node:
            _fill(node.image, np.broadcast_to(part, (blend_scalp.SIDE, blend_scalp.SIDE, 4)))
        elif node.bl_idname == "ShaderNodeMix":
            _factor(node).default_value = float(np.mean(part))  # unless places have their own: then it is linked


def mix_pictures(made: Any, heads: Sequence[Any], weights: Sequence[float], donor: Any) -> Steps[dict[Any, Any]]:
    """Steps to the pictures that the new head is to have instead of those in its nodes: mixed ones, and copies of the
    hair's. Closed early, none is left. donor: whose hair it has."""
    yield from scaled(blend_scalp.learn(heads), 0.0, 0.1)
    hairy = only_hair(made)
    given = {
        node.image: None if slot in hairy else material
        for slot, material in enumerate(made.data.materials)
        if material is not None
        for node in _pictures(material)
    }
    own: dict[Any, Any] = {}
    try:
        for image, material in given.items():
            role = _role(material, image) if material is not None else ""
            images = [image, *(_same_picture(head, role) for head in heads[1:])]
            done, step = 0.1 + 0.9 * len(own) / len(given), 0.9 / len(given)
            if material is None or None in images:
                own[image] = yield from scaled(_copy(image, image), done, done + step)
            else:
                each = _picture_shares(heads, material, images, weights, donor)
                own[image] = yield from scaled(_mixed(images, each, role), done, done + step)
    except BaseException:
        bpy.data.batch_remove(list(own.values()))
        raise
    return own


def finish(made: Any, heads: Sequence[Any], weights: Sequence[float], own: Mapping[Any, Any]) -> None:
    """Take the preview's nodes out, mix the values for good, and put the pictures of `mix_pictures` in."""
    hairy = only_hair(made)
    for slot, material in enumerate(made.data.materials):
        if material is None:
            continue
        if slot in hairy:
            made.data.materials[slot] = material = material.copy()
        else:
            _unchain(material.node_tree)
            material.node_tree.nodes.active = next(_pictures(material), None)
            others = [_same_material(head, material) for head in heads]
            if None not in others:
                _mix_values(material, others, weights)
        for node in _pictures(material):
            node.image = own[node.image]


def _picture_shares(
    heads: Sequence[Any], material: Any, images: Sequence[Any], weights: Sequence[float], donor: Any
) -> list[Any]:
    """The share of each of these images, one of each head, in a mixture with the hair of ``donor``."""
    role = material.get(naming.ROLE, "")
    if not _role(material, images[0]).endswith("_albedo"):
        return blend_scalp.shares(heads, role, weights, donor)
    return blend_scalp.tinted(heads, role, weights, donor, [_small_pixels(image) for image in images])


def _pictures(material: Any) -> Iterator[Any]:
    for node in material.node_tree.nodes if material.node_tree else ():
        if node.type == "TEX_IMAGE" and node.image is not None and _SHARE not in node:
            yield node


def _role(material: Any, image: Any) -> str:
    """What a picture is to a material, empty where that is not known, and where others have none of that kind: what
    users add, to nodes that Blender calls the same, is of different things."""
    known = (role for role, node in naming.roles(material) if node.image == image and _SHARE not in node)
    role = str(image.get(naming.ROLE, "")) or next(known, "")
    kind = role.removeprefix(f"{material.get(naming.ROLE, '')}_")
    return role if kind == role or naming.is_ours(kind) else ""


def _same_picture(head: Any, role: str) -> Any:
    """The picture of that role, which somebody may have put into the place of ours, or None."""
    in_nodes = (node.image for one in head.data.materials for own, node in naming.roles(one) if own == role)
    anywhere = (image for image in naming.images(head) if image.get(naming.ROLE) == role)
    return next(in_nodes, next(anywhere, None)) if role else None


def _same_pictures(heads: Sequence[Any], role: str) -> list[Any]:
    """That of each head, or none at all."""
    images = [_same_picture(head, role) for head in heads]
    return [] if None in images else images


def _nodes(made: Any) -> Iterator[tuple[Any, Any]]:
    """The preview's, each with its material."""
    for material in filter(None, made.data.materials):
        for node in material.node_tree.nodes if material.node_tree else ():
            if _SHARE in node:
                yield material, node


def _is_own(node: Any) -> bool:
    """Whether its picture is the preview's own, and none of a head."""
    return node.type == "TEX_IMAGE" and node.image is not None and (node[_SHARE] == 0 or _PLACES in node)


def _same_material(head: Any, material: Any) -> Any:
    role = material.get(naming.ROLE)
    return next((one for one in head.data.materials if one is not None and one.get(naming.ROLE) == role), None)


def aim_drivers(material: Any, before: Any, after: Any) -> None:
    """Let drivers that read the keys ``before`` read the keys ``after``: those of a copy still read the original's."""
    for target in _key_targets(material):
        if target.id == before:
            target.id = after


def strange(obj: Any) -> list[int]:
    """Slots whose materials follow the keys of another head: Blender's own copies share their materials."""
    found = []
    for slot, material in enumerate(obj.data.materials):
        first = next(_key_targets(material), None) if material is not None and material.library is None else None
        if first is not None and first.id != obj.data.shape_keys:
            found.append(slot)
    return found


def make_own(obj: Any) -> None:
    """Let the materials of `strange` follow the head's own keys: as copies, where another head has them, too."""
    for slot in strange(obj):
        material = obj.data.materials[slot]
        if material.users - material.use_fake_user > 1:
            material = obj.data.materials[slot] = material.copy()
            material.name = f"{obj.name} {material.get(naming.ROLE, material.name)}"
        for target in _key_targets(material):
            target.id = obj.data.shape_keys


def _key_targets(material: Any) -> Iterator[Any]:
    """What the drivers of a material read of shape keys."""
    moving = material.node_tree.animation_data if material.node_tree else None
    for curve in moving.drivers if moving else ():
        for variable in curve.driver.variables:
            yield from (target for target in variable.targets if target.id_type == "KEY")


def _chain(tree: Any, node: Any, others: Sequence[Any]) -> None:
    """Put behind ``node``'s colour, one after the other, what mixes in the ``others``' pictures."""
    ends = [link.to_socket for link in node.outputs["Color"].links]
    colour = node.outputs["Color"]
    for number, image in enumerate(others, 1):
        if image is None:
            continue
        picture = tree.nodes.new("ShaderNodeTexImage")
        picture.image, picture.location = image, (node.location.x, node.location.y - 40 * number)
        picture[_SHARE] = number
        mix = tree.nodes.new("ShaderNodeMix")
        mix.data_type, mix[_SHARE] = "RGBA", number
        mix.location = (node.location.x + 180, node.location.y - 40 * number)
        sockets = {socket.identifier: socket for socket in mix.inputs}
        tree.links.new(colour, sockets["A_Color"])
        tree.links.new(picture.outputs["Color"], sockets["B_Color"])
        colour = next(socket for socket in mix.outputs if socket.identifier == "Result_Color")
    for end in ends:
        tree.links.new(colour, end)


def _add_small(material: Any, image: Any) -> None:
    """The picture for Solid viewports, in a node that is linked to nothing."""
    tree = material.node_tree
    made = bpy.data.images.new(f"{image.name} mixed", _SMALL, _SMALL, alpha=image.depth == 32)
    made.colorspace_settings.name = image.colorspace_settings.name
    made[naming.ROLE] = _role(material, image)
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image, node[_SHARE] = made, 0
    tree.nodes.active = node


def _add_places(tree: Any, name: str) -> None:
    """Let pictures say how much each place has of each of the other heads."""
    for number in sorted({node[_SHARE] for node in tree.nodes if node.get(_SHARE, 0)}):
        node = tree.nodes.new("ShaderNodeTexImage")
        node.image = bpy.data.images.new(name, blend_scalp.SIDE, blend_scalp.SIDE)
        colour_space.set_data(node.image)
        node.extension, node[_SHARE], node[_PLACES] = "EXTEND", number, True
        for mix in tree.nodes:
            if mix.get(_SHARE) == number and mix.bl_idname == "ShaderNodeMix":
                tree.links.new(node.outputs["Color"], _factor(mix))


def _factor(mix: Any) -> Any:
    return next(one for one in mix.inputs if one.identifier == "Factor_Float")


def _fill(image: Any, pixels: NDArray[np.float32]) -> None:
    image.pixels.foreach_set(np.ascontiguousarray(pixels, np.float32).ravel())
    image.update()


def _small_pixels(image: Any) -> NDArray[np.float32]:
    """(S,S,4) of an image, kept: reading a large one takes too long for a slider."""
    key = image.session_uid
    if key not in _small:
        if len(_small) > 64:
            _small.clear()
        _small[key] = _pixels(image, _SMALL, _SMALL)
    return _small[key]


def _unchain(tree: Any) -> None:
    """Plug pictures in again where `_chain` came between."""
    mixes = [node for node in tree.nodes if _SHARE in node and node.bl_idname == "ShaderNodeMix"]
    for mix in mixes:
        source = next(one for one in mix.inputs if one.identifier == "A_Color").links[0].from_socket
        result = next(one for one in mix.outputs if one.identifier == "Result_Color")
        for end in [link.to_socket for link in result.links]:
            tree.links.new(source, end)
    for node in [node for node in tree.nodes if _SHARE in node]:
        own = node.image if _is_own(node) else None
        tree.nodes.remove(node)
        if own is not None and own.users == 0:
            bpy.data.images.remove(own)


def _mix_values(material: Any, others: Sequence[Any], weights: Sequence[float]) -> None:
    """Mix what is no picture: the values of unlinked sockets of nodes that all have."""
    colours = np.array([other.diffuse_color[:] for other in others], np.float32)
    material.diffuse_color = mixture.mixed(list(colours), weights).tolist()
    trees = [list(other.node_tree.nodes) for other in others]
    for place, node in enumerate(material.node_tree.nodes):
        same = [nodes[place] for nodes in trees if place < len(nodes)]
        if len(same) < len(trees) or any(one.bl_idname != node.bl_idname for one in same):
            continue
        for number, socket in enumerate(node.inputs):
            if socket.type not in _VALUES or socket.is_linked or not hasattr(socket, "default_value"):
                continue
            values = np.array([one.inputs[number].default_value for one in same], np.float32)
            mean = mixture.mixed(list(values), weights)
            socket.default_value = mean.tolist() if mean.ndim else float(mean)


def _mixed(images: Sequence[Any], weights: Sequence[Any], role: str) -> Steps[Any]:
    first = images[0]
    yield 0.0
    whole = next((image for image, weight in zip(images, weights, strict=True) if np.min(weight) > 0.999), None)
    if whole is not None:
        return (yield from _copy(whole, first))
    width, height = max((tuple(image.size) for image in images), key=lambda size: size[0] * size[1])
    pictures = []
    for image in images:
        pictures.append(_pixels(image, width, height))
        yield 0.2
    normals = role.endswith("_normal")
    out = yield from scaled(aside(lambda: mixture.mixed_picture(pictures, weights, normals)), 0.2, 0.8)
    made = yield from scaled(packed(first.name, out, first), 0.8, 1.0)
    made[naming.ROLE] = role
    return made


def _copy(image: Any, called: Any) -> Steps[Any]:
    """Steps to a copy, with what is painted on it and not saved yet; ``called``: the image whose place it takes."""
    yield 0.0
    if image.is_dirty:  # Blender's own copy would be read anew
        made = yield from packed(image.name, _pixels(image, *image.size), image)
    else:
        made = image.copy()
    role = called.get(naming.ROLE)
    if role is not None:
        made[naming.ROLE] = role
    return made


def _pixels(image: Any, width: int, height: int) -> NDArray[np.float32]:
    """(H,W,4) at that size."""
    across, up = image.size[0] // width, image.size[1] // height
    flat = np.empty(4 * image.size[0] * image.size[1], np.float32)
    image.pixels.foreach_get(flat)
    if tuple(image.size) == (across * width, up * height):
        rows = flat.reshape(height, up, -1).mean(axis=1) if up > 1 else flat  # one axis after the other is quicker
        return rows.reshape(height, width, across, 4).mean(axis=2) if across > 1 else rows.reshape(height, width, 4)
    # Not a copy of the picture: that has none of what is painted on it and not saved yet.
    source = bpy.data.images.new(image.name, *image.size, alpha=True, float_buffer=image.is_float)
    source.pixels.foreach_set(flat)
    source.scale(width, height)
    flat = np.empty(4 * width * height, np.float32)
    source.pixels.foreach_get(flat)
    bpy.data.images.remove(source)
    return flat.reshape(height, width, 4)
