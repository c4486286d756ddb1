# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle into its folder, whole or not at all."""

import json
import os
import shutil
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from idto3d_shared.bundle_header import MAPS, SKIN, UNITS, read_header
from idto3d_shared.bundle_reader import ARRAYS, POSES, PREVIEW, check_mesh
from idto3d_shared.errors import BundleError
from idto3d_shared.fit_file import FIT, fit_text

from ..errors import UserError
from ..replace_folder import publish, recover
from .format import COMPRESSION, FORMAT_VERSION, Bundle, BundleMaterial, Bytes
from .glb import write_glb
from .read import GLB, validate

_ALWAYS = frozenset(("head.json", "head.npz", GLB, FIT, PREVIEW, POSES))
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_bundle(bundle: Bundle, path: str | Path) -> Path:
    """Write `bundle` as the folder `path`, whole or not at all.

    The files go into a temporary folder beside `path`, are validated there and renamed into place. An existing bundle
    is replaced only then, and files in it that its head.json does not list (a saved .blend) are kept. The same bundle
    makes the same files, bit for bit. Raises UserError E_BUNDLE_*; `path` is then as it was before.
    """
    path = Path(path).resolve()
    if path.exists() and not (path.is_dir() and ((path / "head.json").is_file() or not any(path.iterdir()))):
        raise UserError(
            "E_BUNDLE_WRITE", f"{path.name} exists and is not a head bundle.", "Choose another place for the head."
        )
    token = uuid.uuid4().hex[:8]
    temporary = path.with_name(f".{path.name}.tmp-{token}")
    try:
        check_mesh(_arrays(bundle), len(bundle.materials), len(bundle.parts))
        recover(path, _owned)
        temporary.mkdir(parents=True)
        _write_files(bundle, temporary)
        validate(temporary)
        publish(temporary, path, token, _owned)
    except OSError as error:
        raise UserError(
            "E_BUNDLE_WRITE",
            f"The head could not be saved to {path.name}: {error.strerror or error}.",
            "Check the free space and the permissions of the folder.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def _owned(folder: Path) -> frozenset[str]:
    """The files of a head, as its head.json lists them: others may well be named like maps. Nothing where that cannot
    be read."""
    try:
        header = read_header(folder / "head.json", (1, FORMAT_VERSION))
    except (BundleError, OSError):
        return frozenset()
    return _ALWAYS.union(*(material.maps.values() for material in header.materials))


def _arrays(bundle: Bundle) -> dict[str, Any]:
    return {name: getattr(bundle, name) for name in ARRAYS}


def _write_files(bundle: Bundle, folder: Path) -> None:
    _write_header(bundle, folder / "head.json")
    if bundle.fit is not None:
        (folder / FIT).write_text(fit_text(bundle.fit), encoding="utf-8")
    (folder / MAPS).mkdir()
    pictures = _pictures(bundle)
    for name, (image, channels) in pictures.items():
        _check_picture(name, image, channels)
    with ThreadPoolExecutor(3) as pool:  # zlib lets go of the interpreter; each holds a map of up to 64 MB
        jobs = [pool.submit(write_glb, bundle, folder / GLB), pool.submit(_write_arrays, bundle, folder / "head.npz")]
        jobs += [pool.submit(_write_png, folder / name, image) for name, (image, _) in pictures.items()]
        for job in jobs:
            job.result()
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())


def _pictures(bundle: Bundle) -> dict[str, tuple[Bytes, int]]:
    """All PNGs of a bundle, and how many channels each has to have."""
    out = {PREVIEW: (bundle.preview, 3)}
    if bundle.poses is not None:
        out[POSES] = bundle.poses, 3
    for material in bundle.materials:
        for kind, image in _maps(bundle, material).items():
            channels = 1 if kind in ("roughness", "specular", "seen") else 3
            channels += kind == "albedo" and material.alpha != "opaque"
            out[f"{MAPS}/{material.name}_{kind}.png"] = image, channels
    if bundle.wrinkles is not None:
        for images, channels in ((bundle.wrinkles.maps, 4), (bundle.wrinkles.masks, 3)):
            out |= {f"{MAPS}/{SKIN}_{kind}.png": (image, channels) for kind, image in images.items()}
    return out


def _check_picture(name: str, image: Bytes, channels: int) -> None:
    fits = image.ndim == 2 if channels == 1 else image.ndim == 3 and image.shape[2] == channels
    if image.dtype != np.uint8 or not fits:
        expected = "(S,S)" if channels == 1 else f"(S,S,{channels})"
        message = f"{name} must be {expected} uint8, is {image.shape} {image.dtype}."
        raise UserError("E_BUNDLE_MAP", message)


def _write_png(file: Path, image: Bytes) -> None:
    """With one kind of filter, where Pillow tries all of them on each row: as small, in half the time."""
    swaps = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    swapped = image if image.ndim == 2 else cv2.cvtColor(image, swaps[image.shape[2]])
    how = (cv2.IMWRITE_PNG_COMPRESSION, COMPRESSION, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH)
    file.write_bytes(cv2.imencode(".png", swapped, how)[1].data)


def _maps(bundle: Bundle, material: BundleMaterial) -> dict[str, Bytes]:
    """The material's images by kind, as head.json lists them."""
    given = {kind: getattr(material, kind) for kind in ("albedo", "roughness", "specular", "normal")}
    maps: dict[str, Bytes] = {kind: image for kind, image in given.items() if isinstance(image, np.ndarray)}
    if material.name == SKIN:
        maps |= {} if bundle.seen_map is None else {"seen": bundle.seen_map}
        maps |= {f"albedo_{name}": image for name, image in bundle.expression_albedo.items()}
    return maps


def _write_header(bundle: Bundle, file: Path) -> None:
    materials = [material.name for material in bundle.materials]
    if bundle.expression_albedo.keys() - set(bundle.expressions):
        raise UserError("E_BUNDLE_EXPRESSIONS", "There is an albedo for what is no expression.")
    if (bundle.expression_albedo or bundle.seen_map is not None) and SKIN not in materials:
        raise UserError("E_BUNDLE_MAP", "There are maps of the skin and no skin.")
    header = {
        "format_version": FORMAT_VERSION,
        "generator": bundle.generator,
        "units": UNITS,
        "expressions": list(bundle.expressions),
        "expression_groups": list(bundle.expression_groups),
        "parts": list(bundle.parts),
        "materials": [
            {
                "name": material.name,
                "alpha": material.alpha,
                "colour": mean_colour(bundle, number),
                "roughness": None if isinstance(material.roughness, np.ndarray) else float(material.roughness),
                "specular": None if isinstance(material.specular, np.ndarray) else float(material.specular),
                "maps": sorted(_maps(bundle, material)),
            }
            for number, material in enumerate(bundle.materials)
        ],
        "wrinkles": [asdict(fade) for fade in bundle.wrinkles.fades] if bundle.wrinkles is not None else [],
        "pack": bundle.pack,
        "seed": bundle.seed,
        "settings": dict(bundle.settings),
        # Folders on a person's disk are nobody else's business.
        "photos": [
            {"name": Path(p.name).name, "identity_score": p.identity_score, "verdict": dict(p.verdict)}
            for p in bundle.photos
        ],
        "timings": dict(bundle.timings),
        "licence": bundle.licence,
        "consent": bundle.consent,
    }
    try:
        text = json.dumps(header, indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise UserError("E_BUNDLE_JSON", f"head.json cannot hold this: {error}.") from error
    file.write_bytes(text + b"\n")


def _write_arrays(bundle: Bundle, file: Path) -> None:
    """As numpy's savez_compressed, in a tenth of the time, and without the time of day in the zip."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION) as archive:
        for name, array in _arrays(bundle).items():
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def mean_colour(bundle: Bundle, number: int) -> list[float]:
    """sRGB and opacity 0..1 of a material as a whole, for where no picture is shown: the mean of its albedo at the
    middles of its faces."""
    albedo = bundle.materials[number].albedo
    corners = bundle.faces_uv[bundle.material == number]
    if not len(corners):
        return [0.8, 0.8, 0.8, 1.0]
    there = (corners >= 0)[..., None]
    middle = (bundle.uv[corners] * there).sum(axis=1) / there.sum(axis=1)
    side = len(albedo)
    column, row = (np.clip(part * side, 0, side - 1).astype(int) for part in (middle[:, 0], 1 - middle[:, 1]))
    seen = albedo[row, column].astype(np.float64) / 255
    opacity = seen[:, 3:] if seen.shape[1] == 4 else np.ones((len(seen), 1))
    weight = opacity if opacity.any() else np.ones_like(opacity)
    colour = (seen[:, :3] * weight).sum(axis=0) / weight.sum()
    return [round(float(value), 3) for value in (*colour, opacity.mean())]
