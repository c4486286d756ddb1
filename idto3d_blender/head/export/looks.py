# SPDX-License-Identifier: GPL-3.0-or-later
"""What a material shows, as far as every format can say it: one Principled BSDF, each input a value or a picture. And
what it shows besides, which stays in Blender."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mathutils import Matrix

from .. import naming, nodes, strands, wrinkles
from ..nodes import Source
from .presets import Format

ALPHA_CLIP, ALPHA_BLEND = "clip", "blend"
# Kind of map -> the input of the Principled BSDF.
SOCKETS = {
    "albedo": "Base Color", "roughness": "Roughness", "specular": "Specular IOR Level", "normal": "Normal",
    "metallic": "Metallic", "transmission": "Transmission Weight", "emission": "Emission Color",
}  # fmt: skip
MAIN = "albedo"
SHEEN = ("Sheen Weight", "Sheen Roughness")  # of hair, whose tint is its albedo
_CHANNELS = ("Red", "Green", "Blue", "Alpha")
_CONSTANTS = {"VALUE": "Value", "RGB": "Color"}
_SHARP = ("ROUND", "GREATER_THAN", "LESS_THAN")
CLEAR = "transmission"
"""The map of where light goes through, which glTF alone can hold."""
_LINES = ("MATH", "VECT_MATH", "COMBXYZ", "VALUE")  # what our wrinkles are made of besides pictures and mixes
_ENOUGH = 1e-6


@dataclass(frozen=True)
class Look:
    """What a material says in an export: kind of map -> picture, input -> value where there is none; alpha: "opaque",
    "clip" or "blend"; channels: of the kinds of which one channel of the picture counts, which; cover: the picture that
    says what is there, and its channel; strength: of the normals; place: what is done to the UV before any picture is
    looked up, None where that is not the same for all."""

    maps: dict[str, Any]
    values: dict[str, Any]
    alpha: str
    channels: dict[str, int] = field(default_factory=dict)
    cover: tuple[Any, int] | None = None
    strength: float = 1.0
    place: Matrix | None = None


def look_of(given: Any, uv: str = "") -> Look:
    """What there is of a material, whatever nodes it has, on a mesh that is rendered by its layer ``uv``. One without a
    shader has its viewport colour."""
    shader = nodes.shader_of(given)
    if shader is None:
        return Look({}, {"Base Color": tuple(given.diffuse_color) if given else (0.8, 0.8, 0.8, 1.0)}, "opaque")
    if shader.kind() != nodes.PRINCIPLED:
        return _other(shader, uv)
    maps, channels, values, pictures = dict[str, Any](), dict[str, int](), dict[str, Any](), list[Source]()
    for kind, name in SOCKETS.items():
        picture = _picture(shader, kind)
        if picture is not None:
            maps[kind] = picture.node.image
            pictures.append(picture)
            if (channel := _channel(shader, name, picture)) is not None:
                channels[kind] = channel
        elif kind != "normal":
            values[name] = _value(shader, name)
    strength = _value(shader, "Emission Strength")
    if strength == 0:
        maps.pop("emission", None)
        values.pop("Emission Color", None)
    else:
        values["Emission Strength"] = strength
    values["IOR"] = _value(shader, "IOR")
    if MAIN in maps and _value(shader, SHEEN[0]) > 0 and shader.inputs("Sheen Tint").node is not None:
        values |= {name: _value(shader, name) for name in SHEEN}
    bumps = _value(_turn(shader), "Strength") if "normal" in maps else 1.0
    cover = _picture(shader, MAIN, "Alpha")
    if cover is None:
        values["Alpha"] = _value(shader, "Alpha")
        alpha, covers = "opaque" if values["Alpha"] >= 1 else ALPHA_BLEND, None
    else:
        pictures.append(cover)
        maths = [one.node.operation for one in _behind(shader, "Alpha") if one.kind() == "MATH"]
        # Programs that blend the sides of a shell draw those behind over those in front.
        cut = naming.CLIPPED in given or any(one in _SHARP for one in maths)
        alpha = ALPHA_CLIP if cut else ALPHA_BLEND
        covers = cover.node.image, _channel(shader, "Alpha", cover) or 0
    return Look(maps, values, alpha, channels, covers, bumps, _place(pictures, "normal" in maps, uv))


def notes(materials: Iterable[Any], uv: str, format: Format) -> list[str]:
    """What an export of these materials will not hold, a sentence for each kind of it; uv: see `look_of`."""
    told: dict[str, list[str]] = {}
    for material in dict.fromkeys(filter(None, materials)):
        for line in _left(material, uv, format):
            told.setdefault(line, []).append(material.name)
    return [line.format(", ".join(names)) for line, names in told.items()]


def _left(given: Any, uv: str, format: Format) -> Iterable[str]:
    shader, output = nodes.shader_of(given), nodes.output_of(given)
    if shader is None:
        if output is not None:
            yield "{} shows no surface in Blender: its viewport colour goes along"
        return
    look = look_of(given, uv)
    if shader.kind() != nodes.PRINCIPLED:
        yield "Of the shader of {}, which is no Principled BSDF, the colour goes along"
    elif nodes.kinds(given) != [nodes.PRINCIPLED] and not _is_hair(given):
        yield "Of the shaders that {} mixes, one Principled BSDF goes along"
    elif any(_is_changed(shader, name) for name in (*SOCKETS.values(), "Alpha")):
        yield "What nodes do to the pictures and values of {} stays in Blender"
    if any(output.inputs[name].is_linked for name in ("Displacement", "Volume")):
        yield "Displacement and volume of {} stay in Blender"
    pictures = [*look.maps.values(), *([look.cover[0]] if look.cover else [])]
    if any(image.source == "TILED" and len(image.tiles) > 1 for image in pictures):
        yield "Of the tiles (UDIM) of the pictures of {} the first goes along: give each tile a material of its own"
    if any(image.source in ("SEQUENCE", "MOVIE") for image in pictures):
        yield "Of the films that {} shows, one picture goes along"
    if pictures and look.place is None:
        yield "Where nodes put the pictures of {} stays in Blender: they lie by the UV alone"
    clear = CLEAR in look.maps or look.values.get(SOCKETS[CLEAR], 0.0) > 0
    if clear and format != "GLTF":
        yield "{} will let no light through: only glTF holds that"
    if shader.kind() == nodes.PRINCIPLED and any(map(_is_fade, _behind(shader, "Base Color"))):
        yield "Wrinkles and colours that expressions fade into {} stay in Blender"


def _other(shader: Source, uv: str) -> Look:
    """Of a shader of another kind its colour, which may shine by itself or be nothing but a hole."""
    if shader.kind() == "BSDF_TRANSPARENT":
        return Look({}, {"Alpha": 0.0}, ALPHA_BLEND)
    own, maps, values = shader.node.inputs, dict[str, Any](), dict[str, Any]()
    kind = MAIN
    if shader.kind() == "EMISSION":
        kind, values = "emission", {"Base Color": (0.0, 0.0, 0.0, 1.0), "Emission Strength": _value(shader, "Strength")}
    elif "Roughness" in own:
        values = {"Roughness": _value(shader, "Roughness")}
    picture = _picture(shader, MAIN, "Color") if "Color" in own else None
    if picture is not None:
        maps[kind] = picture.node.image
    elif "Color" in own:
        values[SOCKETS[kind]] = _value(shader, "Color")
    return Look(maps, values, "opaque", place=_place([picture] if picture is not None else [], False, uv))


def _behind(shader: Source, name: str) -> list[Source]:
    """What changes an input's value: not what says where a picture lies."""
    return nodes.upstream(shader.node.inputs[name], shader.around, past="TEX_IMAGE")


def _turn(shader: Source) -> Source:
    """The node that reads the nearest picture of normals; without a node where there is none."""
    turns = (one for one in _behind(shader, "Normal") if _is_turn(one))
    return next(turns, Source(None, None, shader.node.inputs["Normal"], shader.around))


def _picture(shader: Source, kind: str, name: str = "") -> Source | None:
    """The picture that an input's value comes from: the node that has the kind's name, or else the nearest one."""
    if kind == "normal":
        if _is_coated(shader) or _turn(shader).node is None:  # heights are no normals
            return None
        shader, name = _turn(shader), "Color"
    name = name or SOCKETS[kind]
    found = [] if _is_nothing(shader.inputs(name)) else _behind(shader, name)
    pictures = [one for one in found if one.kind() == "TEX_IMAGE" and one.node.image is not None]
    return next((one for one in pictures if one.node.name == kind), pictures[0] if pictures else None)


def _is_turn(one: Source) -> bool:
    """It reads normals as all formats have them."""
    return one.kind() == "NORMAL_MAP" and one.node.space == "TANGENT"


def _channel(shader: Source, name: str, picture: Source) -> int | None:
    """Which channel of a picture an input takes, None where it takes its colour."""
    if shader.node.inputs[name].type != "VALUE":
        return None
    apart = (one.output.name for one in _behind(shader, name) if _is_apart(one))
    taken = next(apart, picture.output.name)
    return _CHANNELS.index(taken) if taken in _CHANNELS else None


def _is_apart(one: Source) -> bool:
    return one.kind() == "SEPARATE_COLOR" and one.node.mode == "RGB"


def _is_nothing(source: Source) -> bool:
    """A picture times 0, as importers plug in what a file has for another input."""
    times = source.kind() == "MATH" and source.node.operation == "MULTIPLY"
    return times and any(not put.is_linked and put.default_value == 0 for put in source.node.inputs[:2])


def _is_coated(shader: Source) -> bool:
    """Its relief lies under a coat, which the formats have not: as our wet materials are made."""
    return shader.node.inputs["Coat Weight"].default_value > 0 and shader.inputs("Roughness").kind() == "VALUE"


def _value(shader: Source, name: str) -> Any:
    """Of an input: what it holds, or a node that holds nothing but a value."""
    own, source = shader.node.inputs[name], shader.inputs(name)
    dulled = _is_coated(shader) if "Coat Weight" in shader.node.inputs else False
    if source.kind() in _CONSTANTS and not (dulled and name in ("Roughness", "Specular IOR Level")):
        value = source.output.default_value
    else:
        value = (source.put if source.node is None else own).default_value
    wanted = own.default_value
    if hasattr(wanted, "__len__"):
        return tuple(value) if hasattr(value, "__len__") else (value, value, value, 1.0)
    return float(sum(value[:3]) / 3 if hasattr(value, "__len__") else value)


def _place(pictures: list[Source], turns: bool, uv: str) -> Matrix | None:
    """What is done to the UV before these pictures are looked up, None where it cannot be done to the mesh instead.
    turns: normals are among them, which lean by the UV itself."""
    places = [_mapped(one, uv) for one in pictures]
    first = places[0] if places else Matrix()
    if first is None or any(one is None or _apart(one, first) > _ENOUGH for one in places):
        return None
    straight = first[0][0] > 0 and first[1][1] > 0 and abs(first[0][1]) + abs(first[1][0]) < _ENOUGH
    return first if straight or not turns else None


def _mapped(picture: Source, uv: str) -> Matrix | None:
    if picture.node.projection != "FLAT":
        return None
    source, matrix = picture.inputs("Vector"), Matrix()
    if source.kind() == "MAPPING" and source.node.vector_type in ("POINT", "TEXTURE"):
        given = [source.inputs(name) for name in ("Location", "Rotation", "Scale")]
        if any(one.node is not None for one in given):
            return None
        location, rotation, scale = (one.put.default_value.copy() for one in given)
        matrix = Matrix.LocRotScale(location, rotation, scale)
        if source.node.vector_type == "TEXTURE":
            matrix = matrix.inverted_safe()
        source = source.inputs("Vector")
        if source.node is None:  # a mapping of no place
            return None
    plain = source.node is None or source.kind() == "TEX_COORD" and source.output.identifier == "UV"
    return matrix if plain or source.kind() == "UVMAP" and source.node.uv_map in ("", uv) else None


def _apart(one: Matrix, other: Matrix) -> float:
    return max(abs(a - b) for row, same in zip(one, other, strict=True) for a, b in zip(row, same, strict=True))


def _is_changed(shader: Source, name: str) -> bool:
    """Nodes of the user's lie between a picture, or nothing, and an input, which stay in Blender."""
    if shader.inputs(name).kind() in _CONSTANTS:
        return False
    found, taken = _behind(shader, name), shader.node.inputs[name].type == "VALUE"
    lined = any(one.kind() == "VALUE" and one.node.name == wrinkles.STRENGTH for one in found)
    for one in found:
        plain = one.kind() == "TEX_IMAGE" or _is_apart(one) and taken or _is_turn(one) or _is_fade(one)
        cuts = name == "Alpha" and one.kind() == "MATH" and one.node.operation in _SHARP
        if not (plain or cuts or lined and one.kind() in _LINES):
            return True
    return False


def _is_fade(one: Source) -> bool:
    """A mix of ours, which a key's value drives, or that darkens a crease."""
    if one.kind() != "MIX":
        return False
    data, own = one.node.id_data.animation_data, one.node.path_from_id()
    driven = data is not None and any(curve.data_path.startswith(f"{own}.inputs") for curve in data.drivers)
    return driven or wrinkles.is_crease(one.node)


def _is_hair(given: Any) -> bool:
    """The shaders are those by which our hair takes light, which the guide tells of."""
    return given.get(naming.ROLE) == strands.SHELL and strands.KINDS.issuperset(nodes.kinds(given))
