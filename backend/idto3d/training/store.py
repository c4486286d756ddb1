# SPDX-License-Identifier: GPL-3.0-or-later
"""Caches arrays in a training folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def _read(path: Path) -> Arrays:
    with np.load(path) as arrays:
        return dict(arrays)
