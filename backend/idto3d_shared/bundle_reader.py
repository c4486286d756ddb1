# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and check a head bundle, format 1 or 2. docs/architecture.md describes format 2.

A bundle may have come by mail: nothing in it is believed before it is checked, and no size before it is bounded.

Refusals (`BundleError.code`): E_BUNDLE_MISSING a file is not there; E_BUNDLE_JSON head.json cannot be read or lacks a
field; E_BUNDLE_VERSION another format version; E_BUNDLE_UNITS not a head in metres; E_BUNDLE_EXPRESSIONS names and
offsets disagree; E_BUNDLE_ARRAYS a missing array, wrong shape or dtype; E_BUNDLE_NAN a value that is not finite;
E_BUNDLE_INDEX an index out of range, a face that is degenerate or there twice; E_BUNDLE_MAP an unusable image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle_header import GROUPS, Fade, MaterialHeader, read_header
from .errors import BundleError
from .fit_file import FIT, FitFile, read_fit
from .npz import Shape, check_array, read_npz
from .png import read_png, size_of

PREVIEW = "preview.png"
POSES = "poses.png"
"""A picture of each key of the group "expression", square ones side by side; older bundles have none."""
SILENCE = "viseme_sil"
"""The one key that moves nothing by its meaning."""
_EXTENT = (0.05, 3.0)
_FARTHEST = 10.0
_UV_ROUNDING = 1e-4
_LIMITS = {"V": 1_000_000, "F": 2_000_000, "T": 4_000_000, "E": 512}
_MOST_BYTES = 1 << 29
ARRAYS: dict[str, tuple[str, Shape]] = {
    "vertices": ("<f4", ("V", 3)),
    "faces": ("<i4", ("F", 4)),
    "uv": ("<f4", ("T", 2)),
    "faces_uv": ("<i4", ("F", 4)),
    "material": ("<i4", ("F",)),
    "part": ("<i4", ("F",)),
    "offsets": ("<f4", ("E", "V", 3)),
    "seen": ("<f4", ("V",)),
}
"""Name -> dtype and shape in format 2; a letter is a size."""
_ARRAYS_1: dict[str, tuple[str, Shape]] = {
    **{name: ARRAYS[name] for name in ("vertices", "uv", "offsets")},
    "faces": ("<i4", ("F", 3)),
    "faces_uv": ("<i4", ("F", 3)),
}


@dataclass(frozen=True, eq=False)
class HeadFiles:
    """What a bundle holds, checked; format 1 in the words of format 2.

    version: of the format; vertices (V,3) float32 metres, Z up, facing -Y; faces, faces_uv (F,4) int32, -1 last in a
    triangle; uv (T,2) float32, v up; material, part (F,) int32 into materials and parts; offsets (E,V,3) float32, one
    for each of expressions, which are of expression_groups; seen (V,) float32 0..1, or None in format 1; images:
    file name below the folder -> PNG; info: head.json; fit: what the fit found, None in older bundles; fades: of the
    skin's wrinkle maps, none in older bundles.
    """

    folder: Path
    version: int
    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    uv: NDArray[np.float32]
    faces_uv: NDArray[np.int32]
    material: NDArray[np.int32]
    part: NDArray[np.int32]
    offsets: NDArray[np.float32]
    seen: NDArray[np.float32] | None
    expressions: tuple[str, ...]
    expression_groups: tuple[str, ...]
    parts: tuple[str, ...]
    materials: tuple[MaterialHeader, ...]
    images: Mapping[str, bytes]
    info: Mapping[str, Any]
    fit: FitFile | None = None
    fades: tuple[Fade, ...] = ()


def read_bundle_files(folder: str | Path, versions: tuple[int, ...] = (1, 2)) -> HeadFiles:
    """Read and check the bundle in `folder`, of one of `versions`. Raises BundleError."""
    path = Path(folder)
    if not path.is_dir():
        raise BundleError("E_BUNDLE_MISSING", f"{path.name} is not a folder.", "Choose a folder that holds head.json.")
    try:
        return _read(path, versions)
    except OSError as error:
        what = Path(error.filename).name if isinstance(error.filename, str | Path) else "a file"
        message = f"{what} of {path.name} cannot be read: {error.strerror or error}."
        raise BundleError("E_BUNDLE_MISSING", message) from error


def read_vertices(folder: str | Path) -> NDArray[np.float32]:
    """(V,3) of a bundle's neutral head alone. Raises BundleError."""
    return read_npz(Path(folder) / "head.npz", {"vertices": ARRAYS["vertices"]}, _LIMITS, _MOST_BYTES)["vertices"]


def warnings_of(head: HeadFiles) -> list[str]:
    """What is odd about a bundle and yet no reason to refuse it."""
    still = [
        f"Expression {name} does not move any vertex."
        for name, offset in zip(head.expressions, head.offsets, strict=True)
        if not offset.any() and name != SILENCE
    ]
    unused = len(head.vertices) - len(np.unique(head.faces[head.faces >= 0]))
    return still + ([f"{unused} vertices belong to no face."] if unused else [])


def _read(path: Path, versions: tuple[int, ...]) -> HeadFiles:
    _demand(path, "head.json", "head.npz")
    header = read_header(path / "head.json", versions)
    files = [file for material in header.materials for file in material.maps.values()]
    _demand(path, PREVIEW, *files)
    wanted = _ARRAYS_1 if header.version == 1 else ARRAYS
    arrays = read_npz(path / "head.npz", wanted, _LIMITS, _MOST_BYTES)
    if header.version == 1:
        arrays = _as_format_2(arrays)
        stray = {file.name for file in path.glob("albedo_*.png")} - set(files)
        if stray:
            raise BundleError("E_BUNDLE_EXPRESSIONS", f"{min(stray)} belongs to no expression.")
    check_mesh(arrays, len(header.materials), len(header.parts))
    if len(header.expressions) != len(arrays["offsets"]):
        raise BundleError(
            "E_BUNDLE_EXPRESSIONS",
            f"head.json names {len(header.expressions)} expressions, head.npz has {len(arrays['offsets'])} offsets.",
        )
    images = {file: read_png(path / file, square=True) for file in files}
    images[PREVIEW] = read_png(path / PREVIEW, square=False)
    if (path / POSES).is_file():
        images[POSES] = read_png(path / POSES, square=False)
        width, height = size_of(images[POSES])
        if width != height * header.expression_groups.count(GROUPS[0]):
            raise BundleError("E_BUNDLE_MAP", f"{POSES} does not fit the expressions.")
    return HeadFiles(
        path,
        header.version,
        **{name: array for name, array in arrays.items() if name != "seen"},
        seen=arrays.get("seen"),
        expressions=header.expressions,
        expression_groups=header.expression_groups,
        parts=header.parts,
        materials=header.materials,
        images=images,
        info=header.info,
        fit=read_fit(path / FIT) if (path / FIT).is_file() else None,
        fades=header.fades,
    )


def _demand(path: Path, *names: str) -> None:
    for name in names:
        if not (path / name).is_file():
            raise BundleError("E_BUNDLE_MISSING", f"{path.name} has no {name}.")


def _as_format_2(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    count = len(arrays["faces"])
    for name in ("faces", "faces_uv"):
        arrays[name] = np.concatenate([arrays[name], np.full((count, 1), -1, np.int32)], axis=1)
    return {**arrays, "material": np.zeros(count, np.int32), "part": np.zeros(count, np.int32)}


def check_mesh(arrays: Mapping[str, NDArray[Any]], materials: int, parts: int) -> None:
    """The ARRAYS of a bundle (seen may be left out) with so many materials and parts fit each other and make a head.
    Raises BundleError."""
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        check_array(name, ARRAYS[name], (array.dtype.newbyteorder("<").str, array.shape), sizes, _LIMITS)
    if 0 in (len(arrays["vertices"]), len(arrays["faces"]), len(arrays["uv"])):
        raise BundleError("E_BUNDLE_ARRAYS", "The mesh is empty.")
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BundleError("E_BUNDLE_NAN", f"{name} holds values that are not finite.")
    vertices, offsets = arrays["vertices"], arrays["offsets"]
    extent = float(np.ptp(vertices, axis=0).max())
    if not _EXTENT[0] <= extent <= _EXTENT[1]:
        raise BundleError("E_BUNDLE_UNITS", f"The head is {extent:.3g} m large: the unit is not the metre.")
    if np.abs(vertices).max() > _FARTHEST:
        raise BundleError("E_BUNDLE_UNITS", "The head lies far from its origin.")
    if np.abs(offsets).max(initial=0) > _EXTENT[1]:
        raise BundleError("E_BUNDLE_UNITS", "An expression moves the head by metres.")
    if arrays["uv"].min() < -_UV_ROUNDING or arrays["uv"].max() > 1 + _UV_ROUNDING:
        raise BundleError("E_BUNDLE_INDEX", "uv leaves the unit square.")
    seen = arrays.get("seen", np.zeros(1, np.float32))
    if seen.min() < 0 or seen.max() > 1:
        raise BundleError("E_BUNDLE_ARRAYS", "seen leaves 0 to 1.")
    _check_faces(arrays)
    for name, count in (("material", materials), ("part", parts)):
        if arrays[name].min() < 0 or arrays[name].max() >= count:
            raise BundleError("E_BUNDLE_INDEX", f"{name} points outside the {name}s of head.json.")


def _check_faces(arrays: Mapping[str, NDArray[Any]]) -> None:
    faces, faces_uv = arrays["faces"], arrays["faces_uv"]
    if not np.array_equal(faces[:, 3] == -1, faces_uv[:, 3] == -1):
        raise BundleError("E_BUNDLE_INDEX", "A face has another number of corners in faces_uv.")
    triangle = faces[:, 3] == -1
    for name, target in (("faces", "vertices"), ("faces_uv", "uv")):
        corners = np.where(triangle[:, None] & (np.arange(4) == 3), 0, arrays[name])
        if corners.min() < 0 or corners.max() >= len(arrays[target]):
            raise BundleError("E_BUNDLE_INDEX", f"{name} points outside {target}.")
    # Blender would drop such a face and shift the UV of all that follow.
    ordered = np.sort(faces, axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise BundleError("E_BUNDLE_INDEX", "A face uses one vertex twice.")
    ordered = ordered[np.lexsort(ordered.T)]
    if (ordered[1:] == ordered[:-1]).all(axis=1).any():
        raise BundleError("E_BUNDLE_INDEX", "A face is there twice.")
