# SPDX-License-Identifier: GPL-3.0-or-later
"""A child process with a reader and a writer thread, so that nobody who uses it ever waits. `Job` knows what it means.

No bpy here.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

Event = dict[str, Any]
Message = tuple[Literal["event", "garbage", "unstarted", "exit"], Any]

_LONGEST_LINE = 1 << 20
_GARBAGE_LOGGED = 200
_LAST_LINES = 12
_NICER = 5  # than Blender, whose window is to stay quick while all cores compute

NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)


def parse_event(line: bytes) -> Event | None:
    """One line of the protocol, or None where it is not one."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("type"), str) else None


def last_lines(log: Path, count: int = _LAST_LINES) -> list[str]:
    """The end of a log file; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16384))
            return file.read().decode("utf-8", "replace").splitlines()[-count:]
    except OSError:
        return []


def _opened(log: Path) -> BinaryIO:
    """To append to; nowhere, where it cannot be written: a head can be made without it."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("ab")
    except OSError:
        return open(os.devnull, "ab")


class BackendProcess:
    """Starts a command, in a thread, and puts what it says into a queue.

    `received` yields ("event", dict), ("garbage", None) for a line that is no event, and at last ("exit", status) or
    ("unstarted", error). stderr and garbage are appended to the log; `log` may be set anew, for the notes of another
    job. All methods return at once.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path, name: str) -> None:
        self.popen: subprocess.Popen[bytes] | None = None
        self._command, self._env, self.log, self._name = command, env, log, name
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._killed = False
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def received(self) -> list[Message]:
        """What has come since the last call."""
        messages: list[Message] = []
        with contextlib.suppress(queue.Empty):
            while True:
                messages.append(self._inbox.get_nowait())
        return messages

    def send(self, request: Event) -> None:
        """Write one line to stdin; nothing if the process has gone."""
        self._outbox.put(request)

    def close_input(self) -> None:
        """Close stdin after all that was sent."""
        self._outbox.put(None)

    def terminate(self) -> None:
        """Tell the process and its children to end; on Windows this kills them."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process and its children (pip, in a set-up), also if it is only about to start."""
        self._killed = True
        self.close_input()
        self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    def end(self, seconds: float) -> None:
        """`kill`, and wait for it, for some seconds at most."""
        self.kill()
        if self.popen is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(seconds)

    def note(self, line: str) -> None:
        """Append a line to the log."""
        with contextlib.suppress(OSError), self.log.open("a", encoding="utf-8", errors="replace") as log:
            log.write(line + "\n")

    def _signal(self, number: int) -> None:
        process = self.popen
        if process is None or process.poll() is not None:
            return
        if sys.platform == "win32":
            kill = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
            with contextlib.suppress(OSError):
                subprocess.Popen(kill, creationflags=NO_WINDOW, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)

    def _run(self) -> None:
        try:
            with _opened(self.log) as log:
                process = subprocess.Popen(
                    self._command,
                    env=dict(self._env),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    # Its own group: Ctrl-C in Blender's terminal is not for the backend, and its children go with it.
                    start_new_session=sys.platform != "win32",
                    creationflags=NO_WINDOW
                    | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
                    | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),
                )
            if sys.platform != "win32":
                with contextlib.suppress(OSError):  # it has gone already
                    os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + _NICER)
        except (OSError, ValueError) as error:
            self._inbox.put(("unstarted", error))
            return
        self.popen = process
        if self._killed:
            self.kill()
        threading.Thread(target=self._write, args=(process,), name=f"{self._name}-in", daemon=True).start()
        self._read(process)
        self.close_input()
        self._inbox.put(("exit", process.wait()))

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        garbage = 0
        with process.stdout as stdout:
            for line in iter(lambda: stdout.readline(_LONGEST_LINE), b""):
                event = parse_event(line)
                if event is not None:
                    self._inbox.put(("event", event))
                    continue
                garbage += 1
                self._inbox.put(("garbage", None))
                if garbage <= _GARBAGE_LOGGED:
                    self.note(line.decode("utf-8", "replace").rstrip("\r\n")[:2000])

    def _write(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        # The child may be gone at any moment; its exit says so, not our failure to write or to flush at the end.
        with contextlib.suppress(OSError, ValueError):
            for request in iter(self._outbox.get, None):
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
        with contextlib.suppress(OSError, ValueError):
            process.stdin.close()


def child_environment(cache: Path, pythonpath: Path) -> dict[str, str]:
    """Environment variables for a Python that is not Blender's: nothing of Blender's Python is handed on, nothing is
    imported from wherever Blender was started, and what is compiled is kept in the folder ``cache``."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "__PYVENV"))}
    env.pop("VIRTUAL_ENV", None)
    return {
        **env,
        "PYTHONPATH": str(pythonpath),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPYCACHEPREFIX": str(cache / "pycache"),
        "NUMBA_CACHE_DIR": str(cache / "numba"),
    }
