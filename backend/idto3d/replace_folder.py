# SPDX-License-Identifier: GPL-3.0-or-later
"""One folder in the place of another by renames, which a kill between them cannot turn into a loss."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Callable
from pathlib import Path

Ours = Callable[[str], bool]
"""Whether a file of this name is replaced; any other is kept."""


def recover(path: Path, ours: Ours) -> None:
    """Bring back what a process that was killed while it replaced ``path`` has left aside, and sweep the rest."""
    name = glob.escape(path.name)
    for old in path.parent.glob(f".{name}.old-*"):
        if path.exists():
            _keep_others(old, path, ours)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(old, path)
    for partial in path.parent.glob(f".{name}.tmp-*"):
        shutil.rmtree(partial, ignore_errors=True)


def publish(temporary: Path, path: Path, token: str, ours: Ours) -> None:
    """Rename ``temporary`` to ``path``; what was there comes back if that fails."""
    if not path.exists():
        os.rename(temporary, path)
        return
    old = path.with_name(f".{path.name}.old-{token}")
    os.rename(path, old)
    try:
        os.rename(temporary, path)
    except OSError:
        os.rename(old, path)
        raise
    _keep_others(old, path, ours)
    shutil.rmtree(old, ignore_errors=True)


def _keep_others(old: Path, path: Path, ours: Ours) -> None:
    """Move the files of ``old`` that are not replaced, such as a saved .blend, to ``path``."""
    for entry in old.iterdir():
        if not ours(entry.name) and not (path / entry.name).exists():
            os.rename(entry, path / entry.name)
