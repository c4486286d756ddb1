# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands whose reader goes, as `| head` does, or whose output finds no room. Standard library only."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

from environments import FULL

UNREAD = 128 + 13  # what a shell says of a program which SIGPIPE has ended


def printed(command: Callable[[], int]) -> int:
    """Run a command, and write out what it has printed. Its status; UNREAD, without a word, where nobody reads that any
    more; 1, in words, where a disk is full, be it the one that the output goes to."""
    try:
        try:
            return command()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        # Windows does not tell a pipe that nobody reads from other mistakes.
        unread = hush() or isinstance(error, BrokenPipeError)
        if error.errno not in FULL:
            if not unread:
                raise
            return UNREAD
        with contextlib.suppress(OSError):
            again = "Free some space, then run the same command again."
            print(f"\nE_DISK_FULL: The disk is full. {again}", file=sys.stderr, flush=True)
        return 1


def hush() -> bool:
    """Whether stdout cannot be written; then what it still has goes nowhere, else Python would try again at its end,
    and complain."""
    if sys.stdout is None:
        return False
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        return True
    return False
