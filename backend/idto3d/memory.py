# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory that nobody uses any more goes back to the system.

glibc keeps what is freed between two blocks that are not, for what comes next, and for each thread a heap of its own;
after a few hundred maps of some megabytes that is as much as is in use. See mallopt(3) and malloc_trim(3).
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_ARENA_MAX = -8  # M_ARENA_MAX of <malloc.h>
HEAPS = 2


def share_heaps() -> None:
    """Let all threads share a few heaps; before they begin. Other systems than glibc's do as they like."""
    if (libc := _glibc()) is not None:
        libc.mallopt(_ARENA_MAX, HEAPS)


def give_back() -> None:
    """Free pages to the system: after what takes much memory, some milliseconds."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> Any | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
