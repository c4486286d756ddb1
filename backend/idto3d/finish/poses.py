# SPDX-License-Identifier: GPL-3.0-or-later
"""A small picture of each of a head's own expressions, to choose from in the add-on."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..bundle import to_uint8
from ..render.studio import portrait_light
from .head import Head
from .keys import group_of
from .picture import portrait, render_head

SIZE = 128
SHOWN = 3.0  # height of a picture, in distances from the eyes to the teeth; its middle is a third of the way down
EYES, TEETH = "sclera", "teeth"


def pose_pictures(head: Head) -> NDArray[np.uint8] | None:
    """(SIZE, E SIZE, 3) the face with each expression of the head's own, side by side in their order; None without
    any."""
    own = [n for n, name in enumerate(head.names) if group_of(name) == "expression"]
    if not own:
        return None
    camera = portrait(head, 0.0, SIZE)
    eyes, teeth = (head.points_of(name) for name in (EYES, TEETH))
    if len(eyes) and len(teeth):
        eyes, teeth = eyes.mean(0), teeth.mean(0)
        centre = (2 * eyes + teeth) / 3 * [0, 1, 1]
        camera = replace(camera, centre=centre, scale=SIZE / (SHOWN * float(eyes[1] - teeth[1])))
    light = portrait_light()
    tiles = [render_head(head, camera, SIZE, light, vertices=head.vertices + head.offsets[n]) for n in own]
    return to_uint8(np.concatenate(tiles, 1))
