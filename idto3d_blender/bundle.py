# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and check a head bundle with numpy and the standard library alone (no bpy).

The generator has its own reader in backend/idto3d/bundle.py, which describes the format; the extension must be
self-contained, so this is a second one. tests/test_bundle.py holds both to the same refusals.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT_VERSION = 1
UNITS = "metres"
BASE_MAPS = ("albedo", "roughness", "specular")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_RESERVED = ("neutral", "basis")
_EXTENT = (0.05, 3.0)
_ARRAYS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "vertices": ("float32", ("V", 3)),
    "faces": ("int32", ("F", 3)),
    "uv": ("float32", ("T", 2)),
    "faces_uv": ("int32", ("F", 3)),
    "offsets": ("float32", ("E", "V", 3)),
}
_AGAIN = "Generate the head again, or copy the whole folder again."


class BundleError(Exception):
    """A bundle that cannot be imported: a stable code, what is wrong, what to do."""

    def __init__(self, code: str, message: str, fix: str = _AGAIN) -> None:
        super().__init__(f"{code}: {message} {fix}")
        self.code = code
        self.message = message
        self.fix = fix


@dataclass(frozen=True)
class Head:
    """What Blender needs of a bundle.

    vertices (V,3) float32 metres, Z up, facing -Y; faces, faces_uv (F,3) int32; uv (T,2) float32, v up;
    offsets (E,V,3) float32, one for each of ``expressions``; maps: albedo, roughness, specular to their files;
    expression_albedo: an expression's name to its own albedo file; info: head.json.
    """

    name: str
    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    uv: NDArray[np.float32]
    faces_uv: NDArray[np.int32]
    offsets: NDArray[np.float32]
    expressions: tuple[str, ...]
    maps: Mapping[str, Path]
    expression_albedo: Mapping[str, Path]
    info: Mapping[str, Any]


def bundle_folder(chosen: str | Path) -> Path:
    """The bundle that a person means who picked a folder, or the head.json in it."""
    path = Path(chosen)
    return path.parent if path.name == "head.json" else path


def read(folder: str | Path) -> Head:
    """Read and check the bundle in ``folder``. Raises BundleError E_BUNDLE_*."""
    path = Path(folder)
    if not path.is_dir():
        raise BundleError("E_BUNDLE_MISSING", f"{path.name} is not a folder.", "Choose a folder that holds head.json.")
    for required in ("head.json", "head.npz", *(f"{name}.png" for name in BASE_MAPS), "preview.png"):
        if not (path / required).is_file():
            raise BundleError("E_BUNDLE_MISSING", f"{path.name} has no {required}.")
    info = _header(path / "head.json")
    arrays = _arrays(path / "head.npz")
    expressions = tuple(info["expressions"])
    if len(expressions) != len(arrays["offsets"]):
        raise BundleError(
            "E_BUNDLE_EXPRESSIONS",
            f"head.json names {len(expressions)} expressions, head.npz has {len(arrays['offsets'])} offsets.",
        )
    maps = {name: path / f"{name}.png" for name in BASE_MAPS}
    own = {file.stem.removeprefix("albedo_"): file for file in sorted(path.glob("albedo_*.png"))}
    for name in own.keys() - set(expressions):
        raise BundleError("E_BUNDLE_EXPRESSIONS", f"albedo_{name}.png belongs to no expression.")
    for file in (*maps.values(), *own.values()):
        _check_map(file)
    return Head(path.resolve().name, **arrays, expressions=expressions, maps=maps, expression_albedo=own, info=info)


def _header(file: Path) -> dict[str, Any]:
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise BundleError("E_BUNDLE_JSON", f"head.json cannot be read: {error}.") from error
    if not isinstance(info, dict):
        raise BundleError("E_BUNDLE_JSON", "head.json is not an object.")
    version = info.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise BundleError(
            "E_BUNDLE_VERSION",
            f"This head has format version {version!r}, this extension reads {FORMAT_VERSION}.",
            "Update the extension and the generator to the same release.",
        )
    if info.get("units") != UNITS:
        raise BundleError("E_BUNDLE_UNITS", f"The units are {info.get('units')!r}, not {UNITS!r}.")
    names = info.get("expressions")
    if not isinstance(names, list):
        raise BundleError("E_BUNDLE_JSON", "head.json has no list of expressions.")
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() in _RESERVED:
            raise BundleError("E_BUNDLE_EXPRESSIONS", f"{name!r} cannot be an expression's name.")
    if len({name.lower() for name in names}) != len(names):
        raise BundleError("E_BUNDLE_EXPRESSIONS", "An expression is there twice.")
    return info


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in _ARRAYS if name in stored.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise BundleError("E_BUNDLE_ARRAYS", f"head.npz cannot be read: {error}.") from error
    sizes: dict[str, int] = {}
    for name, (dtype, shape) in _ARRAYS.items():
        array = arrays.get(name)
        if array is None:
            raise BundleError("E_BUNDLE_ARRAYS", f"head.npz has no {name}.")
        if array.ndim != len(shape) or array.dtype != dtype:
            raise BundleError("E_BUNDLE_ARRAYS", f"{name} is {array.shape} {array.dtype}, not {shape} {dtype}.")
        for wanted, size in zip(shape, array.shape, strict=True):
            if size != (sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted):
                raise BundleError("E_BUNDLE_ARRAYS", f"{name} has the shape {array.shape}, not {shape} with {sizes}.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BundleError("E_BUNDLE_NAN", f"{name} holds values that are not finite.")
    if 0 in (sizes["V"], sizes["F"], sizes["T"]):
        raise BundleError("E_BUNDLE_ARRAYS", "The mesh is empty.")
    for name, target in (("faces", "vertices"), ("faces_uv", "uv")):
        if arrays[name].min() < 0 or arrays[name].max() >= len(arrays[target]):
            raise BundleError("E_BUNDLE_INDEX", f"{name} points outside {target}.")
    a, b, c = arrays["faces"].T
    if ((a == b) | (b == c) | (c == a)).any():
        raise BundleError("E_BUNDLE_INDEX", "A face uses one vertex twice.")
    if arrays["uv"].min() < -1e-4 or arrays["uv"].max() > 1 + 1e-4:
        raise BundleError("E_BUNDLE_INDEX", "uv leaves the unit square.")
    extent = float(np.ptp(arrays["vertices"], axis=0).max())
    if not _EXTENT[0] <= extent <= _EXTENT[1]:
        raise BundleError("E_BUNDLE_UNITS", f"The head is {extent:.3g} m large: the unit is not the metre.")
    return arrays


def _check_map(file: Path) -> None:
    """A whole 8-bit PNG (chunk checksums, end chunk), square, with a power of two as its side."""
    data = file.read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        raise BundleError("E_BUNDLE_MAP", f"{file.name} is not a PNG image.")
    width, height, depth = struct.unpack_from(">IIB", data.ljust(25, b"\0"), 16)
    if depth != 8 or width != height or width == 0 or width & (width - 1):
        raise BundleError("E_BUNDLE_MAP", f"{file.name} is {width} x {height}, not square with a power of two.")
    position, kind = 8, b""
    try:
        while kind != b"IEND":
            length, kind = struct.unpack_from(">I4s", data, position)
            (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
            if zlib.crc32(data[position + 4 : position + 8 + length]) != checksum:
                raise BundleError("E_BUNDLE_MAP", f"{file.name} is damaged.")
            position += 12 + length
    except struct.error as error:
        raise BundleError("E_BUNDLE_MAP", f"{file.name} is cut off.") from error
