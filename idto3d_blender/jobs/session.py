# SPDX-License-Identifier: GPL-3.0-or-later
"""What the extension holds while Blender is open: the queue, a running set-up, what the panel shows.

It belongs to the running Blender and not to a file, so that another file or an undo leaves it alone. Nothing here is
a reference to a data-block.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from .. import ADDON, preferences
from ..head.bundle import photo_names
from . import setup_backend
from .job import Job, Launch
from .jobs import Jobs
from .records import SETTING_UP, Record
from .snapshot import Fit, Snapshot

ELSEWHERE = "Another Blender sets the backend up. Wait until that is done"


@dataclass
class Session:
    """folder: the user folder; jobs: the queue; launch: of a backend that waits for its first job; status: of the
    backend, as last looked up; setup: a running set-up; let_go_of_setup: tells other processes of its end;
    setup_ended: the last set-up that ended; resumable: records the panel offers to resume; looking: what reads them;
    ended: the last head job that ended, until it is dismissed; here: jobs whose head belongs into the open file;
    ready: finished heads that wait for the user to ask for them, job -> bundle; frame: jobs whose head is to be
    brought into sight when it first appears; framed: those for which that was asked once, which is enough."""

    folder: Path
    jobs: Jobs
    launch: Launch
    status: setup_backend.Status
    setup: Job | None = None
    let_go_of_setup: Callable[[], None] = lambda: None
    setup_ended: Snapshot | None = None
    resumable: tuple[Record, ...] = ()
    looking: threading.Thread | None = None
    ended: Snapshot | None = None
    here: set[str] = field(default_factory=set)
    ready: dict[str, Path] = field(default_factory=dict)
    frame: set[str] = field(default_factory=set)
    framed: set[str] = field(default_factory=set)

    @property
    def busy(self) -> bool:
        """A process of ours runs or waits."""
        return self.jobs.busy or self.setup is not None

    def warm_up(self) -> None:
        """Start the backend ahead of the job that is likely to come, so that a head stands there sooner."""
        if self.status.state == "ready" and self.setup is None and not bpy.app.background:
            self.jobs.warm_up(self.launch)

    def running(self) -> Snapshot | None:
        """The head job that runs now."""
        return self.jobs.current.snapshot if self.jobs.current else None

    def fits(self) -> Mapping[str, Fit]:
        """How well each photo of the running job, or of the last that ended, was understood, by its path."""
        latest = self.running() or self.jobs.finished
        record = self.jobs.record(latest.id) if latest is not None else None
        if latest is None or record is None:
            return {}
        photos = [str(photo) for photo in record.request.get("photos") or []]
        paths = dict(zip(photo_names(photos), photos, strict=True))
        return {paths[fit.photo]: fit for fit in latest.fits if fit.photo in paths}

    def begin_setup(self, **chosen: Any) -> None:
        """Make, replace or mend the environment; arguments as of `setup_backend.start`."""
        self.setup_ended = None
        self.jobs.end_warm()
        with contextlib.suppress(KeyError):  # another Blender was quicker: the set-up itself says so
            self.let_go_of_setup = self.jobs.records.hold(SETTING_UP)
        self.setup = setup_backend.start(self.folder, **chosen)

    def end_setup(self) -> None:
        """Take note of one that has ended."""
        if self.setup is not None:
            self.setup_ended = self.setup.snapshot
        self.setup = None
        self.let_go_of_setup()
        self.look_up()

    def wait_for_others(self) -> bool:
        """Whether another Blender still sets the backend up; when it has ended, what there is is looked up."""
        if self.status.message != ELSEWHERE or bpy.app.background:
            return False
        if not self.jobs.records.others_setting_up():
            self.look_up()
            return False
        return True

    def look_up(self) -> None:
        """Read from the disk again what the panel shows of it: backend and resumable jobs."""
        setup_backend.refresh()
        self.launch = setup_backend.worker_launch(self.folder, "worker", {})
        self.status = setup_backend.status(self.folder)
        if self.jobs.records.others_setting_up():
            self.status = setup_backend.Status("incomplete", ELSEWHERE)
        self.look_up_jobs()

    def look_up_jobs(self, besides: Callable[[], None] = lambda: None) -> None:
        """Read from the disk again which jobs can be resumed, beside the window: every photo of every one is looked
        for, and a network drive may be slow. besides: done afterwards."""
        mine = self.jobs.own

        def look() -> None:
            with contextlib.suppress(OSError):
                found = tuple(record for record in self.jobs.records.left_behind() if record.id not in mine)
                if self.looking is threading.current_thread():  # nobody has asked again meanwhile
                    self.resumable = found
            besides()

        self.looking = threading.Thread(target=look, name="idto3d-jobs", daemon=True)
        self.looking.start()
        if bpy.app.background:
            self.looking.join()  # a script wants the answer, and has no window to keep moving


_session: Session | None = None


def get() -> Session:
    """The session; made, with the folders it needs, when it is first asked for."""
    return _session if _session is not None else start(setup_backend.user_folder(ADDON))


def start(folder: Path, launch: Callable[[Record], Launch] | None = None) -> Session:
    """Begin a session in ``folder``. launch: what to start for a record, the backend's worker if not given."""
    global _session
    stop()

    def worker(record: Record) -> Launch:
        return setup_backend.worker_launch(folder, record.id, record.request)

    ahead = setup_backend.worker_launch(folder, "worker", {})
    _session = Session(folder, Jobs(folder, launch or worker), ahead, setup_backend.status(folder))
    _session.look_up_jobs(_session.jobs.records.tidy)
    return _session


def why_not_ready() -> Iterator[str]:
    """Reasons for which the backend cannot be asked for anything, as an operator's ``why_not``."""
    state = get()
    if state.setup is not None:
        yield "The set-up is running"
    if state.status.state != "ready":
        yield f"{state.status.message} See the box Set-up"


def why_not_now() -> Iterator[str]:
    """As `why_not_ready`, and what only the disk tells: for an operator's ``execute``."""
    yield from why_not_ready()
    if get().jobs.records.others_setting_up():
        get().look_up()  # the box Set-up tells when it has ended
        yield f"{ELSEWHERE} (E_SETUP_RUNNING)"


def stop() -> None:
    """Let go of the processes: each writes its checkpoint and ends by itself; its job can be resumed."""
    global _session
    if _session is not None:
        _session.jobs.release()
        if _session.setup is not None:
            _session.setup.release()
    _session = None


def plan() -> setup_backend.Plan | None:
    """What a set-up would do, with the user's preferences; None while that is being found out."""
    chosen = preferences.get()
    return setup_backend.plan(
        get().folder, python=chosen.python, device=chosen.device, wheels=chosen.wheels, online=bpy.app.online_access
    )
