# SPDX-License-Identifier: GPL-3.0-or-later
"""A record of each job on disk, so that a job outlives a crash, a closed Blender or another file.

`jobs/<id>.json` under the user folder holds a job's request and state; it is replaced whole, never written in place. A
record that says queued or running while no living process holds its lock was left behind. No bpy here.
"""

import contextlib
import errno
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from .snapshot import State

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


SETTING_UP = "set-up"
"""What a set-up is held by, see `Records.hold`."""
KEEP_SECONDS, KEEP_SHOWN_SECONDS = 30 * 24 * 3600.0, 24 * 3600.0
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)


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

    def photos_gone(self) -> bool:
        """A photo is not there, though its folder is: that one is on no drive that is only not plugged in."""
        photos = self.request.get("photos") or []
        return any(os.path.isdir(os.path.dirname(photo)) and not os.path.lexists(photo) for photo in photos)


class Records:
    """All records of a user folder, and the locks of those that belong to this process."""

    def __init__(self, user_folder: Path) -> None:
        self.user_folder = user_folder
        self.folder = user_folder / "jobs"
        self._written: dict[str, Record] = {}
        self._unsaved: dict[str, Record] = {}
        self._locks: dict[str, BinaryIO] = {}

    def get(self, job_id: str) -> Record | None:
        """A record that this process has written."""
        return self._written.get(job_id)

    def write(self, record: Record) -> None:
        """Keep a record. Raises OSError where the user folder cannot be written; this process knows it all the same,
        and tries once more in `unlock`: on Windows nothing replaces a file that somebody is just reading."""
        self._written[record.id] = self._unsaved[record.id] = record
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / f"{record.id}.json", json.dumps(asdict(record), indent=1))
        del self._unsaved[record.id]

    def left_behind(self, job_id: str = "") -> list[Record]:
        """Jobs that were cancelled, failed on the way, or were left queued or running by a process that is gone; newest
        first. Only where all photos still exist. job_id: only that one."""
        return sorted(
            (
                record
                for record in self._all()
                if job_id in ("", record.id)
                and record.state != "done"
                and record.resumable
                and record.photos_exist()
                and not self._held_elsewhere(record.id)
            ),
            key=lambda record: record.created,
            reverse=True,
        )

    def read(self, job_id: str) -> Record | None:
        """A record of any process, from the disk."""
        return _read(self.folder / f"{job_id}.json")

    def is_unfinished(self, job_id: str) -> bool:
        """Some process makes this job's head, or may still."""
        record = self.read(job_id)
        return record is not None and record.state != "done" and record.resumable

    def others_at_work(self) -> bool:
        """Another process has jobs that wait or run, reads a video, lays a head over its photos, or sets the backend
        up. Reads the disk: not for a panel's draw."""
        locks = {path.stem for path in self.folder.glob("*.lock")} - self._locks.keys()
        return any(map(self._held_elsewhere, locks))

    def others_setting_up(self) -> bool:
        """Another process makes, replaces or mends the backend. Reads the disk."""
        return SETTING_UP not in self._locks and self._held_elsewhere(SETTING_UP)

    def promised(self) -> set[str]:
        """Where jobs of any process will put, or may still put, their bundles. Reads the disk: not for a panel's
        draw."""
        return {str(record.request.get("out")) for record in self._all() if record.state != "done" and record.resumable}

    def asked(self) -> set[str]:
        """Where any job was to put its bundle. Reads the disk: not for a panel's draw."""
        return {str(record.request.get("out")) for record in self._all()}

    def delete(self, job_id: str, keep: Callable[[], None] = lambda: None) -> None:
        """Delete a job's record, log, previews and checkpoint, after `keep` has taken out what is to stay; its bundle
        stays. Raises KeyError where it is another process's: that one may have resumed it since this one has looked."""
        self.lock(job_id)
        try:
            keep()
            self._written.pop(job_id, None)
            self._unsaved.pop(job_id, None)
            record = self.read(job_id)
            (self.folder / f"{job_id}.json").unlink(missing_ok=True)
            out = "" if record is None or record.state == "done" else str(record.request.get("out") or "")
            if out and out not in self.promised():  # another job may have got the place of one that had failed
                _forget_checkpoints(Path(out))
            with contextlib.suppress(OSError):
                (self.user_folder / "logs" / f"{job_id}.log").unlink(missing_ok=True)
            shutil.rmtree(self.user_folder / "previews" / job_id, ignore_errors=True)
        finally:
            self.unlock(job_id)

    def tidy(self) -> None:
        """Forget jobs that are finished, failed for good, or whose photos are gone, after a month, and what of logs and
        previews is older than that, of films' frames and of finished heads, which another Blender may still show, than
        a day; heads stay.

        Deletes files, perhaps many: to be called once, from a thread that may take its time.
        """
        oldest, yesterday = time.time() - KEEP_SECONDS, time.time() - KEEP_SHOWN_SECONDS
        for path in self.folder.glob("*.json"):
            record = _read(path)
            if record is not None and record.state == "done" and _modified(path) < yesterday:
                shutil.rmtree(self.user_folder / "previews" / record.id, ignore_errors=True)
            if record is None or _modified(path) >= oldest:
                continue
            if record.state == "done" or not record.resumable or record.photos_gone():
                with contextlib.suppress(OSError, KeyError):
                    self.delete(record.id)  # no list shows it, so nobody could forget it
        for path in self.folder.glob("*.lock"):  # of what a process that died was at
            if _modified(path) < oldest and not self._held_elsewhere(path.stem):
                with contextlib.suppress(OSError):
                    path.unlink()
        for path in self.user_folder.glob("previews/capture-*"):
            if _modified(path) < yesterday:
                shutil.rmtree(path, ignore_errors=True)
        for path in [*self.user_folder.glob("logs/*.log"), *self.user_folder.glob("previews/*")]:
            if _modified(path) < oldest and not (self.folder / f"{path.stem}.json").exists():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    with contextlib.suppress(OSError):
                        path.unlink()

    def tidy_after(self, job_id: str) -> None:
        """Delete what a job that has ended leaves to nobody: of a finished one all previews but the pictures of how its
        photos were understood, of one that cannot be resumed the empty folder that kept its place. Deletes files,
        perhaps many: not in the main thread."""
        record = _read(self.folder / f"{job_id}.json")
        if record is None or (record.state != "done" and record.resumable):
            return
        with contextlib.suppress(OSError):
            checkpoints_of(Path(str(record.request.get("out")))).rmdir()
        if record.state == "done":
            for path in (self.user_folder / "previews" / job_id).glob("*"):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif not path.name.startswith("fit-"):
                    with contextlib.suppress(OSError):
                        path.unlink()

    def lock(self, job_id: str) -> None:
        """Make a job this process's own. Raises KeyError where it is another's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = (self.folder / f"{job_id}.lock").open("ab")
        if not _take_lock(file):
            file.close()
            raise KeyError(job_id)
        self._locks[job_id] = file

    def hold(self, job_id: str) -> Callable[[], None]:
        """`lock` what is no job with a record, so that `others_at_work` says so in other processes. Returns what lets
        go of it. Where nothing can be written nobody is told."""
        with contextlib.suppress(OSError):
            self.lock(job_id)
        return partial(self.unlock, job_id)

    def unlock(self, *job_ids: str) -> None:
        """Let go of these jobs, or of all."""
        for job_id in job_ids or tuple(self._locks):
            unsaved = self._unsaved.get(job_id)
            if unsaved is not None and job_id in self._locks:
                with contextlib.suppress(OSError):
                    self.write(unsaved)
            self._unsaved.pop(job_id, None)
            file = self._locks.pop(job_id, None)
            if file is not None:
                _drop_lock(file)
                file.close()
                with contextlib.suppress(OSError):
                    (self.folder / f"{job_id}.lock").unlink(missing_ok=True)

    def _all(self) -> list[Record]:
        return [record for path in self.folder.glob("*.json") if (record := _read(path)) is not None]

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
    """False where another process holds it. Some network drives know no locks: there nobody holds one, and a queue
    without locks is better than none."""
    try:
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _HELD
    return True


def _drop_lock(file: BinaryIO) -> None:
    """To close the file is not enough: a process that is just being started has a copy of it for a moment."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_UN)


def checkpoints_of(out: Path) -> Path:
    """The folder of a bundle's checkpoints, as the backend names it."""
    return out.with_name(f"{out.name}.work")


def _forget_checkpoints(out: Path) -> None:
    """Delete those of a bundle; what else is in their folder is the user's."""
    work = checkpoints_of(out)
    for folder in work.glob("[0-9a-f]" * 16):
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        work.rmdir()


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
