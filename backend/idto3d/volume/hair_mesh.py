# SPDX-License-Identifier: GPL-3.0-or-later
"""The surface of a volume of hair as a mesh with locks and a map, attached to the scalp."""

from dataclasses import dataclass

import cv2
import fast_simplification
import numpy as np
import torch
from scipy.sparse import coo_array, diags_array

from ..arrays import Array
from ..headmodel import HeadModel
from ..mesh.attach import Attachment, ProximityQuery
from ..ramps import ramp
from .hair import Ground, HairVolume
from .hairline import border_distance
from .hood import PIXEL, Hood, flatten, read_at, read_map
from .marching_tets import marching_tetrahedra
from .ribbons import AT_BORDER, COUNT, Cover, continued, ribbons
from .strands import DISK, on_disk, strand_pattern

TRIANGLES = 12_000
TAUBIN = (0.5, -0.53, 8)  # two factors and rounds (Taubin 1995)
UNDER = 0.005  # metres under the skin from which hair is not meshed
LOCKS = (256, 0.010, 0.0018, 0.003)  # size of their pattern; metres of their width and, straight and curled, height
FADE = (0.004, 0.008, 0.025)  # metres from the border over which locks come to their full height; of thickness, too
EAR, OVER_EAR = (0.006, 0.01), 0.003  # metres by which skin rises within 8 mm at an ear; by which hair lies over it
FRAY = 0.006  # metres inside the border in which strands come to an end
HALF = 0.35  # of it, where half of them have ended
SOFT = 0.004  # metres over which each of them does
RIM_COVER = (0.2, 0.8)  # of a photo's mask of hair: nothing, all
RAGGED = 0.005  # metres over which strands differ in it
RIM_DRAWN = (0.001, 0.003)  # metres of the rim that photos draw: none of it, all
RIM_ENDS = (0.0005, 0.002)  # metres from the mesh's own border, over which hair fades
ISLAND, PINHOLE = 8e-5, 8e-6  # square metres of what is too small there
RIM_REACH = (0.02, 0.03)  # metres from the border from which photos say nothing of it
UNEVEN = (0.8, 0.006, 0.025)  # of hair's thickness, and metres, by which strands are unequally long
NECK = 0.018  # metres, where hair is cut to the neck
TRACED = 14  # pixels that strands are followed to their ends
CLUMPED = 0.6  # of what is uneven: by how much locks are


@dataclass(frozen=True, eq=False)
class HairMesh:
    """vertices (V,3) with the neutral head; triangles (F,3) wound outwards, those of the outer side, `outer` of them,
    first, then what lies under it, then ribbons; uv (V,2) 0..1, v up; border (side,side): metres to the border of hair
    in the hood's maps, positive in hair; ends (side,side): no more than that, and where strands run out over it as many
    in FRAY as they are uneven; locks (256,256): the pattern of locks that stand out in it, on the map's disk,
    fainter the thinner hair is: what is cut short has none.

    The map is a disk with the crown in its middle and the face's side below. Each of its texels belongs to one place of
    the outer side; what lies under it and over it shares its colour.
    """

    vertices: Array
    triangles: Array
    uv: Array
    outer: int
    border: Array
    ends: Array
    locks: Array


def extract(volume: HairVolume) -> HairMesh | None:
    """None of an empty volume."""
    if not len(volume.sdf):
        return None
    ground = volume.ground
    hood = ground.hood
    surface = marching_tetrahedra(*(torch.from_numpy(a) for a in (volume.points, volume.tets, volume.sdf)))
    vertices, triangles = surface.vertices.numpy().astype(np.float64), surface.faces.numpy()
    vertices, triangles = _shown(ground, _taubin(vertices, triangles), triangles)
    if not len(triangles):
        return None
    if len(triangles) > TRIANGLES:
        reduced = fast_simplification.simplify(
            vertices.astype(np.float32), triangles.astype(np.int32), target_count=TRIANGLES, agg=4
        )
        vertices, triangles = without_fins(reduced[0].astype(np.float64), reduced[1].astype(np.int64))
    outside = _outside(hood, vertices, triangles)
    outer, under = triangles[outside], triangles[~outside]
    if not len(outer):
        return None
    radius, hit = flatten(hood, vertices, outer, True)
    covered = (hit >= 0) & (radius > ground.skin - 0.002)
    border = cv2.GaussianBlur(border_distance(covered).astype(np.float32), (0, 0), 1.0)
    cover = Cover(hood, continued(radius, covered), ground.skin, border - ground.rim, ground.flow, ground.curl)
    locks = strand_pattern(hood, cover.flow, cover.curl, *LOCKS[:2])
    vertices = _with_locks(cover, locks, vertices)
    own = np.unique(outer)
    vertices[own] = _over_ears(cover, vertices[own])
    more, strips, places = ribbons(cover, _roots(cover, vertices, outer), FRAY)
    uv = np.concatenate([_uv(hood, hood.places(vertices)), _uv(hood, places)])
    whole = np.concatenate([outer, under, strips + len(vertices)])
    ends = np.minimum(cover.border, FRAY * to_tips(cover, ground.tapered))
    full = np.clip((cover.radius - cover.skin - FADE[1]) / (FADE[2] - FADE[1]), 0.0, 1.0)
    locks = locks * on_disk(hood, full, len(locks))
    return HairMesh(np.concatenate([vertices, more]), whole, uv, len(outer), border, ends, locks)


def opacity(hood: Hood, border: Array, pattern: Array) -> Array:
    """(size,size) 0..1: strands of a pattern (size,size) that end one by one towards the border (side,side) of hair."""
    size = len(pattern)
    inside = on_disk(hood, border, size)
    ends = FRAY * (HALF + 0.3 * np.clip(pattern, -1.2, 1.2))
    texel = hood.reach / (DISK * size)
    shown = np.clip((inside - ends) / max(4 * texel, SOFT) + 0.5, 0.0, 1.0)
    out: Array = (shown * ramp(inside, 0.0, RIM_ENDS[1])).astype(np.float32)
    return out


def with_rim(ground: Ground, border: Array, alpha: Array, pattern: Array, cover: Array, faced: Array) -> Array:
    """Opacity alpha (size,size) of hair whose border (side,side) is, drawn as photos show it where they face it and the
    ground's rim says that they do, strand by strand of a pattern. cover, faced (size,size): see `HairPaint`."""
    size = len(alpha)
    inside, drawn = on_disk(ground.hood, border, size), on_disk(ground.hood, ground.rim, size)
    blur = RAGGED * DISK * size / ground.hood.reach
    shown, weight = (cv2.GaussianBlur(m, (0, 0), blur) for m in (cover * faced, faced))
    shown = shown / np.maximum(weight, 1e-3)
    strands = shown + shown * (1.0 - shown) * np.clip(pattern, -0.7, 1.5)  # dark ones leave no holes
    own = ramp(strands, *RIM_COVER) * ramp(inside, *RIM_ENDS)
    share = faced * ramp(drawn, *RIM_DRAWN) * ramp(inside, RIM_REACH[1], RIM_REACH[0])
    out: Array = alpha + share * (own - alpha)
    return _without_specks(out.astype(np.float32), texel=ground.hood.reach / (DISK * size))


def _without_specks(alpha: Array, texel: float) -> Array:
    """Opacity (size,size) without islands of hair on skin, and without holes, that are no strands' but a mask's; texel:
    metres."""
    for hair, least in ((True, ISLAND), (False, PINHOLE)):
        _, label, stats, _ = cv2.connectedComponentsWithStats(((alpha > 0.5) == hair).astype(np.uint8), connectivity=4)
        small = stats[:, cv2.CC_STAT_AREA] * texel**2 < least
        small[0] = False
        rim = cv2.dilate(small[label].astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        alpha = np.where(rim, np.float32(not hair), alpha)
    return alpha


def to_tips(cover: Cover, tapered: Array) -> Array:
    """(side,side) metres along the strands to hair's border, over the metres by which strands differ in length; tapered
    (side,side) 0..1: see `Ground`."""
    hood, inside = cover.hood, cover.border > 0
    factor, low, high = UNEVEN
    thick = np.maximum(cover.radius - cover.skin, 0.0)[inside]
    most = np.percentile(thick, 75) if inside.any() else 0.0  # short hair may be nothing but its rim
    # Curls end rolled up, not in points.
    uneven = low + (1.0 - cover.curl) * (float(np.clip(factor * most, low, high)) - low)
    uneven += tapered * np.maximum(NECK - uneven, 0.0)
    column, row = np.meshgrid(*[np.arange(hood.side, dtype=np.float32)] * 2)
    way = np.zeros(cover.border.shape, np.float32)
    goes_on = np.ones_like(way)
    for _ in range(TRACED):
        goes_on *= np.clip(read_map(cover.border, column, row) / PIXEL + 0.5, 0.0, 1.0)
        way += goes_on * PIXEL
        column, row = (at + read_map(cover.flow[..., c], column, row) for c, at in enumerate((column, row)))
    locks = strand_pattern(hood, cover.flow, cover.curl, hood.side, LOCKS[1])
    out: Array = way / uneven - CLUMPED * np.clip(locks, -1.0, 1.0)
    return cv2.GaussianBlur(np.where(way < 0.9 * TRACED * PIXEL, out, 10.0).astype(np.float32), (0, 0), 1.0)


def _shown(ground: Ground, vertices: Array, triangles: Array) -> tuple[Array, Array]:
    """The mesh without what lies under the skin."""
    radius = ground.hood.coordinates(vertices)[2]
    skin = read_at(ground.skin, ground.hood.places(vertices))
    used, kept = np.unique(triangles[(radius > skin - UNDER)[triangles].any(1)], return_inverse=True)
    return vertices[used], kept.reshape(-1, 3)


def _outside(hood: Hood, vertices: Array, triangles: Array) -> Array:
    """(F,) bool: triangles that are wound the same way in the map."""
    a, b, c = hood.places(vertices)[triangles].transpose(1, 0, 2)
    return (b - a)[:, 0] * (c - a)[:, 1] < (b - a)[:, 1] * (c - a)[:, 0]


def _with_locks(cover: Cover, locks: Array, vertices: Array) -> Array:
    """Vertices moved in and out by a pattern of locks (256,256) that run with the strands."""
    hood = cover.hood
    size, _, straight, curled = LOCKS
    turn, down, radius = hood.coordinates(vertices)
    place = hood.places(vertices)
    skin, border = (read_at(m, place) for m in (cover.skin, cover.border))
    lock = read_at(locks, _uv(hood, place) * [size, -size] + [-0.5, size - 0.5])
    share = np.clip(border / FADE[0], 0, 1) * np.clip((radius - skin - FADE[1]) / (FADE[2] - FADE[1]), 0, 1)
    # Rather deep between locks than high on them: the outline that was seen is that of the highest.
    height = ((1 - cover.curl) * straight + cover.curl * curled) * np.clip(lock - 0.4, -1.5, 0.8)
    return hood.point(turn, down, radius + share * height)


def _over_ears(cover: Cover, vertices: Array) -> Array:
    """Vertices of hair over the ears that it covers, whose rim is finer than the carved grid."""
    hood = cover.hood
    turn, down, radius = hood.coordinates(vertices)
    place = hood.places(vertices)
    skin, around = cover.skin.astype(np.float32), np.ones((5, 5), np.uint8)
    high = cv2.dilate(skin, around)
    share = ramp(read_at(high - cv2.erode(skin, around), place), *EAR)
    share *= ramp(read_at(cover.border, place), 0.0, FADE[0])
    return hood.point(turn, down, radius + share * np.maximum(read_at(high, place) + OVER_EAR - radius, 0.0))


def _roots(cover: Cover, vertices: Array, triangles: Array) -> Array:
    """(COUNT,3) points on a mesh, evenly by area, more at the border of hair."""
    rng = np.random.default_rng(4)
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    near = read_at(cover.border, cover.hood.places((a + b + c) / 3)) < AT_BORDER
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) * (1.0 + near)
    which = rng.choice(len(triangles), COUNT, p=area / area.sum())
    u, v = rng.random((2, COUNT, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return a[which] + u * (b - a)[which] + v * (c - a)[which]


def _uv(hood: Hood, place: Array) -> Array:
    """(V,2) for columns and rows (V,2) of the hood's maps."""
    out: Array = 0.5 + DISK * PIXEL / hood.reach * (place - hood.side // 2) * [1.0, -1.0]
    return np.clip(out, 0.0, 1.0)


def without_fins(vertices: Array, triangles: Array) -> tuple[Array, Array]:
    """A mesh without the pairs of triangles of the same three corners, back to back, that collapsing edges leaves, and
    without vertices that nothing uses."""
    _, same, count = np.unique(np.sort(triangles, 1), axis=0, return_inverse=True, return_counts=True)
    used, kept = np.unique(triangles[count[same.ravel()] == 1], return_inverse=True)
    return vertices[used], kept.reshape(-1, 3)


def attach_to_scalp(model: HeadModel, neutral: Array, points: Array) -> Attachment:
    """Where on the scalp points (N,3) hang: what moves it carries them, what moves jaw and brows does not."""
    return ProximityQuery(neutral, model.triangles[(model.scalp[model.triangles] > 0.5).all(1)]).attach(points)


def attach_hair(model: HeadModel, neutral: Array, points: Array, beard: Array) -> Attachment:
    """Where points (N,3) hang: a beard's, (N,) bool, on the face, others on the scalp."""
    on_scalp = attach_to_scalp(model, neutral, points)
    if not beard.any():
        return on_scalp
    on_face = ProximityQuery(neutral, model.triangles_of("face")).attach(points)
    return Attachment(
        np.where(beard[:, None], on_face.corners, on_scalp.corners),
        np.where(beard[:, None], on_face.bary, on_scalp.bary),
        np.where(beard, on_face.gap, on_scalp.gap),
    )


def _taubin(vertices: Array, triangles: Array) -> Array:
    """Smoothed without shrinking."""
    i, j = triangles.ravel(), triangles[:, [1, 2, 0]].ravel()
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(len(vertices),) * 2).tocsr()
    mean = diags_array(1.0 / np.maximum(np.asarray(graph.sum(1)).ravel(), 1.0)) @ graph
    first, second, rounds = TAUBIN
    for _ in range(rounds):
        for factor in (first, second):
            vertices = vertices + factor * (mean @ vertices - vertices)
    return vertices
