# SPDX-License-Identifier: GPL-3.0-or-later
"""Face, cheeks, scalp and neck of a head model, and the texels of their skin."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..evidence.gather import material_texels
from ..fit.camera import PhotoCamera
from ..fit.visibility import draw_depth, front_at
from ..headmodel import HeadModel, Material
from ..headmodel.model import SKIN_PARTS
from ..mesh.texels import Texels
from ..photos.landmarks import MESH

POINTS = 900  # of the face, for the rulers
NEAR_LANDMARKS, FACE_REACH = 0.012, (0.0, 45.0, -45.0)  # metres; azimuths from which the face is looked at
CHEEKS, CHEEK_RADIUS = (50, 205, 280, 425), 0.012  # landmarks in the middle of both cheeks; metres
SCALP = 0.3  # from here on skin is hair's ground
REACH = 0.5  # metres that a picture from `orbit` shows


@dataclass(frozen=True, eq=False)
class Regions:
    """Places of a head model, the same for all people."""

    model: HeadModel
    _texels: dict[tuple[str, int], Texels] = field(default_factory=dict)

    def texels(self, material: Material, size: int) -> Texels:
        """A material's texels, made once."""
        key = material.name, size
        if key not in self._texels:
            self._texels[key] = material_texels(self.model, material, size)
        return self._texels[key]

    @cached_property
    def visible(self) -> Array:
        """(P,) bool: vertices of the face that one can see, not those inside lips, lids and nostrils."""
        model = self.model
        marks = model.landmarks(model.neutral)[:MESH][model.landmark_trust[:MESH] > 0]
        near = cKDTree(marks).query(model.neutral)[0] < NEAR_LANDMARKS
        shown = np.zeros(len(model.neutral), bool)
        solid = model.triangles_of(*SKIN_PARTS, "sclera", "teeth")
        for azimuth in FACE_REACH:
            camera = orbit(azimuth, 512)
            height = draw_depth(camera, model.neutral, solid, 512).height
            pixel, own = camera.project(model.neutral)
            shown |= front_at(height, pixel) - own < 0.001
        return near & shown & model.vertices_of(SKIN_PARTS[0])

    @cached_property
    def face(self) -> Array:
        """(POINTS,) of the visible vertices."""
        rows = np.flatnonzero(self.visible)
        return rows[np.linspace(0, len(rows) - 1, POINTS).astype(int)]

    @cached_property
    def skin_triangles(self) -> Array:
        return self.model.triangles_of(*SKIN_PARTS)

    @cached_property
    def cheek(self) -> Array:
        """(P,) 1 on the cheeks."""
        middles = self.model.landmarks(self.model.neutral)[list(CHEEKS)]
        near = cKDTree(middles).query(self.model.neutral)[0] < CHEEK_RADIUS
        return (near & self.model.vertices_of(SKIN_PARTS[0])).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Skin:
    """All texels of the skin's maps. colour (N,3) sRGB; seen (N,); region (N,) names; cheek (N,) 0..1."""

    colour: Array
    seen: Array
    region: Array
    cheek: Array


def skin_of(regions: Regions, maps: Mapping[str, Array], seen: Mapping[str, Array], size: int) -> Skin:
    """The texels of maps (material to (S,S,>=3)) at `size`; seen: material to (S,S), {} for none."""
    model = regions.model
    face = model.vertices_of(SKIN_PARTS[0]).astype(np.float64)
    places = np.c_[face, model.scalp > SCALP, regions.cheek, ~model.vertices_of(*SKIN_PARTS)]
    colours, weights, names, cheeks = [], [], [], []
    for material in model.materials:
        if not material.evidence:
            continue
        at = regions.texels(material, size)
        on_face, scalp, cheek, inner = at.at(places).T
        colours.append(at.of_image(_resized(maps[material.name][..., :3], size)))
        known = seen.get(material.name)
        weights.append(np.zeros(len(at.index)) if known is None else at.of_image(_resized(known, size)))
        name = np.where(on_face > 0.5, "face", "neck")
        names.append(np.where(inner > 0.01, "inner", np.where(scalp > 0.5, "crown_back", name)))
        cheeks.append(cheek)
    return Skin(*(np.concatenate(parts) for parts in (colours, weights, names, cheeks)))


def _resized(image: Array, size: int) -> Array:
    out: Array = np.asarray(image, np.float32)
    if len(out) != size:
        method = cv2.INTER_AREA if len(out) > size else cv2.INTER_LINEAR
        out = cv2.resize(np.ascontiguousarray(out), (size, size), interpolation=method)
    return out


def orbit(azimuth: float, size: int) -> PhotoCamera:
    """A far camera round the head's middle; degrees."""
    a = np.radians(azimuth)
    rotation = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    middle = np.full(2, (size - 1) / 2)
    return PhotoCamera(rotation, np.array([0.0, 0.0, 0.0]), size / REACH, middle, 0.25)
