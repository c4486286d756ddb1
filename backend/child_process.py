# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs venv and pip for install.py: stoppable at any moment, output into the log, failures told apart by what they say.

Standard library only.
"""

from __future__ import annotations

import collections
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from environments import NO_WINDOW, for_python
from preflight import InstallError

TICK_SECONDS = 0.25
# Whoever has started us in a session of our own, as Blender does, ends our children with us. In a terminal's they get
# one of theirs, or we could not end them without all that runs there.
_LEADS = sys.platform != "win32" and os.getsid(0) == os.getpid()

# What a child prints -> code, what happened, what to do; {} is what was found.
FAILURES = (
    (
        r"No space left|Errno 28|not enough space|Disk quota exceeded|Errno 122|WinError 112",
        ("E_DISK_SPACE", "The disk is full.", "Free some space, then set up again; it goes on from there."),
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|confirming the ssl certificate|Tunnel connection failed: 407",
        (
            "E_NETWORK",
            "The packages could not be downloaded: a proxy or firewall stands in between.",
            "Ask its keeper for the proxy's address and certificate and start Blender with HTTPS_PROXY and PIP_CERT set"
            " to them; or choose an offline folder.",
        ),
    ),
    (
        r"ConnectionError|NewConnection|ConnectTimeout|ReadTimeout|Read timed out|ProxyError|SSLError|NameResolution"
        r"|name resolution|Connection broken|ConnectionReset|IncompleteRead|Network is unreachable|Could not fetch URL",
        (
            "E_NETWORK",
            "The packages could not be downloaded: the network does not answer.",
            "Check the connection and set up again, which goes on from there; or choose an offline folder.",
        ),
    ),
    (
        r"[\w.+-]+: cannot open shared object file|DLL load failed while importing \w+",
        (
            "E_CHECK",
            "The packages were installed but cannot be loaded ({}).",
            "On Linux install the system's library of that name; on Windows Microsoft's Visual C++ runtime. Then set up"
            " again.",
        ),
    ),
    (
        r"Long Path|path too long|WinError 206|filename or extension is too long",
        ("E_PATH_LENGTH", "Windows allows no path that long.", "Enable long paths in Windows, then set up again."),
    ),
)


class Cancelled(Exception):
    """The user, or the end of Blender, stopped the set-up."""


@dataclass
class Watch:
    """Who looks on: report(stage, step, steps), log(line), warn(code, message), and an event that stops everything."""

    report: Callable[[str, int, int], None]
    log: Callable[[str], None]
    warn: Callable[[str, str], None]
    cancelled: threading.Event = field(default_factory=threading.Event)


def hung_up() -> tuple[int, ...]:
    """The signal by which a terminal that closes ends what runs in it, where there is such a thing; none for a program
    that is to outlive it, as one that was started by nohup."""
    if sys.platform == "win32" or signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return ()
    return (signal.SIGHUP,)


def end(process: subprocess.Popen[str], patience: float = 3.0) -> None:
    """End a child and its own children, ensurepip and pip: what goes on would write into a folder that is being cleared
    away."""
    if sys.platform == "win32":
        kill = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(kill, creationflags=NO_WINDOW, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        process.wait()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if _LEADS:
            with _deaf_to(signal.SIGTERM):
                os.killpg(0, signal.SIGTERM)
        else:
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        if not _LEADS:
            os.killpg(process.pid, signal.SIGKILL)  # also those that outlive the one that has started them
    process.kill()
    process.wait()


@contextlib.contextmanager
def _deaf_to(number: int) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # no other may say what a signal does
        return
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


def run(
    command: Sequence[str],
    watch: Watch,
    code: str,
    message: str,
    env: dict[str, str] | None = None,
    tick: Callable[[], None] | None = None,
) -> None:
    """Run a child to its end, its output into the log; tick is called four times a second.

    Raises Cancelled, once the child has gone, or InstallError with the end of its output: with the code given, or a
    more exact one where the output tells.
    """
    if watch.cancelled.is_set():
        raise Cancelled
    last: collections.deque[str] = collections.deque(maxlen=40)
    try:
        process = subprocess.Popen(
            command,
            env=for_python(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=sys.platform != "win32" and not _LEADS,
            creationflags=NO_WINDOW,
        )
    except OSError as error:
        raise InstallError(code, f"{message} {error}") from error

    def read() -> None:
        for line in process.stdout or ():
            last.append(line.rstrip("\n"))
            with contextlib.suppress(OSError):  # on a full disk; a child that nobody reads would wait for ever
                watch.log(last[-1])

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            if watch.cancelled.wait(TICK_SECONDS):
                raise Cancelled
            if tick:
                tick()
    except BaseException:
        end(process)
        raise
    reader.join(5)
    if process.returncode:
        output = "\n".join(last)
        for pattern, failure in FAILURES:
            if found := re.search(pattern, output):
                raise InstallError(*(words.format(found[0]) for words in failure))
        words = [line for line in last if line.strip()][-1:]
        raise InstallError(code, " ".join([message, *words]), "Set up again to retry; the log has the details.")
