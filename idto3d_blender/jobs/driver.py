# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on beside the user's work: a timer polls the jobs and feeds their results to Blender in small slices.

Blender's main thread does nothing here that takes long: processes are polled, and heads are built slice by slice
(`building`) until a tick has taken its share. In background mode, where timers do not run,
``run_until_idle`` calls the same tick in a loop.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import bpy

from ..head import import_head
from ..studio import live
from . import building, session, setup_backend
from .snapshot import Snapshot

# Seconds of a tick after which no further slice is begun; between ticks: at work, at rest.
BUDGET = 0.025
_AT_WORK = 0.001
_AT_REST = 0.1
_NOW_AND_THEN = 2.0


@dataclass
class _Work:
    """building: the heads that are put into the file; ended: the last ended job that was taken note of; drawn: what the
    sidebars show; asleep: there is nothing to do but to send home a backend without work, in minutes."""

    building: building.Building = field(default_factory=building.Building)
    ended: Snapshot | None = None
    drawn: object = None
    asleep: bool = False


_work: _Work | None = None


def ensure() -> None:
    """See to it that the timer runs: call it whenever there is something to do."""
    if bpy.app.background:
        return
    if _get().asleep and bpy.app.timers.is_registered(_timer):
        bpy.app.timers.unregister(_timer)
    if not bpy.app.timers.is_registered(_timer):
        bpy.app.timers.register(_timer, first_interval=0.01, persistent=True)


def import_bundle(job: str, folder: Path) -> None:
    """Import the finished head of a job in slices."""
    building.begin_import(_get().building, job, folder)
    ensure()


def use_sketch(job: str, folder: Path) -> None:
    """The job was cancelled, and its head, of which `folder` is the bundle, is to stay as it is: in its place, or out
    of the bundle."""
    work = _get().building
    work.reading = None
    building.drop_half_built(work)
    head = live.find(job)
    if import_head.is_head(head):
        head[import_head.PROPERTY][import_head.FOLDER] = str(folder)
        live.let_go(job)
    else:
        import_bundle(job, folder)


def has_worked() -> bool:
    """There was something to do since the extension was enabled."""
    return _work is not None


def importing(job: str) -> bool:
    """The job's head is being imported."""
    return _work is not None and job in _work.building.imports


def tick() -> float | None:
    """One turn of everything. Returns the seconds until the next, or None when there is nothing to do."""
    begun = time.perf_counter()
    work, state = _get(), session.get()
    work.asleep = False
    _poll_setup(state)
    state.jobs.poll()
    _take_note_of_end(work, state)
    building.look_at_running(work.building, state)
    is_rendering = rendering()
    full = building.read_picture(state) or is_rendering
    while not full and building.next_slice(work.building, state) and time.perf_counter() - begun < BUDGET:
        pass
    looking = state.looking is not None and state.looking.is_alive()  # before what it has found is drawn
    elsewhere = state.wait_for_others()
    asks = state.status.state != "ready" and state.setup is None and not elsewhere
    plan = session.plan() if asks else None
    _redraw_if_new(work, state, plan)
    if work.building.busy and not is_rendering:
        return _AT_WORK
    waits = work.building.busy or work.building.reading is not None or looking or (asks and plan is None)
    if waits or state.busy:
        return _AT_REST
    if elsewhere:
        return _NOW_AND_THEN
    work.asleep = True
    return None if bpy.app.background else state.jobs.warm


def run_until_idle(job: str | None = None, pause: float = 0.02) -> None:
    """Tick until a job and its import, or everything, is over: for background mode and scripts."""
    while tick() is not None:
        if job is not None and not alive(job):
            return
        time.sleep(pause)


def halt() -> dict[str, Path]:
    """Stop what is half-built, leaving nothing of it in the file. Returns the imports that were stopped, job -> bundle,
    for ``import_bundle``."""
    return building.halt(_work.building) if _work is not None else {}


def after_undo() -> None:
    """An unfinished head that was undone comes back at once, from the newest that there is of it: until the next
    preview it may take long."""
    live.after_undo()
    let_go_of_ended()
    running = session.get().running() if _work is not None else None
    if _work is not None and running is not None and live.find(running.id) is None:
        building.forget_shown(_work.building)
        ensure()


def let_go_of_ended() -> None:
    """What the file has of heads that nobody is making any more is not waited for: as it was when the file was saved,
    or before what was undone."""
    for job in live.jobs():
        state = session.get()
        if job not in state.ready and not alive(job) and not state.jobs.records.is_unfinished(job):
            live.let_go(job)


def redraw() -> None:
    """Draw the sidebars of the 3D viewports anew."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()


def rendering() -> bool:
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
        _work = _Work()
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
        state.end_setup()


def _take_note_of_end(work: _Work, state: session.Session) -> None:
    ended = state.jobs.finished
    if ended is None or ended is work.ended:
        return
    work.ended = state.ended = ended
    building.drop_half_built(work.building)
    building.forget_shown(work.building)  # resumed, the job begins with the same files
    work.building.reader.submit(state.jobs.records.tidy_after, ended.id)  # after what is being read of its previews
    state.look_up_jobs()
    if ended.state == "done" and ended.bundle is not None:
        if ended.id in state.here:
            import_bundle(ended.id, ended.bundle)
        else:
            state.ready[ended.id] = ended.bundle
    else:
        building.colours_off(work.building)
        state.here.discard(ended.id)


def _redraw_if_new(work: _Work, state: session.Session, plan: setup_backend.Plan | None) -> None:
    setup = state.setup.snapshot if state.setup else None
    importing_one = bool(work.building.imports)
    now = (state.running(), state.jobs.waiting, state.ended, state.resumable, setup, plan, state.status, importing_one)
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
        _work.building.reader.shutdown(wait=False, cancel_futures=True)
    _work = None
    session.stop()
