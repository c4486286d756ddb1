# SPDX-License-Identifier: GPL-3.0-or-later
"""The heads that are being put into the file: the running job's previews and its sketch, and finished heads. Files are
read in a thread; what Blender has to do is a generator that stops after some milliseconds, so that a timer can spread
it over ticks."""

import contextlib
import traceback
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bpy

from .. import preferences, thumbnails, undo_step
from ..head import import_head
from ..head.bundle import BundleError
from ..head.parts import PAUSE, Interrupted
from ..head.prepare import Prepared, prepare
from ..studio import live, preview_mesh, view, viewport_colours
from . import session
from .snapshot import Problem, Snapshot

_TRIES = 5

Slices = Generator[str | None, None, None]


@dataclass
class Building:
    """reader: the thread that reads files; reading: a preview being read, shown: the newest preview asked for,
    sketched: the newest sketch; preview, sketch, imports: what is being built, in slices, the imports by job with their
    bundles; coloured: viewports show a preview's colours."""

    reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="idto3d-read"))
    reading: Future[preview_mesh.Shape] | None = None
    shown: Path | None = None
    sketched: Path | None = None
    preview: Slices | None = None
    sketch: Slices | None = None
    imports: dict[str, tuple[Path, Slices]] = field(default_factory=dict)
    coloured: bool = False

    @property
    def busy(self) -> bool:
        """There is something to build."""
        return bool(self.imports) or self.preview is not None or self.sketch is not None


def begin_import(work: Building, job: str, folder: Path) -> None:
    """Import the finished head of a job, in slices."""
    drop_half_built(work)
    work.imports[job] = (folder, _import(work, job, folder))


def halt(work: Building) -> dict[str, Path]:
    """Stop what is half-built, leaving nothing of it in the file, and give the viewports their own colours back.
    Returns the imports that were stopped, job -> bundle, for `begin_import`."""
    work.coloured = False
    work.reading = None  # of a head that belongs into the file that goes
    viewport_colours.restore()
    drop_half_built(work)
    stopped = {job: folder for job, (folder, _) in work.imports.items()}
    for _, slices in work.imports.values():
        slices.close()
    work.imports.clear()
    forget_shown(work)
    return stopped


def drop_half_built(work: Building) -> None:
    """Stop what is built for the eye only: previews and sketches. Of these there is one only: it is begun again."""
    if work.sketch is not None:
        work.sketched = None
    for slices in (work.preview, work.sketch):
        if slices is not None:
            slices.close()
    work.preview = work.sketch = None


def forget_shown(work: Building) -> None:
    """The running job's newest preview and sketch are shown again."""
    work.shown = work.sketched = None


def read_picture(state: session.Session) -> bool:
    """Read the running job's newest picture for the panel, which takes as long as a slice. False when there is none."""
    running = state.running()
    if running is None or running.picture is None or bpy.app.background:
        return False
    return thumbnails.load_progress(running.picture)


def look_at_running(work: Building, state: session.Session) -> None:
    """Begin to read, or to show, the running job's newest preview or sketch."""
    running = state.running()
    if work.reading is not None and work.reading.done():
        reading, work.reading = work.reading, None
        # Too late for a file that the worker has deleted meanwhile; the next one comes in seconds.
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError):
            shape = reading.result()
            if running is not None and running.id == shape.job:
                work.preview = _preview(work, shape)
    if running is None or running.state != "running" or running.id not in state.here:
        return
    if work.reading is not None or work.busy:
        return
    if running.sketch is not None and running.sketch != work.sketched:
        work.sketched = running.sketch
        work.sketch = _sketch(work, running.id, running.sketch)
    elif running.mesh is not None and running.mesh != work.shown:
        work.shown = running.mesh
        work.reading = work.reader.submit(preview_mesh.read, running.mesh, running.id, running.topology or 0)


def next_slice(work: Building, state: session.Session) -> bool:
    """One slice of what there is to build; False when there is nothing, or only something to wait for."""
    if work.preview is not None:
        try:
            return next(work.preview) != PAUSE
        except (StopIteration, Interrupted):
            work.preview = None
            return True
    if work.sketch is not None:
        try:
            return next(work.sketch) != PAUSE
        except (StopIteration, Interrupted):
            work.sketch = None
        except Exception:
            # The head goes on without it.
            traceback.print_exc()
            work.sketch = None
        return True
    if work.imports:
        job, (_, slices) = next(iter(work.imports.items()))
        try:
            return next(slices) != PAUSE
        except StopIteration:
            _end_import(work, state, job)
            return True
        except BundleError as error:
            _end_import(work, state, job)
            _fail(state, job, Problem(error.code, error.message, error.fix))
            return True
        except Exception as error:
            traceback.print_exc()
            _end_import(work, state, job)
            _fail(state, job, Problem("E_IMPORT", f"The head could not be imported: {error}.", "Import it again."))
            return True
    return False


def _preview(work: Building, shape: preview_mesh.Shape) -> Slices:
    new = live.find(shape.job) is None
    name = _name(shape.job)
    if not (yield from live.show(shape, name)):
        return
    obj = live.find(shape.job)
    painted = shape.colours is not None and not import_head.is_head(obj)
    if painted and not work.coloured and preferences.get().solid_colours:
        work.coloured = True
        viewport_colours.show(viewport_colours.PAINTING)
    if new and obj is not None:
        _frame(shape.job, obj)
    yield None


def _frame(job: str, obj: Any) -> None:
    if job in session.get().frame:
        session.get().frame.discard(job)
        view.bring_into_sight(obj)


def _sketch(work: Building, job: str, folder: Path) -> Slices:
    prepared = yield from _read(work, job, folder)
    while live.busy(job):
        yield PAUSE
    built = yield from import_head.build(prepared)
    obj = live.sketch(job, built)
    if obj is not None:
        _show_pictures(work)
        _frame(job, obj)
    elif live.busy(job):
        work.sketched = None  # once more, when they are back in object mode
    yield None


def _read(work: Building, job: str, folder: Path) -> Generator[str | None, None, Prepared]:
    future: Future[Prepared] = work.reader.submit(prepare, folder)
    while not future.done():
        yield PAUSE
    # As its previews are called, whatever its folder is.
    return replace(future.result(), name=_name(job))


def _show_pictures(work: Building) -> None:
    """At once: the mesh has pictures, and shows none of its skin where colours of vertices are shown."""
    work.coloured = False
    if preferences.get().solid_colours:
        viewport_colours.show(viewport_colours.FINISHED)


def _import(work: Building, job: str, folder: Path) -> Slices:
    prepared = yield from _read(work, job, folder)
    for attempt in range(_TRIES):
        while live.busy(job):
            yield PAUSE
        try:
            built = yield from import_head.build(prepared)
            kept = live.finish(job, built)
            break
        except Interrupted:
            if attempt == _TRIES - 1:
                raise
            yield None
    if kept:
        _warn(job, Problem("W_HEAD_EDITED", f"You changed the head while it was made: {kept}, hidden, has that."))
    _show_pictures(work)
    yield PAUSE  # the next two take some 20 ms each: a turn for each, so that the window is drawn between them
    obj = live.find(job)
    if obj is not None:
        import_head.thumbnail(obj, prepared)
        live.let_go(job)
        yield PAUSE
        undo_step.push("ID-to-3D Head")


def _end_import(work: Building, state: session.Session, job: str) -> None:
    work.imports.pop(job, None)
    state.here.discard(job)
    state.frame.discard(job)
    if state.running() is None:
        colours_off(work)


def _warn(job: str, problem: Problem) -> None:
    ended = session.get().ended
    if ended is not None and ended.id == job:
        session.get().ended = replace(ended, warnings=(*ended.warnings, problem))


def _fail(state: session.Session, job: str, problem: Problem) -> None:
    ended = state.ended
    if ended is None or ended.id != job:
        ended = Snapshot(job, "failed", state.folder / "logs" / f"{job}.log")
    state.ended = replace(ended, state="failed", error=problem)


def colours_off(work: Building) -> None:
    """The viewports show again what they showed before a preview's colours."""
    if work.coloured:
        work.coloured = False
        viewport_colours.stop_painting()


def _name(job: str) -> str:
    record = session.get().jobs.record(job)
    return Path(str(record.request["out"])).name if record else "head"
