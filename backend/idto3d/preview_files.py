# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of previews: numbered, whole, announced as they are written, the last few of a kind kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .clock import Events
from .whole_file import whole

KEPT = 3


class PreviewFiles:
    """Of one job. A folder that cannot be written ends them with a warning, not the job: `failed`."""

    def __init__(self, folder: Path, events: Events) -> None:
        self.folder, self.failed, self._events = folder, False, events

    def show(self, kind: str, ending: str, save: Callable[[BinaryIO], object], **told: object) -> None:
        """Write a file of a kind and announce it. save: writes its content; told: what else the event says."""
        try:
            path = self._write(kind, ending, save)
        except OSError as error:
            self.give_up(error)
        else:
            self._events({"type": "preview", "kind": kind, "path": str(path), **told})

    def give_up(self, error: OSError) -> None:
        """The job goes on without previews."""
        self.failed = True
        self._events({"type": "warning", "code": "W_PREVIEW", "message": f"No previews: {error.strerror or error}."})

    def _write(self, kind: str, ending: str, save: Callable[[BinaryIO], object]) -> Path:
        """A new file under a name never used before in this folder; the oldest go."""
        self.folder.mkdir(parents=True, exist_ok=True)
        there = sorted(self.folder.glob(f"{kind}-{'[0-9]' * 6}.{ending}"))
        number = int(there[-1].stem.rpartition("-")[2]) + 1 if there else 1
        path = self.folder / f"{kind}-{number:06d}.{ending}"
        with whole(path) as partial, partial.open("wb") as file:
            save(file)
        for old in [*there, path][:-KEPT]:
            with contextlib.suppress(OSError):  # Windows keeps a file that Blender is reading; the next round gets it
                old.unlink()
        return path
