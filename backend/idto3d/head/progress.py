# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a long function is, told by a callback that is called several times a second and may raise to stop it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from typing import TypeVar

Progress = Callable[[float], None]
"""Called with the share done, 0..1."""
T = TypeVar("T")
POLL = 0.1  # seconds


def ignored(_share: float) -> None:
    """For callers who do not want to know."""


def between(progress: Progress, low: float, high: float) -> Progress:
    """The progress of a part that goes from `low` to `high` of the whole."""
    return lambda share: progress(low + (high - low) * share)


def threaded(work: Callable[[], T], share: Callable[[], float], stop: Callable[[], None], progress: Progress) -> T:
    """The result of `work`, which runs in a thread of its own and must leave Python's lock free. `share` says how far
    it is; when `progress` raises, `stop` is called and `work` awaited. Its exceptions are raised here."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            progress(share())
            thread.join(POLL)
    except BaseException:
        stop()
        thread.join()
        raise
    if errors:
        raise errors[0]
    return results[0]


def communicated(process: subprocess.Popen[bytes], typical: float, progress: Progress) -> tuple[bytes, bytes]:
    """What a process writes on its standard output and error. How far it is: guessed from the seconds it typically
    takes. It is ended when `progress` raises."""
    began = time.monotonic()
    try:
        while True:
            waited = time.monotonic() - began
            progress(waited / (waited + typical))
            try:
                return process.communicate(timeout=POLL)
            except subprocess.TimeoutExpired:
                pass
    except BaseException:
        process.kill()
        process.communicate()
        raise
