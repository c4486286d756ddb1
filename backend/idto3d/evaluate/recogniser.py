# SPDX-License-Identifier: GPL-3.0-or-later
"""The second recogniser: dlib's ResNet (CC0, 128 numbers, trained on photographs), which takes no part in making heads.

An optional extra for `evaluate --real`, in no requirements file and never in the product's path.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..arrays import Array
from ..errors import UserError

PACKAGES = ("dlib", "face_recognition_models", "trimesh")
INSTALL = "python -m pip install dlib-bin face-recognition-models trimesh"
THRESHOLD = 0.6
"""Two photographs of one person are nearer than this: the recogniser's own threshold."""
LARGEST = 900  # pixels of a photograph's longer side
JITTERS = 4  # crops whose descriptors are averaged


@dataclass(frozen=True, eq=False)
class Recogniser:
    """dlib's detectors, its 68 landmarks and its descriptor."""

    detect: Any
    detect_harder: Any
    landmarks: Any
    descriptor: Any

    def embed(self, image: NDArray[np.uint8]) -> Array | None:
        """(128,) of the largest face in an image (H,W,3), None where there is none."""
        found = list(self.detect(image, 1)) or [face.rect for face in self.detect_harder(image, 0)]
        if not found:
            return None
        largest = max(found, key=lambda box: box.width() * box.height())
        return np.array(self.descriptor.compute_face_descriptor(image, self.landmarks(image, largest), JITTERS))


def load_recogniser() -> Recogniser:
    """Raises UserError E_EVALUATE_RULER where the optional packages are absent."""
    absent = [name for name in PACKAGES if find_spec(name) is None]
    if absent:
        raise UserError("E_EVALUATE_RULER", f"The second recogniser needs {', '.join(absent)}.", f"Run: {INSTALL}")
    dlib: Any = import_module("dlib")
    package = find_spec("face_recognition_models")
    assert package is not None and package.submodule_search_locations
    models = Path(package.submodule_search_locations[0]) / "models"
    return Recogniser(
        dlib.get_frontal_face_detector(),
        dlib.cnn_face_detection_model_v1(str(models / "mmod_human_face_detector.dat")),
        dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat")),
        dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat")),
    )


def as_shown(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A photograph (H,W,3) as the recogniser is shown it: of moderate size."""
    picture = Image.fromarray(image)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return np.array(picture)
