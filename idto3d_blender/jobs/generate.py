# SPDX-License-Identifier: GPL-3.0-or-later
"""From settings to a job in the queue."""

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import bpy

from .. import photo_list, preferences, properties
from ..head import folders
from ..studio import live
from . import driver, session
from .records import checkpoints_of

_LONGEST_NAME = 60  # characters of a head's folder: of three bytes each they fit a name of 255


def ask(request: dict[str, Any], frame: bool) -> str:
    """Put a ``generate`` request into the queue for the open file; returns the job's id. frame: bring the head
    into sight when it first appears. Raises OSError where the user folder cannot be written."""
    state, out = session.get(), Path(request["out"])
    job = state.jobs.submit(request, {"name": out.name})
    with contextlib.suppress(OSError):  # keeps its place from other versions of Blender, too
        checkpoints_of(out).mkdir(parents=True, exist_ok=True)
    belongs_here(job, frame)
    return job


def belongs_here(job: str, frame: bool) -> None:
    """The job's previews and its head come into the open file."""
    state = session.get()
    state.here.add(job)
    live.ask_for(job)
    live.note_selection()
    if frame and job not in state.framed and preferences.get().frame_view:
        state.frame.add(job)
        state.framed.add(job)
    driver.ensure()


def request_from_settings() -> dict[str, Any]:
    """What the panel asks for."""
    given = properties.settings()
    photos = photo_list.used()
    return {
        "photos": photos,
        "out": str(new_folder(heads_folder(), Path(photos[0]).stem)),
        "pack": bpy.path.abspath(given.pack_folder) if given.pack == "FOLDER" else None,
        "quality": given.quality,
        "expressions": properties.chosen_expressions(given),
        "prompt": given.prompt,
        "seed": given.seed,
        "previews": None,
    }


def heads_folder() -> Path:
    """Where heads are kept: the panel's folder, or the preferences'. No whole path where it is named by // and the file
    is not saved, or as seen from wherever Blender was started."""
    chosen = properties.settings().output
    return Path(bpy.path.abspath(chosen)) if chosen else preferences.get().heads_folder


def new_folder(parent: Path, name: str) -> Path:
    """A folder in ``parent`` that is neither there nor promised to a job, of this Blender or another: "name", "name-2",
    ... A long name is cut, as files with longer ones lie in that folder and beside it. What another version of Blender
    has begun only its checkpoints tell."""
    # As the disk has it now: another Blender may have begun a job since this one has looked. To Windows and macOS a
    # name in other letters, small or capital, is the same.
    records = session.get().jobs.records
    taken, ours = ({folder.casefold() for folder in folders} for folders in (records.promised(), records.asked()))
    stem = re.sub(r"[^\w-]+", "-", name)[:_LONGEST_NAME].strip("-") or "head"
    number = 1
    while True:
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        # Not Path.exists, which raises where a folder may not be looked into.
        # What is left of a job of ours that failed is gone on with.
        theirs = os.path.lexists(checkpoints_of(folder)) and str(folder).casefold() not in ours
        if str(folder).casefold() not in taken and not theirs and not os.path.lexists(folder):
            return folder
        number += 1


def missing() -> str:
    """What the panel's settings lack for a head, as a sentence; empty when nothing."""
    given = properties.settings()
    if not given.photos:
        return "Add a photo first"
    if not given.consent:
        return "Tick that the people in these photos agreed"
    if given.pack == "FOLDER" and not given.pack_folder:
        return "Choose the folder of the pack, or the starter pack"
    if not heads_folder().is_absolute():
        return "The folder for heads has no whole path. Save the file first, or choose another folder"
    if not folders.can_be_shown(heads_folder()):
        return "The folder for heads has a name that Blender cannot show. Rename it, or choose another folder"
    return ""
