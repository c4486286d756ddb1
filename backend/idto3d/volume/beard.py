# SPDX-License-Identifier: GPL-3.0-or-later
"""A beard off the skin, where it is thick: short strands that grow from where the skin's map is a beard's colour, hang
on the skin there, and go with the jaw. Stubble stays in the map."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import Array
from ..evidence.beards import CHIN, NEAR_CHIN, beard_colour, is_beard
from ..finish.head import HairPiece
from ..fit.projection import linear_to_srgb, sample, srgb_to_linear
from ..headmodel import HeadModel
from ..mesh.surface import vertex_normals
from ..photos.landmarks import LIPS
from .ribbons import pointed

TRIED, MOST = 60_000, 2600  # places where a strand may grow, and strands
AREA, PATCH = 1.2e-3, 1.5e-4  # square metres: less is no beard, and no part of one but a fold's shadow
THIN = 0.25  # of a beard: less is none, where its parts are told apart
BELOW, ABOVE_LIP = 0.012, 0.002  # metres below the chin and over the nose's base between which beards grow
LIP = 0.0015  # metres around the lips that stay free
SIDE = 0.025  # metres from the middle in which nothing grows over the lip's own height
LENGTH = (0.005, 0.010)  # metres, of a thin and of a thick beard
OFF = 0.5  # of a strand's way that goes off the skin at its root; the rest goes down along it
PARTS = 3
WIDTH = 0.0009  # metres at the root
ROUGHNESS, SPECULAR = 0.75, 0.3  # glossier than hair: too short to make a smooth shell
SHADES = 32
STRANDS = 0.4  # of a beard's place that is nothing but strands: through the others skin shows


@dataclass(frozen=True, eq=False)
class Beard:
    """vertices (V,3) with the neutral head; triangles (F,3); uv (V,2) into palette (SHADES,SHADES,3) sRGB; roots: where
    each vertex hangs, face (V,) of the model's triangles and bary (V,3)."""

    vertices: Array
    triangles: Array
    uv: Array
    palette: Array
    face: Array
    bary: Array

    def moved(self, model: HeadModel, motion: Array) -> Array:
        """(V,3) for a motion (P,3) of the head model."""
        return np.einsum("vkc,vk->vc", motion[model.triangles[self.face]], self.bary)

    def piece(self, model: HeadModel, motion: Array, offsets: Mapping[str, Array]) -> HairPiece:
        """What ships, where the head has moved by motion (P,3); offsets (P,3) of its keys."""
        own = [self.moved(model, offset).astype(np.float32) for offset in offsets.values()]
        gloss = np.broadcast_to(np.array([ROUGHNESS, SPECULAR], np.float32), (*self.palette.shape[:2], 2))
        return HairPiece(
            self.vertices + self.moved(model, motion),
            np.stack(own) if own else np.zeros((0, len(self.vertices), 3)),
            self.triangles,
            self.uv,
            np.concatenate([self.palette, gloss], 2),
            None,
            np.ones(len(self.vertices), np.float32),
        )


def grow_beard(model: HeadModel, neutral: Array, skin: Array, tone: Array) -> Beard | None:
    """skin (S,S,3+): the skin's map, sRGB; tone (3,) linear of skin. None where no thick beard is seen."""
    places = _places(model, neutral)
    uv = np.einsum("nkc,nk->nc", model.uv[model.triangles_uv[places.face]], places.bary)
    colour = srgb_to_linear(np.rint(255 * skin[..., :3]).astype(np.uint8))
    albedo = _read(colour, uv)
    coloured = beard_colour(colour, tone)
    found = _read(coloured, uv) * places.weight
    found[_in_patches(coloured > THIN, uv, found * places.area)] = 0
    if found.sum() * places.area < AREA or not is_beard(found, places.chin, places.weight):
        return None
    rng = np.random.default_rng(6)
    grown = np.flatnonzero(rng.random(len(found)) < found)
    grown = grown[np.linspace(0, len(grown) - 1, min(MOST, len(grown))).astype(int)]
    root, normal, thick = places.point[grown], places.normal[grown], found[grown]
    length = (LENGTH[0] + thick**2 * (LENGTH[1] - LENGTH[0])) * rng.uniform(0.7, 1.2, len(grown))
    way = _way(root, normal, rng)
    shade, palette = _shades(albedo[grown], tone)
    vertices, triangles, along = _strands(root, normal, way, length, rng)
    per = len(vertices) // len(grown)
    uv = np.stack([np.repeat((shade + 0.5) / SHADES, per), np.tile(along, len(grown))], 1)
    face, bary = (np.repeat(a[grown], per, 0) for a in (places.face, places.bary))
    return Beard(vertices, triangles, uv, palette, face, bary)


@dataclass(frozen=True, eq=False)
class _Places:
    """face (N,) of the model's triangles, bary (N,3), point and normal (N,3), weight (N,) 0..1: whether beards grow
    there, chin (N,) bool: its front; area: square metres of each."""

    face: Array
    bary: Array
    point: Array
    normal: Array
    weight: Array
    chin: Array
    area: float


def _places(model: HeadModel, neutral: Array) -> _Places:
    """Places on the face where beards may grow, evenly by area."""
    rng = np.random.default_rng(5)
    marks = model.landmarks(neutral)
    rows = np.flatnonzero(model.faces_of("face")[model.triangle_quad])
    low, high = marks[152, 1] - BELOW, marks[[234, 454], 1].mean()
    height = neutral[model.triangles[rows]][..., 1]
    rows = rows[(height.min(1) > low) & (height.max(1) < high)]
    a, b, c = neutral[model.triangles[rows]].transpose(1, 0, 2)
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rows[rng.choice(len(rows), TRIED, p=area / area.sum())]
    u, v = rng.random((2, TRIED))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    bary = np.stack([1 - u - v, u, v], 1)
    corners = model.triangles[face]
    point = np.einsum("nkc,nk->nc", neutral[corners], bary)
    normal = np.einsum("nkc,nk->nc", vertex_normals(neutral, model.triangles)[corners], bary)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    # From the nose's base the line rises to where the ears begin.
    out = np.abs(point[:, 0] - marks[2, 0])
    ears = np.abs(marks[[234, 454], 0] - marks[2, 0]).mean()
    rise = np.clip((out - SIDE) / (ears - SIDE), 0, 1)
    top = marks[2, 1] - ABOVE_LIP + rise * (high - marks[2, 1])
    weight = (point[:, 1] < top) & ~_lips(marks, point) & (normal[:, 2] > -0.3)
    near_chin = np.linalg.norm(point - marks[list(CHIN)].mean(0), axis=1) < NEAR_CHIN
    return _Places(face, bary, point, normal, weight.astype(np.float64), near_chin & weight, area.sum() / TRIED)


def _in_patches(image: Array, uv: Array, area: Array) -> Array:
    """(N,) bool: places uv (N,2) in no part or a small one of an image (S,S) bool; area (N,) that counts of each."""
    _, parts = cv2.connectedComponents(image.astype(np.uint8))
    at = np.rint(uv * [len(image) - 1, 1 - len(image)] + [0, len(image) - 1]).astype(int).clip(0, len(image) - 1)
    part = parts[at[:, 1], at[:, 0]]
    return (part == 0) | (np.bincount(part, area)[part] < PATCH)


def _lips(marks: Array, points: Array) -> Array:
    """(N,) bool: points before or in the lips and a little around them."""
    outline = (marks[list(LIPS), :2] * 1e4).astype(np.float32)
    middle = marks[list(LIPS), 2].min() - 0.01
    at = points[:, :2] * 1e4
    low, high = outline.min(0) - LIP * 1e4, outline.max(0) + LIP * 1e4
    near = (points[:, 2] > middle) & ((at > low) & (at < high)).all(1)
    near[near] = [cv2.pointPolygonTest(outline, (float(x), float(y)), True) > -LIP * 1e4 for x, y in at[near]]
    return near


def _read(image: Array, uv: Array) -> Array:
    last = len(image) - 1
    return sample(np.asarray(image, np.float32), uv * [last, -last] + [0, last])


def _way(root: Array, normal: Array, rng: np.random.Generator) -> Array:
    """(N,3) unit: down along the skin, a little to the sides, as beards fall."""
    down = np.array([0.0, -1.0, 0.0]) + rng.normal(0, 0.25, root.shape)
    down[:, 0] += 6.0 * root[:, 0]
    along = down - (down * normal).sum(1, keepdims=True) * normal
    return along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)


def _strands(
    root: Array, normal: Array, way: Array, length: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Vertices (V,3), triangles (F,3), and where along it each of one strand's vertices is."""
    share = np.linspace(0.0, 1.0, PARTS + 1)
    off = OFF * (share - 0.5 * share**2)
    middle = root[:, None] + length[:, None, None] * (
        share[None, :, None] * way[:, None] + off[None, :, None] * normal[:, None]
    )
    aside = np.cross(way, normal)
    turn = rng.uniform(-0.9, 0.9, len(root))
    aside = np.cos(turn)[:, None] * aside + np.sin(turn)[:, None] * normal
    width = WIDTH * (1 - share) ** 0.7
    vertices, triangles = pointed(middle, 0.5 * width[None, :, None] * aside[:, None])
    return vertices, triangles, np.repeat(share, 2)[:-1]


def _shades(albedo: Array, tone: Array) -> tuple[Array, Array]:
    """(N,) the column of each of colours (N,3) linear, dark to light; and the palette (SHADES,SHADES,3) sRGB of those
    that are least like skin of a tone (3,), in which strands grow a little lighter towards their tips (the top)."""
    order = np.argsort(albedo.mean(1), kind="stable")
    column = np.empty(len(albedo), int)
    column[order] = np.arange(len(albedo)) * SHADES // len(albedo)
    unlike = np.abs(np.log(np.maximum(albedo, 1e-3) / tone)).mean(1)[order]
    hairs = albedo[order[unlike >= np.quantile(unlike, 1 - STRANDS)]]
    mean = np.stack([part.mean(0) for part in np.array_split(hairs, SHADES)])
    lighter = np.linspace(1.15, 0.85, SHADES)[:, None, None]
    return column, linear_to_srgb(mean[None] * lighter)
