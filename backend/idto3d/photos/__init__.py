# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos: load, find the face and what it does, cut out the head; or refuse with a reason that has a stable code."""

from .faces import Face, find_face, five_points, read_faces
from .load import Photo, read_photo
from .nets import FaceNets, load_face_nets

__all__ = [
    "Face",
    "FaceNets",
    "Photo",
    "find_face",
    "five_points",
    "load_face_nets",
    "read_faces",
    "read_photo",
]
