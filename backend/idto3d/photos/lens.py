# SPDX-License-Identifier: GPL-3.0-or-later
"""The focal length that a camera noted in its photo (EXIF 2.32, CIPA DC-008)."""

import math
import struct

from PIL import Image

_EXIF_IFD, _WIDTH, _HEIGHT, _FOCAL_35MM = 0x8769, 0xA002, 0xA003, 0xA405
_FILM = math.hypot(36.0, 24.0)  # millimetres: the diagonal that equivalent focal lengths are of (CIPA DCG-001)
_EQUIVALENTS = 9.0, 1300.0  # millimetres: no lens is shorter or longer, but numbers in files are
# What cameras take, longer over shorter side, and by how much of itself a resized picture's may be off. Others are
# crops, whose focal length is another.
_SHAPES, _OFF = (4 / 3, 3 / 2, 16 / 9), 0.01


def focal_length(image: Image.Image) -> float | None:
    """In pixels of an opened image; None where it is not noted, or the image does not look like the whole photo."""
    try:
        noted = image.getexif().get_ifd(_EXIF_IFD)
        equivalent = float(noted.get(_FOCAL_35MM, 0))
        shape = _shape(float(noted.get(_WIDTH, image.width)), float(noted.get(_HEIGHT, image.height)))
    except (ArithmeticError, LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error):  # damaged EXIF
        return None
    own = _shape(image.width, image.height)
    whole = abs(own / shape - 1) < _OFF and any(abs(own / known - 1) < _OFF for known in _SHAPES)
    if not whole or not _EQUIVALENTS[0] <= equivalent <= _EQUIVALENTS[1]:
        return None
    return equivalent / _FILM * math.hypot(image.width, image.height)


def _shape(width: float, height: float) -> float:
    """Of a picture that may have been turned."""
    return max(width, height) / min(width, height)
