# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that take seconds. Clicked, they go on beside the window: it is drawn, the view can be turned, the status
bar says how far it is, Escape gives up, and all of it is one step of undo. Called by a script, they return when done.
"""

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
Steps = Generator[float, None, T]
"""Yields how much is done, 0..1."""

_PAUSE = 0.005  # seconds that a step waits for a thread
_TURN = 0.02  # seconds of steps between two events: a window that is drawn slowly has few of them
# What mice, trackpads and tablets turn the view with.
_LOOK = frozenset(
    "MOUSEMOVE INBETWEEN_MOUSEMOVE MIDDLEMOUSE WHEELUPMOUSE WHEELDOWNMOUSE TRACKPADPAN TRACKPADZOOM MOUSEROTATE "
    "MOUSESMARTZOOM NDOF_MOTION".split()
)


class Refused(Exception):
    """Ends an operator with a sentence for the user."""


def scaled(work: Steps[T], low: float, high: float) -> Steps[T]:
    """Steps that are a part of more: they yield from ``low`` to ``high``."""
    try:
        while True:
            yield low + (high - low) * next(work)
    except StopIteration as end:
        return end.value
    finally:
        work.close()


def in_thread(work: Steps[T]) -> Steps[T]:
    """Go through steps that do not touch bpy in a thread. Closed, the thread stops at its next step."""
    box: Future[T] = Future()
    stop = threading.Event()
    done = 0.0

    def run() -> None:
        nonlocal done
        try:
            while not stop.is_set():
                done = next(work)
            work.close()
        except StopIteration as end:
            box.set_result(end.value)
        except BaseException as error:
            box.set_exception(error)

    threading.Thread(target=run, name="idto3d-steps", daemon=True).start()
    try:
        while True:
            try:
                return box.result(_PAUSE)
            except TimeoutError:
                yield done
    finally:
        stop.set()


def aside(work: Callable[[], T]) -> Steps[T]:
    """Do what does not touch bpy in a thread, in one go."""

    def once() -> Steps[T]:
        yield 0.0
        return work()

    return in_thread(once())


class StepsOperator:
    """steps(context) does the work and returns what to report; it raises Refused, and takes back what it made when it
    is closed early. What it reads is not changed meanwhile: but for the view, the window takes no input."""

    def steps(self, context: Any) -> Steps[str]:
        raise NotImplementedError

    def invoke(self, context: Any, event: Any) -> set[str]:
        return self.go_on_beside(context)

    def execute(self: Any, context: Any) -> set[str]:
        self._steps = self.steps(context)
        while isinstance(done := self._step(), float):
            pass
        return done

    def go_on_beside(self: Any, context: Any) -> set[str]:
        """Return this from ``invoke``, or from an ``execute`` that a file browser calls."""
        self._steps = self.steps(context)
        context.window_manager.progress_begin(0, 100)
        self._timer = context.window_manager.event_timer_add(0.01, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self: Any, context: Any, event: Any) -> set[str]:
        if event.type == "ESC":
            return self._over(context, {"CANCELLED"})
        if event.type != "TIMER":
            return {"PASS_THROUGH"} if event.type in _LOOK else {"RUNNING_MODAL"}
        until = time.perf_counter() + _TURN
        try:
            done = self._step()
            while isinstance(done, float) and time.perf_counter() < until:
                done = self._step()
        except Exception:
            self._over(context, set())
            raise
        if not isinstance(done, float):
            return self._over(context, done)
        context.window_manager.progress_update(100 * done)
        context.workspace.status_text_set(f"{self.bl_label}: {done:.0%}   Esc gives up")
        return {"RUNNING_MODAL"}

    def cancel(self: Any, context: Any) -> None:
        """Blender ends, or opens another file."""
        self._over(context, set())

    def _step(self: Any) -> float | set[str]:
        """How much is done, or the operator's result."""
        try:
            return float(next(self._steps))
        except StopIteration as end:
            self.report({"INFO"}, end.value)
            return {"FINISHED"}
        except Refused as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}

    def _over(self: Any, context: Any, result: set[str]) -> set[str]:
        self._steps.close()
        context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        context.workspace.status_text_set(None)
        return result
