# SPDX-License-Identifier: GPL-3.0-or-later
"""Handlers for what the user does to the file while heads are made: open another one, undo, save."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

from .. import properties
from ..capture import properties as capture
from ..head import folders, operators_blend
from ..studio import live, viewport_colours
from . import driver, session

# Between the handler before and the one after: the file that was open, the imports that were stopped, the viewports
# that showed our colours, and the folders of heads.
_file = ""
_stopped: dict[str, Path] = {}
_coloured: dict[int, str] = {}
_folders: dict[str, str] = {}


@persistent
def _before_load(*_: Any) -> None:
    """Another file: what was half-built goes with the old one."""
    global _coloured, _file, _stopped
    properties.keep()
    capture.keep()
    _coloured = viewport_colours.restore()
    _file, _stopped = bpy.data.filepath, driver.halt()


@persistent
def _after_load(*_: Any) -> None:
    """A head belongs into the file in which it was asked for. The same file read again goes on; in any other the
    finished head is offered, not put."""
    global _stopped
    properties.restore()
    capture.restore()
    viewport_colours.forget()
    live.after_undo()
    unfinished, _stopped = _stopped, {}
    if driver.has_worked():
        _go_on(unfinished)
    driver.let_go_of_ended()


def _go_on(unfinished: Mapping[str, Path]) -> None:
    """Jobs in a file that was opened, and imports that its opening has stopped."""
    if _file and _file == bpy.data.filepath:
        for job, folder in unfinished.items():
            driver.import_bundle(job, folder)
    else:
        state = session.get()
        state.here.clear()
        state.ready.update(unfinished)
    driver.ensure()


@persistent
def _after_failed_load(*_: Any) -> None:
    """The other file could not be read and the open one stays: what ``_before_load`` stopped is begun again."""
    global _stopped
    properties.restore()
    capture.restore()
    viewport_colours.again(_coloured)
    unfinished, _stopped = _stopped, {}
    for job, folder in unfinished.items():
        driver.import_bundle(job, folder)


@persistent
def _after_undo(*_: Any) -> None:
    driver.after_undo()
    operators_blend.show_again()


@persistent
def _before_save(blend: Any = "", *_: Any) -> None:
    global _coloured, _folders
    operators_blend.keep_pictures()
    _coloured = viewport_colours.restore()
    _folders = folders.as_seen_from(blend) if blend else {}


@persistent
def _after_save(*_: Any) -> None:
    viewport_colours.again(_coloured)
    folders.put_back(_folders)


@persistent
def _after_append(context: Any, *_: Any) -> None:
    for item in context.import_items:
        if item.id_type == "OBJECT" and item.id is not None:
            folders.appended(item.id, item.source_library)
    driver.let_go_of_ended()


_HANDLERS = (
    ("load_pre", _before_load),
    ("load_post", _after_load),
    ("load_post_fail", _after_failed_load),
    ("undo_post", _after_undo),
    ("redo_post", _after_undo),
    ("save_pre", _before_save),
    ("save_post", _after_save),
    ("save_post_fail", _after_save),
    *((("blend_import_post", _after_append),) if bpy.app.version >= (4, 3) else ()),
)


def register() -> None:
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    for name, handler in _HANDLERS:
        handlers = getattr(bpy.app.handlers, name)
        if handler in handlers:
            handlers.remove(handler)
