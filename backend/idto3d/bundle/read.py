# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle from its folder. What is in the files is checked by the reader that the add-on has, too."""

import io
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from idto3d_shared.bundle_header import SKIN, MaterialHeader
from idto3d_shared.bundle_reader import POSES, PREVIEW, HeadFiles, read_bundle_files, warnings_of
from idto3d_shared.errors import BundleError

from .format import FORMAT_VERSION, Bundle, BundleMaterial, Bytes, PhotoScore, Wrinkles

GLB = "head.glb"


def read_bundle(path: str | Path) -> Bundle:
    """Read and check the bundle in folder `path`, format 2. Raises BundleError."""
    head = read_bundle_files(path, (FORMAT_VERSION,))
    own = next((material.maps for material in head.materials if material.name == SKIN), {})
    info = head.info
    return Bundle(
        vertices=head.vertices,
        faces=head.faces,
        uv=head.uv,
        faces_uv=head.faces_uv,
        material=head.material,
        part=head.part,
        parts=head.parts,
        materials=tuple(_material(head, material) for material in head.materials),
        offsets=head.offsets,
        expressions=head.expressions,
        expression_groups=head.expression_groups,
        seen=head.seen if head.seen is not None else np.ones(len(head.vertices), np.float32),
        preview=_pixels(head, PREVIEW, "RGB"),
        poses=_pixels(head, POSES, "RGB") if POSES in head.images else None,
        seen_map=_pixels(head, own["seen"], "L") if "seen" in own else None,
        expression_albedo={
            kind.removeprefix("albedo_"): _pixels(head, file, "RGB")
            for kind, file in own.items()
            if kind.startswith("albedo_")
        },
        wrinkles=_wrinkles(head, own) if head.fades else None,
        pack=info["pack"],
        seed=info["seed"],
        settings=info["settings"],
        photos=tuple(PhotoScore(p["name"], p["identity_score"], p.get("verdict", {})) for p in info["photos"]),
        timings=info["timings"],
        licence=info["licence"],
        consent=info["consent"],
        generator=info["generator"],
        fit=head.fit,
    )


def _wrinkles(head: HeadFiles, files: Mapping[str, str]) -> Wrinkles:
    maps, masks = ({getattr(fade, what): None for fade in head.fades} for what in ("map", "mask"))
    return Wrinkles(
        {kind: _pixels(head, files[kind], "RGBA") for kind in maps},
        {kind: _pixels(head, files[kind], "RGB") for kind in masks},
        head.fades,
    )


def validate(path: str | Path) -> list[str]:
    """Check the bundle in folder `path`; returns warnings, raises BundleError at the first defect."""
    warnings = warnings_of(read_bundle_files(path, (FORMAT_VERSION,)))
    file = Path(path) / GLB
    if not file.is_file():
        raise BundleError("E_BUNDLE_MISSING", f"{Path(path).name} has no {GLB}.")
    with file.open("rb") as stream:
        start = struct.unpack("<4sII", stream.read(12).ljust(12, b"\0"))
    if start != (b"glTF", 2, file.stat().st_size):
        raise BundleError("E_BUNDLE_MAP", f"{GLB} is cut off or no glTF.")
    return warnings


def _material(head: HeadFiles, given: MaterialHeader) -> BundleMaterial:
    maps = given.maps
    return BundleMaterial(
        given.name,
        _pixels(head, maps["albedo"], "RGB" if given.alpha == "opaque" else "RGBA"),
        given.roughness if given.roughness is not None else _pixels(head, maps["roughness"], "L"),
        given.specular if given.specular is not None else _pixels(head, maps["specular"], "L"),
        _pixels(head, maps["normal"], "RGB") if "normal" in maps else None,
        given.alpha,
    )


def _pixels(head: HeadFiles, file: str, mode: str) -> Bytes:
    with Image.open(io.BytesIO(head.images[file])) as image:
        return np.asarray(image.convert(mode), dtype=np.uint8)
