# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos: load, orient, find the face, align; or refuse with a reason that has a stable code."""

from idto3d.photos.align import arcface_crop, crop_transform, head_crop
from idto3d.photos.detect import Detector, load_detector
from idto3d.photos.faces import Face, find_face, read_faces
from idto3d.photos.load import Notice, Photo, read_photo

__all__ = [
    "Detector",
    "Face",
    "Notice",
    "Photo",
    "arcface_crop",
    "crop_transform",
    "find_face",
    "head_crop",
    "load_detector",
    "read_faces",
    "read_photo",
]
