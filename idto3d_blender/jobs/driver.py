# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on beside the user's work: a timer polls the jobs and feeds their results to Blender in small slices.

Blender's main thread does nothing here that takes long: processes are polled, files are read in a thread, and meshes
are built by generators that stop as soon as a tick has taken its share. In background mode, where timers do not run,
``run_until_idle`` calls the same tick in a loop.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bpy

from ..head import import_head
from ..head.bundle import BundleError
from ..head.parts import Interrupted
from ..head.prepare import Prepared, prepare
from ..studio import live, view, viewport_colours
from ..ui import preferences, thumbnails
from . import session, setup_backend
from .snapshot import Problem, Snapshot

# Seconds of a tick after which no further slice is begun; between ticks: at work, at rest, while a backend waits.
BUDGET = 0.012
_AT_WORK = 0.01
_AT_REST = 0.1
_IDLE = 1.0
_TRIES = 5
_WAIT = "wait"

Slices = Generator[str | None, None, None]


@dataclass
class _Work:
    """reader: the thread that reads files; reading: a preview being read, shown: the newest preview asked for,
    sketched: the newest sketch; preview, sketch, imports: what is being built, in slices, the imports by job with their
    bundles; ended: the last ended job
    that was taken note of; coloured: viewports show a preview's colours."""

    reader: ThreadPoolExecutor
    reading: Future[live.Shape] | None = None
    shown: Path | None = None
    sketched: Path | None = None
    preview: Slices | None = None
    sketch: Slices | None = None
    imports: dict[str, tuple[Path, Slices]] = field(default_factory=dict)
    ended: Snapshot | None = None
    coloured: bool = False
    drawn: object = None


_work: _Work | None = None


def ensure() -> None:
    """See to it that the timer runs: call it whenever there is something to do."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_timer):
        bpy.app.timers.register(_timer, first_interval=0.01, persistent=True)


def import_bundle(job: str, folder: Path) -> None:
    """Import the finished head of a job in slices."""
    work = _get()
    _drop_half_built(work)
    work.imports[job] = (folder, _import(work, job, folder))
    ensure()


def use_sketch(job: str, folder: Path) -> None:
    """The job was cancelled, and its head is to stay as it is: in its place, or out of its bundle."""
    work = _get()
    work.reading = None
    _drop_half_built(work)
    if import_head.is_head(live.find(job)):
        live.let_go(job)
    else:
        import_bundle(job, folder)


def has_worked() -> bool:
    """There was something to do since the extension was enabled."""
    return _work is not None


def importing(job: str) -> bool:
    """The job's head is being imported."""
    return _work is not None and job in _work.imports


def tick() -> float | None:
    """One turn of everything. Returns the seconds until the next, or None when there is nothing to do."""
    begun = time.perf_counter()
    work, state = _get(), session.get()
    _poll_setup(state)
    state.jobs.poll()
    _take_note_of_end(work, state)
    _look_at_running(work, state)
    rendering = _rendering()
    while not rendering and _slice(work, state) and time.perf_counter() - begun < BUDGET:
        pass
    asks = state.status.state != "ready" and state.setup is None
    plan = session.plan() if asks else None
    _redraw_if_new(work, state, plan)
    building = bool(work.imports) or work.preview is not None or work.sketch is not None
    if building and not rendering:
        return _AT_WORK
    if building or state.busy or work.reading is not None or (asks and plan is None):
        return _AT_REST
    return _IDLE if state.jobs.warm and not bpy.app.background else None


def run_until_idle(job: str | None = None, pause: float = 0.02) -> None:
    """Tick until a job and its import, or everything, is over: for background mode and scripts."""
    while tick() is not None:
        if job is not None and not alive(job):
            return
        time.sleep(pause)


def halt() -> dict[str, Path]:
    """Stop what is half-built, leaving nothing of it in the file, and give the viewports their own colours back.
    Returns the imports that were stopped, job -> bundle, for ``import_bundle``."""
    work = _work
    if work is None:
        return {}
    work.coloured = False
    work.reading = None  # of a head that belongs into the file that goes
    viewport_colours.restore()
    _drop_half_built(work)
    stopped = {job: folder for job, (folder, _) in work.imports.items()}
    for _, slices in work.imports.values():
        slices.close()
    work.imports.clear()
    work.shown = work.sketched = None
    return stopped


def after_undo() -> None:
    """An unfinished head that was undone comes back at once, from the newest that there is of it: until the next
    preview it may take long."""
    live.after_undo()
    running = session.get().running() if _work is not None else None
    if _work is not None and running is not None and live.find(running.id) is None:
        _work.shown = _work.sketched = None
        ensure()


def redraw() -> None:
    """Draw the sidebars of the 3D viewports anew."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()


def _rendering() -> bool:
    """A thread of Blender reads the scene: data-blocks that come or go meanwhile can crash it."""
    return any(bpy.app.is_job_running(kind) for kind in ("RENDER", "OBJECT_BAKE"))


def _timer() -> float | None:
    try:
        return tick()
    except Exception:
        # A timer that raises is taken out by Blender, and all jobs would stand still without a word.
        traceback.print_exc()
        return 1.0


def _get() -> _Work:
    global _work
    if _work is None:
        _work = _Work(ThreadPoolExecutor(1, thread_name_prefix="idto3d-read"))
    return _work


def alive(job: str) -> bool:
    """The job waits, runs, or is being imported."""
    state = session.get()
    waiting = any(record.id == job for record in state.jobs.waiting)
    running = state.jobs.current is not None and state.jobs.current.id == job
    return waiting or running or importing(job)


def _poll_setup(state: session.Session) -> None:
    if state.setup is None:
        return
    state.setup.poll()
    if state.setup.ended:
        state.setup_ended = state.setup.snapshot
        state.setup = None
        state.look_up()


def _take_note_of_end(work: _Work, state: session.Session) -> None:
    ended = state.jobs.finished
    if ended is None or ended is work.ended:
        return
    work.ended = state.ended = ended
    _drop_half_built(work)
    state.look_up_jobs()
    if ended.state == "done" and ended.bundle is not None:
        if ended.id in state.here:
            import_bundle(ended.id, ended.bundle)
        else:
            state.ready[ended.id] = ended.bundle
    else:
        _colours_off(work)
        state.here.discard(ended.id)


def _look_at_running(work: _Work, state: session.Session) -> None:
    """Begin to read, or to show, the running job's newest preview or sketch."""
    running = state.running()
    if running is not None and running.picture is not None and not bpy.app.background:
        thumbnails.load_progress(running.picture)
    if work.reading is not None and work.reading.done():
        reading, work.reading = work.reading, None
        # Too late for a file that the worker has deleted meanwhile; the next one comes in seconds.
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError):
            shape = reading.result()
            if running is not None and running.id == shape.job:
                work.preview = _preview(work, shape)
    if running is None or running.state != "running" or running.id not in state.here:
        return
    if work.reading is not None or work.preview is not None or work.sketch is not None or work.imports:
        return
    if running.sketch is not None and running.sketch != work.sketched:
        work.sketched = running.sketch
        work.sketch = _sketch(work, running.id, running.sketch)
    elif running.mesh is not None and running.mesh != work.shown:
        work.shown = running.mesh
        work.reading = work.reader.submit(live.read, running.mesh, running.id, running.topology or 0)


def _slice(work: _Work, state: session.Session) -> bool:
    """One slice of what there is to build; False when there is nothing, or only something to wait for."""
    if work.preview is not None:
        try:
            return next(work.preview) != _WAIT
        except (StopIteration, Interrupted):
            work.preview = None
            return True
    if work.sketch is not None:
        try:
            return next(work.sketch) != _WAIT
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
            return next(slices) != _WAIT
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


def _preview(work: _Work, shape: live.Shape) -> Slices:
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


def _sketch(work: _Work, job: str, folder: Path) -> Slices:
    prepared = yield from _read(work, job, folder)
    while live.busy(job):
        yield _WAIT
    built = yield from import_head.build(prepared)
    obj = live.sketch(job, built)
    if obj is not None:
        _show_pictures(work)
        _frame(job, obj)
    yield None


def _drop_half_built(work: _Work) -> None:
    for slices in (work.preview, work.sketch):
        if slices is not None:
            slices.close()
    work.preview = work.sketch = None


def _read(work: _Work, job: str, folder: Path) -> Generator[str | None, None, Prepared]:
    future: Future[Prepared] = work.reader.submit(prepare, folder)
    while not future.done():
        yield _WAIT
    # As its previews are called, whatever its folder is.
    return replace(future.result(), name=_name(job))


def _show_pictures(work: _Work) -> None:
    """At once: the mesh has pictures, and shows none of its skin where colours of vertices are shown."""
    work.coloured = False
    if preferences.get().solid_colours:
        viewport_colours.show(viewport_colours.FINISHED)


def _import(work: _Work, job: str, folder: Path) -> Slices:
    prepared = yield from _read(work, job, folder)
    for attempt in range(_TRIES):
        while live.busy(job):
            yield _WAIT
        try:
            built = yield from import_head.build(prepared)
            break
        except Interrupted:
            if attempt == _TRIES - 1:
                raise
            yield None
    live.finish(job, built)
    _show_pictures(work)
    yield None
    obj = live.find(job)
    if obj is not None:
        import_head.thumbnail(obj, prepared)
        yield None
        live.let_go(job)
        if _hands_free():
            bpy.ops.ed.undo_push(message="ID-to-3D Head")


def _hands_free() -> bool:
    """An undo step may be put in: nobody is in a mode or a modal operator, whose own steps it would come between."""
    windows = bpy.context.window_manager.windows
    return not bpy.app.background and bpy.context.mode == "OBJECT" and not any(w.modal_operators for w in windows)


def _end_import(work: _Work, state: session.Session, job: str) -> None:
    work.imports.pop(job, None)
    state.here.discard(job)
    state.frame.discard(job)
    if state.running() is None:
        _colours_off(work)
    redraw()


def _fail(state: session.Session, job: str, problem: Problem) -> None:
    ended = state.ended
    if ended is None or ended.id != job:
        ended = Snapshot(job, "failed", state.folder / "logs" / f"{job}.log")
    state.ended = replace(ended, state="failed", error=problem)


def _colours_off(work: _Work) -> None:
    if work.coloured:
        work.coloured = False
        viewport_colours.stop_painting()


def _name(job: str) -> str:
    record = session.get().jobs.record(job)
    return Path(str(record.request["out"])).name if record else "head"


def _redraw_if_new(work: _Work, state: session.Session, plan: setup_backend.Plan | None) -> None:
    setup = state.setup.snapshot if state.setup else None
    now = (state.running(), state.jobs.waiting, state.ended, setup, plan, state.status, bool(work.imports))
    if now != work.drawn:
        work.drawn = now
        redraw()


def register() -> None:
    """Nothing runs before there is something to do."""


def unregister() -> None:
    global _work
    if bpy.app.timers.is_registered(_timer):
        bpy.app.timers.unregister(_timer)
    if _work is not None:
        halt()
        _work.reader.shutdown(wait=False, cancel_futures=True)
    _work = None
    session.stop()
