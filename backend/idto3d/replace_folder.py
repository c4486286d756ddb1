# SPDX-License-Identifier: GPL-3.0-or-later
"""Replaces a folder by another one through renames; a kill in between loses nothing."""

import glob
import shutil
from collections.abc import Callable
from pathlib import Path

from idto3d_shared.renaming import rename

Ours = Callable[[str], bool]
"""Whether a file of this name (a path in the folder, with slashes) is to be replaced; others are kept."""


def recover(path: Path, ours: Ours) -> None:
    """Undo what a process killed in `publish` has left: restore the old folder, or delete its remains."""
    name = glob.escape(path.name)
    for old in path.parent.glob(f".{name}.old-*"):
        if path.exists():
            _keep_others(old, path, ours)
            shutil.rmtree(old, ignore_errors=True)
        else:
            rename(old, path)
    for partial in path.parent.glob(f".{name}.tmp-*"):
        shutil.rmtree(partial, ignore_errors=True)


def publish(temporary: Path, path: Path, token: str, ours: Ours) -> None:
    """Rename ``temporary`` to ``path``; on failure the old folder is restored."""
    if not path.exists():
        rename(temporary, path)
        return
    old = path.with_name(f".{path.name}.old-{token}")
    rename(path, old)
    try:
        rename(temporary, path)
    except OSError:
        rename(old, path)
        raise
    _keep_others(old, path, ours)
    shutil.rmtree(old, ignore_errors=True)


def _keep_others(old: Path, path: Path, ours: Ours, below: str = "") -> None:
    """Move files that are not replaced, such as a saved .blend, from ``old`` to ``path``."""
    for entry in old.iterdir():
        name, target = below + entry.name, path / entry.name
        if ours(name):
            if entry.is_dir() and target.is_dir():
                _keep_others(entry, target, ours, f"{name}/")
        elif not target.exists():
            rename(entry, target)
