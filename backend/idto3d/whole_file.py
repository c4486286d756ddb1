# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to; what stands there at the end of the block takes the place of `path` at once,
    so that a reader, or a crash, finds the old file or the new one. A block that fails leaves nothing behind."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
