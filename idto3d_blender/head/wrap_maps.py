# SPDX-License-Identifier: GPL-3.0-or-later
"""Bakes a head's pictures to another mesh's UV: each texel takes the colour at the closest point of the head."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from . import blend_materials, naming, nodes, wrap, wrinkles
from .bundle import SKIN
from .pictures import packed
from .stepwise import Steps, in_thread, scaled

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

_SLICE = 20_000  # texels looked up at a time
_ROWS = 400  # triangles painted at a time
_BLEED = 6  # texels that colours run over the borders of the UV
_FLAT = (0.5, 0.5, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Textured:
    """points (V,3), triangles (T,3), uv (T,3,2) of their corners, slot (T,) of their material."""

    points: Floats
    triangles: Ints
    uv: Floats
    slot: Ints


def is_tiled(material: Any) -> bool:
    """A material has a picture for each tile of its UV (UDIM): a wrapped one has one."""
    nodes = material.node_tree.nodes if material.node_tree is not None else ()
    return any(n.type == "TEX_IMAGE" and n.image is not None and n.image.source == "TILED" for n in nodes)


def skin_of(head: Any) -> Any:
    """The material that a head was made with for its skin, or None."""
    return next((m for m in head.data.materials if m is not None and m.get(naming.ROLE) == SKIN), None)


def overlap(mesh: Textured) -> Steps[float]:
    """0..1: the share of a mesh's UV that lies over another part of it."""
    size, doubled, whole = 256, 0.0, 0.0
    for slot in np.unique(mesh.slot).tolist():
        uv = mesh.uv[mesh.slot == slot]
        ab, ac = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
        area = 0.5 * float(np.abs(ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]).sum()) * size**2
        number, _ = yield from _painted(uv - np.floor(uv.min(axis=1, keepdims=True)), size)
        doubled, whole = doubled + max(area - float((number >= 0).sum()), 0.0), whole + area
    return doubled / whole if whole else 0.0


def bake(made: Any, head: Any, target: Textured, source: Textured, nearest: wrap.Nearest) -> Steps[None]:
    """Steps that give ``made`` the head's skin as material, with pictures of its own for each material that it had,
    one of all tiles of its UV. target: ``made`` in the head's frame; source: the head's skin, of
    which ``nearest`` finds places. Nothing without UV; when closed early, no picture is left."""
    skin = skin_of(head)
    if skin is None or not np.ptp(target.uv):
        return
    slots = np.unique(target.slot).tolist()
    while len(made.data.materials) <= max(slots):
        made.data.materials.append(None)
    for turn, slot in enumerate(slots):
        chosen = target.slot == slot
        uv = target.uv[chosen]
        uv = uv - np.floor(uv.min(axis=1, keepdims=True))  # the tile may be any
        own = Textured(target.points, target.triangles[chosen], uv, target.slot[chosen])
        steps = _bake_one(made, head, own, source, nearest)
        images = yield from scaled(steps, turn / len(slots), (turn + 1) / len(slots))
        if images:
            made.data.materials[slot] = _material(made, head, skin, images)


def _bake_one(made: Any, head: Any, target: Textured, source: Textured, nearest: wrap.Nearest) -> Steps[dict[str, Any]]:
    """Pictures by role; none where the target has no area in its UV."""
    pictures = {role: node.image for material in head.data.materials for role, node in naming.roles(material)}
    kinds = [role.removeprefix(f"{SKIN}_") for role in pictures if role.startswith(f"{SKIN}_")]
    if not kinds:
        return {}
    size = max(pictures[f"{SKIN}_{kind}"].size[0] for kind in kinds)
    texels = yield from scaled(in_thread(_found(target, source, nearest, size)), 0.0, 0.7)
    own: dict[str, Any] = {}
    if texels is None:
        return own
    try:
        for kind in kinds:
            read = {one: _read(head.data.materials[one], kind, pictures) for one in np.unique(texels.slot).tolist()}
            role, done, step = f"{SKIN}_{kind}", 0.7 + 0.3 * len(own) / len(kinds), 0.15 / len(kinds)
            yield done
            pixels = yield from scaled(in_thread(_drawn(texels, read, kind)), done, done + step)
            packing = packed(f"{made.name} {role}", pixels, pictures[role])
            own[role] = yield from scaled(packing, done + step, done + 2 * step)
            own[role][naming.ROLE] = role
    except BaseException:
        bpy.data.batch_remove(list(own.values()))
        raise
    return own


@dataclass(frozen=True, eq=False)
class Texels:
    """What the texels of a picture show. target, source: the two meshes; number (H,W): triangle of the target, -1 for
    none; weight (N,3): where in it, for the N that there are; there: the nearest places on the source; uv (N,2) and
    slot (N,): its texture there."""

    target: Textured
    source: Textured
    number: Ints
    weight: Floats
    there: wrap.Found
    uv: Floats
    slot: Ints


def _found(target: Textured, source: Textured, nearest: wrap.Nearest, size: int) -> Steps[Texels | None]:
    number, share = yield from scaled(_painted(target.uv, size), 0.0, 0.3)
    own = np.flatnonzero(number.ravel() >= 0)
    if not len(own):
        return None
    owner, weight = number.ravel()[own], share.reshape(-1, 3)[own]
    places = (target.points[target.triangles[owner]] * weight[:, :, None]).sum(axis=1)
    found = []
    for begin in range(0, len(places), _SLICE):
        found.append(nearest(places[begin : begin + _SLICE]))
        yield 0.3 + 0.7 * begin / len(places)
    there = wrap.Found(*(np.concatenate([getattr(f, n) for f in found]) for n in ("place", "normal", "triangle")))
    within = wrap.barycentric(there.place, source.points[source.triangles[there.triangle]])
    uv = (source.uv[there.triangle] * within[:, :, None]).sum(axis=1)
    return Texels(target, source, number, weight, there, uv, source.slot[there.triangle])


def _drawn(texels: Texels, read: Mapping[int, Floats], kind: str) -> Steps[Floats]:
    """(H,W,4) a picture of one kind. read: of each material of the source its picture (h,w,4), or one value (4,)."""
    values = np.empty((len(texels.uv), 4), np.float32)
    for slot, pixels in read.items():
        mine = texels.slot == slot
        values[mine] = _sampled(pixels, texels.uv[mine]) if pixels.ndim > 1 else pixels
        yield 0.3
    if kind == "normal" or wrinkles.is_map(kind):
        values = _turned(values, texels)
        yield 0.6
    canvas = np.zeros((texels.number.size, 4), np.float32)
    canvas[np.flatnonzero(texels.number.ravel() >= 0)] = values
    return _bled(canvas.reshape(*texels.number.shape, 4), texels.number)


def _painted(uv: Floats, size: int) -> Steps[tuple[Ints, Floats]]:
    """(H,W) the triangle at each texel, -1 for none, and (H,W,3) where in it; row 0 is v = 0."""
    number, share = np.full((size, size), -1), np.zeros((size, size, 3), np.float32)
    corners = uv * size - 0.5
    low = np.ceil(corners.min(axis=1)).astype(int).clip(0, size - 1)
    high = np.floor(corners.max(axis=1)).astype(int).clip(0, size - 1)
    ab, ac = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    for t in np.flatnonzero((np.abs(area) > 1e-12) & (high >= low).all(axis=1)).tolist():
        (x0, y0), (x1, y1) = low[t], high[t]
        x = np.arange(x0, x1 + 1)[None] - corners[t, 0, 0]
        y = np.arange(y0, y1 + 1)[:, None] - corners[t, 0, 1]
        b = (x * ac[t, 1] - y * ac[t, 0]) / area[t]
        c = (y * ab[t, 0] - x * ab[t, 1]) / area[t]
        inside = (b >= -1e-6) & (c >= -1e-6) & (b + c <= 1 + 1e-6)
        number[y0 : y1 + 1, x0 : x1 + 1][inside] = t
        share[y0 : y1 + 1, x0 : x1 + 1][inside] = np.stack([1 - b - c, b, c], axis=-1)[inside]
        if t % _ROWS == 0:
            yield t / len(uv)
    return number, share


def _read(material: Any, kind: str, pictures: dict[str, Any]) -> Floats:
    """(h,w,4) a material's picture of a kind as it stores it, or one value (4,); of one that lacks an expression's
    albedo, its usual one."""
    role = str(material.get(naming.ROLE, "")) if material is not None else ""
    image = pictures.get(f"{role}_{kind}") or (pictures.get(f"{role}_albedo") if kind.startswith("albedo") else None)
    if image is not None:
        width, height = image.size
        pixels = np.empty((height, width, 4), np.float32)
        image.pixels.foreach_get(pixels.reshape(-1))
        return pixels
    plain = _FLAT if naming.is_ours(kind) else (0.0, 0.0, 0.0, 0.0)
    socket = {"roughness": "Roughness", "specular": "Specular IOR Level"}.get(kind)
    shader = nodes.shader_of(material)
    if socket and shader is not None and shader.kind() == nodes.PRINCIPLED:
        plain = (*(float(shader.node.inputs[socket].default_value),) * 3, 1.0)
    return np.array(plain, np.float32)


def _sampled(pixels: Floats, uv: Floats) -> Floats:
    """(N,4) values of a picture (h,w,4), bilinear; the centre of its first pixel lies at half a pixel."""
    height, width = pixels.shape[:2]
    x, y = (uv * (width, height) - 0.5).clip(0, (width - 1, height - 1)).T
    i, j = np.minimum(y.astype(int), height - 2).clip(0), np.minimum(x.astype(int), width - 2).clip(0)
    s, t = (x - j)[:, None], (y - i)[:, None]
    k, m = np.minimum(i + 1, height - 1), np.minimum(j + 1, width - 1)
    above = pixels[k, j] * (1 - s) + pixels[k, m] * s
    return np.asarray((pixels[i, j] * (1 - s) + pixels[i, m] * s) * (1 - t) + above * t)


def _turned(values: Floats, texels: Texels) -> Floats:
    """Normals in the frames of the head's UV, in those of the other's."""
    target, source, there, weight = texels.target, texels.source, texels.there, texels.weight
    owner = texels.number[texels.number >= 0]
    own = wrap.vertex_normals(target.points, target.triangles)
    normal = (own[target.triangles[owner]] * weight[:, :, None]).sum(axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-9)
    x, y, z = (2 * values[:, :3] - 1).T[:, :, None]
    tangent, bitangent = _frames(source, there.triangle, there.normal)
    world = x * tangent + y * bitangent + z * there.normal
    # A difference between the two surfaces' normals is no detail of the skin.
    tangent, bitangent = _frames(target, owner, normal)
    local = np.stack([(world * axis).sum(axis=1) for axis in (tangent, bitangent, normal)], axis=1)
    local /= np.linalg.norm(local, axis=1, keepdims=True).clip(1e-9)
    return np.concatenate([(local + 1) / 2, values[:, 3:]], axis=1).astype(np.float32)


def _frames(mesh: Textured, triangle: Ints, normal: Floats) -> tuple[Floats, Floats]:
    """Unit vectors (N,3) along which u and v grow, across the normals."""
    corners, uv = mesh.points[mesh.triangles], mesh.uv
    ab, ac = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    (du, dv), (eu, ev) = (uv[:, 1] - uv[:, 0]).T, (uv[:, 2] - uv[:, 0]).T
    sign = np.where(du * ev - dv * eu < 0, -1.0, 1.0)[triangle, None]
    tangent = (ab * ev[:, None] - ac * dv[:, None])[triangle] * sign
    tangent = tangent - (tangent * normal).sum(axis=1, keepdims=True) * normal
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True).clip(1e-12)
    return tangent, sign * np.cross(normal, tangent)


def _bled(canvas: Floats, number: Ints) -> Floats:
    known = number >= 0
    for _ in range(_BLEED):
        for axis, shift in ((0, 1), (0, -1), (1, 1), (1, -1)):
            beside = np.roll(known, shift, axis) & ~known
            canvas[beside] = np.roll(canvas, shift, axis)[beside]
            known = known | beside
    return canvas


def _material(made: Any, head: Any, skin: Any, own: dict[str, Any]) -> Any:
    material = skin.copy()
    material.name = f"{made.name} {SKIN}"
    for role, node in naming.roles(material):
        node.image = own.get(role, node.image)
    blend_materials.aim_drivers(material, head.data.shape_keys, made.data.shape_keys)
    return material
