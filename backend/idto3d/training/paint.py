# SPDX-License-Identifier: GPL-3.0-or-later
"""The maps of synthetic people: skins of the head kit with beard, freckles and brows on them, and eyes."""

from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..headmodel import HeadModel
from ..mesh.texels import make_texels
from .transfer import Transfer, sample_texture

_IRIS = (
    (0.26, 0.15, 0.08),
    (0.35, 0.48, 0.62),
    (0.33, 0.47, 0.47),
    (0.43, 0.29, 0.15),
    (0.20, 0.30, 0.47),
    (0.36, 0.42, 0.25),
    (0.45, 0.48, 0.50),
    (0.60, 0.68, 0.74),
    (0.47, 0.58, 0.68),
)
_IRIS_RADIUS, _PUPIL_RADIUS = 0.0061, 0.0021  # metres from the eye's axis, on the neutral
_SOCKETS = {"mouth_socket": (0.33, 0.13, 0.12), "eye_socket": (0.55, 0.30, 0.27)}


class Paint:
    """Paints people of a head kit on a head model: `maps`."""

    def __init__(self, model: HeadModel, kit: Any, transfer: Transfer) -> None:
        self.model, self.kit, self.transfer = model, kit, transfer
        self._beard = kit._pooled("beard_mask.png", 512, False)[..., None] / 255.0
        self._eyes = _eye_texels(model)

    def maps(self, code: Array, beard: int, freckles: bool, rng: np.random.Generator) -> dict[str, Array]:
        """Material -> (S,S,3) sRGB 0..1. code: the kit's numbers of the person; beard: 0 none, 1 stubble, 2 full."""
        painted = self.kit.texture(code, 512).astype(np.float32) / 255
        maps: dict[str, Array] = {
            m.name: np.broadcast_to(np.float32(np.clip(np.array(m.albedo) * rng.normal(1, 0.06), 0, 1)), (4, 4, 3))
            for m in self.model.materials
        }
        for name, uv in self.transfer.kit_uv.items():
            maps[name] = sample_texture(painted, uv)
        for socket, colour in _SOCKETS.items():
            if socket in self.model.part_names:
                for name, part in self.transfer.part.items():
                    maps[name][part == self.model.part_names.index(socket)] = colour
        maps["skin"] = self._skin(maps["skin"], code, beard, freckles, rng)
        maps["eyes"] = self._eye_map(_IRIS[int(self.kit.get(code, "eye_style")) % len(_IRIS)], rng)
        return {n: np.ascontiguousarray(np.clip(m, 0, 1), np.float32) for n, m in maps.items()}

    def hair_colour(self, code: Array) -> Array:
        """(3,) sRGB."""
        return np.array([self.kit.get(code, f"hair_{c}") for c in "rgb"])

    def _skin(self, skin: Array, code: Array, beard: int, freckles: bool, rng: np.random.Generator) -> Array:
        """(S,S,3) skin with what grows on it."""
        hair = self.hair_colour(code)
        if beard:
            share = (0.0, rng.uniform(0.2, 0.5), rng.uniform(0.8, 1.0))[beard]
            grain = np.clip(rng.normal(1.0, 0.15, (*skin.shape[:2], 1)), 0.4, 1.6)
            place = sample_texture(self._beard, self.transfer.kit_uv["skin"])
            cover = share * np.clip(place * (1.0 + 0.6 * (beard - 1)), 0, 1)
            skin = skin * (1 - cover) + cover * np.clip(0.75 * hair * grain, 0, 1)
        if freckles:
            skin = skin * _freckles(self.transfer.position["skin"], rng)[..., None]
        style = int(round(self.kit.get(code, "brow_style"))) % len(self.transfer.brows)
        brow = 0.9 * self.transfer.brows[style][..., None]
        return skin * (1 - brow) + brow * np.minimum(0.75 * hair + 0.03, skin)

    def _eye_map(self, colour: tuple[float, float, float], rng: np.random.Generator) -> Array:
        """The eyeball's outer shell with the iris painted on it."""
        radius, angle = self._eyes
        rays = 1.0 + 0.15 * np.interp(angle, np.linspace(-np.pi, np.pi, 64), rng.normal(size=64), period=2 * np.pi)
        white = np.array([0.82, 0.77, 0.74]) * rng.uniform(0.9, 1.02)
        ring = 1.0 - 0.55 * np.clip((radius - 0.8 * _IRIS_RADIUS) / (0.2 * _IRIS_RADIUS), 0, 1)
        iris = np.array(colour) * rng.normal(1, 0.1) * (rays * ring)[..., None]
        edge = np.clip((radius - _IRIS_RADIUS) / 4e-4, 0, 1)[..., None]
        pupil = np.clip((radius - _PUPIL_RADIUS) / 3e-4, 0, 1)[..., None]
        return (iris * (1 - edge) + white * edge) * pupil + 0.02 * (1 - pupil)


def _eye_texels(model: HeadModel) -> tuple[Array, Array]:
    """(S,S) distance of the eyeballs' texels from their axes, large behind their middles, and the angle round them."""
    own = model.faces_of("sclera")[model.triangle_quad]
    triangles = model.triangles[own]
    texels = make_texels(model.uv, model.triangles_uv[own], triangles, 256)
    middle = np.zeros_like(model.neutral)
    for side in (model.neutral[:, 0] > 0, model.neutral[:, 0] <= 0):
        ball = np.intersect1d(np.unique(triangles), np.flatnonzero(side))
        middle[side] = (model.neutral[ball].min(0) + model.neutral[ball].max(0)) / 2
    offset = texels.spread(texels.at(model.neutral - middle))
    radius = np.hypot(offset[..., 0], offset[..., 1]) + (offset[..., 2] < 0)
    return radius, np.arctan2(offset[..., 1], offset[..., 0])


def _freckles(position: Array, rng: np.random.Generator) -> Array:
    """(S,S) factor of the skin map: spots of one to two millimetres over nose, cheeks and forehead."""
    count = int(rng.integers(150, 500))
    flat = position.reshape(-1, 3)
    x, y, z = flat.T
    where = np.exp(-(((np.abs(x) - 0.02) / 0.03) ** 2) - (((y - 0.005) / 0.035) ** 2)) * (z > 0.05)
    spots = rng.choice(len(flat), count, p=where / where.sum())
    distance, spot = cKDTree(flat[spots]).query(flat, distance_upper_bound=0.004)
    radius = np.append(rng.uniform(0.0007, 0.0017, count), 1.0)
    depth = np.append(rng.uniform(0.2, 0.5, count), 0.0)
    cover = np.clip((radius[spot] - distance) / 5e-4 + 0.5, 0, 1) * depth[spot]
    return (1.0 - np.where(np.isfinite(distance), cover, 0.0)).reshape(position.shape[:2])
