# SPDX-License-Identifier: GPL-3.0-or-later
"""A pack's manifest, pack.json (docs/architecture.md, contract 1), and all that one must say."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from idto3d_shared.fit_file import is_utf8
from idto3d_shared.live_link import SHAPES as ARKIT

from ..errors import PACK_AGAIN, UserError
from ..expressions import Expression

FORMAT_VERSION = 2
MANIFEST = "pack.json"
HEAD_MODEL = "head.safetensors"
VECTORS = "expressions.safetensors"
REQUIRED = (
    HEAD_MODEL,
    "photos/detector.onnx",
    "photos/landmarks.onnx",
    "photos/blendshapes.onnx",
    "photos/mask.onnx",
    "recognition.onnx",
    "unet/config.json",
    "vae/config.json",
    "text/config.json",
    "normal.safetensors",
    "albedo.safetensors",
    VECTORS,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")  # a bundle makes file names and shape keys of it
# Shape keys that a head has besides: Blender's rest shape, ARKit's; by their beginnings visemes and those of a rig.
_RESERVED = frozenset(("basis", *map(str.lower, ARKIT)))
_RESERVED_BEGINNINGS = ("viseme_", "rig_")
_LEAST_SIGNAL = 1e-5  # abar of the last timestep; Stable Diffusion 1.5's is 5e-3, that of Ho et al. (2020) 4e-5
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
    of `prior.schedule.make_schedule`; prediction_type: "epsilon" or "v_prediction"; expressions: by name, in the pack's
    order, neutral first; distillation: what `distill.config` reads; files: path relative to the folder, to SHA-256 in
    hexadecimal.
    """

    path: Path
    name: str
    licence: str
    provenance: str
    image_size: int
    latent_scale: float
    schedule: dict[str, Any]
    prediction_type: Any
    expressions: dict[str, Expression]
    distillation: dict[str, Any]
    files: dict[str, str]

    def file(self, name: str) -> Path:
        """The path of one of the pack's files. Raises UserError E_PACK_MISSING if it is not there."""
        if name not in self.files or not (self.path / name).is_file():
            raise UserError("E_PACK_MISSING", f"The pack {self.name} has no file {name}.", PACK_AGAIN)
        return self.path / name


def parse_manifest(root: Path, data: object) -> Pack:
    """The pack at `root` whose manifest is JSON's `data`. Raises UserError E_PACK_MISSING (a file is not listed that
    every pack has), E_PACK_FORMAT."""
    if not isinstance(data, dict):
        raise malformed("it is not an object")
    if data.get("format_version") != FORMAT_VERSION:
        raise UserError(
            "E_PACK_FORMAT",
            f"The pack has format version {data.get('format_version')!r}; this program reads {FORMAT_VERSION}.",
            "Install the pack and the program in versions that belong together.",
        )
    if data.get("prediction_type") not in ("epsilon", "v_prediction"):
        raise malformed(f"the prediction type {data.get('prediction_type')!r} is unknown")
    image_size, latent_scale = _field(data, "image_size", int), float(_field(data, "latent_scale", float))
    if image_size < 8 or not latent_scale > 0.0:
        raise malformed("image_size or latent_scale is out of range")
    return Pack(
        path=root,
        name=_field(data, "name", str),
        licence=_field(data, "licence", str),
        provenance=_field(data, "provenance", str),
        image_size=image_size,
        latent_scale=latent_scale,
        schedule=_schedule(_field(data, "schedule", dict)),
        prediction_type=data["prediction_type"],
        expressions=_expressions(_field(data, "expressions", dict)),
        distillation=dict(_field(data, "distillation", dict)),
        files=_listed(_field(data, "files", dict)),
    )


def _schedule(schedule: Mapping[str, Any]) -> dict[str, Any]:
    for key, kind in _SCHEDULE_TYPES.items():
        _field(schedule, key, kind)
    if set(schedule) != set(_SCHEDULE_TYPES):
        raise malformed("the schedule has unknown fields")
    betas = float(schedule["beta_start"]), float(schedule["beta_end"])
    if schedule["num_train_timesteps"] < 2 or not 0.0 < betas[0] <= betas[1] < 1.0:
        raise malformed("the schedule's numbers are out of range")
    if schedule["beta_schedule"] not in ("linear", "scaled_linear"):
        raise malformed(f"the beta schedule {schedule['beta_schedule']!r} is unknown")
    # As `schedule.make_schedule` has it, in NumPy: torch need not be there.
    power = 2 if schedule["beta_schedule"] == "scaled_linear" else 1
    roots = np.linspace(betas[0] ** (1 / power), betas[1] ** (1 / power), schedule["num_train_timesteps"])
    if np.prod(1 - roots**power) < _LEAST_SIGNAL:
        raise malformed("the schedule leaves nothing of a picture at its end")
    return dict(schedule)


def _expressions(data: Mapping[str, Any]) -> dict[str, Expression]:
    if next(iter(data), None) != "neutral":
        raise malformed("the first expression is not neutral")
    out: dict[str, Expression] = {}
    for name, value in data.items():
        plain = name.lower()  # file names are made of it, too
        taken = plain in _RESERVED or plain.startswith(_RESERVED_BEGINNINGS) or plain in (n.lower() for n in out)
        if taken or not _NAME.fullmatch(name):
            raise malformed(f"an expression cannot be named {name!r}")
        if not isinstance(value, dict) or set(value) != {"text", "weights"}:
            raise malformed(f"the expression {name} is not a text with weights")
        weights = _field(value, "weights", dict)
        out[name] = Expression(_field(value, "text", str), {k: float(_field(weights, k, float)) for k in weights})
    if out["neutral"].weights:
        raise malformed("neutral has weights")
    return out


def _listed(files: Mapping[str, Any]) -> dict[str, str]:
    for name in files:
        _field(files, name, str)
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name or ":" in name:
            raise malformed(f"the file path {name!r} leaves the folder")
    absent = [name for name in REQUIRED if name not in files]
    if absent:
        raise UserError("E_PACK_MISSING", f"The pack does not list {', '.join(absent)}.", PACK_AGAIN)
    return dict(files)


def _field(data: Mapping[str, Any], key: str, kind: type) -> Any:
    """data[key] of the given type; an integer passes for a float, a Boolean, a number that no float holds or a text
    that no file holds for nothing."""
    value = data.get(key)
    allowed = (int, float) if kind is float else (kind,)
    absent = not isinstance(value, allowed) or isinstance(value, bool)
    endless = isinstance(value, int | float) and not abs(value) <= sys.float_info.max
    if absent or endless or (isinstance(value, str) and not is_utf8(value)):
        raise malformed(f"{key} is absent or not a {kind.__name__}")
    return value


def malformed(what: str) -> UserError:
    """E_PACK_FORMAT, and why."""
    return UserError("E_PACK_FORMAT", f"The pack's {MANIFEST} cannot be used: {what}.", PACK_AGAIN)
