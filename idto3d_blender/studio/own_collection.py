# SPDX-License-Identifier: GPL-3.0-or-later
"""Collections for helpers of ours (lights, a turntable): these can be replaced, and nothing else with them."""

from typing import Any

import bpy

_MARK = "idto3d_helper"


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
    collection.objects.link(obj)
    return obj


def remove(scene: Any, kind: str) -> bool:
    """Remove the helpers of ``kind`` from ``scene``. What the user has put into their collection stays, with it.
    True when there was something."""
    ours = [obj for obj in scene.objects if obj.get(_MARK) == kind and obj.library is None]
    data = [obj.data for obj in ours if obj.data is not None]
    for obj in ours:
        bpy.data.objects.remove(obj)
    bpy.data.batch_remove([block for block in data if block.users == 0])
    for collection in list(scene.collection.children_recursive):
        if is_ours(collection, kind) and not collection.objects and not collection.children:
            bpy.data.collections.remove(collection)
    return bool(ours)
