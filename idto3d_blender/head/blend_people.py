# SPDX-License-Identifier: GPL-3.0-or-later
"""Two or more heads mixed to a new one: shape and skin by shares, hair from one of them or none.

Heads of one pack have the same skin, vertex by vertex; only the hair is each one's own. While the shares are chosen,
the new head's places are mixed as the sliders move, and its pictures by nodes of its materials; `finish` then makes
keys and pictures of its own of them.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bmesh
import bpy
import numpy as np
from numpy.typing import NDArray

from . import applied, blend_materials, frame, hand_over, mesh_data, mixture, naming, rig_keys
from .import_head import PROPERTY, run_to_end
from .stepwise import Steps, scaled

HAIR = "hair"
_ANCHORS = 40


@dataclass(frozen=True, eq=False)
class Body:
    """A head without its hair. points (B,), hair (H,): numbers of its vertices, and of those that are only hair's;
    faces: the corners of its faces, as numbers into points."""

    points: NDArray[np.intp]
    hair: NDArray[np.intp]
    faces: NDArray[np.intp]


def body_of(obj: Any) -> Body:
    """Which vertices of a head are the same in every head. Quick: a slider asks for it at every step."""
    mesh = obj.data
    names = mesh_data.part_names(obj)
    corners, count = mesh_data.corners(mesh)
    hairy = np.repeat(mesh_data.parts(mesh) == names.index(HAIR), count) if HAIR in names else corners < 0
    is_body, is_hair = (np.zeros(len(mesh.vertices), bool) for _ in range(2))
    is_body[corners[~hairy]], is_hair[corners[hairy]] = True, True
    number = np.cumsum(is_body) - 1
    return Body(np.flatnonzero(is_body), np.flatnonzero(is_hair & ~is_body), number[corners[~hairy]])


def why_not(heads: Sequence[Any]) -> str:
    """Why these heads cannot be mixed, as a sentence; empty when they can."""
    bodies = [body_of(head) for head in heads]
    for head, body in zip(heads[1:], bodies[1:], strict=True):
        if len(body.points) != len(bodies[0].points) or not np.array_equal(body.faces, bodies[0].faces):
            return f"{head.name} has another mesh than {heads[0].name}: they are of different packs, or were edited"
    if gone := next((image for head in heads for image in naming.missing(head)), None):
        return f"The picture {gone.name} is not where it was: File > External Data > Find Missing Files"
    return ""


def begin(heads: Sequence[Any], collection: Any) -> Steps[Any]:
    """Steps to a new head in ``collection``, as the first of ``heads``, with its hair. Closed early, it is gone."""
    made = bpy.data.objects.new(" + ".join(head.name for head in heads)[:50], _mesh(heads[0]))
    made[PROPERTY] = heads[0][PROPERTY].to_dict()
    naming.own_collection(made, collection)
    made.data.name = made.name
    try:
        yield from blend_materials.begin(made, heads)
    except BaseException:
        discard(made, heads)
        raise
    return made


def discard(made: Any, heads: Sequence[Any]) -> None:
    """Remove a new head of `begin`, and all that is its own."""
    collections = list(made.users_collection)
    own = blend_materials.own_data(made, heads)
    naming.remove_objects([made])
    bpy.data.batch_remove(own)
    naming.remove_empty(collections)


def set_hair(made: Any, heads: Sequence[Any], donor: Any) -> None:
    """Give the new head the hair of ``donor``, one of ``heads``, or none (None)."""
    old = made.data
    values = {key.name: key.value for key in old.shape_keys.key_blocks[1:]}
    own = {material[naming.ROLE]: material for material in old.materials if material and naming.ROLE in material}
    mesh = _mesh(donor or heads[0])
    made.data = mesh
    made[PROPERTY] = {**made[PROPERTY].to_dict(), "parts": (donor or heads[0])[PROPERTY]["parts"]}
    hairy = blend_materials.only_hair(made)
    for slot, material in enumerate(mesh.materials):
        role = material.get(naming.ROLE) if material is not None else None
        if slot not in hairy and role in own:
            mesh.materials[slot] = own[role]
            blend_materials.aim_drivers(own[role], old.shape_keys, mesh.shape_keys)
    for key in mesh.shape_keys.key_blocks[1:]:
        key.value = values.get(key.name, 0.0)
    hand_over.give_motion(old.shape_keys, mesh.shape_keys)
    hand_over.give_drivers(old.shape_keys, mesh.shape_keys)
    if donor is None:
        _shave(made)
    if old.users == 0:
        bpy.data.meshes.remove(old)
    mesh.name = made.name


def move(made: Any, heads: Sequence[Any], weights: Sequence[float], donor: Any) -> None:
    """Bring the new head's shape to the mixture; keys at 0, which do not show, stay the first person's on it."""
    _put(made, heads, weights, run_to_end(_mixed(made, heads, weights, donor, all_keys=False)))


def _mixed(
    made: Any, heads: Sequence[Any], weights: Sequence[float], donor: Any, all_keys: bool
) -> Steps[dict[str, NDArray[np.float32]]]:
    """Steps, one a key, to where keys put the vertices (V,3) of the mixture: the neutral one is the last. None at all
    where somebody has cut the mesh."""
    blocks = made.data.shape_keys.key_blocks
    own = body_of(made)
    bodies = [body_of(head) for head in heads]
    if any(len(body.points) != len(own.points) for body in bodies):
        return {}
    sources = [head.data.shape_keys.key_blocks for head in heads]
    first = [mesh_data.places(keys[0])[body.points] for keys, body in zip(sources, bodies, strict=True)]
    basis = mesh_data.places(blocks[0])
    basis[own.points] = mixture.mixed(first, weights)
    hair = np.zeros((0, 3), np.float32)
    if donor is not None and len(own.hair):
        skin = first[list(heads).index(donor)]
        anchors = np.linspace(0, _skin(made, own) - 1, _ANCHORS).astype(int)
        theirs = bodies[list(heads).index(donor)].hair
        hair = mesh_data.places(donor.data.shape_keys.key_blocks[0])[theirs]
        basis[own.hair] = mixture.carried(hair, skin[anchors], basis[own.points][anchors])
    places = {}
    for block in blocks[1:]:
        if not (all_keys or block.value):
            continue
        yield 0.0
        if any(block.name not in keys for keys in sources):  # `finish` drops it
            places[block.name] = basis
            continue
        offset = np.zeros_like(basis)
        parts = [mesh_data.places(k[block.name])[b.points] - f for k, b, f in zip(sources, bodies, first, strict=True)]
        offset[own.points] = mixture.mixed(parts, weights)
        if donor is not None and len(own.hair):
            offset[own.hair] = mesh_data.places(donor.data.shape_keys.key_blocks[block.name])[theirs] - hair
        places[block.name] = basis + offset
    return {**places, blocks[0].name: basis}


def _put(made: Any, heads: Sequence[Any], weights: Sequence[float], places: dict[str, NDArray[np.float32]]) -> None:
    """Move the keys to these places."""
    if not places:
        return
    blocks = made.data.shape_keys.key_blocks
    step = places[blocks[0].name] - mesh_data.places(blocks[0])
    for block in blocks:
        # A key that was not mixed goes along as it is: it holds places, not offsets.
        place = places[block.name] if block.name in places else mesh_data.places(block) + step
        block.points.foreach_set("co", place.ravel())
    made.data.attributes["position"].data.foreach_set("vector", places[blocks[0].name].ravel())
    origins = [np.array(head.data.get(frame.ORIGIN, (0.0, 0.0, 0.0)), np.float32) for head in heads]
    made.data[frame.ORIGIN] = mixture.mixed(origins, weights).tolist()
    made.data.update()


def finish(
    made: Any, heads: Sequence[Any], shape: Sequence[float], skin: Sequence[float], donor: Any
) -> Steps[list[str]]:
    """Steps that make the mixture the new head's own: keys, pictures, values of the materials, and the first one's
    drivers; closed early, it stays what it was. Returns the names of keys that not all of ``heads`` have, and that are
    left out."""
    pictures = yield from blend_materials.mix_pictures(made, heads, skin, donor)
    try:
        places = yield from scaled(_mixed(made, heads, shape, donor, all_keys=True), 1.0, 1.0)
    except BaseException:
        bpy.data.batch_remove(list(pictures.values()))
        raise
    _put(made, heads, shape, places)
    applied.note(made)
    each = [dict.fromkeys(key.name for key in head.data.shape_keys.key_blocks[1:]) for head in heads]
    lost = [name for name in dict.fromkeys(itertools.chain(*each)) if not all(name in own for own in each)]
    lost = [name for name in lost if not rig_keys.is_twin(name)]
    for key in [key for key in made.data.shape_keys.key_blocks[1:] if key.name in lost]:
        key.driver_remove("value")  # up to 4.2 Blender keeps it
        made.shape_key_remove(key)
    hand_over.give_drivers(heads[0].data.shape_keys, made.data.shape_keys)
    _aim_at(made, heads[0])
    blend_materials.finish(made, heads, skin, pictures)
    info = made[PROPERTY].to_dict()
    people = zip(heads, shape, skin, strict=True)
    info["blend"] = ", ".join(f"{head.name}: shape {a:.2f}, skin {b:.2f}" for head, a, b in people)
    for name in ("licence", "consent", "pack", "seed"):
        info[name] = " / ".join(dict.fromkeys(str(head[PROPERTY].get(name, "")) for head in heads))
    made[PROPERTY] = info
    naming.name_after(made)
    return lost


def drivers_left(heads: Sequence[Any]) -> list[str]:
    """Whose keys have drivers of the user's that the new head does not get: two would move one key."""
    driven = [hand_over.driven_keys(head.data.shape_keys) for head in heads]
    return [
        head.name for head, names in zip(heads[1:], driven[1:], strict=True) if not all(map(rig_keys.is_twin, names))
    ]


def _aim_at(made: Any, first: Any) -> None:
    """Drivers of the new head's keys that read the first one's object, which may go, read the new one."""
    data = made.data.shape_keys.animation_data
    variables = [variable for curve in (data.drivers if data else ()) for variable in curve.driver.variables]
    for target in [target for variable in variables for target in variable.targets if target.id == first]:
        name = target.data_path.removeprefix('["').removesuffix('"]')
        if name in first and name not in made:
            made[name] = first[name]
        target.id = made


def _mesh(head: Any) -> Any:
    """A copy of a head's mesh with keys that nothing moves, without those of a rig."""
    mesh = head.data.copy()
    keys = mesh.shape_keys
    keys.animation_data_clear()
    shell = bpy.data.objects.new("shell", mesh)
    for block in list(keys.key_blocks[1:]):
        if rig_keys.is_twin(block.name):
            shell.shape_key_remove(block)
        else:
            block.value = 0.0
    masks = {block.vertex_group for block in keys.key_blocks}
    for group in [group for group in shell.vertex_groups if group.name not in masks]:
        shell.vertex_groups.remove(group)
    bpy.data.objects.remove(shell)
    return mesh


def _shave(made: Any) -> None:
    hair = set(body_of(made).hair.tolist())
    work = bmesh.new()
    work.from_mesh(made.data)
    bmesh.ops.delete(work, geom=[vertex for vertex in work.verts if vertex.index in hair], context="VERTS")
    work.to_mesh(made.data)
    work.free()
    for slot in sorted(blend_materials.unused(made), reverse=True):
        made.data.materials.pop(index=slot)


def _skin(made: Any, own: Body) -> int:
    """How many of the first vertices of the body are skin: eyes and teeth, which come after, carry no hair."""
    vertex, count = mesh_data.corners(made.data)
    names = mesh_data.part_names(made)
    numbers = [names.index(name) for name in frame.SKIN_PARTS if name in names]
    skin = vertex[np.repeat(np.isin(mesh_data.parts(made.data), numbers), count)]
    return int(np.searchsorted(own.points, skin.max())) + 1 if len(skin) else len(own.points)
