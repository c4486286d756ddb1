# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether something lies over the mouth, such as a mask, or over the eyes, such as sunglasses: landmark nets find lips
and lids there all the same, if less surely.

Mouths and eyes have light and dark, whatever the light. Where there is little of both, it is something else if it has
not skin's colours, either: under any one light lips are redder than cheeks, and what is around them is as red, or a
beard.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from .align import LIDS
from .landmarks import LIPS

# MediaPipe's numbers
_FOREHEAD, _CHEEKS = (9, 151, 108, 337), (117, 118, 119, 346, 347, 348)  # the latter below the eyes
_LOW_CHEEKS = (205, 425, 50, 280)
# Over and under each eye.
_AROUND_EYES = (
    (27, 28, 29, 30, 56),
    (257, 258, 259, 260, 286),
    (230, 229, 231, 24, 23, 22),
    (450, 449, 451, 254, 253, 252),
)
_MIDDLES, _OVER, _UNDER = (37, 267, 0, 17, 84, 314), (164, 167, 393, 165, 391), (152, 175, 199, 200, 208, 428)
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
# From dark to light, as a share of the skin's L*: of mouths, .32 at least on 82 photographs, .24 on 90 rendered ones,
# .11 at most on three of medical masks, which have folds. Without it two of the rendered ones, dark men with beards,
# were taken for masks. Between lids, .21 (.32 where they are sharp) and .48; under painted sunglasses .14 at most.
_FLAT_MOUTH, _FLAT_EYE = 0.3, 0.17
# A net that cannot see a mouth guesses it, and on another crop something else: spread of the lips' landmarks, over the
# face's height, by the mouth's contrast, and the contrast of mouths that are seen badly for other reasons. None of 63
# photographs and 125 rendered ones of uncovered faces, beards and hard turns among them, had that much; three of
# medical masks had .009 or more at a contrast of .12 or less; of 125 masks painted on the former, of eight colours, 102
# had. By light and colours alone 36 of these were seen, by both 105.
_GUESSED, _UNEVEN_MOUTH = (0.0055, 0.008), 0.5
# Flat eyes are lenses if the lightest around them has less of the skin's L*, or the reddest so much less of a*: so it
# was of 13 of 14 painted ones, black, brown and blue, and not of brown ones on very dark skin. On those photographs the
# lightest has .71 at least, and on 10 of the 84 the reddest has more than 4 less.
_DIM, _LENS_LESS_RED = 0.55, 4.0
# Lenses that are darker still may mirror a lamp, which is less light over the skin's than the white of an eye in dark
# skin: so it was of 53 of 66 painted ones. On 66 photographs the lightest has .67 at least, on 35 rendered ones .5
# where eyes have less contrast.
_DARK, _GLINT = 0.35, 1.6
_PATCH = 200  # patches in the picture's side
_SPARSE = 4  # every so many pixels tell what is white


@dataclass(frozen=True, eq=False)
class _Look:
    """Of a picture of a head that is exposed as if something in it were white: light, red (S,S) its L* and a*;
    landmarks (478,2)."""

    light: Array
    red: Array
    landmarks: Array

    def usual(self, values: Array, marks: Sequence[int]) -> float:
        """What an image (S,S) usually is at some of the landmarks."""
        half = max(len(values) // _PATCH, 1)
        places = np.clip(np.rint(self.landmarks[list(marks)]).astype(int), half, len(values) - half - 1)
        patches = [values[y - half : y + half + 1, x - half : x + half + 1] for x, y in places]
        return float(np.median([np.median(patch) for patch in patches]))

    def usual_skin(self) -> float:
        """Its L* where neither a fringe, which covers the forehead, nor a mask, which may cover the cheeks, is."""
        return max(self.usual(self.light, _FOREHEAD), self.usual(self.light, _CHEEKS), 1.0)

    def contrast(self, rim: Sequence[int]) -> float:
        """Of L*, from dark to light within the hull of some of the landmarks."""
        hull = cv2.convexHull(np.rint(self.landmarks[list(rim)]).astype(np.int32))
        inside = self.light[cv2.fillConvexPoly(np.zeros(self.light.shape, np.uint8), hull, 1) > 0]
        return float(np.subtract(*np.percentile(inside, (95, 5)))) if len(inside) else np.inf


def exposed(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(S,S,3) 0..1: a picture (S,S,3) sRGB from its black, which haze lifts, to its white. A gain of the light is one
    of sRGB's values, too, as they are nearly a power of it."""
    black, white = np.quantile(picture[::_SPARSE, ::_SPARSE].max(2), (1 - _WHITE, _WHITE))
    stretched = (picture.astype(np.float32) - np.float32(black)) / np.float32(max(white - black, 1.0))
    return np.clip(stretched, 0, 1)


def what_is_covered(picture: NDArray[np.uint8], landmarks: Array, lips_spread: float, grey: bool = False) -> str:
    """Returns "eyes", "mouth" or "". Of a picture (S,S,3) sRGB of a head, and landmarks (478,2) in its pixels;
    lips_spread: as `Landmarks.of_lips`; grey: it has no colours, which tell of mouths."""
    light, red, _ = cv2.split(cv2.cvtColor(exposed(picture), cv2.COLOR_RGB2LAB))
    look = _Look(light, red, landmarks)
    if _eyes_are_covered(look):
        return "eyes"
    contrast = look.contrast(LIPS) / look.usual_skin()
    guessed = contrast < _UNEVEN_MOUTH and lips_spread > _GUESSED[0] + _GUESSED[1] * contrast
    return "mouth" if guessed or (not grey and _mouth_is_covered(look)) else ""


def _eyes_are_covered(look: _Look) -> bool:
    skin = max(look.usual(look.light, _FOREHEAD), look.usual(look.light, _LOW_CHEEKS))
    tint = max(look.usual(look.red, _FOREHEAD), look.usual(look.red, _LOW_CHEEKS))
    lightest, reddest = (max(look.usual(values, marks) for marks in _AROUND_EYES) for values in (look.light, look.red))
    contrast = max(look.contrast(lids) for lids in LIDS)
    if contrast > _FLAT_EYE * skin:
        return lightest < _DARK * skin and contrast < _GLINT * skin
    return lightest < _DIM * skin or reddest < tint - _LENS_LESS_RED


def _mouth_is_covered(look: _Look) -> bool:
    def skin_lips_around(values: Array) -> tuple[float, float, float]:
        # A fringe covers the forehead, a mask may cover the cheeks.
        skin = max(look.usual(values, _FOREHEAD), look.usual(values, _CHEEKS))
        return skin, look.usual(values, _MIDDLES), max(look.usual(values, _OVER), look.usual(values, _UNDER))

    if look.contrast(LIPS) > _FLAT_MOUTH * look.usual_skin():
        return False
    skin, lips, around = skin_lips_around(look.red)
    tinted, *mouth = skin_lips_around(look.red / np.maximum(look.light, 1.0))
    less_red = max(lips, around) < skin - _LESS_RED and max(mouth) < _LESS_TINTED * tinted
    return less_red and lips < around + _LIPS_REDDER
