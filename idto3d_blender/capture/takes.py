# SPDX-License-Identifier: GPL-3.0-or-later
"""The take that is loaded, and the job that reads a video for one. It belongs to the running Blender, not to a file."""

import contextlib
import itertools
import math
import re
import shutil
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .. import preferences, thumbnails
from ..head import applied, mesh_data, separate
from ..jobs import driver, packs, session, setup_backend
from ..jobs.job import Job, Launch
from ..jobs.snapshot import Problem, Snapshot
from . import properties
from .table import FaceTake, TakeError, read_take

STAGES = (("loading programs", 0.05), ("watching the video", 0.55), ("reading the face", 0.39), ("saving", 0.01))
"""Shares of the work as measured."""
_POLL = 0.1
FOLDER = "Captures"


@dataclass
class State:
    """take and name: what is loaded; file: its CSV; job: that reads a video now; let_go: of the backend, which other
    Blenders leave where it is meanwhile; problem: why the last one failed."""

    take: FaceTake | None = None
    name: str = ""
    file: Path | None = None
    job: Job | None = None
    let_go: Callable[[], None] = lambda: None
    out: Path | None = None
    warnings: tuple[Problem, ...] = ()
    problem: Problem | None = None


state = State()


def load(file: Path) -> None:
    """Load a CSV, all of it to be baked. Raises TakeError."""
    take = read_take(file)
    state.take, state.file, state.name = take, file, file.stem
    given = properties.settings()
    given.trim_in, given.trim_out = 0.0, math.ceil(1000 * take.duration) / 1000
    state.problem, state.warnings = None, ()


def start(video: Path, head: Any, launch: Callable[[str, Mapping[str, Any]], Launch] | None = None) -> Job:
    """Begin to read a video. head: the object that shows who is in it, or None. launch: for tests. Raises OSError, and
    BundleError where the head's pack is gone."""
    job_id = f"capture-{uuid.uuid4().hex[:8]}"
    request: dict[str, Any] = {"type": "capture", "video": str(video)}
    if head is not None:
        *_, head = separate.origins(head)  # the backend knows the face in the mesh that it has made
        request["pack"] = packs.pack_of(head)
        request["head"] = str(_write_head(head, _previews(job_id)))
    state.out = _new_file(video.stem)
    request["out"] = str(state.out)
    state.job = Job(job_id, (launch or worker_launch)(job_id, request))
    state.let_go = session.get().jobs.records.hold(job_id)
    state.problem, state.warnings = None, ()
    state.job.start()
    if not bpy.app.background:
        bpy.app.timers.register(_timer, first_interval=_POLL, persistent=True)
    return state.job


def worker_launch(job_id: str, request: Mapping[str, Any]) -> Launch:
    """A backend for this job alone: it may run beside the one that makes heads."""
    launch = setup_backend.worker_launch(session.get().folder, job_id, request)
    return replace(launch, stages=STAGES, keep=False, again="Read the video again.")


def running() -> Snapshot | None:
    """Where the job stands that reads a video now."""
    return state.job.snapshot if state.job is not None else None


def poll() -> bool:
    """Take in what the job says; False when there is none any more."""
    job = state.job
    if job is None:
        return False
    job.poll()
    if job.snapshot.picture is not None and not bpy.app.background:
        thumbnails.load_progress(job.snapshot.picture)
    if not job.ended:
        return True
    state.job = None
    state.let_go()
    _drop_empty()
    _drop_previews(job)
    warnings = job.snapshot.warnings
    if job.state == "failed":
        state.problem = job.snapshot.error
    elif job.state == "done" and state.out is not None:
        try:
            load(state.out)
        except TakeError as error:
            state.problem = Problem(error.code, error.message, error.fix)
    state.warnings = warnings
    return False


def _drop_previews(job: Job) -> None:
    """Frames of the film, with the person's face, are for looking at meanwhile."""
    shutil.rmtree(_previews(job.id), ignore_errors=True)


def _previews(job_id: str) -> Path:
    return session.get().folder / "previews" / job_id


def _timer() -> float | None:
    try:
        more = poll()
    except Exception:
        traceback.print_exc()
        more = state.job is not None
    driver.redraw()
    return _POLL if more else None


def _new_file(name: str) -> Path:
    """A new file, empty, so that another Blender takes another one. Raises OSError."""
    folder = preferences.get().heads_folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^\w-]+", "-", name).strip("-") or "take"
    for number in itertools.count(1):
        path = folder / (f"{stem}.csv" if number == 1 else f"{stem}-{number}.csv")
        with contextlib.suppress(FileExistsError):
            path.open("x").close()
            break
    return path


def _drop_empty() -> None:
    """The file of a job that came to nothing."""
    with contextlib.suppress(OSError):
        if state.out is not None and not state.out.stat().st_size:
            state.out.unlink()


def _write_head(obj: Any, folder: Path) -> Path:
    """The face at rest as a bundle's head.npz has it, whatever was applied to its mesh."""
    corners, count = mesh_data.corners(obj.data)
    starts = np.cumsum(count) - count
    faces = np.full((len(count), 4), -1, np.int32)
    for k in range(4):
        own = count > k
        faces[own, k] = corners[starts[own] + k]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "head.npz"
    np.savez(path, vertices=applied.made_places(obj), faces=faces)
    return path


def register() -> None:
    """Nothing runs before there is something to do."""


def unregister() -> None:
    if bpy.app.timers.is_registered(_timer):
        bpy.app.timers.unregister(_timer)
    if state.job is not None:
        state.job.kill()
        state.let_go()
        _drop_empty()
        _drop_previews(state.job)
    state.job = state.take = None
