# SPDX-License-Identifier: GPL-3.0-or-later
"""A small picture of each of a head's own expressions, for who chooses among them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import to_uint8
from ..render.studio import portrait_light
from .head import Head
from .keys import group_of
from .picture import portrait, render_head

Array = NDArray[Any]

SIZE = 128
SHOWN = 3.0  # times from the eyes to the teeth that a picture shows, its middle a third of the way down from the eyes
EYES, TEETH = "sclera", "teeth"


def pose_pictures(head: Head, size: int = SIZE) -> NDArray[np.uint8] | None:
    """(size, E size, 3) the face with each expression of the head's own, side by side in their order; None without
    any."""
    own = [n for n, name in enumerate(head.names) if group_of(name) == "expression"]
    if not own:
        return None
    camera = portrait(head, 0.0, size)
    eyes, teeth = (_middle(head, name) for name in (EYES, TEETH))
    if eyes is not None and teeth is not None:
        centre = (2 * eyes + teeth) / 3 * [0, 1, 1]
        camera = replace(camera, centre=centre, scale=size / (SHOWN * float(eyes[1] - teeth[1])))
    light = portrait_light()
    tiles = [render_head(head, camera, size, light, vertices=head.vertices + head.offsets[n]) for n in own]
    return to_uint8(np.concatenate(tiles, 1))


def _middle(head: Head, part: str) -> Array | None:
    """(3,) the middle of a part, None where the head has none."""
    if part not in head.parts:
        return None
    corners = head.quads[head.part == head.parts.index(part)]
    if not len(corners):
        return None
    return head.vertices[np.unique(corners[corners >= 0])].mean(0)
