# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a head is made of: written, read, checked. docs/architecture.md, contract 2."""

from idto3d_shared.bundle_header import SKIN, Fade

from .format import Bundle, BundleMaterial, PhotoScore, Wrinkles, to_blender_frame, to_head_frame, to_uint8
from .read import read_bundle, validate
from .write import write_bundle

__all__ = [
    "SKIN",
    "Bundle",
    "BundleMaterial",
    "Fade",
    "PhotoScore",
    "Wrinkles",
    "read_bundle",
    "to_blender_frame",
    "to_head_frame",
    "to_uint8",
    "validate",
    "write_bundle",
]
