# SPDX-License-Identifier: GPL-3.0-or-later
"""Renames that wait a moment for others: on Windows a virus scanner or an indexer holds what has just been written."""

import os
import sys
import time
from pathlib import Path

PATIENCE, PAUSE = 2.0, 0.05  # seconds


def rename(source: Path, target: Path) -> None:
    """`os.replace`. Raises OSError, on Windows PermissionError only where somebody holds on for two seconds."""
    give_up = time.monotonic() + (PATIENCE if sys.platform == "win32" else 0.0)
    while True:
        try:
            return os.replace(source, target)
        except PermissionError:
            if time.monotonic() >= give_up:
                raise
            time.sleep(PAUSE)
