# SPDX-License-Identifier: GPL-3.0-or-later
"""Children of build.py, which Ctrl-C asks for a checkpoint first. Standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from environments import for_python

SHUTDOWN_SECONDS = 30.0  # what a child has to write its checkpoint after Ctrl-C


def stop(process: subprocess.Popen[str]) -> None:
    """Ask for a checkpoint first; insist only when that takes too long or the user presses Ctrl-C again."""
    for number, patience in ((signal.SIGINT, SHUTDOWN_SECONDS), (signal.SIGTERM, 5.0)):
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt, ProcessLookupError):
            if sys.platform == "win32":
                process.send_signal(signal.CTRL_BREAK_EVENT)
            else:
                os.killpg(process.pid, number)
            process.wait(patience)
            return
    process.kill()
    process.wait()


@contextlib.contextmanager
def child(command: Sequence[str | Path], env: dict[str, str] | None = None, log: Path | None = None,
          piped: bool = False) -> Iterator[subprocess.Popen[str]]:  # fmt: skip
    """A child that runs beside the block, and is stopped where that fails.

    With a log both its streams go there, without, to the terminal; piped: its stdout is for us. It has its own process
    group, so that Ctrl-C reaches it once, through us.
    """
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(log.open("a", encoding="utf-8")) if log else None
        process = subprocess.Popen(
            [str(part) for part in command], env=for_python(env), encoding="utf-8", errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if piped else sink, stderr=sink,
            start_new_session=sys.platform != "win32",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0))  # fmt: skip
        try:
            yield process
        except BaseException:
            stop(process)
            raise


def run(command: Sequence[str | Path], env: dict[str, str] | None = None, log: Path | None = None,
        on_line: Callable[[str], None] | None = None) -> int:  # fmt: skip
    """Run a child to its end and return its exit status; on_line gets the lines of its stdout."""
    with child(command, env, log, on_line is not None) as process:
        for line in process.stdout or ():
            assert on_line is not None
            on_line(line.rstrip("\n"))
        return process.wait()
