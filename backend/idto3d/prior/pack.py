# SPDX-License-Identifier: GPL-3.0-or-later
"""A pack: the folder of weights that a prior is loaded from (docs/architecture.md, contract 1)."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from ..arrays import Array
from ..errors import FULL, PACK_AGAIN, UserError
from ..expressions import Expression
from ..headmodel import HeadModel
from .manifest import FORMAT_VERSION, HEAD_MODEL, MANIFEST, VECTORS, Pack, malformed, parse_manifest

# What makes a U-Net ask for more than a prior is given: a class, a picture's size, how strong guidance shall be.
_MORE_INPUTS = ("class_embed_type", "num_class_embeds", "addition_embed_type", "time_cond_proj_dim")


def reference_file(domain: str) -> str:
    """The optional file of a domain's adapter for pictures of the person (`prior.reference`)."""
    return f"reference_{domain}.safetensors"


def read_pack(path: Path | str, verify: bool = True) -> Pack:
    """Read and check a pack's manifest; with `verify`, every listed file's SHA-256 too.

    Raises UserError E_PACK_MISSING (no folder, manifest or listed file, or one that the system does not give),
    E_PACK_FORMAT (not a manifest of this format, a path that leaves the folder, or nets that do not fit each other),
    E_PACK_HASH (a file is not the one that was listed, or is not listed at all; hidden files do not count).
    """
    root = Path(path)
    try:
        data = json.loads(read_manifest(root))
    except (ValueError, RecursionError) as error:
        raise malformed(f"it is not JSON ({error})") from error
    pack = parse_manifest(root, data)
    for name, digest in pack.files.items():
        file = root / name
        with _reading(file):
            if not file.is_file():
                raise UserError("E_PACK_MISSING", f"The pack {pack.name} lacks its file {name}.", PACK_AGAIN)
            if verify and sha256(file) != digest.lower():
                raise UserError(
                    "E_PACK_HASH", f"The file {name} of the pack {pack.name} is damaged or altered.", PACK_AGAIN
                )
    with _reading(root):
        unlisted = next((name for name in _files(root) if name not in pack.files), None)
    if unlisted is not None:
        message = f"The pack {pack.name} does not list its file {unlisted}."
        raise UserError("E_PACK_HASH", message, f"Remove {unlisted}. {PACK_AGAIN}")
    _check_nets(pack)
    return pack


def read_manifest(path: Path | str) -> str:
    """The text of a pack's manifest. Raises UserError E_PACK_MISSING, E_PACK_FORMAT."""
    manifest = Path(path) / MANIFEST
    with _reading(manifest):
        if not manifest.is_file():
            raise UserError("E_PACK_MISSING", f"There is no pack at {path}.", "Choose a folder that holds a pack.json.")
        try:
            return manifest.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise malformed(f"it is no text ({error})") from error


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
    pack = parse_manifest(root, data)
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
            raise malformed(f"the expression {name} needs {error}, which {HEAD_MODEL} does not have") from error


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What the system says of a file or folder that it does not give, as the user's E_PACK_MISSING; a full disk stays
    what it is."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise
        message = f"{path} of the pack cannot be read: {error.strerror or error}."
        fix = "See to it that you may read it and that its disk is sound, or choose another pack."
        raise UserError("E_PACK_MISSING", message, fix) from error


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
