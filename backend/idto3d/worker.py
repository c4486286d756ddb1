# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that Blender starts (protocol.py has the contract).

The main thread works off the jobs; one thread reads stdin, one beats. torch is imported after both are running. Nothing
but events can reach stdout: what libraries print goes into the log on stderr.
"""

import contextlib
import importlib
import importlib.metadata
import io
import json
import os
import platform
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from environments import find_gpu

from . import __version__
from .clock import Event, Events
from .errors import Cancelled, UserError, as_user_error
from .memory import give_back
from .places import has_checkpoint, work_folder
from .protocol import (
    HEARTBEAT_SECONDS,
    LINE_BYTES,
    PROTOCOL_VERSION,
    BadRequest,
    Cancel,
    Capture,
    Generate,
    Shutdown,
    Task,
    parse_request,
)
from .tasks import run_task

Run = Callable[[Task, Events], Path]
"""Does a job and returns the bundle's folder, or the take's file; raises what `generate` raises."""

LOADING = "loading programs"
LOADED = ("torch", "onnxruntime", "idto3d.pipeline")
LATER = "idto3d.distill.texture"
"""What a head needs only once it is in sight, seconds of imports: a job that waits is not held up by them."""
EXIT_SECONDS = 4.0
"""How long a job has to come to its next step and write its checkpoint once Blender is gone. A step that takes longer
is given up: the checkpoint before it is on the disk, whole."""


@dataclass(eq=False)
class _Job:
    request: Task
    position: int = -1  # last one told
    cancelled: threading.Event = field(default_factory=threading.Event)


class Worker:
    """Jobs in the order in which they were asked for. Every method but `work` may be called from any thread."""

    def __init__(self, send: Events, run: Run) -> None:
        self.send, self._run = send, run
        self._jobs: list[_Job] = []  # the running one first
        self.closing = threading.Event()
        self._changed = threading.Condition()

    def take(self, line: bytes) -> None:
        """Act on one line of stdin."""
        try:
            request = parse_request(line)
        except BadRequest as error:
            self._refuse(error)
            return
        if isinstance(request, Shutdown):
            self.close()
        elif isinstance(request, Cancel):
            self._cancel(request.job)
        else:
            self._queue(request)

    def close(self) -> None:
        """Cancel everything; `work` then returns."""
        with self._changed:
            self.closing.set()
            for job in self._jobs:
                job.cancelled.set()
            self._changed.notify_all()

    def has_jobs(self) -> bool:
        """Whether one runs or waits."""
        return bool(self._jobs)

    def work(self) -> None:
        """Do jobs until closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self.closing.is_set())
                if not self._jobs:
                    return
                job = self._jobs[0]
            outcome = _dropped(job) if job.cancelled.is_set() else self._do(job)
            _free_gpu()
            give_back()
            with self._changed:
                self._jobs.remove(job)
                self.send({**outcome, "job": job.request.job})
                self._tell_positions()

    def _do(self, job: _Job) -> Event:
        """Run a job to its last event."""
        if job.request.log:
            log_to(Path(job.request.log))

        def events(event: Event) -> None:
            if job.cancelled.is_set():
                raise Cancelled
            if event["type"] != "poll":  # only asks whether to go on
                self.send({**event, "job": job.request.job})

        try:
            kind = "take" if isinstance(job.request, Capture) else "bundle"
            return {"type": "done", kind: str(self._run(job.request, events))}
        except Cancelled as stop:
            return {"type": "cancelled", "resumable": stop.resumable}
        except (Exception, SystemExit) as error:
            return _failed(error)

    def _queue(self, request: Task) -> None:
        with self._changed:
            if any(job.request.job == request.job for job in self._jobs):
                # Not the job's own error: that would end the one that runs.
                self._refuse(BadRequest(f"There is a job {request.job!r} already."))
                return
            if not self.closing.is_set():
                self._jobs.append(_Job(request))
                self._tell_positions()
                self._changed.notify_all()

    def _cancel(self, name: str) -> None:
        with self._changed:
            for job in [job for job in self._jobs if job.request.job == name]:
                job.cancelled.set()
                if job is not self._jobs[0]:
                    self._jobs.remove(job)
                    self.send({**_dropped(job), "job": name})
                    self._tell_positions()

    def _tell_positions(self) -> None:
        for position, job in enumerate(self._jobs):
            if job.position != position and not self.closing.is_set():
                job.position = position
                self.send({"type": "queued", "job": job.request.job, "position": position})

    def _refuse(self, error: BadRequest) -> None:
        event = {"type": "error", "code": error.code, "message": error.message, "fix": error.fix}
        self.send({**event, "job": error.job})


def _dropped(job: _Job) -> Event:
    """The end of a job that never ran here; an earlier worker may have left something in its place."""
    if not isinstance(job.request, Generate):
        return {"type": "cancelled", "resumable": False}
    return {"type": "cancelled", "resumable": has_checkpoint(work_folder(Path(job.request.out)))}


def _failed(error: BaseException) -> Event:
    """The end of a job that failed. A name for the error in the frame that caught it would be a circle, through the
    error's traceback: all that the job had in memory would stay."""
    known = as_user_error(error)
    if known is None or known is not error:
        traceback.print_exception(error)
    if known is None:
        message = f"Something unexpected happened: {type(error).__name__}."
        known = UserError("E_INTERNAL", message, "Try again; if it stays, copy the report and send it.")
    return {"type": "error", "code": known.code, "message": known.message, "fix": known.fix}


def log_to(file: Path) -> None:
    """Append stderr, and what libraries print, to another file; the one before stays where there is no room."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as log:
            sys.stderr.flush()
            os.dup2(log.fileno(), 2)
            os.dup2(2, 1)


def load(worker: Worker) -> None:
    """Import what jobs need, which takes seconds, and tell of it. What cannot be imported the first job says."""
    names = (*LOADED, LATER)
    for step, name in enumerate(names):
        if name == LATER and worker.has_jobs():
            return
        at = {"stage": LOADING, "step": step, "steps": len(names)}
        worker.send({"type": "progress", "job": None, **at, "eta_seconds": None})
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _free_gpu() -> None:
    """A worker without work holds nothing on the graphics card: Blender renders there."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def hello() -> Event:
    """What this process is and what its priors run on, as far as it shows before torch is loaded."""
    try:
        torch = importlib.metadata.version("torch")  # importing it would take seconds
    except importlib.metadata.PackageNotFoundError:
        torch = None
    gpu = find_gpu() if torch and _needs_cuda() else None
    if gpu is not None and not gpu.usable():  # torch will not use it either
        gpu = None
    return {
        "type": "hello",
        "protocol": PROTOCOL_VERSION,
        "version": __version__,
        "python": platform.python_version(),
        "torch": torch,
        "device": "cuda" if gpu else "cpu",
        "device_name": gpu.name if gpu else _cpu_name(),
        "memory_gb": round(psutil.virtual_memory().available / 1e9, 1),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def _needs_cuda() -> bool:
    """Whether the installed torch is a build for CUDA: it says so in its version, or asks for NVIDIA's libraries."""
    asked = importlib.metadata.requires("torch") or []
    version = importlib.metadata.version("torch")
    return "+cu" in version or ("+cpu" not in version and any(line.startswith(("nvidia-", "cuda-")) for line in asked))


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def sender(stdout: BinaryIO) -> Events:
    """A function that writes an event as one whole line, from any thread. Nobody listening is no error: stdin tells."""
    lock = threading.Lock()

    def send(event: Event) -> None:
        line = json.dumps(event, allow_nan=False).encode() + b"\n"
        with lock, contextlib.suppress(OSError):
            stdout.write(line)
            stdout.flush()

    return send


def read_lines(stdin: BinaryIO, worker: Worker) -> None:
    """Hand on the lines of stdin until it or the worker is closed; of one longer than LINE_BYTES only the beginning."""
    while not worker.closing.is_set() and (line := stdin.readline(LINE_BYTES)):
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = stdin.readline(LINE_BYTES)
        if line.strip():
            worker.take(line)


class _Log(io.FileIO):
    """A file that loses what it has no room for: no print of a library, and no traceback, ends a job on a full disk."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(data)


def take_over_streams() -> tuple[BinaryIO, BinaryIO]:
    """(stdin, stdout) for the protocol alone: prints of libraries go to stderr, and children get no stdin of ours."""
    stdin, stdout = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    log = io.BufferedWriter(_Log(2, "wb", closefd=False))
    sys.stdout = sys.stderr = io.TextIOWrapper(log, "utf-8", "backslashreplace", line_buffering=True)
    return stdin, stdout


def main() -> int:
    """Serve until stdin is closed, a shutdown is asked for or the process is told to terminate."""
    stdin, stdout = take_over_streams()
    send = sender(stdout)
    worker = Worker(send, run_task)

    def end() -> None:
        worker.close()
        last = threading.Timer(EXIT_SECONDS, os._exit, (0,))
        last.daemon = True
        last.start()

    def on_signal(number: int, frame: object) -> None:
        # In a thread of its own: the interrupted main thread may hold the worker's lock.
        threading.Thread(target=end, daemon=True).start()

    def listen() -> None:
        read_lines(stdin, worker)
        end()

    def beat() -> None:
        while True:
            time.sleep(HEARTBEAT_SECONDS)
            send({"type": "heartbeat"})

    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), on_signal)
    send(hello())
    for target in (beat, listen):
        threading.Thread(target=target, daemon=True).start()
    load(worker)
    worker.work()
    # Not sys.exit: the thread that reads stdin cannot be interrupted, and torch's own may take long to end.
    sys.stderr.flush()
    os._exit(0)
