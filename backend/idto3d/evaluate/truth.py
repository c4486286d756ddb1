# SPDX-License-Identifier: GPL-3.0-or-later
"""A synthetic person's truth, and how far a head is from it: face, skin seen and unseen, outline of the hair."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import Array
from ..finish import HairPiece, Head, assemble
from ..finish.head import BEARD, HAIR
from ..fit.projection import linear_to_srgb, sample, srgb_to_linear
from ..fit.visibility import draw_depth, front_at
from ..headmodel import HeadModel
from ..headmodel.model import SKIN_PARTS
from ..mesh.attach import ProximityQuery
from ..mesh.intersections import self_intersections
from ..training.photographs import Photograph
from ..training.population import Person, Shell
from ..training.regions import Regions, Skin, orbit, skin_of
from .metrics import apart, colour_difference, lab, overlap, surface_error

SEEN = 0.5  # from here on a place counts as seen
OUTLINE_SIZE = 256  # pixels
BEHIND = 0.005  # metres behind the frontmost skin that still count as frontmost
SIDES = {"left": 90.0, "right": -90.0, "back": 180.0}


def surface_ratio(regions: Regions, head: Array, truth: Array) -> tuple[float, float]:
    """Face surface error of a head (P,3) and of the mean head against truth (P,3), mm."""
    points = truth[regions.face]
    own = surface_error(points, ProximityQuery(head, regions.skin_triangles))
    return own, surface_error(points, ProximityQuery(regions.model.neutral, regions.skin_triangles))


def face_apart(regions: Regions, a: Array, b: Array) -> float:
    """Mean distance (mm) of the face's points in two heads (P,3) after alignment."""
    return apart(a[regions.face], b[regions.face])


def crossings(regions: Regions, head: Array) -> int:
    """Self-intersections of the skin as one mesh."""
    return len(self_intersections(head, regions.skin_triangles))


@dataclass(frozen=True, eq=False)
class Truth:
    """A person, the head that a perfect fit would make, its texels, those that are bare skin and not under the hair of
    the photographs, hair's outlines."""

    person: Person
    head: Head
    skin: Skin
    bare: Array
    hair: dict[str, Array]


def truth_of(regions: Regions, naked: Person, dressed: Person, photographs: Sequence[Photograph], size: int) -> Truth:
    """naked and dressed: the same person without and with clothes, as in the photographs."""
    skin = skin_of(regions, naked.maps, {}, size)
    head = head_of_person(regions.model, naked)
    return Truth(naked, head, skin, bare_skin(regions, skin, dressed, photographs, size), hair_outlines(head))


def bare_skin(regions: Regions, skin: Skin, dressed: Person, photographs: Sequence[Photograph], size: int) -> Array:
    """(N,) bool: texels of a skin under no clothes, and not under the hair of the photographs."""
    clothed = np.abs(skin.colour - skin_of(regions, dressed.maps, {}, size).colour).max(1) >= 1e-3
    return ~clothed & (skin.region != "inner") & ~under_hair(regions, photographs, size)


def under_hair(regions: Regions, photographs: Sequence[Photograph], size: int) -> Array:
    """(N,) bool: texels of `skin_of` that hair hides wherever a photograph would show them."""
    evident = [material for material in regions.model.materials if material.evidence]
    hidden = shown = np.zeros((), bool)
    for photograph in photographs:
        camera, posed = photograph.camera, photograph.posed
        front = draw_depth(camera, posed, regions.skin_triangles, len(photograph.hair)).height
        pixel, height = camera.project(posed)
        placed = np.concatenate([regions.texels(material, size).at(np.c_[pixel, height]) for material in evident])
        at, last = placed[:, :2], len(photograph.hair) - 1
        nearest = front_at(front, at)
        first = ((at >= 0) & (at <= last)).all(1) & np.isfinite(nearest) & (nearest - placed[:, 2] < BEHIND)
        covered = sample(photograph.hair, at) > 0.5
        hidden, shown = hidden | (first & covered), shown | (first & ~covered)
    return hidden & ~shown


def head_of_person(model: HeadModel, person: Person) -> Head:
    """A person as the product ships heads: skin, eyes, mouth, hair."""
    maps = {}
    for material in model.materials:
        albedo = person.maps[material.name]
        plain = np.broadcast_to(np.array([material.roughness, material.specular], np.float32), (*albedo.shape[:2], 2))
        maps[material.name] = np.concatenate([albedo, plain], 2)
    shells = [shell for shell in person.shells if shell.hair]
    seen = np.zeros(len(model.neutral), np.float32)
    return assemble(model, person.neutral, {}, seen, maps, _piece(shells[0]) if shells else None)


def _piece(shell: Shell) -> HairPiece:
    plain = np.broadcast_to(np.array([0.5, 0.3], np.float32), (*shell.texture.shape[:2], 2))
    maps = np.concatenate([shell.texture, plain], 2)
    nothing = np.zeros((0, len(shell.vertices), 3))
    unseen = np.zeros(len(shell.vertices), np.float32)
    return HairPiece(shell.vertices, nothing, shell.triangles, shell.uv, maps, np.ones(maps.shape[:2]), unseen)


def hair_outlines(head: Head) -> dict[str, Array]:
    """Masks of where a head's hair shows from the sides and the back."""
    part = np.concatenate([head.part, head.part[head.quads[:, 3] >= 0]])
    names = np.where(np.array(head.materials)[head.triangle_material] == BEARD, BEARD, np.array(head.parts)[part])
    solid = np.isin(names, (*SKIN_PARTS, HAIR))
    triangles, hair = head.triangles[solid], names[solid] == HAIR
    out = {}
    for name, azimuth in SIDES.items():
        front = draw_depth(orbit(azimuth, OUTLINE_SIZE), head.vertices, triangles, OUTLINE_SIZE).triangle
        out[name] = _closed((front >= 0) & hair[front])
    return out


def hair_overlap(head: Head, truth: Truth) -> float | None:
    """Mean IoU of hair's outlines from both sides and the back; None where neither has hair."""
    own = hair_outlines(head)
    shown = [name for name in SIDES if own[name].any() or truth.hair[name].any()]
    return float(np.mean([overlap(own[name], truth.hair[name]) for name in shown])) if shown else None


def _closed(mask: Array) -> Array:
    """Without the gaps between cards and strands."""
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) > 0


def skin_errors(truth: Truth, skin: Skin) -> dict[str, float]:
    """Mean CIEDE2000 of bare skin, but for what lies under hair in the photographs: `seen` and `unseen`, of each region
    of the unseen, of the cheeks' mean colours, and `seen_even`: of what was seen with the best common factor of linear
    light taken out."""
    error = colour_difference(skin.colour, truth.skin.colour)
    seen = skin.seen >= SEEN
    ground = truth.bare & (truth.skin.region != "crown_back")
    groups = {"seen": ground & seen, "unseen": ground & ~seen}
    for name in ("face", "neck", "crown_back"):
        groups[f"unseen {name}"] = truth.bare & ~seen & (truth.skin.region == name)
    out = {name: float(error[rows].mean()) for name, rows in groups.items() if rows.any()}
    cheek = ground & (skin.cheek > 0.5)
    own, wanted = (np.array([s.colour[cheek].mean(0)]) for s in (skin, truth.skin))
    out["cheek"] = float(colour_difference(own, wanted)[0])
    out["cheek_lightness"] = float(lab(wanted)[0, 0])
    out["cheek_lightness_off"] = float(lab(own)[0, 0] - lab(wanted)[0, 0])
    rows = ground & seen
    if rows.any():
        linear, goal = (srgb_to_linear(s.colour[rows]) for s in (skin, truth.skin))
        gain = np.median(goal.mean(1) / np.maximum(linear.mean(1), 1e-3))
        evened = linear_to_srgb(linear * gain)
        out["seen_even"] = float(colour_difference(evened, truth.skin.colour[rows]).mean())
    return out


def skin_apart(a: Skin, b: Skin) -> float:
    """Mean CIEDE2000 of two heads' skins where both were seen."""
    rows = (a.seen >= SEEN) & (b.seen >= SEEN) & (a.region != "inner")
    return float(colour_difference(a.colour[rows], b.colour[rows]).mean()) if rows.any() else float("nan")
