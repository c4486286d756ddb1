# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests read once: the starter pack's nets, and the public-domain astronaut that scikit-image carries."""

from functools import cache
from pathlib import Path

import numpy as np
from skimage import data

from idto3d.photos import FaceNets, load_face_nets

PACK = Path(__file__).parents[1] / "backend" / "packs" / "starter"


@cache
def nets() -> FaceNets:
    return load_face_nets(PACK / "photos")


@cache
def astronaut() -> np.ndarray:
    """(512,512,3) uint8."""
    image: np.ndarray = data.astronaut()
    image.flags.writeable = False
    return image
