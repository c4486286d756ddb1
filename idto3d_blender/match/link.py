# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend that answers pins, kept running while a head is matched.

Of what is asked while it computes only the newest is sent on: a drag asks sixty times a second. No bpy.
"""

import shutil
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..head.bundle import BundleError
from ..jobs.backend_process import Event
from ..jobs.job import LONGEST_GAP, Warm
from ..jobs.snapshot import Problem

State = Literal["starting", "ready", "busy", "gone"]
_SLOW = 120.0  # seconds after which a backend that has not answered is given up


@dataclass(frozen=True, eq=False)
class Answer:
    """What a request came to. ticket: whose; arrays: of the `refit` event's file; event: it; done: the folder that
    `out` asked for, or None; problem: why there is no answer."""

    ticket: int
    event: Event
    arrays: Mapping[str, NDArray[Any]]
    done: Path | None = None
    problem: Problem | None = None


class Link:
    """One worker, from `Jobs.lend`. `ask`, then `poll` until an answer of that ticket, or a later one, comes.

    stage: what it last said that it does; ended: why it has gone, None while it is there.
    """

    def __init__(self, warm: Warm) -> None:
        """Raises BundleError E_OUT_NOT_WRITABLE where there is no room for answers."""
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="idto3d-match-"))
        except OSError as error:
            warm.process.close_input()
            message = f"{error.filename or 'The temporary folder'} cannot be written: {error.strerror or error}."
            raise BundleError("E_OUT_NOT_WRITABLE", message, "Make room there, or make it writable.") from error
        self.stage = "starting"
        self._process = warm.process
        self._ticket = 0
        self._running: dict[str, Any] | None = None
        self._next: dict[str, Any] | None = None
        self._part: tuple[Event, Mapping[str, NDArray[Any]]] | None = None
        self._greeted = warm.hello is not None
        self.ended: Problem | None = None
        self._polled, self._watched, self._heard = time.monotonic(), 0.0, 0.0

    @property
    def state(self) -> State:
        if self.ended is not None:
            return "gone"
        if not self._greeted:
            return "starting"
        return "busy" if self._running is not None else "ready"

    def ask(self, request: Mapping[str, Any]) -> int:
        """Ask a `refit` without type, job and folder; returns its ticket. One that waits still is dropped. Where the
        worker has gone, that is the answer."""
        self._ticket += 1
        self._next = {**request, "type": "refit", "job": str(self._ticket), "folder": str(self.folder)}
        self._send()
        return self._ticket

    def poll(self) -> list[Answer]:
        """What has been answered since the last call."""
        answers: list[Answer] = []
        now = time.monotonic()
        self._watched += min(now - self._polled, LONGEST_GAP)
        self._polled = now
        for kind, what in self._process.received():
            self._heard = self._watched
            if kind == "event":
                answers += self._take(what)
            elif kind in ("exit", "unstarted") and self.ended is None:
                self.ended = Problem("E_BACKEND_DIED", "The backend has ended.", "Leave the match and begin it again.")
        if self.ended is None and self._watched - self._heard > _SLOW:
            self.ended = Problem("E_BACKEND_HUNG", "The backend does not answer.", "Leave the match and begin again.")
        if self.ended is not None:
            answers += self._failed(self.ended)
        return answers

    def wait(self, ticket: int, seconds: float = _SLOW) -> Answer:
        """Poll until the answer of `ticket` is there: for scripts."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for answer in self.poll():
                if answer.ticket >= ticket:
                    return answer
            time.sleep(0.005)
        return Answer(ticket, {}, {}, None, Problem("E_BACKEND_HUNG", "The backend does not answer.", "Try again."))

    def close(self) -> None:
        """The worker ends by itself once nobody listens; its files go."""
        self._process.send({"type": "shutdown"})
        self._process.close_input()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _send(self) -> None:
        if self._greeted and self._running is None and self._next is not None:
            self._running, self._next = self._next, None
            self._part = None
            self._process.send(self._running)

    def _take(self, event: Event) -> list[Answer]:
        kind, job = event["type"], event.get("job")
        if kind == "hello":
            self._greeted = True
            self._send()
        elif kind == "progress":
            self.stage = str(event.get("stage", ""))
        elif self._running is None or job not in (None, self._running["job"]):
            pass
        elif kind == "refit":
            path = Path(event["path"])
            try:
                with np.load(path, allow_pickle=False) as stored:
                    self._part = event, dict(stored)
                path.unlink(missing_ok=True)
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                why = f"The backend's answer could not be read: {error}."
                return self._finish(Problem("E_BACKEND_DIED", why, "Try again."))
        elif kind == "done":
            return self._finish(None)
        elif kind == "error":
            texts = (str(event.get(key, "")) for key in ("code", "message", "fix"))
            return self._finish(Problem(*texts))
        elif kind == "cancelled":
            return self._finish(Problem("E_BACKEND_DIED", "The backend gave it up.", "Try again."))
        return []

    def _finish(self, problem: Problem | None) -> list[Answer]:
        asked, self._running = self._running, None
        assert asked is not None
        event, arrays = self._part or ({}, {})
        out = asked.get("out")
        self._send()
        return [Answer(int(asked["job"]), event, arrays, Path(out) if out and not problem else None, problem)]

    def _failed(self, problem: Problem) -> list[Answer]:
        lost = [one for one in (self._running, self._next) if one is not None]
        self._running = self._next = None
        return [Answer(int(one["job"]), {}, {}, None, problem) for one in lost]
