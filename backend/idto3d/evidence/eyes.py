# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyes from the irises in the photographs: colour by distance from the pupil, size, and the white around them.

Between the lids the photograph's own pixels are used, without highlights; the hidden rest is painted to match.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..fit.camera import PhotoCamera
from ..fit.light import LUMINANCE
from ..fit.projection import EYES, Projected, polygon_mask, sample, seen_weights
from ..fit.tone import IRIS, iris_of
from ..headmodel import HeadModel
from ..headmodel.eyeballs import IRIS_RADIUS
from ..mesh.texels import Texels
from ..photos.faces import Face
from ..ramps import ramp
from .blend import lay_over

RADIUS_LIMITS = (0.0052, 0.0066)  # metres, of an iris
PUPIL, BLACK = 0.36, 0.006  # of the iris; linear
BINS = 12
PLAIN_IRIS = (0.075, 0.043, 0.026)  # linear: brown, as most eyes are
PLAIN_SCLERA = (0.52, 0.48, 0.45)
CORNERS = (1.3, 3.2)  # iris radii from its centre over which the white turns to the corners' colour
PINK = np.array([0.18, 0.34, 0.36])  # shares that they lack of it
LID_SHADOW = (0.4, 0.0042)  # of the upper lid, which overhangs: depth, and how far it reaches, metres
LASHES = 0.12  # iris radii by which lashes reach into the opening
SMALLEST, ENOUGH_RADIUS = 5.0, 14.0  # iris radius in the photo's pixels at which it begins to count, and counts fully
CLOSED, OPEN = 0.5, 1.0  # opening in iris radii below which lids and lashes are seen, and from which only the eye is
GLARE = 0.55  # linear: brighter pixels of an eye are reflections
MIRRORS = (1.6, 2.6)  # times the iris's median lightness: reflections of a lamp or a window
WHITE_HUE = 0.5  # share kept of the white's hue in the picture, which near lids is theirs
OWN_WHITE = 0.25  # share of the hue of people's own whites in what is painted; lids shade them, so not of the lightness
ENOUGH = 25  # pixels of iris from which on their colour replaces the default


@dataclass(frozen=True, eq=False)
class EyeLook:
    """radius: of the iris, metres; profile (BINS,3) linear albedo from the pupil's rim to the white; sclera (3,)."""

    radius: float
    profile: Array
    sclera: Array


def measure_eyes(photos: Sequence[tuple[Face, PhotoCamera, Projected]]) -> EyeLook:
    """Pooled over photographs and both eyes, by the number of pixels that show them."""
    radii, rings, whites, sure = [], [], [], 0.0
    for face, camera, photo in photos:
        size = len(face.picture)
        level = _level(face, photo)
        for eye, outline in zip(IRIS, EYES, strict=True):
            open_ = polygon_mask(size, face.landmarks, outline)
            middle, radius = iris_of(face.landmarks, eye)
            shows = ramp(opening(open_, radius), CLOSED, OPEN)
            if not shows:
                continue
            reach = int(3 * radius) + 2
            x, y = np.rint(middle).astype(int)
            window = np.s_[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            rows, columns = np.nonzero((open_ & face.inside)[window])
            # of a picture that was enlarged as many pixels as the photo has
            step = max(1, round(face.enlarged))
            own = (rows % step == 0) & (columns % step == 0)
            if own.sum() < 6:
                continue
            sure = max(sure, float(shows))
            rows, columns = rows[own] + window[0].start, columns[own] + window[1].start
            away = np.hypot(columns - middle[0], rows - middle[1]) / radius
            colour = photo.linear[rows, columns] / level
            radii.append((radius / camera.scale, len(rows)))
            rings.append(np.c_[away, colour][away < 1.0])
            whites.append(colour[away > 1.25])
    return _pooled(radii, rings, whites, sure)


def _level(face: Face, photo: Projected) -> Array:
    """(3,) irradiance over pi of what faces the camera. The light of a photo without colours has a hue only so that its
    skin has: eyes are not divided by that."""
    facing = photo.facing > 0.7
    level = photo.shade[facing].mean(0) if facing.any() else np.ones(3)
    return np.full(3, level.mean()) if face.grey else level


def opening(between: Array, radius: float) -> float:
    """In iris radii, between (S,S) bool the lids; radius: of the iris, pixels."""
    return 2 * float(cv2.distanceTransform(between.astype(np.uint8), cv2.DIST_L2, 3).max()) / radius


def _pooled(radii: list[tuple[float, int]], rings: list[Array], whites: list[Array], sure: float) -> EyeLook:
    """sure 0..1: that an eye was open."""
    plain, white = np.tile(PLAIN_IRIS, (BINS, 1)), np.array(PLAIN_SCLERA)
    if not radii:
        return EyeLook(IRIS_RADIUS, plain, white)
    measured = float(np.average([r for r, _ in radii], weights=[n for _, n in radii]))
    radius = float(np.clip(0.5 * (measured + IRIS_RADIUS), *RADIUS_LIMITS))
    ring, seen = np.concatenate(rings), np.concatenate(whites)
    bins = np.clip(((ring[:, 0] - PUPIL) / (1 - PUPIL) * BINS).astype(int), -1, BINS - 1)
    light = ring[:, 1:] @ LUMINANCE
    profile = plain.copy()
    trust = sure * min(1.0, len(ring) / ENOUGH)
    everything = _without_highlights(ring[ring[:, 0] > PUPIL], light[ring[:, 0] > PUPIL])
    for k in range(BINS):
        rows = np.abs(bins - k) <= 1
        own = _without_highlights(ring[rows], light[rows]) if rows.sum() > 8 else everything
        profile[k] = trust * np.clip(own, 0.008, 0.6) + (1 - trust) * plain[k]
    if len(seen) > 12:
        # lids shade the white, so only the brighter half is used
        found = np.median(seen[seen.mean(1) >= np.median(seen.mean(1))], 0)
        usual, own = (colour / (colour @ LUMINANCE) for colour in (white, found))
        white = (white @ LUMINANCE) * (usual + OWN_WHITE * (own - usual))
    return EyeLook(radius, profile, white)


def _without_highlights(ring: Array, light: Array) -> Array:
    """Mean colour between the lightness quantiles .1 and .7: without highlights and the lashes' shadow."""
    if not len(ring):
        return np.array(PLAIN_IRIS)
    low, high = np.quantile(light, (0.1, 0.7))
    rows = (light >= low) & (light <= high)
    return ring[rows, 1:].mean(0)


def paint_eyes(model: HeadModel, texels: Texels, look: EyeLook) -> Array:
    """(N,3) linear albedo of the eye map's texels: iris, its dark rim and the white, by geodesic distance from the
    iris's centre, darkened under the upper lid, which shades the ball."""
    points = texels.at(model.neutral)
    out = np.zeros((len(points), 3))
    lids = model.neutral[model.vertices_of("face")]
    balls = np.flatnonzero(model.vertices_of("sclera"))
    near, which = cKDTree(lids).query(model.neutral[balls])
    above = lids[which, 1] > model.neutral[balls, 1]
    depth, reach = LID_SHADOW
    dimmed = np.ones((len(model.neutral), 1))
    dimmed[balls, 0] = 1 - above * depth * np.exp(-((near / reach) ** 2))
    shadow = texels.at(dimmed)
    rng = np.random.default_rng(0)
    streaks = np.interp(np.linspace(0, 1, 720), np.linspace(0, 1, 90), rng.normal(1, 0.16, 90))
    for side, away, up in _irises(model, points, look.radius):
        fibre = streaks[((up / (2 * np.pi) + 0.5) * 719).astype(int)]
        at = np.clip((away - PUPIL) / (1 - PUPIL), 0, 1) * (BINS - 1)
        iris = np.stack([np.interp(at, np.arange(BINS), look.profile[:, c]) for c in range(3)], 1) * fibre[:, None]
        iris *= (1 - 0.45 * np.clip((away - 0.86) / 0.14, 0, 1))[:, None]
        white = look.sclera * (1 - ramp(away, *CORNERS)[:, None] * PINK)
        edge = np.clip((away - 0.97) / 0.1, 0, 1)[:, None]
        out[side] = (1 - edge) * iris + edge * white
    return out * shadow


def with_pupils(albedo: Array, model: HeadModel, texels: Texels, radius: float) -> Array:
    """Linear albedo of eyes (S,S,3) with pupils in irises of a radius in metres: photographs show lamps there."""
    points, dark = texels.at(model.neutral), np.zeros(len(texels.index), np.float32)
    for side, away, _ in _irises(model, points, radius):
        dark[side] = 1 - np.clip((away - (PUPIL - 0.04)) / 0.06, 0, 1)
    return albedo + texels.image(dark)[..., None] * (BLACK - albedo)


def _irises(model: HeadModel, points: Array, radius: float) -> Iterator[tuple[Array, Array, Array]]:
    """Of each eye which of points (N,3) are on it (N,), their geodesic distance from its iris's centre, in irises of a
    radius in metres, and their angle about it (M,)."""
    for centre, _ in IRIS:
        if model.landmark_trust[centre] <= 0:
            continue
        pole = model.landmark_barycentric[centre] @ model.neutral[model.landmark_triangle[centre]]
        side = np.sign(points[:, 0]) == np.sign(pole[0])
        p = points[side]
        if not len(p):
            continue
        ball = (p.max(0) + p.min(0)) / 2
        axis = pole - ball
        reach = float(np.linalg.norm(axis))
        unit = (p - ball) / np.linalg.norm(p - ball, axis=1, keepdims=True)
        away = np.arccos(np.clip(unit @ (axis / reach), -1, 1)) * reach / radius
        yield side, away, np.arctan2(unit[:, 1], unit[:, 0] * np.sign(pole[0]))


def open_eyes(face: Face) -> Array:
    """(S,S) float32 0..1: between the lids of eyes that are open and not too small in the photo, away from lashes and
    skin."""
    size = len(face.picture)
    open_ = np.zeros((size, size), np.float32)
    for eye, outline in zip(IRIS, EYES, strict=True):
        inside = polygon_mask(size, face.landmarks, outline).astype(np.uint8)
        _, radius = iris_of(face.landmarks, eye)
        if opening(inside, radius) < CLOSED:
            continue
        fine = ramp(radius / face.enlarged, SMALLEST, ENOUGH_RADIUS)
        depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
        open_ = np.maximum(open_, fine * np.clip((depth - LASHES * radius) / (0.15 * radius), 0, 1))
    return open_ * face.inside


def unmirrored(face: Face, linear: Array) -> tuple[Array, Array]:
    """(S,S) float32 0..1 each: where an iris is free of reflections; and where an eye is white."""
    clear, white = np.ones(linear.shape[:2], np.float32), np.zeros(linear.shape[:2], np.float32)
    light = linear @ LUMINANCE.astype(np.float32)
    rows, columns = np.mgrid[: len(linear), : len(linear)]
    for eye, outline in zip(IRIS, EYES, strict=True):
        middle, radius = iris_of(face.landmarks, eye)
        away = np.hypot(columns - middle[0], rows - middle[1]) / radius
        iris = polygon_mask(len(linear), face.landmarks, outline) & (away < 1)
        white = np.maximum(white, np.clip((away - 1) / 0.15, 0, 1) * (away < 4))
        if iris.sum() < 6:
            continue
        usual = max(float(np.median(light[iris])), 0.02)
        mirrors = ramp(light / usual, *MIRRORS) * (away < 1.05)
        wider = cv2.dilate(mirrors.astype(np.float32), np.ones((3, 3), np.uint8), iterations=max(1, int(0.1 * radius)))
        clear *= 1 - cv2.GaussianBlur(wider, (0, 0), max(0.5, 0.06 * radius))
    return clear, white


def lay_photo_on_eyes(
    painted: Array, texels: Texels, faces: Sequence[Face], photos: Sequence[Projected], weights: Array, sclera: Array
) -> Array:
    """(S,S,3) linear: the painted eyes (S,S,3) with the photographs over them between the lids; weights (K,) of the
    photos; sclera (3,) linear: the colour of the white."""
    out = painted
    for k in np.argsort(weights):
        face, photo = faces[k], photos[k]
        level = _level(face, photo)
        at = texels.at(np.c_[photo.pixel, photo.height, photo.facing])
        clear, white = unmirrored(face, photo.linear)
        own = replace(photo, usable=open_eyes(face) * clear)
        weight = seen_weights(own, at[:, :2], at[:, 2], at[:, 3])
        colour = sample(photo.linear, at[:, :2]) / level.astype(np.float32)
        grey = colour @ LUMINANCE.astype(np.float32)
        colour *= np.minimum(1.0, GLARE / np.maximum(grey, 1e-3))[:, None]
        plain = np.minimum(grey, GLARE)[:, None] * (sclera / (sclera @ LUMINANCE)).astype(np.float32)
        colour += (1 - WHITE_HUE) * sample(white, at[:, :2])[:, None] * (plain - colour)
        out = lay_over(out, texels.image(colour), texels.image(weight), 3)
    return out
