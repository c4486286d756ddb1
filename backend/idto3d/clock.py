# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress events and timings of a run."""

import time
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
Events = Callable[[Event], None]
"""Called with the protocol's events: progress, preview, warning. Raises Cancelled to stop."""


class Clock:
    """Turns step counts into progress events, with the time left in the stage, and keeps the timings."""

    def __init__(self, events: Events, every: float = 0.0) -> None:
        """every: seconds, at least, between two events of one stage; those between only poll."""
        self.events, self.every = events, every
        self.timings: dict[str, float] = {}
        self._stage, self._began, self._first, self._told = "", time.monotonic(), 0, 0.0

    def __call__(self, stage: str, step: int = 0, steps: int = 1) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self.close()
            self._stage, self._began, self._first = stage, now, step
        elif now - self._told < self.every:
            return self.poll()
        self._told = now
        done = step - self._first
        eta = (now - self._began) / done * (steps - step) if done > 0 else None
        self.events({"type": "progress", "stage": stage, "step": step, "steps": steps, "eta_seconds": eta})

    def poll(self) -> None:
        """Let `events` raise Cancelled within a step; nothing is shown."""
        self.events({"type": "poll"})

    def close(self) -> None:
        """End the current stage."""
        if self._stage:
            self.timings[self._stage] = self.timings.get(self._stage, 0.0) + time.monotonic() - self._began
        self._stage = ""
