# SPDX-License-Identifier: GPL-3.0-or-later
"""A pack: the folder of weights that a prior is loaded from (architecture.md, contract 1)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from idto3d.errors import UserError

FORMAT_VERSION = 1
MANIFEST = "pack.json"
REQUIRED = ("normal.safetensors", "albedo.safetensors", "unet/config.json", "vae/config.json", "text/config.json")
"""Files without which no prior can be loaded; the others are looked for where they are used."""

_FIX = "Install the pack again."
_SCHEDULE_TYPES: dict[str, type] = {
    "num_train_timesteps": int,
    "beta_start": float,
    "beta_end": float,
    "beta_schedule": str,
}


@dataclass(frozen=True)
class Pack:
    """A pack's manifest.

    image_size: pixels of a side; latent_scale: what latents are multiplied by after encoding; schedule: the arguments
    of `distill.schedule.make_schedule`; prediction_type: "epsilon" or "v_prediction"; expressions: name to text, in
    the pack's order; files: path relative to the folder, to SHA-256 in hexadecimal.
    """

    path: Path
    name: str
    licence: str
    provenance: str
    image_size: int
    latent_scale: float
    schedule: dict[str, Any]
    prediction_type: Any
    expressions: dict[str, str]
    files: dict[str, str]

    def file(self, name: str) -> Path:
        """The path of one of the pack's files. Raises UserError E_PACK_MISSING if it is not there."""
        if name not in self.files or not (self.path / name).is_file():
            raise UserError("E_PACK_MISSING", f"The pack {self.name} has no file {name}.", _FIX)
        return self.path / name


def read_pack(path: Path | str, verify: bool = True) -> Pack:
    """Read and check a pack's manifest; with `verify`, every listed file's SHA-256 too.

    Raises UserError E_PACK_MISSING (no folder, manifest or listed file), E_PACK_FORMAT (not a manifest of this format,
    or a path that leaves the folder), E_PACK_HASH (a file is not the one that was listed).
    """
    root = Path(path)
    manifest = root / MANIFEST
    if not manifest.is_file():
        raise UserError("E_PACK_MISSING", f"There is no pack at {root}.", "Choose a folder that holds a pack.json.")
    try:
        data = json.loads(manifest.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _malformed(f"it is not JSON ({error})") from error
    pack = _parse(root, data)
    for name, digest in pack.files.items():
        file = root / name
        if not file.is_file():
            raise UserError("E_PACK_MISSING", f"The pack {pack.name} lacks its file {name}.", _FIX)
        if verify and sha256(file) != digest:
            raise UserError("E_PACK_HASH", f"The file {name} of the pack {pack.name} is damaged or altered.", _FIX)
    return pack


def write_pack_json(
    path: Path | str,
    *,
    name: str,
    licence: str,
    provenance: str,
    image_size: int,
    latent_scale: float,
    schedule: Mapping[str, Any],
    prediction_type: str,
    expressions: Mapping[str, str],
) -> Pack:
    """Hash every file in the folder `path` and write its pack.json; returns what was written.

    The arguments are `Pack`'s fields. Hidden files are left out. Raises UserError E_PACK_FORMAT for values that
    `read_pack` would refuse, before anything is written.
    """
    root = Path(path)
    names = sorted(f.relative_to(root).as_posix() for f in root.rglob("*") if f.is_file())
    listed = [n for n in names if n != MANIFEST and not any(part.startswith(".") for part in PurePosixPath(n).parts)]
    data = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "licence": licence,
        "provenance": provenance,
        "image_size": image_size,
        "latent_scale": latent_scale,
        "schedule": dict(schedule),
        "prediction_type": prediction_type,
        "expressions": dict(expressions),
        "files": {n: sha256(root / n) for n in listed},
    }
    pack = _parse(root, data)
    temporary = root / f".{MANIFEST}.new"
    temporary.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(root / MANIFEST)
    return pack


def read_expressions(pack: Pack) -> dict[str, np.ndarray]:
    """y_exp of each of the pack's expressions: name to (D,) float32, in the pack's order.

    Raises UserError E_PACK_MISSING without expressions.safetensors, E_PACK_FORMAT if it does not hold exactly one
    vector per expression, all of one length.
    """
    try:
        vectors = load_file(pack.file("expressions.safetensors"))
    except SafetensorError as error:
        raise UserError("E_PACK_FORMAT", f"expressions.safetensors cannot be read ({error}).", _FIX) from error
    lengths = {v.shape for v in vectors.values()}
    if vectors.keys() != pack.expressions.keys() or len(lengths) != 1 or len(next(iter(lengths))) != 1:
        raise UserError("E_PACK_FORMAT", "expressions.safetensors does not fit the pack's list of expressions.", _FIX)
    return {name: vectors[name].astype(np.float32) for name in pack.expressions}


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _malformed(what: str) -> UserError:
    return UserError("E_PACK_FORMAT", f"The pack's {MANIFEST} cannot be used: {what}.", _FIX)


def _parse(root: Path, data: object) -> Pack:
    if not isinstance(data, dict):
        raise _malformed("it is not an object")
    if data.get("format_version") != FORMAT_VERSION:
        raise UserError(
            "E_PACK_FORMAT",
            f"The pack has format version {data.get('format_version')!r}; this program reads {FORMAT_VERSION}.",
            "Install the pack and the program in versions that belong together.",
        )
    schedule = _field(data, "schedule", dict)
    for key, kind in _SCHEDULE_TYPES.items():
        _field(schedule, key, kind)
    if set(schedule) != set(_SCHEDULE_TYPES):
        raise _malformed("the schedule has unknown fields")
    betas = float(schedule["beta_start"]), float(schedule["beta_end"])
    if schedule["num_train_timesteps"] < 2 or not 0.0 < betas[0] <= betas[1] < 1.0:
        raise _malformed("the schedule's numbers are out of range")
    if schedule["beta_schedule"] not in ("linear", "scaled_linear"):
        raise _malformed(f"the beta schedule {schedule['beta_schedule']!r} is unknown")
    if data.get("prediction_type") not in ("epsilon", "v_prediction"):
        raise _malformed(f"the prediction type {data.get('prediction_type')!r} is unknown")
    image_size, latent_scale = _field(data, "image_size", int), float(_field(data, "latent_scale", float))
    if image_size < 8 or not latent_scale > 0.0:
        raise _malformed("image_size or latent_scale is out of range")
    files = _texts(data, "files")
    for name in files:
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name or ":" in name:
            raise _malformed(f"the file path {name!r} leaves the folder")
    absent = [name for name in REQUIRED if name not in files]
    if absent:
        raise UserError("E_PACK_MISSING", f"The pack does not list {', '.join(absent)}.", _FIX)
    return Pack(
        path=root,
        name=_field(data, "name", str),
        licence=_field(data, "licence", str),
        provenance=_field(data, "provenance", str),
        image_size=image_size,
        latent_scale=latent_scale,
        schedule=dict(schedule),
        prediction_type=data["prediction_type"],
        expressions=_texts(data, "expressions"),
        files=files,
    )


def _field(data: Mapping[str, Any], key: str, kind: type) -> Any:
    """data[key] of the given type; an integer passes for a float, a Boolean or a non-finite number for nothing."""
    value = data.get(key)
    allowed = (int, float) if kind is float else (kind,)
    infinite = isinstance(value, float) and not math.isfinite(value)
    if not isinstance(value, allowed) or isinstance(value, bool) or infinite:
        raise _malformed(f"{key} is absent or not a {kind.__name__}")
    return value


def _texts(data: Mapping[str, Any], key: str) -> dict[str, str]:
    value = _field(data, key, dict)
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise _malformed(f"{key} must map texts to texts")
    return dict(value)
