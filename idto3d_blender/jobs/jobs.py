# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue of jobs. A machine has one GPU, so one job runs at a time and the others wait.

No bpy here; the state of the queue belongs to the process, not to a .blend file.
"""

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .backend_process import BackendProcess, Event
from .job import DEFAULT_TIMEOUTS, Job, Launch, Timeouts, Warm
from .records import Record, Records
from .snapshot import FINAL, Snapshot

END_SECONDS = 5.0  # that a process which is killed may take
WARM_SECONDS = 600.0
"""How long a process without work is kept: for the next photo of somebody who is at it, not overnight."""


class Jobs:
    """One queue for this process. All methods return at once; call them from one thread.

    launch makes the command for a record (see setup_backend.worker_launch).
    """

    def __init__(
        self, user_folder: Path, launch: Callable[[Record], Launch], timeouts: Timeouts = DEFAULT_TIMEOUTS
    ) -> None:
        self.records = Records(user_folder)
        self.current: Job | None = None
        self.waiting: tuple[Record, ...] = ()
        self.finished: Snapshot | None = None  # the last job that ended, for a panel to show
        self._launch = launch
        self._timeouts = timeouts
        self._warm: Warm | None = None
        self._warm_until = 0.0

    def submit(self, request: Mapping[str, Any], note: Mapping[str, Any] | None = None) -> str:
        """Put a request at the end of the queue and write its record; starts it if nothing runs. Returns the job's id.

        Raises OSError where the user folder cannot be written.
        """
        job_id = time.strftime("%Y%m%d-%H%M%S-") + uuid.uuid4().hex[:6]
        return self._enqueue(Record(job_id, dict(request), time.time(), note=dict(note or {})))

    def resume(self, job_id: str) -> str:
        """Ask again for a job that `resumable` lists; it goes on from its checkpoint. Raises KeyError if unknown."""
        record = next(iter(self.resumable(job_id)), None)
        if record is None:
            raise KeyError(job_id)
        return self._enqueue(replace(record, state="queued", error=None, resumable=True))

    def poll(self) -> list[Event]:
        """Poll the running job, keep its record, start the next one when it has ended. Returns the job's events."""
        events: list[Event] = []
        if self.current is not None:
            events = self.current.poll()
            self._keep(self.current.snapshot)
            if self.current.ended:
                self.finished = self.current.snapshot
                self.records.unlock(self.current.id)
                self._keep_warm(self.current.spare)
                self.current = None
        self._look_after_warm()
        if self.current is None and self.waiting:
            record, *rest = self.waiting
            self.waiting = tuple(rest)
            launch = self._launch(record)
            if self._warm is not None and not self._warm.serves(launch):
                self.cool_down()
            self.current = Job(record.id, launch, self._timeouts, self._warm)
            self._warm = None
            self.current.start()
        return events

    def warm_up(self, launch: Launch) -> None:
        """Start a process ahead of the job that will be asked of it, unless there is one."""
        if self.current is None and self._warm is None:
            process = BackendProcess(launch.command, launch.env, launch.log, "idto3d-warm")
            self._keep_warm(Warm(process, launch, None))

    def lend(self, launch: Launch) -> Warm:
        """The process that waits for work, or a new one, for somebody who asks it himself and ends it. The next job
        starts one of its own."""
        self._look_after_warm()
        warm, self._warm = self._warm, None
        if warm is not None and warm.serves(launch):
            return warm
        if warm is not None:
            warm.process.close_input()
        return Warm(BackendProcess(launch.command, launch.env, launch.log, "idto3d-lent"), launch, None)

    def cool_down(self) -> None:
        """End the process that waits for work, if there is one."""
        if self._warm is not None:
            self._warm.process.close_input()
            self._warm = None

    def end_warm(self) -> None:
        """`cool_down`, and wait until the process is gone: Windows keeps its files as long as it lives."""
        warm = self._warm
        self.cool_down()
        if warm is not None:
            warm.process.end(END_SECONDS)

    @property
    def warm(self) -> float | None:
        """Seconds until `poll` has to send home the process that waits for work; None if there is none."""
        return None if self._warm is None else max(self._warm_until - time.monotonic(), 0.0)

    @property
    def busy(self) -> bool:
        """A job runs or waits, so that `poll` has to be called."""
        return self.current is not None or bool(self.waiting)

    def record(self, job_id: str) -> Record | None:
        """The record of a job that this process has submitted or resumed."""
        return self.records.get(job_id)

    def cancel(self, job_id: str) -> None:
        """Stop a running job within a second, or take a waiting one out of the queue. Its record stays resumable."""
        if self.current is not None and self.current.id == job_id:
            self.current.cancel()
            self._keep(self.current.snapshot)
            return
        for record in self.waiting:
            if record.id == job_id:
                self.waiting = tuple(other for other in self.waiting if other.id != job_id)
                with contextlib.suppress(OSError):  # as in _keep
                    self.records.write(replace(record, state="cancelled"))
                self.records.unlock(job_id)

    def resumable(self, job_id: str = "") -> list[Record]:
        """Jobs that were cancelled, failed on the way, or were left queued or running by a process that is gone;
        newest first. Only where all photos still exist. job_id: only that one. Reads the disk: not for a panel's draw.
        """
        return [record for record in self.records.left_behind(job_id) if record.id not in self.own]

    @property
    def own(self) -> set[str]:
        """The jobs that run or wait here."""
        return {record.id for record in self.waiting} | ({self.current.id} if self.current else set())

    def forget(self, job_id: str, keep: Callable[[], None] = lambda: None) -> None:
        """Delete a job's record, log, previews and checkpoint, after `keep` has taken out what is to stay; its bundle
        stays. Not while it runs or waits. Raises KeyError where it is another process's."""
        if self.current is not None and self.current.id == job_id:
            raise ValueError(f"Job {job_id} is running.")
        if any(record.id == job_id for record in self.waiting):
            raise ValueError(f"Job {job_id} is waiting.")
        self.records.delete(job_id, keep)

    def release(self) -> None:
        """Blender closes or the extension is disabled: the backend checkpoints and ends; all records stay resumable."""
        if self.current is not None:
            self.current.release()
        self.cool_down()
        self.records.unlock()
        self.current, self.waiting = None, ()

    def _keep_warm(self, warm: Warm | None) -> None:
        if warm is not None:
            self._warm, self._warm_until = warm, time.monotonic() + WARM_SECONDS

    def _look_after_warm(self) -> None:
        """Hear its hello, and its end; send it home when nobody has wanted anything for long."""
        if self._warm is None:
            return
        for kind, value in self._warm.process.received():
            if kind in ("exit", "unstarted"):
                self._warm = None
                return
            if kind == "event" and value["type"] == "hello":
                self._warm = replace(self._warm, hello=value)
        if time.monotonic() > self._warm_until:
            self.cool_down()

    def _enqueue(self, record: Record) -> str:
        self.records.lock(record.id)
        try:
            self.records.write(record)
        except OSError:
            self.records.unlock(record.id)
            raise
        self.waiting = (*self.waiting, record)
        if self.current is None:
            self.poll()
        return record.id

    def _keep(self, snapshot: Snapshot) -> None:
        record = self.records.get(snapshot.id)
        if record is None or record.state == snapshot.state:
            return
        error = asdict(snapshot.error) if snapshot.error else None
        final = snapshot.state in FINAL
        resumable = snapshot.resumable or not final
        # A full disk must not stop the job that this only describes.
        with contextlib.suppress(OSError):
            self.records.write(replace(record, state=snapshot.state, error=error, resumable=resumable))
