# SPDX-License-Identifier: GPL-3.0-or-later
"""Hair carved from photographs: signed distances on a tetrahedral grid, as DMTet has them (Shen et al. 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, label

from ..arrays import Array
from ..fit.result import HeadFit
from ..headmodel import HeadModel
from ..headmodel.model import SKIN_PARTS
from .head_view import SeenFace
from .hood import PIXEL, Hood, fit_hood, read_map
from .observe import HairView, observe
from .shape import AREA, THIN, HairShape, find_shape
from .tetgrid import lattice_band

MISFIT = 0.015  # metres by which a fitted skull may reach beyond the hair's outline
INSET = 0.008  # metres below the skin to which hair reaches: the inner wall stays hidden
CELLS = (0.0055, 0.0075)  # metres of the lattice, smaller and larger heads of hair
CURTAIN = 0.03  # metres of the thickness of hair that hangs free
TIPS = 0.04  # metres from its end over which hair that hangs grows thin
TAPER = 0.012  # metres by which it does outside: ends turn in
SLOPE = 0.8  # metres of thickness a metre from the border of where hair grows
NAPE = 0.3  # of it where short hair is cut to the neck
LOW = 0.008  # metres from that border over which hair comes to that slope: a hairline is no cliff
EDGE = 0.0005  # metres of thickness at that border
BLUR = 0.7  # cells of what photos see empty: threads and pinholes are the masks' noise
BAND = 1.2  # cells to either side of the surface that the grid keeps
PIECE = 0.08  # of the largest piece: smaller ones are noise
# Hair of another style: metres by which its outline in one photo lies where another shows none, and the share of the
# outline that does so; metres by which it is longer on one side, and metres below the skull's equator over which no
# length counts. Photos of one style of ten people and of twelve synthetic ones had .11 and .11 m at most, masks' errors
# included; of two styles each pair had .24 or .14 m and more.
OUTSIDE, ANOTHER = 0.03, 0.15
LONGER, SHORT = 0.125, 0.05
SHOWN = 0.3  # of the scalp, from which on a photo shows a style


@dataclass(frozen=True, eq=False)
class Ground:
    """hood: coordinates in which hair has its map; skin (side,side): the skin's radius there; grown (side,side): metres
    to the border of skin that hair grows on, positive there; tapered (side,side) 0..1: hair gets shorter towards that
    border, as at a nape that is cut; rim (side,side): metres that hair's surface goes on beyond its border; flow
    (side,side,2): how strands run; curl 0..1: whether they run alike or curl."""

    hood: Hood
    skin: Array
    grown: Array
    tapered: Array
    rim: Array
    flow: Array
    curl: float


@dataclass(frozen=True, eq=False)
class HairVolume:
    """points (N,3) float32 and tets (M,4) int64 of a grid around hair; sdf (N,) float32 metres, negative in hair; seen
    (N,) 0..1: how surely photographs say so; ground: what it grows on; photos: those of whose style it is. Without hair
    the arrays are empty."""

    points: Array
    tets: Array
    sdf: Array
    seen: Array
    ground: Ground
    photos: tuple[int, ...]


def carve_hair(model: HeadModel, fit: HeadFit, faces: Sequence[SeenFace], masks: Sequence[Array]) -> HairVolume:
    """The hair of the fit's neutral head, as all photos of one style allow. faces and masks (S,S) 0..1 of hair as in
    fit.photos."""
    neutral = fit.neutral(model)
    views = [
        observe(face, model, fit.posed(model, photo), photo.camera, mask)
        for face, photo, mask in zip(faces, fit.photos, masks, strict=True)
    ]
    hood = fit_hood(model, neutral, np.inf)
    photos = one_style(hood, views, [photo.weight for photo in fit.photos])
    views = [views[k] for k in photos]
    # Photos that end at the forehead tell little of hair.
    if np.average([view.area for view in views], weights=[view.shown for view in views]) < AREA:
        return empty_volume(hood, photos)
    bust = float(neutral[model.vertices_of(*SKIN_PARTS)][:, 1].min())
    hood = fit_hood(model, neutral, max(bust, min(view.lowest(hood) for view in views)))
    shape = find_shape(hood, model, neutral, views)
    return empty_volume(hood, photos) if shape is None else _fill(shape, views, photos)


def one_style(hood: Hood, views: Sequence[HairView], weights: Sequence[float]) -> tuple[int, ...]:
    """The photos, in their order, that show hair of one style: as many as there are; of as many, those of most weight.
    What loose and tied hair have in common is neither."""
    styles = [_style(view, hood) for view in views]
    alike = np.array([[not (_differs(a, b, hood) or _differs(b, a, hood)) for b in styles] for a in styles])
    best: list[int] = []
    order = sorted(range(len(views)), key=lambda k: -weights[k])
    for first in order:
        style = [first]
        for k in order:
            if k != first and alike[k, style].all():
                style.append(k)
        best = max(best, style, key=lambda photos: (len(photos), sum(weights[k] for k in photos)))
    return tuple(sorted(best))


@dataclass(frozen=True, eq=False)
class _Style:
    """A view, the outline (1,K,3) of its hair, and how far down hair comes on either side (2,): as shown, and at all,
    see `HairView.lengths`."""

    view: HairView
    outline: Array
    shown: Array
    ends: Array


def _style(view: HairView, hood: Hood) -> _Style:
    shown, ends = (np.array(view.lengths(hood, as_shown)) for as_shown in (True, False))
    # a side that is not seen is as the other
    shown, ends = (np.where(np.isnan(side), side[::-1], side) for side in (shown, ends))
    return _Style(view, hood.point(*view.rim_points(hood))[None], shown, ends)


def _differs(one: _Style, other: _Style, hood: Hood) -> bool:
    """Whether a photo shows hair where another one shows that there is none, or much longer hair. One that ends at the
    forehead shows no style."""
    if one is other or min(one.view.shown, other.view.shown) < SHOWN:
        return False
    if one.outline.size and (other.view.empty(hood, one.outline)[0] > OUTSIDE).mean() > ANOTHER:
        return True
    return bool((one.shown - np.maximum(other.ends, hood.equator + SHORT) > LONGER).any())


def empty_volume(hood: Hood, photos: tuple[int, ...]) -> HairVolume:
    """No hair."""
    none = np.zeros(0, np.float32)
    return HairVolume(
        np.zeros((0, 3), np.float32),
        np.zeros((0, 4), np.int64),
        none,
        none,
        Ground(hood, none, none, none, none, none, 0.0),
        photos,
    )


def _fill(shape: HairShape, views: Sequence[HairView], photos: tuple[int, ...]) -> HairVolume:
    axes, size = _lattice(shape)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    rows = points.reshape(len(axes[0]) * len(axes[1]), len(axes[2]), 3)
    void, seen = np.full(rows.shape[:2], -np.inf), np.zeros(rows.shape[:2])
    thin = _over_skin(shape, rows) - THIN
    for view in views:
        empty, sure = view.empty(shape.hood, rows)
        # A skull that was fitted larger than it is keeps its hair, thin as it may be.
        beside = (view.sample(view.background, rows)[0] > 0.5) & (empty > 0) & (empty < MISFIT)
        empty = np.where(beside, np.minimum(empty, np.maximum(thin, -0.01)), empty)
        void = np.maximum(void, empty)
        seen = np.maximum(seen, sure)
    void = gaussian_filter(np.clip(void, -2 * size, 2 * size).reshape(points.shape[:3]), BLUR)
    grid = _largest_pieces(np.maximum(hair_distance(shape, rows).reshape(void.shape), void).clip(-2 * size, 2 * size))
    where, tets = lattice_band(grid, BAND * size)
    return HairVolume(
        points.reshape(-1, 3)[where].astype(np.float32),
        tets,
        grid.ravel()[where].astype(np.float32),
        seen.ravel()[where].astype(np.float32),
        Ground(shape.hood, shape.skin, shape.grown, shape.tapered, shape.rim, shape.flow, shape.curl),
        photos,
    )


def hair_distance(shape: HairShape, points: Array) -> Array:
    """(A,B) metres, about, from points (A,B,3) to the surface of a shape of hair; negative inside."""
    hood = shape.hood
    turn, down, radius = hood.coordinates(points)
    column, row = hood.place(turn, down)
    maps = (
        shape.outer, shape.skin, shape.inner, shape.domain, shape.depth, shape.hanging, shape.tapered, shape.stands,
    )  # fmt: skip
    outer, skin, inner, domain, depth, hanging, tapered, stands = (read_map(m, column, row) for m in maps)
    # Towards the border of where it grows hair goes down to the skin; where it hangs it ends as it is.
    slope = SLOPE + (NAPE - SLOPE) * tapered
    rim = skin + EDGE + slope * depth**2 / (depth + LOW) + stands
    free = np.clip((down - hood.equator + 0.02) / 0.1, 0.0, 1.0) * hanging
    tip = np.clip(domain / TIPS, 0.0, 1.0)
    outer = outer - TAPER * (1.0 - tip) * hanging
    wall = np.maximum(inner - INSET, outer - CURTAIN * (0.4 + 0.6 * tip) - (1.0 - free))
    return np.maximum(np.maximum(radius - np.minimum(outer, rim), wall - radius), -domain)


def _over_skin(shape: HairShape, points: Array) -> Array:
    turn, down, radius = shape.hood.coordinates(points)
    skin = read_map(shape.skin, *shape.hood.place(turn, down))
    return np.where(skin > 0, radius - skin, 1.0)


def _lattice(shape: HairShape) -> tuple[list[Array], float]:
    """Three axes around the hair and their step in metres."""
    turn, down = shape.hood.map_coordinates()
    inside = shape.domain > -0.01
    ends = [shape.hood.point(turn, down, radius)[inside] for radius in (shape.outer, np.maximum(shape.inner, 0.02))]
    low, high = np.concatenate(ends).min(0) - 0.012, np.concatenate(ends).max(0) + 0.012
    area = float((shape.domain > 0).sum()) * PIXEL**2
    size = float(np.clip(CELLS[0] * np.sqrt(area / 0.12), *CELLS))
    return [np.arange(a, b + size, size) for a, b in zip(low, high, strict=True)], size


def _largest_pieces(grid: Array) -> Array:
    """A grid whose small pieces of hair are gone."""
    pieces, count = label(grid < 0)
    if count < 2:
        return grid
    size = np.bincount(pieces.ravel())
    size[0] = 0
    small = np.isin(pieces, np.flatnonzero(size < PIECE * size.max())) & (pieces > 0)
    return np.where(small, 0.001, grid)
