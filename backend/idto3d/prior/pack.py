# SPDX-License-Identifier: GPL-3.0-or-later
"""A pack: the folder of weights that a prior is loaded from (docs/architecture.md, contract 1)."""

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from idto3d_shared.fit_file import is_utf8
from idto3d_shared.live_link import SHAPES as ARKIT

from ..arrays import Array
from ..errors import PACK_AGAIN, UserError
from ..expressions import Expression
from ..headmodel import HeadModel

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
# What makes a U-Net ask for more than a prior is given: a class, a picture's size, how strong guidance shall be.
_MORE_INPUTS = ("class_embed_type", "num_class_embeds", "addition_embed_type", "time_cond_proj_dim")
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


def reference_file(domain: str) -> str:
    """The optional file of a domain's adapter for pictures of the person (`prior.reference`)."""
    return f"reference_{domain}.safetensors"


def read_pack(path: Path | str, verify: bool = True) -> Pack:
    """Read and check a pack's manifest; with `verify`, every listed file's SHA-256 too.

    Raises UserError E_PACK_MISSING (no folder, manifest or listed file), E_PACK_FORMAT (not a manifest of this format,
    a path that leaves the folder, or nets that do not fit each other), E_PACK_HASH (a file is not the one that was
    listed, or is not listed at all; hidden files do not count).
    """
    root = Path(path)
    manifest = root / MANIFEST
    if not manifest.is_file():
        raise UserError("E_PACK_MISSING", f"There is no pack at {root}.", "Choose a folder that holds a pack.json.")
    try:
        data = json.loads(manifest.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _malformed(f"it is not JSON ({error})") from error
    pack = _parse(root, data)
    for name, digest in pack.files.items():
        file = root / name
        if not file.is_file():
            raise UserError("E_PACK_MISSING", f"The pack {pack.name} lacks its file {name}.", PACK_AGAIN)
        if verify and sha256(file) != digest.lower():
            raise UserError(
                "E_PACK_HASH", f"The file {name} of the pack {pack.name} is damaged or altered.", PACK_AGAIN
            )
    for name in _files(root):
        if name not in pack.files:
            raise UserError(
                "E_PACK_HASH", f"The pack {pack.name} does not list its file {name}.", f"Remove {name}. {PACK_AGAIN}"
            )
    _check_nets(pack)
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
    expressions: Mapping[str, Expression],
    distillation: Mapping[str, Any],
) -> Pack:
    """Hash every file in the folder `path` and write its pack.json; returns what was written.

    The arguments are `Pack`'s fields. Hidden files are left out. Raises UserError E_PACK_FORMAT or E_PACK_MISSING for
    what `read_pack` would refuse, before anything is written.
    """
    root = Path(path)
    data = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "licence": licence,
        "provenance": provenance,
        "image_size": image_size,
        "latent_scale": latent_scale,
        "schedule": dict(schedule),
        "prediction_type": prediction_type,
        "expressions": {n: asdict(e) for n, e in expressions.items()},
        "distillation": dict(distillation),
        "files": {n: sha256(root / n) for n in sorted(_files(root))},
    }
    pack = _parse(root, data)
    _check_nets(pack)
    temporary = root / f".{MANIFEST}.new"
    temporary.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(root / MANIFEST)
    return pack


def normalise_expressions(vectors: Array) -> Array:
    """y_exp (E,D) of text embeddings (E,D), whatever encoder they are of: centred, of unit variance over all entries.

    The one normalisation there is: training sees these vectors, and a pack carries them.
    """
    centred = vectors - vectors.mean(0)
    return (centred / max(float(centred.std()), 1e-12)).astype(np.float32)


def write_expressions(path: Path, names: tuple[str, ...], vectors: Array) -> None:
    """Write expressions.safetensors: y_exp (E,D) as `normalise_expressions` gives them."""
    save_file({n: np.ascontiguousarray(v, np.float32) for n, v in zip(names, vectors, strict=True)}, path)


def read_expressions(pack: Pack) -> dict[str, Array]:
    """y_exp of each of the pack's expressions: name to (D,) float32, in the pack's order.

    Raises UserError E_PACK_MISSING without expressions.safetensors, E_PACK_FORMAT if it does not hold exactly one
    finite vector per expression, all of one length.
    """
    try:
        vectors = load_file(pack.file(VECTORS))
    except (SafetensorError, TypeError) as error:  # the latter: bfloat16, which NumPy does not know
        raise UserError("E_PACK_FORMAT", f"{VECTORS} cannot be read ({error}).", PACK_AGAIN) from error
    shapes = {v.shape for v in vectors.values()}
    fits = vectors.keys() == pack.expressions.keys() and len(shapes) == 1 and len(next(iter(shapes))) == 1
    if not fits or not all(np.isfinite(v).all() for v in vectors.values()):
        raise UserError("E_PACK_FORMAT", f"{VECTORS} does not fit the pack's list of expressions.", PACK_AGAIN)
    return {name: vectors[name].astype(np.float32) for name in pack.expressions}


def check_expressions(pack: Pack, model: HeadModel) -> None:
    """Raises UserError E_PACK_FORMAT where an expression has a weight for what the head model cannot do."""
    for name, expression in pack.expressions.items():
        try:
            model.expression_vector(expression.weights)
        except KeyError as error:
            raise _malformed(f"the expression {name} needs {error}, which {HEAD_MODEL} does not have") from error


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(root: Path) -> Iterator[str]:
    """What a pack must list: every file in its folder but the manifest and hidden ones, in linked folders, too."""

    def within(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
        here = folder.resolve()
        if here in above:  # a link to where it lies has no end
            return
        for path in folder.iterdir():
            if path.name.startswith("."):
                continue
            if path.is_dir():
                yield from within(path, (*above, here))
            elif path.is_file():
                yield path

    names = (path.relative_to(root).as_posix() for path in within(root, ()))
    return (name for name in names if name != MANIFEST)


def _check_nets(pack: Pack) -> None:
    """That the nets' sizes belong together, from configurations and headers alone: torch need not be there."""

    def size(file: str, key: str) -> int:
        try:
            value = json.loads(pack.file(file).read_text(encoding="utf-8")).get(key)
        except (ValueError, AttributeError) as error:
            raise UserError(
                "E_PACK_FORMAT", f"{file} is not a network's configuration ({error}).", PACK_AGAIN
            ) from error
        if not isinstance(value, int):
            raise UserError("E_PACK_FORMAT", f"{file} has no {key}.", PACK_AGAIN)
        return value

    width, channels = size("unet/config.json", "cross_attention_dim"), size("vae/config.json", "latent_channels")
    pairs = [
        ("the U-Net and the text encoder", width, size("text/config.json", "hidden_size")),
        ("the U-Net's input and the autoencoder", size("unet/config.json", "in_channels"), channels),
        ("the U-Net's output and the autoencoder", size("unet/config.json", "out_channels"), channels),
    ]
    unet = json.loads(pack.file("unet/config.json").read_text(encoding="utf-8"))
    if more := [key for key in _MORE_INPUTS if unet.get(key) is not None]:
        raise UserError(
            "E_PACK_FORMAT", f"The pack's U-Net wants inputs that it is not given: it has {more[0]}.", PACK_AGAIN
        )
    normal, albedo = (_sizes(pack.file(f"{domain}.safetensors"), "exp_dim") for domain in ("normal", "albedo"))
    if normal != albedo:  # one base U-Net serves both
        raise UserError(
            "E_PACK_FORMAT", "The pack's nets do not fit: its two domains' adapters differ in size.", PACK_AGAIN
        )
    for name in filter(pack.files.__contains__, map(reference_file, ("normal", "albedo"))):
        _sizes(pack.file(name), "rank")
    length = len(next(iter(read_expressions(pack).values())))
    pairs.append((f"the adapters and {VECTORS}", int(normal["exp_dim"]), length))
    vae = json.loads(pack.file("vae/config.json").read_text(encoding="utf-8"))
    try:
        factor = 2 ** (len(vae["block_out_channels"]) - 1)
    except (KeyError, TypeError) as error:
        raise UserError("E_PACK_FORMAT", f"vae/config.json has no block_out_channels ({error}).", PACK_AGAIN) from error
    if pack.image_size % factor:
        raise UserError(
            "E_PACK_FORMAT", f"The pack's image_size is no multiple of its autoencoder's {factor}.", PACK_AGAIN
        )
    for names, one, other in pairs:
        if one != other:
            raise UserError("E_PACK_FORMAT", f"The pack's nets do not fit: {names} have {one} and {other}.", PACK_AGAIN)


def _sizes(path: Path, key: str) -> dict[str, Any]:
    """The configuration of an adapter file, which must have a whole number `key`."""
    try:
        with safe_open(path, "numpy") as stored:
            config: dict[str, Any] = json.loads(stored.metadata()["adapter_config"])
        return {**config, key: int(config[key])}
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError("E_PACK_FORMAT", f"{path.name} is not an adapter file ({error}).", PACK_AGAIN) from error


def _malformed(what: str) -> UserError:
    return UserError("E_PACK_FORMAT", f"The pack's {MANIFEST} cannot be used: {what}.", PACK_AGAIN)


def _parse(root: Path, data: object) -> Pack:
    if not isinstance(data, dict):
        raise _malformed("it is not an object")
    if data.get("format_version") != FORMAT_VERSION:
        raise UserError(
            "E_PACK_FORMAT",
            f"The pack has format version {data.get('format_version')!r}; this program reads {FORMAT_VERSION}.",
            "Install the pack and the program in versions that belong together.",
        )
    if data.get("prediction_type") not in ("epsilon", "v_prediction"):
        raise _malformed(f"the prediction type {data.get('prediction_type')!r} is unknown")
    image_size, latent_scale = _field(data, "image_size", int), float(_field(data, "latent_scale", float))
    if image_size < 8 or not latent_scale > 0.0:
        raise _malformed("image_size or latent_scale is out of range")
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
        raise _malformed("the schedule has unknown fields")
    betas = float(schedule["beta_start"]), float(schedule["beta_end"])
    if schedule["num_train_timesteps"] < 2 or not 0.0 < betas[0] <= betas[1] < 1.0:
        raise _malformed("the schedule's numbers are out of range")
    if schedule["beta_schedule"] not in ("linear", "scaled_linear"):
        raise _malformed(f"the beta schedule {schedule['beta_schedule']!r} is unknown")
    # As `schedule.make_schedule` has it, in NumPy: torch need not be there.
    power = 2 if schedule["beta_schedule"] == "scaled_linear" else 1
    roots = np.linspace(betas[0] ** (1 / power), betas[1] ** (1 / power), schedule["num_train_timesteps"])
    if np.prod(1 - roots**power) < _LEAST_SIGNAL:
        raise _malformed("the schedule leaves nothing of a picture at its end")
    return dict(schedule)


def _expressions(data: Mapping[str, Any]) -> dict[str, Expression]:
    if next(iter(data), None) != "neutral":
        raise _malformed("the first expression is not neutral")
    out: dict[str, Expression] = {}
    for name, value in data.items():
        plain = name.lower()  # file names are made of it, too
        taken = plain in _RESERVED or plain.startswith(_RESERVED_BEGINNINGS) or plain in (n.lower() for n in out)
        if taken or not _NAME.fullmatch(name):
            raise _malformed(f"an expression cannot be named {name!r}")
        if not isinstance(value, dict) or set(value) != {"text", "weights"}:
            raise _malformed(f"the expression {name} is not a text with weights")
        weights = _field(value, "weights", dict)
        out[name] = Expression(_field(value, "text", str), {k: float(_field(weights, k, float)) for k in weights})
    if out["neutral"].weights:
        raise _malformed("neutral has weights")
    return out


def _listed(files: Mapping[str, Any]) -> dict[str, str]:
    for name in files:
        _field(files, name, str)
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name or ":" in name:
            raise _malformed(f"the file path {name!r} leaves the folder")
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
        raise _malformed(f"{key} is absent or not a {kind.__name__}")
    return value
