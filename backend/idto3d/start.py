# SPDX-License-Identifier: GPL-3.0-or-later
"""The start of distillation: the head as the photographs show it, the rest filled in plainly; and heads from scenes
that the stages have changed."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from .arrays import Array
from .bundle import SKIN
from .distill.scene import HAIR, Scene, make_scene, with_hair, with_hair_mesh
from .evidence.cavities import sky
from .evidence.close_up import enlarged
from .evidence.gather import Evidence, HairOver, gather_evidence
from .evidence.relight import relit
from .finish import Head, assemble, draw_shared
from .finish.keys import Keys, all_keys
from .fit.subject import Fitted, fit_subject
from .hair import HairSeen, HairStart, paint, see_hair
from .headmodel import HeadModel
from .headmodel.model import SKIN_PARTS
from .photos import Face
from .volume.beard import Beard, grow_beard

UPPER_LIDS = (159, 386)  # landmarks
Began = Callable[[str], None]
"""Called with the name of what begins; raises Cancelled to stop."""


@dataclass(frozen=True, eq=False)
class Start:
    """fitted: cameras, identity, light; evidence: maps and `seen`; neutral (P,3); hair: None for a bald head; beard:
    None unless a thick one is seen."""

    model: HeadModel
    fitted: Fitted
    evidence: Evidence
    neutral: Array
    hair: HairStart | None
    hair_seen: HairSeen
    beard: Beard | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """Where the photographs show head and hair, before their colours are read; neutral (P,3)."""

    fitted: Fitted
    neutral: Array
    hair: HairSeen


def find(model: HeadModel, faces: Sequence[Face], began: Began) -> Found:
    """Fit the head and carve the hair. Raises UserError E_FIT_...."""
    with ThreadPoolExecutor(1) as beside:
        beside.submit(draw_shared, model)
        beside.submit(sky, model)
        began("fitting the head")
        fitted = fit_subject(model, faces)
        began("carving the hair")
        return Found(fitted, fitted.fit.neutral(model), see_hair(model, fitted))


def coloured(model: HeadModel, found: Found, size: int) -> Start:
    """Read the photographs' colours; size: of the skin's maps, which nearly all of the time goes into."""
    fitted, neutral, seen = found.fitted, found.neutral, found.hair
    over = HairOver(seen.masks, seen.colour, seen.roots) if len(seen.volume.sdf) else None
    with ThreadPoolExecutor(1) as beside:
        hair = beside.submit(paint, model, fitted, neutral, seen, size)
        evidence = gather_evidence(model, fitted.faces, fitted.fit, fitted.projected, size, over)
        relighted = relit(model, fitted, evidence)
        evidence = replace(evidence, texels={})  # not needed any more, and fifty bytes a texel
        beard = grow_beard(model, neutral, evidence.maps[SKIN], evidence.tone) if SKIN in evidence.maps else None
        return Start(model, relighted, evidence, neutral, hair.result(), seen, beard)


def head_of(start: Start, offsets: Mapping[str, Array], whole: bool = False) -> Head:
    """The head before distillation; offsets: expression to (P,3). whole: with all keys, as it ships; previews need
    none."""
    keys = Keys(start.neutral, offsets)
    if whole:
        keys = all_keys(start.model, start.neutral, start.fitted.fit.resting, offsets)
    return _head(start, keys, start.evidence.maps, None if start.hair is None else start.hair.maps)


def _head(start: Start, keys: Keys, maps: Mapping[str, Array], hair_maps: Array | None) -> Head:
    neutral, offsets = keys.neutral, keys.offsets
    hair = None
    if start.hair is not None and hair_maps is not None:
        lifting = neutral, _over_eyes(start.model, neutral)
        hair = start.hair.piece(lifting, neutral - start.neutral, offsets, hair_maps)
    beard = None if start.beard is None else start.beard.piece(start.model, neutral - start.neutral, offsets)
    return assemble(start.model, neutral, offsets, start.evidence.vertex_seen, maps, hair, beard)


def _over_eyes(model: HeadModel, neutral: Array) -> Array:
    """(F,3) triangles of the skin above the upper lids: below, the jaw would throw hair about."""
    triangles = model.triangles_of(*SKIN_PARTS)
    above = neutral[:, 1] > model.landmarks(neutral)[list(UPPER_LIDS), 1].max()
    return triangles[above[triangles].all(1)]


def scene_of(start: Start, offsets: Mapping[str, Array]) -> Scene:
    """The geometry stage's scene, on the CPU: skin and the volume of hair."""
    zero = np.zeros_like(start.neutral)
    scene = make_scene(start.model, start.neutral, np.stack([zero, *offsets.values()]), start.evidence)
    volume = start.hair_seen.volume
    return scene if start.hair is None else with_hair(scene, volume.points, volume.tets, volume.sdf, volume.seen)


def recarved(start: Start, scene: Scene) -> tuple[Start, Scene]:
    """Start and scene with hair meshed and painted again from the volume that the geometry stage has changed."""
    if scene.hair is None or start.hair is None:
        return start, scene
    volume = replace(start.hair_seen.volume, sdf=scene.hair.sdf.numpy())
    seen = replace(start.hair_seen, volume=volume)
    hair = paint(start.model, start.fitted, start.neutral, seen, len(start.hair.maps))
    if hair is None:
        return replace(start, hair=None, hair_seen=seen), replace(scene, hair=None)
    motion = scene.neutral.numpy().astype(np.float64) - start.neutral
    mesh = hair.mesh
    faces = (hair.solid, mesh.uv, hair.solid)
    scene = with_hair_mesh(replace(scene, hair=None), mesh.vertices + hair.moved(motion), faces, hair.maps, hair.seen)
    return replace(start, hair=hair, hair_seen=seen), scene


def keys_from(start: Start, names: Sequence[str], scene: Scene) -> Keys:
    """All keys of a scene on the CPU; names of its expressions, neutral first."""
    displacements = scene.displacements.numpy().astype(np.float64)
    offsets = dict(zip(names[1:], displacements[1:], strict=True))
    return all_keys(start.model, scene.neutral.numpy().astype(np.float64), start.fitted.fit.resting, offsets)


def head_from(start: Start, scene: Scene, keys: Keys | None = None) -> Head:
    """The head of a scene on the CPU; without keys, which previews do not show, it has none."""
    maps = {name: scene.maps[name].numpy() for name in start.evidence.maps}
    hair = None
    if start.hair is not None:
        hair = scene.maps[HAIR].numpy() if scene.hair_mesh is not None else start.hair.maps
    return _head(start, keys or Keys(scene.neutral.numpy().astype(np.float64), {}), maps, hair)


def as_shipped(head: Head, start: Start) -> Head:
    """The head with its face's maps at twice the resolution, with a close-up's detail."""
    model, fitted = start.model, start.fitted
    best = int(np.argmax([photo.weight for photo in fitted.fit.photos]))
    shown = fitted.faces[best], fitted.projected[best]
    maps = dict(head.maps)
    for material in model.materials:
        if material.name == SKIN:
            maps[SKIN] = enlarged(maps[SKIN], material, model, start.evidence, shown)
    return replace(head, maps=maps)
