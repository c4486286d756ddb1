# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of truth and head side by side, to be looked at."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from ..bundle import to_uint8
from ..finish import Head
from ..finish.picture import portrait, render_head
from ..fit.overlay import overlay
from ..photos import align
from ..render.lights import FlatLight
from ..render.studio import portrait_light
from ..start import Start
from .truth import Truth

TILE = 320
ANGLES = (0.0, 90.0, 180.0)


def person_sheet(photograph: NDArray[np.uint8], start: Start, truth: Truth, head: Head) -> NDArray[np.uint8]:
    """Two lines: photograph, then truth lit and flat from the front, lit from side and back; fit over the photograph,
    then the head in the same way."""
    fit = start.fitted.fit
    face, photo = start.fitted.faces[0], fit.photos[0]
    over = overlay(start.model, face, photo.camera, fit.posed(start.model, photo))
    over = cv2.resize(over, face.picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    over = cv2.warpAffine(over, align.invert(face.to_picture), photograph.shape[1::-1], flags=cv2.INTER_AREA)
    lines = []
    for picture, shown in ((photograph, truth.head), (over, head)):
        tiles = [cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_AREA), *_tiles(shown, truth.head)]
        lines.append(np.concatenate(tiles, 1))
    return np.concatenate(lines, 0)


def _tiles(head: Head, like: Head) -> list[Array]:
    front = portrait(like, 0.0, TILE)
    lit = [to_uint8(render_head(head, portrait(like, a, TILE), TILE, portrait_light())) for a in ANGLES]
    return [lit[0], to_uint8(render_head(head, front, TILE, FlatLight())), *lit[1:]]
