# SPDX-License-Identifier: GPL-3.0-or-later
"""Replaces a folder by another one through renames; a kill in between loses nothing."""

import contextlib
import glob
import shutil
from collections.abc import Callable, Set
from pathlib import Path

from idto3d_shared.renaming import rename

Owned = Callable[[Path], Set[str]]
"""The files of a folder that are to be replaced, as paths in it with slashes; none where it does not tell. Others are
kept."""


def recover(path: Path, owned: Owned) -> None:
    """Undo what a process killed in `publish` has left: restore the old folder, or delete its remains."""
    name = glob.escape(path.name)
    for old in path.parent.glob(f".{name}.old-*"):
        if path.exists():
            token = old.name.removeprefix(f".{path.name}.old-")
            _discard(old, path, token, owned)
        else:
            rename(old, path)
    for partial in path.parent.glob(f".{name}.tmp-*"):
        shutil.rmtree(partial, ignore_errors=True)


def publish(temporary: Path, path: Path, token: str, owned: Owned) -> None:
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
    _discard(old, path, token, owned)


def _discard(old: Path, path: Path, token: str, owned: Owned) -> None:
    """Delete an old folder, but for what is not its own, which goes into the new one."""
    # A folder that does not tell has had, as far as anybody knows, what the new one has.
    _keep_others(old, path, owned(old) or owned(path))
    rubbish = path.with_name(f".{path.name}.tmp-{token}")
    with contextlib.suppress(OSError):  # somebody looks into it; it is deleted under the name that it has
        # Half deleted it would not tell any more which files are its own.
        rename(old, rubbish)
    for folder in (rubbish, old):
        shutil.rmtree(folder, ignore_errors=True)


def _keep_others(old: Path, path: Path, own: Set[str], below: str = "") -> None:
    """Move files that are not replaced, such as a saved .blend, from ``old`` to ``path``; where the new folder has one
    of that name, under another."""
    for entry in old.iterdir():
        name, target = below + entry.name, path / entry.name
        if entry.is_dir() and not entry.is_symlink() and target.is_dir():
            _keep_others(entry, target, own, f"{name}/")
        elif name not in own:
            rename(entry, _free(target))


def _free(target: Path) -> Path:
    """A name that nothing has: ``target``, or with a number."""
    number, free = 1, target
    while free.exists() or free.is_symlink():
        number += 1
        free = target.with_name(f"{target.stem} ({number}){target.suffix}")
    return free
