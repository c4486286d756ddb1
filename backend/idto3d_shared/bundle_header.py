# SPDX-License-Identifier: GPL-3.0-or-later
"""head.json of a bundle: what it must say, and what it may not."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from .errors import BundleError

UNITS = "metres"
MAPS = "maps"
KINDS = ("albedo", "roughness", "specular", "normal", "seen")
SKIN = "skin"
WRINKLES = re.compile(r"wrinkles_[a-z0-9_]{1,40}")
"""Kinds of the maps that the list `wrinkles` in head.json names."""
GROUPS = ("expression", "arkit", "viseme")
"""What an expression is: one of the head's own, one of Apple's 52, or a mouth shape of speech."""
ALPHAS = ("opaque", "clip", "blend")
Alpha = Literal["opaque", "clip", "blend"]
# Names of expressions and materials become file names and names in Blender: ASCII, at most Blender 4's 63 bytes.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
# The neutral pose is the Basis, never a key of its own.
_RESERVED = ("neutral", "basis")
_MOST_BYTES = 1 << 22
_MOST_MATERIALS = 64
_MOST_FADES = 48
_TYPES: dict[str, type] = {
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


@dataclass(frozen=True)
class MaterialHeader:
    """A material. alpha: what the albedo's fourth channel means; colour: of the whole, sRGB and opacity 0..1, or None
    in format 1; roughness, specular: one value, or None where there is a map; maps: albedo, roughness, specular,
    normal, seen, albedo_<expression> and wrinkles_... -> file name below the bundle's folder."""

    name: str
    alpha: Alpha
    colour: tuple[float, float, float, float] | None
    roughness: float | None
    specular: float | None
    maps: Mapping[str, str]


@dataclass(frozen=True)
class Fade:
    """How much of a wrinkle map is seen where a channel (0..2) of a mask is 1: the sum of an expression's value times
    its gain over all that have one, at most 1. map, mask: kinds of maps of the skin."""

    map: str
    mask: str
    channel: int
    gains: Mapping[str, float]


@dataclass(frozen=True)
class Header:
    """head.json, checked. expression_groups: of each of expressions, one of GROUPS; fades: of the skin's wrinkle maps;
    info: all of it."""

    version: int
    expressions: tuple[str, ...]
    expression_groups: tuple[str, ...]
    parts: tuple[str, ...]
    materials: tuple[MaterialHeader, ...]
    info: Mapping[str, Any]
    fades: tuple[Fade, ...] = ()


def read_header(file: Path, versions: Sequence[int]) -> Header:
    """Read and check head.json. Raises BundleError, and OSError."""
    info = _parse(file)
    version = info.get("format_version")
    if isinstance(version, bool) or version not in versions:
        known = " and ".join(map(str, versions))
        raise BundleError(
            "E_BUNDLE_VERSION",
            f"This head has format version {str(version)[:20]}, this program reads {known}.",
            "Update the extension and the generator to the same release.",
        )
    if info.get("units") != UNITS:
        raise BundleError("E_BUNDLE_UNITS", f"The units are {str(info.get('units'))[:20]}, not {UNITS}.")
    for key, kind in _TYPES.items():
        if not isinstance(info.get(key), kind) or isinstance(info[key], bool):
            raise BundleError("E_BUNDLE_JSON", f"head.json has no {key} of type {kind.__name__}.")
    _check_photos(info["photos"])
    expressions = _names(info["expressions"], "E_BUNDLE_EXPRESSIONS", "an expression's name", _RESERVED)
    groups = _groups(info.get("expression_groups"), len(expressions))
    if version == 1:
        return Header(1, expressions, groups, ("head",), (_format_1(file.parent, expressions),), info)
    parts = _names(info.get("parts"), "E_BUNDLE_JSON", "a part's name")
    fades = _fades(info.get("wrinkles", []), expressions)
    materials = _with_wrinkles(_materials(info.get("materials"), expressions), fades)
    return Header(2, expressions, groups, parts, materials, info, fades)


def _parse(file: Path) -> dict[str, Any]:
    if file.stat().st_size > _MOST_BYTES:
        raise BundleError("E_BUNDLE_JSON", "head.json is too large.")
    try:
        info = json.loads(file.read_bytes().decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
        # Half a surrogate pair is no text: it could be neither shown nor written again.
        json.dumps(info, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError, MemoryError) as error:
        raise BundleError("E_BUNDLE_JSON", f"head.json cannot be read: {str(error)[:200]}.") from error
    if not isinstance(info, dict):
        raise BundleError("E_BUNDLE_JSON", "head.json is not an object.")
    return info


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _check_photos(photos: list[Any]) -> None:
    for photo in photos:
        score = photo.get("identity_score", "") if isinstance(photo, dict) else ""
        if not (
            isinstance(photo, dict)
            and isinstance(photo.get("name"), str)
            and (score is None or _number(score) is not None)
            and isinstance(photo.get("verdict", {}), dict)
        ):
            raise BundleError("E_BUNDLE_JSON", "A photo in head.json has no name and identity_score.")


def _names(given: Any, code: str, what: str, reserved: tuple[str, ...] = ()) -> tuple[str, ...]:
    if not isinstance(given, list):
        raise BundleError("E_BUNDLE_JSON", f"head.json lacks a list where {what} stands.")
    seen = set(reserved)
    for name in given:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() in reserved:
            raise BundleError(code, f"{str(name)[:70]!r} cannot be {what}.")
        if name.lower() in seen:
            raise BundleError(code, f"{name!r} is there twice.")
        seen.add(name.lower())
    return tuple(given)


def _groups(given: Any, count: int) -> tuple[str, ...]:
    """Bundles of before there were groups have expressions only."""
    if given is None:
        return (GROUPS[0],) * count
    if not isinstance(given, list) or len(given) != count or not all(one in GROUPS for one in given):
        raise BundleError("E_BUNDLE_EXPRESSIONS", "head.json's expression_groups do not fit its expressions.")
    return tuple(given)


def _format_1(folder: Path, expressions: Sequence[str]) -> MaterialHeader:
    maps = {name: f"{name}.png" for name in ("albedo", "roughness", "specular")}
    own = {f"albedo_{name}": f"albedo_{name}.png" for name in expressions}
    maps |= {name: file for name, file in own.items() if (folder / file).is_file()}
    return MaterialHeader(SKIN, "opaque", None, None, None, maps)


def _materials(given: Any, expressions: Sequence[str]) -> tuple[MaterialHeader, ...]:
    if not isinstance(given, list) or not 0 < len(given) <= _MOST_MATERIALS:
        raise BundleError("E_BUNDLE_JSON", "head.json has no list of materials.")
    if not all(isinstance(one, dict) for one in given):
        raise BundleError("E_BUNDLE_JSON", "A material in head.json is not an object.")
    _names([one.get("name") for one in given], "E_BUNDLE_JSON", "a material's name")
    made = tuple(_material(one, expressions) for one in given)
    files = [file.lower() for material in made for file in material.maps.values()]
    if len(set(files)) != len(files):
        raise BundleError("E_BUNDLE_JSON", "Two maps have the same file.")
    return made


def _material(given: dict[str, Any], expressions: Sequence[str]) -> MaterialHeader:
    name, alpha, colour, maps = (given.get(key) for key in ("name", "alpha", "colour", "maps"))
    whole = f"The material {name} lacks something in head.json."
    if not (
        alpha in ALPHAS
        and isinstance(colour, list)
        and len(colour) == 4
        and all(_unit(one) is not None for one in colour)
        and isinstance(maps, list)
        and "albedo" in maps
        and all(isinstance(kind, str) for kind in maps)
    ):
        raise BundleError("E_BUNDLE_JSON", whole)
    values = {key: _unit(given.get(key)) for key in ("roughness", "specular")}
    if any((value is None) != (key in maps) for key, value in values.items()):
        raise BundleError("E_BUNDLE_JSON", whole)
    for kind in maps:
        expression = kind.removeprefix("albedo_")
        if maps.count(kind) > 1 or (kind == expression and kind not in KINDS):
            raise BundleError("E_BUNDLE_JSON", f"The material {name} has an unknown map.")
        if kind != expression and expression not in expressions:
            raise BundleError("E_BUNDLE_EXPRESSIONS", f"{name}_{kind[:70]}.png belongs to no expression.")
    files = {kind: f"{MAPS}/{name}_{kind}.png" for kind in maps}
    tone = cast(tuple[float, float, float, float], tuple(map(float, colour)))
    return MaterialHeader(str(name), cast(Alpha, alpha), tone, values["roughness"], values["specular"], files)


def _fades(given: Any, expressions: Sequence[str]) -> tuple[Fade, ...]:
    if not isinstance(given, list) or len(given) > _MOST_FADES:
        raise BundleError("E_BUNDLE_JSON", "head.json has no list of wrinkles.")
    return tuple(_fade(one, expressions) for one in given)


def _fade(given: Any, expressions: Sequence[str]) -> Fade:
    fade = given if isinstance(given, dict) else {}
    kinds, channel, gains = (fade.get("map"), fade.get("mask")), fade.get("channel"), fade.get("gains")
    if not (
        all(isinstance(kind, str) and WRINKLES.fullmatch(kind) for kind in kinds)
        and kinds[0] != kinds[1]
        and type(channel) is int
        and channel in (0, 1, 2)
        and isinstance(gains, dict)
        and all(_unit(gain) is not None for gain in gains.values())
    ):
        raise BundleError("E_BUNDLE_JSON", "A wrinkle in head.json lacks something.")
    if not gains.keys() <= {*expressions}:
        raise BundleError("E_BUNDLE_EXPRESSIONS", "There is a wrinkle of what is no expression.")
    return Fade(str(kinds[0]), str(kinds[1]), int(channel), {name: float(gain) for name, gain in gains.items()})


def _with_wrinkles(materials: tuple[MaterialHeader, ...], fades: Sequence[Fade]) -> tuple[MaterialHeader, ...]:
    kinds = dict.fromkeys(kind for fade in fades for kind in (fade.map, fade.mask))
    if kinds and SKIN not in [material.name for material in materials]:
        raise BundleError("E_BUNDLE_JSON", "There are wrinkles and no skin.")
    more = {kind: f"{MAPS}/{SKIN}_{kind}.png" for kind in kinds}
    return tuple(replace(m, maps={**m.maps, **more}) if m.name == SKIN else m for m in materials)


def _unit(value: Any) -> float | None:
    """As a float, where it is a number from 0 to 1."""
    number = _number(value)
    return number if number is not None and 0 <= number <= 1 else None


def _number(value: Any) -> float | None:
    """As a float, where it is a number that is one: not a truth value, not an integer of a thousand digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e30 else None
