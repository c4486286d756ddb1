# SPDX-License-Identifier: GPL-3.0-or-later
"""Where hair hides the skin of people who are mixed: there their maps show hair, painted under its mesh."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

from . import frame, mesh_data, mixture, naming, wrap
from .stepwise import Steps, in_thread, scaled

Floats = NDArray[np.float32]

SIDE = 128  # of the maps of cover: the border of hair is soft
_AWAY = 0.08  # metres within which hair before the skin hides it
_NEAR = 0.016  # metres from hair to skin that it leaves alone
_covers: dict[int, dict[str, Floats]] = {}  # of a head's mesh, by the role of its materials


def shares(heads: Sequence[Any], role: str, given: Sequence[float], donor: Any) -> list[Any]:
    """The share that each head has of the maps of a material, by its role: a number, or one for each place (S,S,1).
    donor: whose hair the mixture has, None for none, so that all is shown as it is painted."""
    covers = _known(heads, role)
    return mixture.where_bare(given, covers, list(heads).index(donor)) if covers and donor is not None else list(given)


def tinted(heads: Sequence[Any], role: str, given: Sequence[float], donor: Any, small: Sequence[Floats]) -> list[Any]:
    """`shares` for pictures of colour, of which small ones (S',S',4) are given: skin that stands in for another's has
    its tone."""
    out = shares(heads, role, given, donor)
    covers = _known(heads, role)
    if not covers or donor is None:
        return out
    size = small[0].shape[:2]
    bare = np.max([mixture.stretched(cover, *size)[..., 0] for cover in covers], axis=0) < 0.01
    if bare.any():
        number = list(heads).index(donor)
        tones = [np.median(picture[bare], axis=0) for picture in small]
        out[number] = out[number] + mixture.stand_in(given, covers, number, tones)
    return out


def _known(heads: Sequence[Any], role: str) -> list[Floats]:
    """The covers (S,S,1) of a material of all heads; none at all where no hair hides it."""
    found = [_covers.get(head.data.session_uid, {}).get(role) for head in heads]
    bare = np.zeros((SIDE, SIDE, 1), np.float32)
    return [bare if one is None else one for one in found] if any(one is not None for one in found) else []


def roles(heads: Sequence[Any]) -> set[str]:
    """Of the materials of skin, some of which hair may hide."""
    return {role for head in heads for role in _covers[head.data.session_uid]}


def learn(heads: Sequence[Any]) -> Steps[None]:
    """Steps to what `shares` and `roles` need of these heads; what is known already is not looked up again."""
    wanted = [(head, _slots(head)) for head in heads if head.data.session_uid not in _covers]
    done, step = 0.0, 1.0 / max(sum(len(slots) for _, slots in wanted), 1)
    for head, slots in wanted:
        own = {}
        for role, slot in slots.items():
            yield done
            skin = _Skin(head, slot)
            yield done
            hair = _hair(head)
            yield done
            own[role] = yield from scaled(in_thread(_cover(skin, hair)), done, done + step)
            done += step
        _covers[head.data.session_uid] = own


def _slots(head: Any) -> dict[str, int]:
    """Role -> slot of the materials of skin of a head with hair."""
    names = mesh_data.part_names(head)
    if "hair" not in names:
        return {}
    skin = np.isin(mesh_data.parts(head.data), [names.index(name) for name in frame.SKIN_PARTS if name in names])
    slots = np.unique(mesh_data.slots(head.data)[skin]).tolist()
    materials = {slot: head.data.materials[slot] for slot in slots}
    return {one[naming.ROLE]: slot for slot, one in materials.items() if one is not None and naming.ROLE in one}


def _triangles(mesh: Any) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """(T,3) vertices, (T,3) corners and (T,) face of each triangle."""
    mesh.calc_loop_triangles()
    count = len(mesh.loop_triangles)
    vertices, corners, face = np.empty(3 * count, np.int32), np.empty(3 * count, np.int32), np.empty(count, np.int32)
    mesh.loop_triangles.foreach_get("vertices", vertices)
    mesh.loop_triangles.foreach_get("loops", corners)
    mesh.loop_triangles.foreach_get("polygon_index", face)
    return vertices.reshape(-1, 3), corners.reshape(-1, 3), face


class _Skin:
    """A head's skin of one material, found by texel: points and normals (V,3), triangles (T,3), flat (T,3,3) in UV."""

    def __init__(self, head: Any, slot: int) -> None:
        vertices, corners, face = _triangles(head.data)
        own = mesh_data.slots(head.data)[face] == slot
        self.points = mesh_data.places(head.data.shape_keys.key_blocks[0])
        self.triangles = vertices[own]
        self.normals = wrap.vertex_normals(self.points, self.triangles)
        self.flat = np.pad(mesh_data.uv_of(head.data)[corners[own]], ((0, 0), (0, 0), (0, 1)))
        corner = np.arange(self.triangles.size).reshape(-1, 3)
        self.tree = BVHTree.FromPolygons(self.flat.reshape(-1, 3).tolist(), corner.tolist())

    def row(self, v: float) -> tuple[Floats, Floats]:
        """(S,3) the skin at each texel of a row, or at the one nearest to it, and its normals."""
        hits = [self.tree.find_nearest(((n + 0.5) / SIDE, v, 0.0)) for n in range(SIDE)]
        number = np.array([hit[2] for hit in hits])
        share = wrap.barycentric(np.array([hit[0][:] for hit in hits]), self.flat[number])[:, :, None]
        at = self.triangles[number]
        return (self.points[at] * share).sum(axis=1), (self.normals[at] * share).sum(axis=1)


def _hair(head: Any) -> BVHTree:
    vertices, _, face = _triangles(head.data)
    own = mesh_data.parts(head.data)[face] == mesh_data.part_names(head).index("hair")
    points = mesh_data.places(head.data.shape_keys.key_blocks[0])
    return BVHTree.FromPolygons(points.tolist(), vertices[own].tolist())


def _cover(skin: _Skin, hair: BVHTree) -> Steps[Floats]:
    """Steps to (S,S,1): 1 where hair lies before the skin, to 0 where it is not even near."""

    def of(place: Vector, normal: Vector) -> float:
        if hair.ray_cast(place, normal, _AWAY)[0] is not None:
            return 1.0
        distance = hair.find_nearest(place, _NEAR)[3]
        return 0.0 if distance is None else 1.0 - distance / _NEAR

    image = np.zeros((SIDE, SIDE, 1), np.float32)
    for n in range(SIDE):
        yield n / SIDE
        places, normals = skin.row((n + 0.5) / SIDE)
        image[n, :, 0] = [of(Vector(p), Vector(o)) for p, o in zip(places.tolist(), normals.tolist(), strict=True)]
    return image
