# SPDX-License-Identifier: GPL-3.0-or-later
"""A finished head, as its bundle holds it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idto3d_shared.bundle_header import Alpha, Fade
from idto3d_shared.fit_file import FitFile

from .. import __version__

FORMAT_VERSION = 2
COMPRESSION = 1
"""zlib's: higher levels take ten times as long for a twentieth of the size."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class BundleMaterial:
    """albedo (S,S,3) or, where alpha is not "opaque", (S,S,4) uint8 sRGB; roughness and specular one value 0..1 or
    (S,S) uint8 linear, specular in Principled BSDF's scale (0.5 is F0 = 0.04); normal (S,S,3) uint8 in tangent space,
    +Y up (OpenGL's), or None; alpha: "opaque", "clip" (there or not, at 0.5) or "blend". S is a power of two and may
    differ from map to map; row 0 is v = 1.
    """

    name: str
    albedo: Bytes
    roughness: float | Bytes
    specular: float | Bytes
    normal: Bytes | None = None
    alpha: Alpha = "opaque"


@dataclass(frozen=True, eq=False)
class Wrinkles:
    """Lines of the skin that expressions show. maps: kind to (S,S,4) uint8: normals in tangent space, +Y up, and 255
    less how deep in a crease a place lies; masks: kind to (M,M,3) uint8; fades: what shows how much of which."""

    maps: Mapping[str, Bytes]
    masks: Mapping[str, Bytes]
    fades: tuple[Fade, ...]


@dataclass(frozen=True)
class PhotoScore:
    """One input photo: file name without folder, the cosine of its identity to the others' mean (or None), and what the
    fit says of it (anything JSON can hold)."""

    name: str
    identity_score: float | None = None
    verdict: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Bundle:
    """A head in Blender's frame: metres, Z up, facing -Y, neutral pose.

    vertices (V,3) float32; faces (F,4) int32, outward, -1 last in a triangle; uv (T,2) float32, v up, 0..1 in its
    material's maps; faces_uv (F,4) int32, -1 where faces has it; material and part (F,) int32 into materials and parts;
    offsets (E,V,3) float32, added to vertices for each name in expressions (without neutral, which is zero);
    expression_groups (E,) each of `idto3d_shared.bundle_header.GROUPS`; seen (V,) float32 0..1; seen_map
    (S,S) uint8 of the material "skin", or None; expression_albedo: an expression's name to its own (S,S,3) uint8 albedo
    of "skin"; wrinkles of "skin", or None; preview (H,W,3) uint8 sRGB; poses (S,N S,3) uint8: a picture of each of the
    N expressions of the group "expression", or None; timings in seconds; fit: of the photos, or None.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    uv: NDArray[np.float32]
    faces_uv: NDArray[np.int32]
    material: NDArray[np.int32]
    part: NDArray[np.int32]
    parts: tuple[str, ...]
    materials: tuple[BundleMaterial, ...]
    offsets: NDArray[np.float32]
    expressions: tuple[str, ...]
    expression_groups: tuple[str, ...]
    seen: NDArray[np.float32]
    preview: Bytes
    poses: Bytes | None = None
    seen_map: Bytes | None = None
    expression_albedo: Mapping[str, Bytes] = field(default_factory=dict)
    wrinkles: Wrinkles | None = None
    pack: str = ""
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    photos: tuple[PhotoScore, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    licence: str = ""
    consent: str = ""
    generator: str = f"idto3d {__version__}"
    fit: FitFile | None = None


def to_uint8(image: NDArray[np.floating]) -> Bytes:
    """Float image in 0..1 to the 8 bits that a bundle's PNG holds, rounded to nearest."""
    levels = np.clip(image, 0.0, 1.0)
    levels *= 255.0
    return np.round(levels, out=levels).astype(np.uint8)


def to_blender_frame(points: NDArray[Any]) -> NDArray[np.float32]:
    """(..., 3) points or offsets from the head frame (Y up, facing +Z) to the bundle's (Z up, facing -Y)."""
    out = np.empty(points.shape, np.float32)
    out[..., 0], out[..., 1], out[..., 2] = points[..., 0], -points[..., 2], points[..., 1]
    return out


def to_head_frame(points: NDArray[Any]) -> NDArray[np.float32]:
    """(..., 3) points or offsets from the bundle's frame back to the head's, which is glTF's, too."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1).astype(np.float32)
