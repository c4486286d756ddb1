# SPDX-License-Identifier: GPL-3.0-or-later
"""Preview files: numbered, written atomically, announced by events, the last few of a kind kept."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .clock import Events
from .whole_file import whole

KEPT = 3


class PreviewFiles:
    """The previews of one job. If the folder cannot be written, they end with a warning (`failed`), not the job."""

    def __init__(self, folder: Path, events: Events) -> None:
        self.folder, self.failed, self._events = folder, False, events

    def show(self, kind: str, ending: str, save: Callable[[BinaryIO], object], **told: object) -> None:
        """Write a file of a kind and announce it. save: writes its content; told: further fields of the event."""
        try:
            path = self._write(kind, ending, save)
        except OSError as error:
            self.give_up(error)
        else:
            self._events({"type": "preview", "kind": kind, "path": str(path), **told})

    def give_up(self, error: OSError) -> None:
        """Warn once, and write no more previews."""
        self.failed = True
        self._events({"type": "warning", "code": "W_PREVIEW", "message": f"No previews: {error.strerror or error}."})

    def _write(self, kind: str, ending: str, save: Callable[[BinaryIO], object]) -> Path:
        """Write a file under a new number; the oldest are deleted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        there = sorted(self.folder.glob(f"{kind}-{'[0-9]' * 6}.{ending}"))
        number = int(there[-1].stem.rpartition("-")[2]) + 1 if there else 1
        path = self.folder / f"{kind}-{number:06d}.{ending}"
        with whole(path) as partial, partial.open("wb") as file:
            save(file)
        for old in [*there, path][:-KEPT]:
            with contextlib.suppress(OSError):  # Windows refuses while Blender is reading; deleted next time
                old.unlink()
        return path
