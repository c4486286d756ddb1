# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue of jobs, and a record of each on disk, so that a job outlives a crash, a closed Blender or another file.

A machine has one GPU, so one job runs at a time and the others wait. `jobs/<id>.json` under the user folder holds a
job's request and state; it is replaced whole, never written in place. A record that says queued or running while no
living process holds its lock was left behind: `resumable` lists it.

No bpy here; the state of the queue belongs to the process, not to a .blend file.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from .backend_process import BackendProcess, Event
from .job import DEFAULT_TIMEOUTS, Job, Launch, Timeouts, Warm
from .snapshot import FINAL, Snapshot, State

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


KEEP_SECONDS = 30 * 24 * 3600.0
WARM_SECONDS = 600.0
"""How long a process without work is kept: for the next photo of somebody who is at it, not overnight."""


@dataclass(frozen=True)
class Record:
    """What is kept of a job. request: a ``generate`` request without type and job (photos, out, pack, quality,
    expressions, prompt, seed, previews); created: seconds since 1970; note: anything the caller wants back with it."""

    id: str
    request: Mapping[str, Any]
    created: float
    state: State = "queued"
    resumable: bool = True
    error: Mapping[str, str] | None = None
    note: Mapping[str, Any] = field(default_factory=dict)

    def photos_exist(self) -> bool:
        photos = self.request.get("photos") or []
        # Not Path.is_file, which raises where a folder may not be looked into.
        return bool(photos) and all(os.path.isfile(photo) for photo in photos)


class Jobs:
    """One queue for this process. All methods return at once; call them from one thread.

    launch makes the command for a record (see setup_backend.worker_launch).
    """

    def __init__(
        self, user_folder: Path, launch: Callable[[Record], Launch], timeouts: Timeouts = DEFAULT_TIMEOUTS
    ) -> None:
        self.folder = user_folder / "jobs"
        self.current: Job | None = None
        self.waiting: tuple[Record, ...] = ()
        self.finished: Snapshot | None = None  # the last job that ended, for a panel to show
        self._launch = launch
        self._timeouts = timeouts
        self._records: dict[str, Record] = {}
        self._locks: dict[str, BinaryIO] = {}
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
        record = next((record for record in self.resumable() if record.id == job_id), None)
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
                self._let_go(self.current.id)
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

    @property
    def warm(self) -> bool:
        """A process waits for work, so that `poll` has to be called now and then."""
        return self._warm is not None

    @property
    def busy(self) -> bool:
        """A job runs or waits, so that `poll` has to be called."""
        return self.current is not None or bool(self.waiting)

    def record(self, job_id: str) -> Record | None:
        """The record of a job that this process has submitted or resumed."""
        return self._records.get(job_id)

    def cancel(self, job_id: str) -> None:
        """Stop a running job within a second, or take a waiting one out of the queue. Its record stays resumable."""
        if self.current is not None and self.current.id == job_id:
            self.current.cancel()
            self._keep(self.current.snapshot)
        elif any(record.id == job_id for record in self.waiting):
            self.waiting = tuple(record for record in self.waiting if record.id != job_id)
            self._write(replace(self._records[job_id], state="cancelled"))
            self._let_go(job_id)

    def resumable(self) -> list[Record]:
        """Jobs that were cancelled, failed on the way, or were left queued or running by a process that is gone;
        newest first. Only where all photos still exist. Reads the disk: not for a panel's draw."""
        mine = {record.id for record in self.waiting} | ({self.current.id} if self.current else set())
        found = [record for path in self.folder.glob("*.json") if (record := _read(path)) is not None]
        return sorted(
            (
                record
                for record in found
                if record.id not in mine
                and record.state != "done"
                and record.resumable
                and record.photos_exist()
                and not self._held_elsewhere(record.id)
            ),
            key=lambda record: record.created,
            reverse=True,
        )

    def forget(self, job_id: str) -> None:
        """Delete a job's record, log, previews and checkpoint; its bundle stays. Not while it runs or waits."""
        if self.current is not None and self.current.id == job_id:
            raise ValueError(f"Job {job_id} is running.")
        if any(record.id == job_id for record in self.waiting):
            raise ValueError(f"Job {job_id} is waiting.")
        self._records.pop(job_id, None)
        record = _read(self.folder / f"{job_id}.json")
        if record is not None and record.state != "done" and record.request.get("out"):
            out = Path(str(record.request["out"]))
            shutil.rmtree(out.with_name(f"{out.name}.work"), ignore_errors=True)
        for suffix in (".json", ".lock"):
            (self.folder / f"{job_id}{suffix}").unlink(missing_ok=True)
        user_folder = self.folder.parent
        with contextlib.suppress(OSError):
            (user_folder / "logs" / f"{job_id}.log").unlink(missing_ok=True)
        shutil.rmtree(user_folder / "previews" / job_id, ignore_errors=True)

    def tidy(self) -> None:
        """Forget jobs that are finished, or failed for good, after a month, and what of logs and previews is older than
        that; heads stay.

        Deletes files, perhaps many: to be called once, from a thread that may take its time.
        """
        oldest, user_folder = time.time() - KEEP_SECONDS, self.folder.parent
        for path in self.folder.glob("*.json"):
            record = _read(path)
            over = record is not None and (record.state == "done" or not record.resumable)
            if over and _modified(path) < oldest:
                with contextlib.suppress(OSError):
                    path.unlink()
        for path in [*user_folder.glob("logs/*.log"), *user_folder.glob("previews/*")]:
            if _modified(path) < oldest and not (self.folder / f"{path.stem}.json").exists():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    with contextlib.suppress(OSError):
                        path.unlink()

    def release(self) -> None:
        """Blender closes or the extension is disabled: the backend checkpoints and ends; all records stay resumable."""
        if self.current is not None:
            self.current.release()
        self.cool_down()
        for job_id in list(self._locks):
            self._let_go(job_id)
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

    # --- records

    def _enqueue(self, record: Record) -> str:
        self._lock(record.id)
        try:
            self._write(record)
        except OSError:
            self._let_go(record.id)
            raise
        self.waiting = (*self.waiting, record)
        if self.current is None:
            self.poll()
        return record.id

    def _keep(self, snapshot: Snapshot) -> None:
        record = self._records[snapshot.id]
        if record.state == snapshot.state:
            return
        error = asdict(snapshot.error) if snapshot.error else None
        final = snapshot.state in FINAL
        resumable = snapshot.resumable or not final
        # A full disk must not stop the job that this only describes.
        with contextlib.suppress(OSError):
            self._write(replace(record, state=snapshot.state, error=error, resumable=resumable))

    def _write(self, record: Record) -> None:
        self._records[record.id] = record
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / f"{record.id}.json", json.dumps(asdict(record), indent=1))

    # --- locks

    def _lock(self, job_id: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = (self.folder / f"{job_id}.lock").open("ab")
        if not _take_lock(file):
            file.close()
            raise KeyError(job_id)
        self._locks[job_id] = file

    def _let_go(self, job_id: str) -> None:
        file = self._locks.pop(job_id, None)
        if file is not None:
            _drop_lock(file)
            file.close()
            with contextlib.suppress(OSError):
                (self.folder / f"{job_id}.lock").unlink(missing_ok=True)

    def _held_elsewhere(self, job_id: str) -> bool:
        """The system lets go of a lock when its process dies, however it dies."""
        try:
            with (self.folder / f"{job_id}.lock").open("r+b") as file:
                taken = _take_lock(file)
                if taken:
                    _drop_lock(file)
                return not taken
        except OSError:
            return False


def _modified(path: Path) -> float:
    """Seconds since 1970; now, for a file that has just gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()


def _take_lock(file: BinaryIO) -> bool:
    try:
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _drop_lock(file: BinaryIO) -> None:
    """To close the file is not enough: a process that is just being started has a copy of it for a moment."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_UN)


def _read(path: Path) -> Record | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        record = Record(**values)
        return record if record.id == path.stem and isinstance(record.request, dict) else None
    except (OSError, ValueError, TypeError):
        return None


def write_whole(path: Path, text: str) -> None:
    """Replace a file's content at once: a reader, or a crash, finds the old or the new one, never a part.

    Not forced to the disk: that can take longer than Blender's main thread may wait.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
