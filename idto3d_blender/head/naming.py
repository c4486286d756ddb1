# SPDX-License-Identifier: GPL-3.0-or-later
"""A head's collection, and the names of all that belongs to it: two heads never share or overwrite any.

What a material or an image is to the head is kept in a property of its own, so that a head can be renamed, and that
nothing is looked up by a name that a person may change.
"""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import bpy

from . import hand_over

ROLE = "idto3d_role"
"""Property of a material or an image: "skin", "skin_albedo"."""
CLIPPED = "idto3d_clip"
"""Property of a material: it is there or not, however softly that goes over into each other in Blender."""
_KINDS = ("albedo", "normal", "roughness", "specular", "wrinkles")
_OWN = "idto3d_head"  # marks the collections that we made for heads


def own_collection(obj: Any, parent: Any) -> Any:
    """Link a new head to a new collection of its name in ``parent``; returns that collection."""
    collection = bpy.data.collections.new(obj.name)
    collection[_OWN] = True
    parent.children.link(collection)
    collection.objects.link(obj)
    return collection


def takes_new(collection: Any) -> bool:
    """New objects can be put into a collection: it is there, and not another file's, nor an override of one that is."""
    return collection is not None and collection.library is None and collection.override_library is None


def collection_of(obj: Any) -> Any:
    """The collection that new objects of a head go to: its own, or where it lies now, of those that the window shows
    or may show."""
    shown = {layer.collection for layer in _layers(bpy.context.view_layer.layer_collection) if not layer.exclude}
    collections = [one for one in obj.users_collection if takes_new(one) and one in shown]
    return min(collections, key=lambda one: _OWN not in one, default=bpy.context.scene.collection)


def _layers(layer: Any) -> Iterator[Any]:
    yield layer
    for below in layer.children:
        yield from _layers(below)


def remove_objects(objects: Collection[Any]) -> None:
    """Remove objects, and meshes and the like that nothing else uses: where some data goes, all its objects go."""
    data = {obj.data for obj in objects if obj.data is not None}
    bpy.data.batch_remove(list(objects))
    bpy.data.batch_remove([one for one in data if one.users == 0])


def shares_mesh(obj: Any) -> bool:
    """Another object has the same mesh: one made with Alt+D."""
    alone = obj.data.users - obj.data.use_fake_user < 2  # quick: panels ask
    return not alone and any(other.data == obj.data for other in bpy.data.objects if other != obj)


def remove_empty(collections: Iterable[Any]) -> None:
    """Remove those of the collections that we made for a head, and that hold nothing any more."""
    for collection in collections:
        if _OWN in collection and not collection.objects and not collection.children:
            bpy.data.collections.remove(collection)


def name_after(obj: Any, but: Collection[Any] = ()) -> None:
    """Call the mesh, keys, materials, images and the own collection of a head as it is called itself, ``but`` for what
    belongs to another. Where a name is taken, Blender puts a number behind it."""
    _rename(obj.data, obj.name)
    if obj.data.shape_keys is not None:
        _rename(obj.data.shape_keys, f"{obj.name} keys")
    for material in filter(None, obj.data.materials):
        if ROLE in material and material.library is None and material not in but:
            _rename(material, f"{obj.name} {material[ROLE]}")
    for image in images(obj):
        if ROLE in image and image.library is None and image not in but:
            _rename(image, f"{obj.name} {image[ROLE]}")
            if image.packed_file is None:  # its file keeps its name
                continue
            # Where it lands when somebody unpacks it. The raw path does not reload.
            image.filepath_raw = f"//{bpy.path.clean_name(image.name)}.png"
    for collection in obj.users_collection:
        if _OWN in collection and collection.library is None and collection not in but:
            _rename(collection, obj.name)


def begins_with(block: Any, head: str) -> bool:
    """A data-block's name is a head's, or that and more."""
    return bool(block.name == head or block.name.startswith(f"{head} "))


def rename_start(block: Any, before: str, now: str) -> None:
    """Put a head's new name in the place of the one that a data-block's name begins with."""
    if begins_with(block, before):
        _rename(block, now + block.name[len(before) :])


def rename_takes(before: str, now: str, but: Collection[Any]) -> None:
    """Put a head's new name into those of its takes that nothing plays now, ``but`` for what another head has."""
    for action in [one for one in bpy.data.actions if hand_over.TAKE in one and one.library is None and one not in but]:
        stem = f"{before} {action[hand_over.TAKE]}"  # "anna b talk" may be the take "talk" of a head "anna b"
        if action.name == stem or action.name.startswith(f"{stem}."):
            rename_start(action, before, now)


def images(obj: Any) -> Iterator[Any]:
    """The images in the materials of ``obj``, groups of nodes included, each once."""
    seen: set[Any] = set()
    trees = [m.node_tree for m in obj.data.materials if m is not None and m.node_tree is not None]
    while trees:
        tree = trees.pop()
        for node in tree.nodes:
            if node.type == "GROUP" and node.node_tree is not None:
                trees.append(node.node_tree)
            elif node.type == "TEX_IMAGE" and node.image is not None and node.image not in seen:
                seen.add(node.image)
                yield node.image


def roles(material: Any) -> Iterator[tuple[str, Any]]:
    """The nodes with pictures of a material of ours, and what each is: where somebody has put a picture of their own
    into a node, it is what the node is for."""
    own = str(material.get(ROLE, "")) if material is not None and material.node_tree is not None else ""
    for node in material.node_tree.nodes if own else ():
        if node.type == "TEX_IMAGE" and node.image is not None:
            yield str(node.image.get(ROLE, f"{own}_{node.name}")), node


def is_ours(kind: str) -> bool:
    """Heads come with pictures of this kind, as "albedo" or "albedo_smile"; others are users' own."""
    return kind.partition("_")[0] in _KINDS


def missing(obj: Any) -> Iterator[Any]:
    """Those of them whose files are not where they were, and that nothing has read."""
    for image in images(obj):
        if image.source == "FILE" and image.packed_file is None and not image.has_data:
            if not Path(bpy.path.abspath(image.filepath, library=image.library)).is_file():
                yield image


def _rename(block: Any, name: str) -> None:
    # Setting the same name again may move the number behind it.
    if block.name != name:
        block.name = name
