# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of the backend reach the file: by a timer while nothing is dragged, by the drag itself otherwise."""

import contextlib
import traceback
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bpy

from .. import undo_step
from ..head import naming
from ..head.bundle import BundleError, HeadFiles, read_bundle_files
from ..jobs import driver
from ..jobs.snapshot import Problem
from . import scene as stage
from . import session, viewport
from .link import Answer

_PAUSE = 0.05
_LAST = object()
_LAID = "idto3d_laid"
"""Property of an image: a checksum of the file that a projection has put into it."""

HINDERING = ("EDIT", "SCULPT")
"""Modes in which a mesh cannot be read, or keys not be changed: answers wait."""
listener: Callable[[Answer], None] | None = None
"""A drag that wants the answers for itself."""


def pump() -> None:
    """Take in what was answered."""
    match = session.get()
    if match is None:
        return
    scene, obj = session.shown(match)
    if scene is None:  # deleted, and the way out of the match with it
        session.stop()
        return
    if obj is not None and obj.mode in HINDERING:
        return
    for answer in match.link.poll():
        if listener is not None:
            listener(answer)
        else:
            take(answer)
    if match.laying is not None and next(match.laying, _LAST) is _LAST:
        match.laying = None
        match.projecting = 0
        undo_step.push("ID-to-3D Project Photos")  # or taking back the next drag would take the maps back, too
        viewport.redraw()


def take(answer: Answer) -> None:
    """An answer that no drag waits for."""
    match = session.get()
    if match is None:
        return
    scene, obj = session.shown(match)
    if obj is None or answer.ticket < max(match.first, match.projecting):
        # What was asked before an undo is of no use after it.
        return
    if match.projecting and answer.ticket > match.projecting:
        match.projecting = 0  # a later question took its place
    if answer.problem is not None:
        match.problem = answer.problem
        match.projecting = 0
    elif unfit := session.unfit(obj, answer):
        match.problem = unfit
        match.projecting = 0
    else:
        session.take(scene, obj, match, answer)
        if answer.done is not None:
            reader = ThreadPoolExecutor(1, thread_name_prefix="idto3d-maps")
            match.laying = lay_maps(match, reader.submit(_read, answer.done, match.bundle))
            reader.shutdown(wait=False)
    viewport.redraw()


def _read(laid: Path, made: Path) -> tuple[HeadFiles, dict[str, tuple[str, str]]]:
    """The bundle that photos were laid on anew, and of each of its pictures the mark that it has there and in the
    head's own bundle, "" where that lacks it. In a thread: of a large head these are a hundred megabytes."""
    files = read_bundle_files(laid)
    marks = {}
    for file in {file for material in files.materials for file in material.maps.values()}:
        own = ""
        with contextlib.suppress(OSError):
            own = _mark((made / file).read_bytes())
        marks[file] = _mark(files.images[file]), own
    return files, marks


def lay_maps(match: session.Match, reading: Future[Any]) -> Iterator[None]:
    """Steps, one a picture, that give the head the pictures of the bundle that its photos were laid on anew, after some
    that wait until it is read. Its own bundle stays what its pins are reckoned from, so that they can still be taken
    out."""
    while not reading.done():
        yield
    try:
        files, marks = reading.result()
    except BundleError as error:
        match.problem = Problem(error.code, error.message, error.fix)
        return
    for material in files.materials:
        for kind, file in material.maps.items():
            _, obj = session.shown(match)  # looked up anew, as an undo may have come between
            role = f"{material.name}_{kind}"
            image = next((one for one in naming.images(obj) if one.get(naming.ROLE) == role), None) if obj else None
            if image is not None:
                data, (mark, made) = files.images[file], marks[file]
                _keep_painted(image, made)
                image[_LAID] = mark
                image.pack(data=data, data_len=len(data))
                image.buffers_free()
                image.gl_free()
                yield
    _, obj = session.shown(match)
    layer = obj.data.attributes.get("seen") if obj else None
    if layer is not None and files.seen is not None and len(layer.data) == len(files.seen):
        layer.data.foreach_set("value", files.seen)


def _keep_painted(image: Any, made: str) -> None:
    """What somebody has painted on a map stays in the file, as a picture of its own. made: mark of the map as the head
    came."""
    with contextlib.suppress(OSError):
        packed = image.packed_file
        data = packed.data if packed is not None else Path(bpy.path.abspath(image.filepath)).read_bytes()
        if not image.is_dirty and _mark(data) == (image.get(_LAID) or made):
            return
    if image.is_dirty:
        image.pack()
    kept = image.copy()
    kept.name, kept.use_fake_user = f"{image.name} painted", True
    for name in (naming.ROLE, _LAID):
        kept.pop(name, None)


def _mark(data: bytes) -> str:
    return f"{zlib.crc32(data):08x}"


def _timer() -> float | None:
    if session.get() is None:
        return None
    if listener is None and not driver.rendering():
        try:
            pump()
        except Exception:  # a timer that raises is never called again
            traceback.print_exc()
    return _PAUSE


def ensure() -> None:
    """See to it that answers are taken in."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_timer):
        bpy.app.timers.register(_timer, first_interval=_PAUSE, persistent=True)


@bpy.app.handlers.persistent
def _undone(*_: Any) -> None:
    """Pins are as they were: so be cameras and keys. Undone past its beginning, the match is over."""
    match = session.get()
    heads = map(stage.matched, bpy.data.scenes) if match is None else session.shown(match)[1:]
    obj = next(filter(None, heads), None)
    if obj is None:
        session.stop()
        if viewport.entered():
            viewport.leave()
        return
    if match is None:
        return
    match.problem = match.laying = None
    match.projecting = 0
    match.first = match.link.ask(session.request(match, obj))


@bpy.app.handlers.persistent
def _appended(context: Any, *_: Any) -> None:
    """Heads from a file that was saved while they were matched are not matched here."""
    stage.give_back({}, [item.id for item in context.import_items if item.id_type == "OBJECT" and item.id is not None])


@bpy.app.handlers.persistent
def _loaded(*_: Any) -> None:
    session.stop()
    viewport.forget()


_HANDLERS = (
    ("undo_post", _undone),
    ("redo_post", _undone),
    ("load_post", _loaded),
    *((("blend_import_post", _appended),) if bpy.app.version >= (4, 3) else ()),
)


def register() -> None:
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    session.stop()
    if bpy.app.timers.is_registered(_timer):
        bpy.app.timers.unregister(_timer)
    for name, handler in _HANDLERS:
        handlers = getattr(bpy.app.handlers, name)
        if handler in handlers:
            handlers.remove(handler)
