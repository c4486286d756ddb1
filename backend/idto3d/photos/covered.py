# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether something lies over the mouth, such as a mask: landmark nets find lips there all the same.

Under any one light lips are redder than cheeks, and what is around them is as red, or a beard. Where none of it has
skin's red, and lips are like what is around them, it is something else.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ..arrays import Array

# MediaPipe's numbers
_FOREHEAD, _CHEEKS = (9, 151, 108, 337), (117, 118, 119, 346, 347, 348)  # the latter below the eyes
_LIPS, _OVER, _UNDER = (37, 267, 0, 17, 84, 314), (164, 167, 393, 165, 391), (152, 175, 199, 200, 208, 428)
# Quantile of the picture's light that is taken for white: both a* and L* are less in an underexposed one.
_WHITE = 0.99
# Of CIE a*, less than forehead and cheeks have. On 40 photographs, some of one person, the redder of lips and what is
# around them had 3.5 less at most, on 22 rendered ones 4.6; medical masks on two had 6.9 and 8.6 less.
_LESS_RED = 5.5
# Of a*, by which lips are at least redder than what is around them.
_LIPS_REDDER = 2.0
# Of the ratio of a* to L*, which dark things keep: black beards around dark lips have little a*, and half of the skin's
# ratio (.57 on two renders), those masks .09 and .35.
_LESS_TINTED = 0.45
_PATCH = 200  # patches in the picture's side


def mouth_is_covered(picture: NDArray[np.uint8], landmarks: Array) -> bool:
    """Of a coloured picture (S,S,3) sRGB of a head, and landmarks (478,2) in its pixels."""
    # A gain of the light is one of sRGB's values, too, as they are nearly a power of it.
    white = np.float32(max(np.quantile(picture.max(2), _WHITE), 1.0))
    exposed = np.minimum(picture / white, np.float32(1.0))
    light, red, _ = cv2.split(cv2.cvtColor(exposed, cv2.COLOR_RGB2LAB))
    half = max(len(picture) // _PATCH, 1)

    def usual(values: Array, marks: tuple[int, ...]) -> float:
        places = np.clip(np.rint(landmarks[list(marks)]).astype(int), half, len(values) - half - 1)
        patches = [values[y - half : y + half + 1, x - half : x + half + 1] for x, y in places]
        return float(np.median([np.median(patch) for patch in patches]))

    def skin_lips_around(values: Array) -> tuple[float, float, float]:
        # A fringe covers the forehead, a mask may cover the cheeks.
        skin = max(usual(values, _FOREHEAD), usual(values, _CHEEKS))
        return skin, usual(values, _LIPS), max(usual(values, _OVER), usual(values, _UNDER))

    skin, lips, around = skin_lips_around(red)
    tinted, *mouth = skin_lips_around(red / np.maximum(light, 1.0))
    less_red = max(lips, around) < skin - _LESS_RED and max(mouth) < _LESS_TINTED * tinted
    return less_red and lips < around + _LIPS_REDDER
