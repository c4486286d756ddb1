# SPDX-License-Identifier: GPL-3.0-or-later
"""Collections for helpers of ours (lights, a turntable): these can be replaced, and nothing else with them."""

from typing import Any

import bpy

_MARK = "idto3d_helper"
_MADE = "idto3d_made"
"""Property of a collection: the objects that we made for it. The mark on them is on the user's copies of them, too."""


def is_ours(collection: Any, kind: str) -> bool:
    """The collection holds helpers of ``kind``."""
    return bool(collection.get(_MARK) == kind)


def is_there(scene: Any, kind: str) -> bool:
    """The scene has helpers of ``kind``, wherever their collection was put."""
    return any(is_ours(child, kind) for child in scene.collection.children_recursive)


def renew(scene: Any, kind: str, name: str) -> Any:
    """An empty collection for the helpers of ``kind`` in ``scene``; those from before are removed."""
    remove(scene, kind)
    collection = bpy.data.collections.new(name)
    collection[_MARK] = kind
    scene.collection.children.link(collection)
    return collection


def add(collection: Any, obj: Any) -> Any:
    """Link a new object that is ours; returns it."""
    obj[_MARK] = collection[_MARK]
    made = dict(collection.get(_MADE, {}))
    collection[_MADE] = {**made, str(len(made)): obj}
    collection.objects.link(obj)
    return obj


def remove(scene: Any, kind: str) -> bool:
    """Remove the helpers of ``kind`` from ``scene``. What the user has put into their collection stays, with it.
    True when there was something."""
    collections = [one for one in scene.collection.children_recursive if is_ours(one, kind)]
    made = {obj for one in collections for obj in one.get(_MADE, {}).values() if obj is not None}
    # Without the collection, which somebody may have deleted or an earlier version have made, the mark has to do.
    known = any(_MADE in one for one in collections)
    marked = [obj for obj in scene.objects if obj.get(_MARK) == kind and obj.library is None]
    ours = [obj for obj in marked if obj in made or not known]
    ours += [obj for obj in made if not obj.users_scene]  # deleted, but for our knowing of it
    data = [obj.data for obj in ours if obj.data is not None]
    for obj in ours:
        bpy.data.objects.remove(obj)
    bpy.data.batch_remove([block for block in data if block.users == 0])
    for collection in list(scene.collection.children_recursive):
        if is_ours(collection, kind) and not collection.objects and not collection.children:
            bpy.data.collections.remove(collection)
    return bool(ours)
