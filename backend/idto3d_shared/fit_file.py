# SPDX-License-Identifier: GPL-3.0-or-later
"""fit.json: what the fit found in the photographs, so that a head can be laid over them again and mended.

Everything is in the bundle's frame: metres, Z up, facing -Y. Cameras are OpenCV's pinholes: a point x lies at
y = rotation x + translation in camera axes (x right, y down, z forward) and at the pixel principal + focal y_xy / y_z
of the photo upright, the centre of pixel (row i, column j) at x = j, y = i. No pixels of photos are kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BundleError

FIT = "fit.json"
FORMAT_VERSION = 1
LANDMARKS = 478
_MOST_BYTES = 1 << 20
MOST_PHOTOS = 32
_MOST = {"identity": 4096, "names": 1024}
_FARTHEST = 1e5
_PIXELS = 1e9  # farther than any in a photo
_CODE = "E_BUNDLE_JSON"
_CLOSE_UP = 2.6  # heights of the face
_ENDS = (10, 152)  # landmarks: the forehead's upper rim, the chin

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FitCamera:
    """focal: length in pixels; principal (2,) pixels; rotation (3,3); translation (3,) metres."""

    focal: float
    principal: Array
    rotation: Array
    translation: Array

    def project(self, points: NDArray[Any]) -> tuple[Array, Array]:
        """Points (...,3) of the bundle's frame to pixels (...,2) and depths (...,) in metres before the camera."""
        y = points @ self.rotation.T + self.translation
        depth = y[..., 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.principal + self.focal * y[..., :2] / depth[..., None], depth

    @property
    def position(self) -> Array:
        """(3,) the centre of projection."""
        return -self.rotation.T @ self.translation


@dataclass(frozen=True, eq=False)
class FitPhoto:
    """name: the file's; path: as it was given, perhaps "" ; sha256 of the file, hexadecimal, or ""; width, height: in
    pixels, upright; expression: coefficients by the head model's names; light (9,3): see the backend's `PhotoFit`;
    landmarks (478,2) pixels; residual: metres on the face."""

    name: str
    path: str
    sha256: str
    width: int
    height: int
    camera: FitCamera
    expression: Mapping[str, float]
    light: Array
    landmarks: Array
    residual: float


def close_up(landmarks: NDArray[Any]) -> tuple[float, float, float]:
    """The square that shows the head of landmarks (478,2), which may lie on its side: left, top and side in pixels,
    perhaps beyond the picture."""
    forehead, chin = landmarks[list(_ENDS)]
    up = (forehead - chin) / max(float(np.linalg.norm(forehead - chin)), 1e-9)
    axes = np.stack([[-up[1], up[0]], up])  # of the face: across, up
    within = landmarks[:468] @ axes.T
    low, high = within.min(axis=0), within.max(axis=0)
    side = _CLOSE_UP * float(high[1] - low[1])
    left, top = ((low + high) / 2 + [0.0, 0.12 * side]) @ axes - side / 2
    return float(left), float(top), side


@dataclass(frozen=True, eq=False)
class FitFile:
    """identity (M,) in standard deviations of the head model; resting: what the face at rest has of expressions; pack:
    folder of the pack that the head model is of, "" for the starter pack."""

    identity: Array
    resting: Mapping[str, float]
    photos: tuple[FitPhoto, ...]
    pack: str = ""


def fit_text(fit: FitFile) -> str:
    """The text of fit.json."""
    photos = [
        {
            "name": photo.name,
            "path": photo.path if is_utf8(photo.path) else "",
            "sha256": photo.sha256,
            "size": [photo.width, photo.height],
            "camera": {
                "focal_length_px": round(photo.camera.focal, 4),
                "principal_point_px": _rounded(photo.camera.principal, 4),
                "rotation": _rounded(photo.camera.rotation, 9),
                "translation_m": _rounded(photo.camera.translation, 8),
            },
            "expression": _named(photo.expression),
            "light": _rounded(photo.light, 5),
            "residual_mm": round(photo.residual * 1000, 4),
            "landmarks": _rounded(photo.landmarks, 2),
        }
        for photo in fit.photos
    ]
    whole = {
        "format_version": FORMAT_VERSION,
        "pack": fit.pack if is_utf8(fit.pack) else "",
        "identity": _rounded(fit.identity, 6),
        "resting": _named(fit.resting),
        "photos": photos,
    }
    return json.dumps(whole, ensure_ascii=False, allow_nan=False) + "\n"


def read_fit(file: Path) -> FitFile:
    """Read and check a fit.json. Raises BundleError E_BUNDLE_JSON; OSError where there is none."""
    if file.stat().st_size > _MOST_BYTES:
        raise _bad("it is too large")
    try:
        given = json.loads(file.read_bytes().decode("utf-8"))
        json.dumps(given, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no text
        if given["format_version"] != FORMAT_VERSION:
            raise _bad(f"its format is {str(given['format_version'])[:20]}, not {FORMAT_VERSION}")
        identity = _array(given["identity"], (len(given["identity"]),))
        if not 0 < len(identity) <= _MOST["identity"] or len(given["photos"]) > MOST_PHOTOS:
            raise _bad("it has too many numbers")
        photos = tuple(_photo(one) for one in given["photos"])
        return FitFile(identity, _names(given["resting"]), photos, _text(given.get("pack", "")))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise _bad(f"{type(error).__name__} {str(error)[:100]}") from error
    except (RecursionError, MemoryError) as error:
        raise _bad("it is nested too deeply") from error


def _photo(given: Mapping[str, Any]) -> FitPhoto:
    width, height = (int(_number(n, _PIXELS)) for n in given["size"])
    if width <= 0 or height <= 0:
        raise _bad("a photo's size is none")
    camera = given["camera"]
    focal = _number(camera["focal_length_px"], _PIXELS)
    principal = _array(camera["principal_point_px"], (2,), _PIXELS)
    rotation = _array(camera["rotation"], (3, 3))
    if focal <= 0 or np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise _bad("a camera is none")
    return FitPhoto(
        _text(given["name"]),
        _text(given["path"]),
        _text(given["sha256"]),
        width,
        height,
        FitCamera(focal, principal, rotation, _array(camera["translation_m"], (3,))),
        _names(given["expression"]),
        _array(given["light"], (9, 3)),
        _array(given["landmarks"], (LANDMARKS, 2), _PIXELS),
        _number(given["residual_mm"]) / 1000,
    )


def _array(given: Any, shape: tuple[int, ...], most: float = _FARTHEST) -> Array:
    """Numbers, and nothing that numpy would take for one, such as a text or a truth value."""
    array = np.asarray(given)
    if array.shape != shape or array.dtype.kind not in "if":
        raise _bad(f"numbers have the shape {array.shape}")
    if not np.isfinite(array).all() or np.abs(array).max(initial=0) > most:
        raise _bad("a number is too large")
    return array.astype(np.float64)


def _number(given: Any, most: float = _FARTHEST) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise _bad("something is no number")
    if not math.isfinite(given) or abs(given) > most:
        raise _bad("a number is too large")
    return float(given)


def _text(given: Any) -> str:
    if not isinstance(given, str) or len(given) > 4096 or "\0" in given:
        raise _bad("something is no text")
    return given


def _names(given: Any) -> dict[str, float]:
    if not isinstance(given, dict) or len(given) > _MOST["names"]:
        raise _bad("something is no list of coefficients")
    return {name: _number(value) for name, value in given.items()}


def is_utf8(text: str) -> bool:
    """A file can hold it: names from old archives are no UTF-8."""
    return text == text.encode("utf-8", "replace").decode()


def _rounded(values: NDArray[Any], digits: int) -> Any:
    # + 0.0: there is no negative nought.
    return (np.round(np.asarray(values, np.float64), digits) + 0.0).tolist()


def _named(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items() if abs(value) >= 5e-7}


def _bad(why: str) -> BundleError:
    return BundleError(_CODE, f"{FIT} cannot be used: {why}.")
