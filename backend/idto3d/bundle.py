# SPDX-License-Identifier: GPL-3.0-or-later
"""The files a head is made of: write, read, validate.

A bundle is a folder: ``head.json``, ``head.npz``, ``albedo.png``, ``roughness.png``, ``specular.png``, optionally
``albedo_<expression>.png``, and ``preview.png``. The Blender side has its own reader of the same format
(it may not import this package); tests/test_bundle.py holds the two to the same refusals.

Refusals (``UserError.code``): E_BUNDLE_MISSING a file is not there; E_BUNDLE_JSON head.json cannot be read or lacks a
field; E_BUNDLE_VERSION another format version; E_BUNDLE_UNITS not a head in metres; E_BUNDLE_EXPRESSIONS names and
offsets disagree; E_BUNDLE_ARRAYS a missing array, wrong shape or dtype; E_BUNDLE_NAN a value that is not finite;
E_BUNDLE_INDEX an index out of range or a degenerate face; E_BUNDLE_MAP an unusable image; E_BUNDLE_WRITE cannot write.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import uuid
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import __version__
from .errors import UserError
from .replace_folder import publish, recover

FORMAT_VERSION = 1
UNITS = "metres"
BASE_MAPS = ("albedo.png", "roughness.png", "specular.png")
_REQUIRED = ("head.json", "head.npz", *BASE_MAPS, "preview.png")
# Expression names become file names and shape-key names: ASCII, at most Blender 4's 63 bytes.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
# The neutral pose is the Basis, never a key of its own.
_RESERVED = ("neutral", "basis")
_EXTENT = (0.05, 3.0)
_ARRAYS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "vertices": ("float32", ("V", 3)),
    "faces": ("int32", ("F", 3)),
    "uv": ("float32", ("T", 2)),
    "faces_uv": ("int32", ("F", 3)),
    "offsets": ("float32", ("E", "V", 3)),
}
_JSON_TYPES: dict[str, type] = {
    "generator": str,
    "expressions": list,
    "pack": str,
    "seed": int,
    "settings": dict,
    "photos": list,
    "timings": dict,
    "licence": str,
    "consent": str,
}
_AGAIN = "Generate the head again, or copy the whole folder again."


@dataclass(frozen=True)
class PhotoScore:
    """One input photo: file name without folder, and the cosine of its identity to the pooled one (or None)."""

    name: str
    identity_score: float | None = None


@dataclass(frozen=True)
class Bundle:
    """A finished head in Blender's frame: metres, Z up, facing -Y, neutral pose.

    vertices (V,3) float32; faces (F,3) int32, outward; uv (T,2) float32, v up, so that v = 1 is image row 0;
    faces_uv (F,3) int32; offsets (E,V,3) float32, added to ``vertices`` for each name in ``expressions`` (E; without
    neutral, which is zero); albedo (S,S,3) uint8 sRGB; roughness (S,S) and specular (S,S) uint8 linear, specular in
    Principled BSDF's scale (0.5 is F0 = 0.04); preview (H,W,3) uint8 sRGB; expression_albedo name -> (S,S,3) uint8.
    S is a power of two and may differ from map to map.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    uv: NDArray[np.float32]
    faces_uv: NDArray[np.int32]
    offsets: NDArray[np.float32]
    expressions: tuple[str, ...]
    albedo: NDArray[np.uint8]
    roughness: NDArray[np.uint8]
    specular: NDArray[np.uint8]
    preview: NDArray[np.uint8]
    expression_albedo: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    pack: str = ""
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    photos: tuple[PhotoScore, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    licence: str = ""
    consent: str = ""
    generator: str = f"idto3d {__version__}"


def to_uint8(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Float image in 0..1 to the 8 bits that a bundle's PNG holds, rounded to nearest."""
    return np.round(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


def to_blender_frame(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., 3) points or offsets from the head frame (Y up, facing +Z) to the bundle's (Z up, facing -Y)."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1).astype(np.float32)


def write_bundle(bundle: Bundle, path: str | Path) -> Path:
    """Write ``bundle`` as the folder ``path``, whole or not at all.

    The files go into a temporary folder beside ``path``, are validated there and renamed into place. An existing bundle
    is replaced only then, and files in it that are not a bundle's (a saved .blend) are kept.
    Raises UserError E_BUNDLE_*; ``path`` is then as it was before.
    """
    path = Path(path).resolve()
    if path.exists() and not (path.is_dir() and ((path / "head.json").is_file() or not any(path.iterdir()))):
        raise UserError(
            "E_BUNDLE_WRITE", f"{path.name} exists and is not a head bundle.", "Choose another place for the head."
        )
    token = uuid.uuid4().hex[:8]
    temporary = path.with_name(f".{path.name}.tmp-{token}")
    try:
        recover(path, _is_ours)
        temporary.mkdir(parents=True)
        _write_files(bundle, temporary)
        validate(temporary)
        publish(temporary, path, token, _is_ours)
    except OSError as error:
        raise UserError(
            "E_BUNDLE_WRITE",
            f"The head could not be saved to {path.name}: {error.strerror or error}.",
            "Check the free space and the permissions of the folder.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def read_bundle(path: str | Path) -> Bundle:
    """Validate and read the bundle in folder ``path``. Raises UserError E_BUNDLE_*."""
    path = Path(path)
    header, arrays = _check(path)
    own_albedo = {name: path / f"albedo_{name}.png" for name in header["expressions"]}
    return Bundle(
        **arrays,
        expressions=tuple(header["expressions"]),
        albedo=_read_png(path / "albedo.png", "RGB"),
        roughness=_read_png(path / "roughness.png", "L"),
        specular=_read_png(path / "specular.png", "L"),
        preview=_read_png(path / "preview.png", "RGB"),
        expression_albedo={name: _read_png(file, "RGB") for name, file in own_albedo.items() if file.is_file()},
        pack=header["pack"],
        seed=header["seed"],
        settings=header["settings"],
        photos=tuple(PhotoScore(photo["name"], photo["identity_score"]) for photo in header["photos"]),
        timings=header["timings"],
        licence=header["licence"],
        consent=header["consent"],
        generator=header["generator"],
    )


def validate(path: str | Path) -> list[str]:
    """Check the bundle in folder ``path``; returns warnings, raises UserError E_BUNDLE_* at the first defect."""
    header, arrays = _check(Path(path))
    warnings = [
        f"Expression {name} does not move any vertex."
        for name, offset in zip(header["expressions"], arrays["offsets"], strict=True)
        if not offset.any()
    ]
    unused = len(arrays["vertices"]) - len(np.unique(arrays["faces"]))
    return warnings + ([f"{unused} vertices belong to no face."] if unused else [])


def _write_files(bundle: Bundle, folder: Path) -> None:
    header = {
        "format_version": FORMAT_VERSION,
        "generator": bundle.generator,
        "units": UNITS,
        "expressions": list(bundle.expressions),
        "pack": bundle.pack,
        "seed": bundle.seed,
        "settings": dict(bundle.settings),
        # Folders on a person's disk are nobody else's business.
        "photos": [{"name": Path(p.name).name, "identity_score": p.identity_score} for p in bundle.photos],
        "timings": dict(bundle.timings),
        "licence": bundle.licence,
        "consent": bundle.consent,
    }
    try:
        text = json.dumps(header, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError("E_BUNDLE_JSON", f"head.json cannot hold this: {error}.") from error
    (folder / "head.json").write_text(text + "\n", encoding="utf-8")
    np.savez_compressed(
        folder / "head.npz",
        vertices=bundle.vertices,
        faces=bundle.faces,
        uv=bundle.uv,
        faces_uv=bundle.faces_uv,
        offsets=bundle.offsets,
    )
    for name in bundle.expression_albedo:
        if name not in bundle.expressions:
            raise UserError("E_BUNDLE_EXPRESSIONS", f"There is an albedo for {name!r}, which is no expression.")
    colour = {"albedo": bundle.albedo, "preview": bundle.preview}
    colour |= {f"albedo_{name}": image for name, image in bundle.expression_albedo.items()}
    for name, image in colour.items():
        _write_png(folder / f"{name}.png", image, 3)
    for name, image in {"roughness": bundle.roughness, "specular": bundle.specular}.items():
        _write_png(folder / f"{name}.png", image, 2)
    for file in folder.iterdir():
        with file.open("rb+") as handle:
            os.fsync(handle.fileno())


def _write_png(path: Path, image: NDArray[np.uint8], dimensions: int) -> None:
    if image.dtype != np.uint8 or image.ndim != dimensions or (dimensions == 3 and image.shape[2] != 3):
        expected = "(S,S,3)" if dimensions == 3 else "(S,S)"
        raise UserError("E_BUNDLE_MAP", f"{path.name} must be {expected} uint8, is {image.shape} {image.dtype}.")
    Image.fromarray(np.ascontiguousarray(image)).save(path)


def _read_png(path: Path, mode: str) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode), dtype=np.uint8)


def _is_ours(name: str) -> bool:
    return name in _REQUIRED or re.fullmatch(r"albedo_.*\.png", name) is not None


def _check(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Everything but pixels: head.json and the arrays of a valid bundle."""
    if not path.is_dir():
        raise UserError("E_BUNDLE_MISSING", f"{path.name} is not a folder.", "Choose a folder that holds head.json.")
    for name in _REQUIRED:
        if not (path / name).is_file():
            raise UserError("E_BUNDLE_MISSING", f"{path.name} has no {name}.", _AGAIN)
    header = _check_header(path / "head.json")
    arrays = _check_arrays(path / "head.npz")
    expressions = header["expressions"]
    if len(expressions) != len(arrays["offsets"]):
        raise UserError(
            "E_BUNDLE_EXPRESSIONS",
            f"head.json names {len(expressions)} expressions, head.npz has {len(arrays['offsets'])} offsets.",
            _AGAIN,
        )
    _check_png(path / "preview.png", square=False)
    for name in BASE_MAPS:
        _check_png(path / name, square=True)
    for file in sorted(path.glob("albedo_*.png")):
        if file.stem.removeprefix("albedo_") not in expressions:
            raise UserError("E_BUNDLE_EXPRESSIONS", f"{file.name} belongs to no expression.", _AGAIN)
        _check_png(file, square=True)
    return header, arrays


def _check_header(file: Path) -> dict[str, Any]:
    try:
        header = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError("E_BUNDLE_JSON", f"head.json cannot be read: {error}.", _AGAIN) from error
    if not isinstance(header, dict):
        raise UserError("E_BUNDLE_JSON", "head.json is not an object.", _AGAIN)
    version = header.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise UserError(
            "E_BUNDLE_VERSION",
            f"This head has format version {version!r}, this program reads {FORMAT_VERSION}.",
            "Update the extension and the generator to the same release.",
        )
    if header.get("units") != UNITS:
        raise UserError("E_BUNDLE_UNITS", f"The units are {header.get('units')!r}, not {UNITS!r}.", _AGAIN)
    for key, kind in _JSON_TYPES.items():
        if not isinstance(header.get(key), kind) or isinstance(header[key], bool):
            raise UserError("E_BUNDLE_JSON", f"head.json has no {key} of type {kind.__name__}.", _AGAIN)
    for photo in header["photos"]:
        score = photo.get("identity_score", "") if isinstance(photo, dict) else ""
        if not (isinstance(photo, dict) and isinstance(photo.get("name"), str)) or not (
            score is None or isinstance(score, int | float)
        ):
            raise UserError("E_BUNDLE_JSON", "A photo in head.json has no name and identity_score.", _AGAIN)
    seen: set[str] = set()
    for name in header["expressions"]:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() in _RESERVED:
            raise UserError("E_BUNDLE_EXPRESSIONS", f"{name!r} cannot be an expression's name.", _AGAIN)
        if name.lower() in seen:
            raise UserError("E_BUNDLE_EXPRESSIONS", f"The expression {name!r} is there twice.", _AGAIN)
        seen.add(name.lower())
    return header


def _check_arrays(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in _ARRAYS if name in stored.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError("E_BUNDLE_ARRAYS", f"head.npz cannot be read: {error}.", _AGAIN) from error
    sizes: dict[str, int] = {}
    for name, (dtype, shape) in _ARRAYS.items():
        array = arrays.get(name)
        if array is None:
            raise UserError("E_BUNDLE_ARRAYS", f"head.npz has no {name}.", _AGAIN)
        fits = array.ndim == len(shape) and array.dtype == dtype
        if fits:
            # A letter stands for the size at its first use.
            pairs = zip(shape, array.shape, strict=True)
            fits = all(n == (sizes.setdefault(s, n) if isinstance(s, str) else s) for s, n in pairs)
        if not fits:
            text = ",".join(str(sizes.get(s, s)) if isinstance(s, str) else str(s) for s in shape)
            message = f"{name} must be ({text}) {dtype}, is {array.shape} {array.dtype}."
            raise UserError("E_BUNDLE_ARRAYS", message, _AGAIN)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UserError("E_BUNDLE_NAN", f"{name} holds values that are not finite.", _AGAIN)
    for empty in (letter for letter in "VFT" if sizes[letter] == 0):
        raise UserError("E_BUNDLE_ARRAYS", f"The mesh is empty ({empty} = 0).", _AGAIN)
    _check_indices(arrays)
    extent = float(np.ptp(arrays["vertices"], axis=0).max())
    if not _EXTENT[0] <= extent <= _EXTENT[1]:
        raise UserError("E_BUNDLE_UNITS", f"The head is {extent:.3g} m large: the unit is not the metre.", _AGAIN)
    return arrays


def _check_indices(arrays: Mapping[str, NDArray[Any]]) -> None:
    for name, target in (("faces", "vertices"), ("faces_uv", "uv")):
        if arrays[name].min() < 0 or arrays[name].max() >= len(arrays[target]):
            raise UserError("E_BUNDLE_INDEX", f"{name} points outside {target}.", _AGAIN)
    a, b, c = arrays["faces"].T
    # Blender would drop such a face and shift the UV of all that follow.
    if ((a == b) | (b == c) | (c == a)).any():
        raise UserError("E_BUNDLE_INDEX", "A face uses one vertex twice.", _AGAIN)
    if arrays["uv"].min() < -1e-4 or arrays["uv"].max() > 1 + 1e-4:
        raise UserError("E_BUNDLE_INDEX", "uv leaves the unit square.", _AGAIN)


def _check_png(file: Path, square: bool) -> None:
    """A whole 8-bit PNG (chunk checksums, end chunk), for a map also square with a power of two as its side."""
    data = file.read_bytes()
    position, kind, size = 8, b"", (0, 0)
    try:
        if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
            raise ValueError("not a PNG image")
        while kind != b"IEND":
            (length,) = struct.unpack_from(">I", data, position)
            kind = data[position + 4 : position + 8]
            (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
            if zlib.crc32(data[position + 4 : position + 8 + length]) != checksum:
                raise ValueError("damaged")
            if kind == b"IHDR":
                width, height, depth = struct.unpack_from(">IIB", data, position + 8)
                size = (width, height)
                if depth != 8:
                    raise ValueError(f"{depth} bits deep, not 8")
            position += 12 + length
    except struct.error as error:
        raise UserError("E_BUNDLE_MAP", f"{file.name} is cut off.", _AGAIN) from error
    except ValueError as error:
        raise UserError("E_BUNDLE_MAP", f"{file.name} is {error}.", _AGAIN) from error
    width, height = size
    if square and (width != height or width & (width - 1)):
        raise UserError("E_BUNDLE_MAP", f"{file.name} is {width} x {height}, not square with a power of two.", _AGAIN)
