# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a head has its origin: at the neck's base, so that it can be stood on a ground or put on a body. No bpy.

A bundle's own origin lies in the head's middle. What is moved by is kept on the mesh, for whoever speaks of places in
the bundle's frame: previews, cameras of photos.
"""

import numpy as np
from numpy.typing import NDArray

SKIN_PARTS = ("face", "back_head")
ORIGIN = "idto3d_origin"
"""Property of a mesh: its origin in the bundle's frame, three metres. A mesh without it is in the bundle's frame."""
_SLICE = 0.01
# The neck ends where it is so much wider than at its narrowest: there the shoulders begin.
_WIDER = 1.35


def vertices_of(faces: NDArray[np.int32], part: NDArray[np.int32], parts: tuple[str, ...], *wanted: str) -> NDArray:
    """Numbers of the vertices of the named parts. faces (F,4), -1 last in a triangle; part (F,) into ``parts``."""
    used = faces[np.isin(part, [number for number, name in enumerate(parts) if name in wanted])]
    return np.unique(used[used >= 0])


def neck_base(skin: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3,) metres: the middle of the neck's section where the shoulders begin, or of the lowest one where there are
    none. skin (V,3): a head in the bundle's frame, without hair."""
    low, high = float(skin[:, 2].min()), float(skin[:, 2].max())
    count = max(1, int((high - low) / 2 / _SLICE))
    index = ((skin[:, 2] - low) / _SLICE).astype(int)
    sections = [skin[index == number] for number in range(count)]
    widths = np.array([np.ptp(section[:, 0]) if len(section) else np.inf for section in sections])
    narrowest = int(np.argmin(widths))
    base = narrowest
    while base > 0 and widths[base - 1] <= _WIDER * widths[narrowest]:
        base -= 1
    section = sections[base]
    middle = (section[:, :2].min(axis=0) + section[:, :2].max(axis=0)) / 2
    return np.array([*middle, low + base * _SLICE], dtype=np.float32)
