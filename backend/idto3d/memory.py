# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps unused memory within a stage, and returns it to the system between stages.

glibc keeps freed blocks for later, in a heap of its own for each thread; after a few hundred maps of some megabytes
that is as much again as is in use. Large blocks it returns at once instead, and the system fills each new one with
zeros, page by page: a tenth of the nets' time. See mallopt(3) and malloc_trim(3).
"""

import ctypes
import sys
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_... of <malloc.h>
HEAPS = 2
KEPT = 256 << 20  # bytes that a heap keeps
LARGE = 32 << 20  # bytes, glibc's greatest, from which a block is the system's


def share_heaps() -> None:
    """Let all threads share a few heaps; call it before they start. Does nothing without glibc."""
    if (libc := _glibc()) is not None:
        for option, value in ((_ARENA_MAX, HEAPS), (_TRIM_THRESHOLD, KEPT), (_MMAP_THRESHOLD, LARGE)):
            libc.mallopt(option, value)


def give_back() -> None:
    """Return free pages to the system; takes some milliseconds."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> Any | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
