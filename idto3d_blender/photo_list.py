# SPDX-License-Identifier: GPL-3.0-or-later
"""Which photos the next head is made from: adding, removing, and what counts as a photo."""

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlparse

from .head import folders
from .properties import PHOTOS_USED, settings

ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".tif", ".tiff", ".bmp"),
    *(".heic", ".heif", ".hif", ".avif"),
)
FILTER = ";".join(f"*{ending}" for ending in ENDINGS)


def add(paths: Iterable[Path]) -> tuple[int, int]:
    """Append the photos that are not in the list yet; returns how many, and how many cannot be, as nothing could show
    their names. New people have not agreed yet, so this takes the tick away."""
    given = settings()
    known = {photo.path for photo in given.photos}
    added = strange = 0
    for path in paths:
        text = str(path)
        if path.suffix.lower() not in ENDINGS or text in known:
            continue
        if not folders.can_be_shown(path):
            strange += 1
            continue
        given.photos.add().path = text
        known.add(text)
        added += 1
    if added:
        given.consent = False
        given.photo_index = len(given.photos) - 1
    return added, strange


def used() -> list[str]:
    """The photos that a head is made from: the first five."""
    return [photo.path for photo in settings().photos][:PHOTOS_USED]


def in_folder(folder: Path) -> list[Path]:
    """The photos that lie in a folder, by name; hidden ones left out. Raises OSError."""
    files = (path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and not path.name.startswith("."))
    return sorted(path for path in files if path.is_file())


def in_text(text: str) -> list[Path]:
    """The photos that a text names, as file managers put them on the clipboard: one a line or between semicolons, bare,
    in quotation marks, or as file:// addresses. Only those that exist."""
    found = []
    for part in text.replace(";", "\n").splitlines():
        name = part.strip().strip("\"'")
        if name.startswith("file://"):
            name = unquote(urlparse(name).path)
            # file:///C:/photo.jpg
            name = name[1:] if name[2:3] == ":" else name
        path = Path(name)
        # Not Path.is_file, which raises where a pasted text is too long for a path.
        if name and path.suffix.lower() in ENDINGS and os.path.isfile(path):
            found.append(path)
    return found
