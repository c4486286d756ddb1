# SPDX-License-Identifier: GPL-3.0-or-later
"""Atomic writing of files."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from idto3d_shared.renaming import rename


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to, which is renamed to `path` at the end of the block, so that a reader,
    or a crash, finds the old file or the new one. Removed if the block fails."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        yield partial
        rename(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
