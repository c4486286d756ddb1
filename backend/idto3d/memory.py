# SPDX-License-Identifier: GPL-3.0-or-later
"""Returns unused memory to the system.

glibc keeps freed blocks for later, in a heap of its own for each thread; after a few hundred maps of some megabytes
that is as much again as is in use. See mallopt(3) and malloc_trim(3).
"""

import ctypes
import sys
from typing import Any

_ARENA_MAX = -8  # M_ARENA_MAX of <malloc.h>
HEAPS = 2


def share_heaps() -> None:
    """Let all threads share a few heaps; call it before they start. Does nothing without glibc."""
    if (libc := _glibc()) is not None:
        libc.mallopt(_ARENA_MAX, HEAPS)


def give_back() -> None:
    """Return free pages to the system; takes some milliseconds."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> Any | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
