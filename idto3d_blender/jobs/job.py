# SPDX-License-Identifier: GPL-3.0-or-later
"""A job: work that a backend process does, seen from Blender as a plain object that is only polled.

A process that has done its job well is kept for the next (`spare`), as importing torch takes longer than fitting a
head; one that failed, hung or was killed is not.

No bpy here. Nothing blocks: a thread starts the process and reads its events, another writes the requests, and `poll`
only empties a queue. The same object serves a timer, a modal operator and, by `wait`, background mode.

The lines on the wire are described in backend/idto3d/protocol.py.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .backend_process import BackendProcess, Event, last_lines
from .snapshot import FINAL, Problem, Snapshot, State, fit_of

PROTOCOL_VERSION = 1

# Errors of the machine, not of the request: once the user has made room, the same request goes on from its checkpoint.
_RESUMABLE = ("E_DISK_FULL", "E_OUT_OF_MEMORY", "E_BUNDLE_WRITE")

# After these the process may be in a bad way: the next job gets a new one.
_SPENT = ("E_OUT_OF_MEMORY", "E_INTERNAL", "E_SETUP")

_KILLED = 9

# A gap between two polls counts as no more than this: Blender renders, or the machine slept, and nobody listened.
LONGEST_GAP = 1.0


@dataclass(frozen=True)
class Launch:
    """What to start.

    command: interpreter and arguments; env: the child's whole environment (see `backend_process.child_environment`);
    log: file that gets stderr, appended; request: what to ask once the child has said hello (None: its command line
    says it all); stages: share of the whole work for each stage, in their order, for the overall fraction; keep: the
    child can do more than one job; again: what to do when it has died.
    """

    command: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    request: Event | None = None
    stages: tuple[tuple[str, float], ...] = ()
    keep: bool = False
    again: str = "Resume the job; it goes on from its last checkpoint."


@dataclass(frozen=True, eq=False)
class Warm:
    """A backend process that waits for work. launch: how it was started; hello: its greeting, or None before."""

    process: BackendProcess
    launch: Launch
    hello: Mapping[str, Any] | None

    def serves(self, launch: Launch) -> bool:
        """The process is what `launch` would start."""
        return self.launch.command == launch.command and dict(self.launch.env) == dict(launch.env)


@dataclass(frozen=True)
class Timeouts:
    """Seconds, counted only while somebody polls. start: until hello; silence: without any line; cancel: from the
    request until the process is told to end; terminate: from there until it is killed, both together less than the
    second within which a cancel has to act; finish: from done or error until a process that does not end by itself is
    told to."""

    start: float = 120.0
    silence: float = 20.0
    cancel: float = 0.7
    terminate: float = 0.2
    finish: float = 10.0


DEFAULT_TIMEOUTS = Timeouts()


class Job:
    """What one process is asked. `start`, then `poll` until `ended`; `cancel`, `kill` and `release` at any time.

    All methods belong to one thread (Blender's main thread) and return at once, but for `wait`. warm: a process that
    waits for work, of the same command and environment; a new one is started if not given.
    """

    def __init__(
        self, job_id: str, launch: Launch, timeouts: Timeouts = DEFAULT_TIMEOUTS, warm: Warm | None = None
    ) -> None:
        self.launch = launch
        self.timeouts = timeouts
        self.snapshot = Snapshot(job_id, "queued", launch.log)
        self._warm = warm
        self._spare = False
        self._process: BackendProcess | None = None
        self._gone = False
        self._quit_asked = False
        self._said_hello = False
        self._watched = 0.0  # seconds that somebody has listened
        self._polled: float | None = None
        self._heard = 0.0  # on the clock of _watched, as are the next two
        self._stop_since: float | None = None
        self._terminated_at: float | None = None

    @property
    def id(self) -> str:
        return self.snapshot.id

    @property
    def state(self) -> State:
        return self.snapshot.state

    @property
    def ended(self) -> bool:
        """The state is final, and the process has gone or is free for the next job."""
        return self.state in FINAL and (self._gone or self._spare)

    @property
    def spare(self) -> Warm | None:
        """The process, once it has nothing more to do for this job and can take another one."""
        if self._process is None or not self._spare or self._gone:
            return None
        return Warm(self._process, self.launch, self.snapshot.hello)

    def start(self) -> None:
        """Start the process, in a thread. Call once; what goes wrong shows up as the state "failed"."""
        if self.state != "queued":
            raise RuntimeError(f"Job {self.id} was started before.")
        self._change(state="starting")
        launch = self.launch
        if self._warm is None:
            self._process = BackendProcess(launch.command, launch.env, launch.log, f"idto3d-{self.id}")
            return
        self._process = self._warm.process
        self._process.log = launch.log
        if self._warm.hello is not None:
            self._greet(self._warm.hello)

    def poll(self) -> list[Event]:
        """Take in what the backend has said since the last call; returns those events (heartbeats left out).

        Also watches the time limits. Never blocks.
        """
        now = time.monotonic()
        gap = 0.0 if self._polled is None else min(now - self._polled, LONGEST_GAP)
        self._polled = now
        self._watched += gap
        events: list[Event] = []
        for kind, value in self._process.received() if self._process else ():
            self._heard = self._watched
            if kind == "event":
                if self._take(value):
                    events.append(value)
            elif kind == "garbage":
                self._change(garbage=self.snapshot.garbage + 1)
            elif kind == "unstarted":
                self._gone = True
                self._fail("E_BACKEND_START", f"The backend could not be started: {value}.", "Repair the set-up.")
            elif kind == "exit":
                self._gone = True
                self._take_exit(value)
        self._watch()
        return events

    def cancel(self) -> None:
        """Ask for a stop at the next step, which is kept. Who does not get there within a second is terminated, then
        killed: the last checkpoint is a few steps old, and nobody waits for more."""
        if self.state == "queued":
            self._gone = True
            self._change(state="cancelled", resumable=True)
        elif self.state in ("starting", "running"):
            self._change(state="cancelling")
            self._stop_since = self._watched
            self._send({"type": "cancel", "job": self.id})
            if not self._said_hello:
                self._quit()

    def kill(self) -> None:
        """End the process now, without a checkpoint beyond the last one written. The state becomes "cancelled"."""
        if self.state == "queued":
            self._gone = True
        if self.state not in FINAL:
            self._change(state="cancelled", resumable=True)
        self._kill()

    def release(self) -> None:
        """Let go of the backend, as a closing Blender does: it finds its stdin closed, checkpoints and ends by itself.

        The job keeps its state, so that its record still says that it was running.
        """
        if self._process:
            self._process.close_input()

    def wait(self, poll_seconds: float = 0.1, on_event: Callable[[Event], None] | None = None) -> Snapshot:
        """Poll in a loop until `ended`: for background mode, where Blender has no timers. Returns the last snapshot."""
        while True:
            for event in self.poll():
                if on_event:
                    on_event(event)
            if self.ended:
                return self.snapshot
            time.sleep(poll_seconds)

    # --- what the events mean

    def _change(self, **values: Any) -> None:
        self.snapshot = replace(self.snapshot, **values)

    def _fail(self, code: str, message: str, fix: str, kill: bool = False) -> None:
        if self.state not in FINAL:
            stopped = self.state == "cancelling"
            problem = None if stopped else Problem(code, message, fix)
            self._change(state="cancelled" if stopped else "failed", error=problem, resumable=True, eta_seconds=None)
        if kill:
            self._kill()

    def _take(self, event: Event) -> bool:
        """Update the snapshot; False for an event that says nothing to anybody: heartbeat, or another job's."""
        kind = event["type"]
        if kind == "heartbeat" or event.get("job", self.id) not in (self.id, None):
            return False
        if self.state in FINAL:
            return False
        try:
            self._apply(kind, event)
        except (KeyError, TypeError, ValueError) as error:
            self._change(garbage=self.snapshot.garbage + 1)
            self._note(f"unreadable event ({type(error).__name__}: {error}): {event}")
            return False
        return True

    def _apply(self, kind: str, event: Event) -> None:
        if kind == "hello":
            self._greet(event)
        elif kind == "progress":
            stage, step, steps = str(event["stage"]), int(event["step"]), int(event["steps"])
            eta = event.get("eta_seconds")
            self._change(
                stage=stage,
                step=step,
                steps=steps,
                eta_seconds=None if eta is None else float(eta),
                fraction=max(self.snapshot.fraction, self._fraction(stage, step, steps)),
            )
        elif kind == "preview":
            path = Path(event["path"])
            if event["kind"] == "mesh":
                self._change(mesh=path, topology=int(event["topology"]))
            else:
                self._change(picture=path)
        elif kind == "fit":
            fit = fit_of(event)
            self._change(fits=(*(f for f in self.snapshot.fits if f.photo != fit.photo), fit))
        elif kind == "sketch":
            self._change(sketch=Path(event["bundle"]))
        elif kind == "warning":
            warning = Problem(str(event["code"]), str(event["message"]), str(event.get("fix") or ""))
            self._change(warnings=(*self.snapshot.warnings, warning))
        elif kind == "error":
            error = Problem(str(event["code"]), str(event["message"]), str(event.get("fix") or ""))
            self._change(state="failed", error=error, eta_seconds=None, resumable=error.code in _RESUMABLE)
            self._let_go(reusable=error.code not in _SPENT)
        elif kind == "cancelled":
            self._change(state="cancelled", resumable=bool(event.get("resumable", True)), eta_seconds=None)
            self._let_go()
        elif kind == "done":
            bundle = event.get("bundle")
            self._change(state="done", bundle=Path(bundle) if bundle else None, fraction=1.0, eta_seconds=None)
            self._let_go()

    def _greet(self, event: Mapping[str, Any]) -> None:
        self._said_hello = True
        version = event.get("protocol")
        if version != PROTOCOL_VERSION:
            message = (
                f"The backend speaks version {version} of the protocol, this extension version {PROTOCOL_VERSION}."
            )
            self._fail("E_PROTOCOL_VERSION", message, "Update the extension, then repair the set-up.", kill=True)
            return
        self._change(hello=event)
        if self.state == "starting":
            self._change(state="running")
            if self.launch.request is not None:
                self._send({"type": "generate", **self.launch.request, "job": self.id})

    def _fraction(self, stage: str, step: int, steps: int) -> float:
        """Share of the whole work, below 1 before it is done; 0 for a stage that nobody has given a share."""
        total = sum(share for _, share in self.launch.stages)
        before = 0.0
        for name, share in self.launch.stages:
            if name == stage:
                within = min(max(step / steps, 0.0), 1.0) if steps > 0 else 0.0
                return min((before + share * within) / total, 0.99)
            before += share
        return 0.0

    def _take_exit(self, status: int) -> None:
        if self.state in FINAL:
            return
        last = "\n".join(last_lines(self.launch.log))
        if not self._said_hello:
            message = f"The backend ended with status {status} before it was ready.\n{last}"
            self._fail("E_BACKEND_START", message.rstrip(), "Repair the set-up.")
        else:
            # The system kills without a word who takes too much memory; then the log's last lines tell nothing.
            if status == -_KILLED:
                message = "The backend was stopped from outside, perhaps because memory ran out."
            else:
                message = f"The backend ended unexpectedly with status {status}.\n{last}".rstrip()
            self._fail("E_BACKEND_DIED", message, self.launch.again)

    # --- time limits

    def _watch(self) -> None:
        if self._gone or self._process is None:
            return
        limits = self.timeouts
        silent = self._watched - self._heard
        if self.state in ("starting", "running") and not self._said_hello and self._watched > limits.start:
            message = f"The backend did not get ready within {limits.start:.0f} seconds."
            self._fail("E_BACKEND_START", message, "Try again; if it happens again, repair the set-up.", kill=True)
        elif self._said_hello and self.state == "running" and silent > limits.silence:
            message = f"The backend has not answered for {limits.silence:.0f} seconds and was stopped."
            self._fail("E_BACKEND_HUNG", message, self.launch.again, kill=True)
        elif self._stop_since is not None:
            # Saving takes moments and ends in two renames, between which nobody should be killed.
            patient = self.state in FINAL or self.snapshot.stage == "saving"
            patience = limits.finish if patient else limits.cancel
            if self._terminated_at is None and self._watched - self._stop_since > patience:
                self._terminated_at = self._watched
                self._process.terminate()
            elif self._terminated_at is not None and self._watched - self._terminated_at > limits.terminate:
                self._kill()

    def _let_go(self, reusable: bool = True) -> None:
        """The job has said its last word."""
        self._spare = reusable and self.launch.keep and self._terminated_at is None
        if self._spare:
            self._stop_since = None
        else:
            self._quit()

    def _quit(self) -> None:
        """Nothing more is wanted of the process: ask it to end, and see to it that it does."""
        if not self._quit_asked:
            self._quit_asked = True
            self._stop_since = self._watched
            self._send({"type": "shutdown"})
            self.release()

    def _send(self, request: Event) -> None:
        if self._process:
            self._process.send(request)

    def _note(self, line: str) -> None:
        if self._process:
            self._process.note(line)

    def _kill(self) -> None:
        if self._process:
            self._process.kill()
