# SPDX-License-Identifier: GPL-3.0-or-later
"""What photos are called wherever folders are nobody's business."""

import os
from collections.abc import Iterable
from pathlib import Path


def photo_names(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """The files' names; a later one of the same name has a number, as in "IMG_1 (2).jpg". A question mark stands for
    what is no UTF-8, which old archives leave."""
    out: dict[str, None] = {}
    for path in (Path(os.fspath(path).encode("utf-8", "replace").decode()) for path in paths):
        name, number = path.name, 1
        while name in out:
            number += 1
            name = f"{path.stem} ({number}){path.suffix}"
        out[name] = None
    return list(out)
