# SPDX-License-Identifier: GPL-3.0-or-later
"""A synthetic person's truth, and how far a head is from it: face, skin seen and unseen, outline of the hair."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..finish import HairPiece, Head, assemble
from ..finish.head import BEARD, HAIR
from ..fit.camera import PhotoCamera
from ..fit.evidence import material_texels
from ..fit.visibility import draw_depth
from ..headmodel import HeadModel
from ..headmodel.model import SKIN_PARTS
from ..mesh.attach import Surface
from ..mesh.intersections import self_intersections
from ..mesh.texels import Texels
from ..training.population import Person, Shell
from .metrics import apart, colour_difference, lab, overlap, surface_error

Array = NDArray[Any]

SEEN = 0.5  # from here on a place counts as seen
POINTS = 900  # of the face, for the rulers
NEAR_LANDMARKS, FACE_REACH = 0.012, (0.0, 45.0, -45.0)  # metres; azimuths from which the face is looked at
CHEEKS, CHEEK_RADIUS = (50, 205, 280, 425), 0.012  # landmarks in the middle of both cheeks; metres
SCALP = 0.3  # from here on skin is hair's ground
OUTLINE_SIZE, OUTLINE_REACH = 256, 0.5  # pixels; metres that a picture of the hair shows
SIDES = {"left": 90.0, "right": -90.0, "back": 180.0}


@dataclass(frozen=True, eq=False)
class Ruler:
    """What is the same for all people of a head model."""

    model: HeadModel

    @cached_property
    def face(self) -> Array:
        """(POINTS,) vertices of the face that one can see: not those within lips, lids and nostrils."""
        model = self.model
        marks = self.landmarks(model.neutral)[model.landmark_trust[:468] > 0]
        near = cKDTree(marks).query(model.neutral)[0] < NEAR_LANDMARKS
        shown = np.zeros(len(model.neutral), bool)
        solid = model.triangles_of(*SKIN_PARTS, "sclera", "teeth")
        for azimuth in FACE_REACH:
            camera = orbit(azimuth, 512)
            height = draw_depth(camera, model.neutral, solid, 512).height
            pixel, own = camera.project(model.neutral)
            column, row = np.clip(np.rint(pixel), 0, 511).astype(int).T
            shown |= height[row, column] - own < 0.001
        rows = np.flatnonzero(near & shown & model.vertices_of(SKIN_PARTS[0]))
        return rows[np.linspace(0, len(rows) - 1, POINTS).astype(int)]

    @cached_property
    def skin_triangles(self) -> Array:
        return self.model.triangles_of(*SKIN_PARTS)

    def landmarks(self, points: Array) -> Array:
        """(468,3) of the model's vertices (P,3)."""
        out: Array = np.einsum("nk,nkc->nc", self.model.landmark_barycentric, points[self.model.landmark_triangle])[
            :468
        ]
        return out

    @cached_property
    def cheek(self) -> Array:
        """(P,) 1 on the cheeks."""
        middles = self.landmarks(self.model.neutral)[list(CHEEKS)]
        near = cKDTree(middles).query(self.model.neutral)[0] < CHEEK_RADIUS
        return (near & self.model.vertices_of(SKIN_PARTS[0])).astype(np.float64)

    def surface_ratio(self, head: Array, truth: Array) -> tuple[float, float]:
        """Face surface error of a head (P,3) and of the mean head against truth (P,3), mm."""
        points = truth[self.face]
        own = surface_error(points, Surface(head, self.skin_triangles))
        return own, surface_error(points, Surface(self.model.neutral, self.skin_triangles))

    def apart(self, a: Array, b: Array) -> float:
        """Mean distance (mm) of the face's points in two heads (P,3) after alignment."""
        return apart(a[self.face], b[self.face])

    def crossings(self, head: Array) -> int:
        """Self-intersections of the skin as one mesh."""
        return len(self_intersections(head, self.skin_triangles))


@dataclass(frozen=True, eq=False)
class Skin:
    """All texels of the skin's maps. colour (N,3) sRGB; seen (N,); region (N,) names; cheek (N,) 0..1."""

    colour: Array
    seen: Array
    region: Array
    cheek: Array


def skin_of(ruler: Ruler, maps: Any, seen: Any, size: int, texels: dict[str, Texels]) -> Skin:
    """The texels of maps (material to (S,S,>=3)) at `size`; seen: material to (S,S), {} for none."""
    model = ruler.model
    face = model.vertices_of(SKIN_PARTS[0]).astype(np.float64)
    places = np.c_[face, model.scalp > SCALP, ruler.cheek, ~model.vertices_of(*SKIN_PARTS)]
    colours, weights, regions, cheeks = [], [], [], []
    for material in model.materials:
        if not material.evidence:
            continue
        if material.name not in texels:
            texels[material.name] = material_texels(model, material, size)
        at = texels[material.name]
        on_face, scalp, cheek, inner = at.at(places).T
        colours.append(at.of_image(_resized(maps[material.name][..., :3], size)))
        known = seen.get(material.name)
        weights.append(np.zeros(len(at.index)) if known is None else at.of_image(_resized(known, size)))
        name = np.where(on_face > 0.5, "face", "neck")
        regions.append(np.where(inner > 0.01, "inner", np.where(scalp > 0.5, "crown_back", name)))
        cheeks.append(cheek)
    return Skin(*(np.concatenate(parts) for parts in (colours, weights, regions, cheeks)))


def _resized(image: Array, size: int) -> Array:
    out: Array = np.asarray(image, np.float32)
    if len(out) != size:
        method = cv2.INTER_AREA if len(out) > size else cv2.INTER_LINEAR
        out = cv2.resize(np.ascontiguousarray(out), (size, size), interpolation=method)
    return out


@dataclass(frozen=True, eq=False)
class Truth:
    """A person, the head that a perfect fit would make, its texels, those that are bare skin, hair's outlines."""

    person: Person
    head: Head
    skin: Skin
    bare: Array
    hair: dict[str, Array]


def truth_of(ruler: Ruler, naked: Person, dressed: Person, size: int, texels: dict[str, Texels]) -> Truth:
    """naked and dressed: the same person without and with clothes."""
    skin, other = (skin_of(ruler, p.maps, {}, size, texels) for p in (naked, dressed))
    bare = (np.abs(skin.colour - other.colour).max(1) < 1e-3) & (skin.region != "inner")
    head = head_of_person(ruler.model, naked)
    return Truth(naked, head, skin, bare, hair_outlines(head))


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
    out: Array = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) > 0
    return out


def orbit(azimuth: float, size: int) -> PhotoCamera:
    """A far camera round the head's middle; degrees."""
    a = np.radians(azimuth)
    rotation = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    middle = np.full(2, (size - 1) / 2)
    return PhotoCamera(rotation, np.array([0.0, 0.0, 0.0]), size / OUTLINE_REACH, middle, 0.25)


def skin_errors(truth: Truth, skin: Skin) -> dict[str, float]:
    """Mean CIEDE2000 of bare skin: `seen` and `unseen`, of each region of the unseen, of the cheeks' mean colours, and
    `seen_even`: of what was seen with the best common factor of linear light taken out."""
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
        linear, goal = (_linear(s.colour[rows]) for s in (skin, truth.skin))
        gain = np.median(goal.mean(1) / np.maximum(linear.mean(1), 1e-3))
        evened = _srgb(linear * gain)
        out["seen_even"] = float(colour_difference(evened, truth.skin.colour[rows]).mean())
    return out


def skin_apart(a: Skin, b: Skin) -> float:
    """Mean CIEDE2000 of two heads' skins where both were seen."""
    rows = (a.seen >= SEEN) & (b.seen >= SEEN) & (a.region != "inner")
    return float(colour_difference(a.colour[rows], b.colour[rows]).mean()) if rows.any() else float("nan")


def _linear(c: Array) -> Array:
    out: Array = np.where(c <= 0.04045, c / 12.92, ((np.maximum(c, 0) + 0.055) / 1.055) ** 2.4)
    return out


def _srgb(c: Array) -> Array:
    c = np.clip(c, 0, 1)
    out: Array = np.where(c <= 0.0031308, 12.92 * c, 1.055 * np.maximum(c, 1e-8) ** (1 / 2.4) - 0.055)
    return out
