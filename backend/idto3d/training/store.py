# SPDX-License-Identifier: GPL-3.0-or-later
"""Caches arrays in a training folder, which keeps to the settings that they depend on."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..whole_file import whole

Arrays = dict[str, NDArray[Any]]


def stored(path: Path, make: Callable[[], Arrays]) -> Arrays:
    """The arrays in path (.npz); made and written, whole or not at all, where they are absent."""
    if path.exists():
        return _read(path)
    made: dict[str, Any] = make()
    with whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **made)
    return _read(path)


def keep_to(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Note in a folder what its arrays are made from, settings as the command line calls them; True where that is
    something else than before, and what else is there is not to be used. Raises UserError E_TRAIN_SETTINGS where there
    are arrays that were made from something else: `stored` would take them for the ones that are asked for. What was no
    setting when the folder was begun is not compared."""
    file = folder / "settings.json"
    made = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    # Before the first arrays a mistyped folder may still be put right.
    if made is None or not any(folder.rglob("*.npz")):
        with whole(file) as partial:
            partial.write_text(json.dumps(dict(settings), indent=1) + "\n", encoding="utf-8")
        return made not in (None, dict(settings))
    if other := [f"--{name} {made.get(name)!r}" for name, value in settings.items() if made.get(name, value) != value]:
        message = f"{folder} holds what was made with {' '.join(other)}."
        raise UserError("E_TRAIN_SETTINGS", message, "Train with the same again, or name another folder by --work.")
    return False


def _read(path: Path) -> Arrays:
    with np.load(path) as arrays:
        return dict(arrays)
