# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a head's bundle lies: a whole path while a file is open, and as seen from the file in what is saved, so that
both can be moved together, and nobody reads a stranger's home folder in it."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy

from .import_head import FOLDER, PROPERTY


def can_be_shown(path: str | Path) -> bool:
    """Blender can keep and draw a path: disks of old may have names that are no UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def folder_of(obj: Any) -> str:
    """The absolute path of a head's bundle, "" if unknown. A linked head's is relative to its own file."""
    given = str(obj[PROPERTY].get(FOLDER, ""))
    linked = obj.override_library.reference if obj.override_library is not None else obj
    return bpy.path.abspath(given, library=linked.library) if given else ""


def appended(obj: Any, library: Any) -> None:
    """A head that was appended from a file says where its bundle is as seen from that one: make it a whole path."""
    if PROPERTY in obj and obj.library is None and (given := str(obj[PROPERTY].get(FOLDER, ""))):
        obj[PROPERTY][FOLDER] = bpy.path.abspath(given, library=library)


def as_seen_from(blend: str | Path) -> dict[str, str]:
    """Write the folders of all heads as seen from a file; returns what they were, by object, for `put_back`."""
    before = {}
    for obj in bpy.data.objects:
        if PROPERTY in obj and obj.library is None and (whole := folder_of(obj)):
            before[obj.name] = whole
            with contextlib.suppress(ValueError):  # on another drive
                obj[PROPERTY][FOLDER] = bpy.path.relpath(whole, start=str(Path(blend).parent))
    return before


def put_back(before: Mapping[str, str]) -> None:
    """Whole paths again."""
    for name, folder in before.items():
        bpy.data.objects[name][PROPERTY][FOLDER] = folder
