# SPDX-License-Identifier: GPL-3.0-or-later
"""Data-blocks of an import that is spread over several ticks of a timer.

Between two ticks the user may undo or open another file, which frees data-blocks under Python's feet: using a kept
reference then crashes Blender. So only names are kept, and every look-up checks a mark on the data-block.
"""

import uuid
from typing import Any

import bpy

PAUSE = "pause"
"""Yielded by the steps of an import where there is something to wait for, and before one of ten milliseconds or more:
what else runs gets its turn first."""
_MARK = "idto3d_part"
_KINDS = ("objects", "meshes", "materials", "images")


class Interrupted(Exception):
    """A data-block of an import is gone: start the import again."""


class Parts:
    """The data-blocks of one import, by role."""

    def __init__(self) -> None:
        self._token = uuid.uuid4().hex
        self._names: dict[str, tuple[str, str]] = {}

    def add(self, role: str, kind: str, block: Any) -> Any:
        """Remember ``block``, which lies in ``bpy.data.<kind>``, as ``role``; returns it."""
        block[_MARK] = self._token
        self._names[role] = (kind, block.name)
        return block

    def get(self, role: str) -> Any:
        """The data-block of ``role``, good until the next yield. Raises Interrupted when it is gone."""
        kind, name = self._names[role]
        block = getattr(bpy.data, kind).get(name)
        if block is None or block.get(_MARK) != self._token:
            raise Interrupted(role)
        return block

    def release(self) -> None:
        """The import is finished: take the marks off."""
        for role in self._names:
            del self.get(role)[_MARK]
        self._names.clear()

    def discard(self) -> None:
        """Remove what there is of the import."""
        ours = [block for kind in _KINDS for block in getattr(bpy.data, kind) if block.get(_MARK) == self._token]
        if ours:
            bpy.data.batch_remove(ours)
        self._names.clear()
