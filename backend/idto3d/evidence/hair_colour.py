# SPDX-License-Identifier: GPL-3.0-or-later
"""The photographs laid on a mesh of hair: strands where they are seen, what the other side lends, then its tone.

Of a photograph's hair its body is wanted, not its sheen: what is brighter than the body is brought down, and colours
that hair does not have by nature (the sky's on black hair, the cheeks' beside white hair) go, but for strong ones: dye.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.special import ndtri

from ..arrays import Array
from ..fit.camera import PhotoCamera
from ..fit.light import shading
from ..fit.projection import DEPTH_SIZE, FACING, Projected, linear_to_srgb, sample, seen_weights, srgb_to_linear
from ..fit.visibility import draw_depth, front_at, resized
from ..mesh.surface import vertex_normals
from ..mesh.texels import Texels
from ..ramps import ramp, smoothstep
from .blend import lay_over, smooth_within

BEHIND = 0.02  # metres that mirrored hair may lie behind the frontmost: it is alike on both sides, not the same
LIT = 0.5  # exponent of the skin's shading that hair, which scatters, is taken to follow
ROUGHNESS, SPECULAR = 0.75, 0.03  # with more gloss, a lamp behind the head makes the crown white: a helmet's
SMOOTH = 0.05  # of the map's side: how wide the tone is spread where no strand was seen
BODY = (0.3, 0.5)  # quantile of the lightness of hair that is its body's: of grey and black hair, of coloured and light
WASHED, WASHED_BODY = (14.0, 22.0), 0.12  # too light for black, too dark for grey: black as a rule, with light on it
COLOURED = (8.0, 18.0)  # chroma of both
REDNESS = ((45.0, 1.3), (72.0, 0.35))  # L* and a* of b* that hair has at most: dark hair, which may be red, and light
LEAST_RED = ((25.0, 0.35), (60.0, 0.12))  # the same at least: what is less is green of a light
WHITE = ((0.0, 0.0), (60.0, 60.0), (100.0, 82.0))  # L* of pictures and of hair: white hair is no paper
YELLOWED = ((60.0, 72.0), (8.0, 24.0))  # L* and chroma: hair as light and as grey is white, under a light or over skin
PINK = 0.8  # b* that skin's a* brings along
DYED = (16.0, 30.0)  # distance (a*, b*) from colours of nature: believed to be light, to be dye
SHEEN_KEPT = (0.65, 0.35)  # of what is lighter than the body of dark hair, of washed: light hair has none that one sees
SHADE, SHADE_KEPT = 0.75, 0.25  # share of the body's lightness below which hair is shaded, and of that shade that stays
LIGHT = (40.0, 65.0)  # L* of dark and of light hair
HUE_KEPT = (0.7, 0.3)  # of colour that differs in wide patches, and from strand to strand
PATCH = 0.015  # of the picture's side: a wide patch
NEARBY = 0.03  # of the picture's side: what strands are darker or lighter than
SHADES, LEVELS = 16, 256  # of the strands drawn where none was seen, and between these
FEWEST = 50  # pixels of hair that tell its colour
ENOUGH = 50_000  # pixels that tell the shades
CONTRAST = (0.12, 0.3)  # deviation of these, as a logarithm: at least, at most


@dataclass(frozen=True, eq=False)
class HairPhoto:
    """What one photograph has of the hair: posed (V,3) the mesh as in it, hair (S,S) 0..1 the mask of hair, colour
    (S,S,3) its body's, skin (P,3) the head as in it, inside (S,S) 0..1 where its picture is the photo."""

    camera: PhotoCamera
    photo: Projected
    posed: Array
    hair: Array
    colour: Array
    skin: Array
    inside: Array


@dataclass(frozen=True, eq=False)
class HairPaint:
    """maps (S,S,5) albedo sRGB, roughness, specular; seen (S,S) 0..1; cover (S,S) 0..1: how much hair photos show
    where they show the place at all, faced (S,S) 0..1."""

    maps: Array
    seen: Array
    cover: Array
    faced: Array


@dataclass(frozen=True, eq=False)
class HairColour:
    """tone (3,) linear, of the hair; pictures: of each photo, (S,S,3) linear, the hair in even light; shades
    (SHADES,3): logarithms by which its strands differ from what is around them, dark to light, equally many of each;
    photos: numbers of those that show it."""

    tone: Array
    pictures: tuple[Array, ...]
    shades: Array
    photos: tuple[int, ...]

    def strands(self, pattern: Array) -> Array:
        """(...,3) factors of the tone: strands of a pattern (...,) of deviation 1 get shades by their rank in it, as
        histograms are matched (Heeger and Bergen 1995)."""
        rank, levels = _ranks(), np.linspace(-3.0, 3.0, LEVELS)
        table = np.exp(np.stack([np.interp(levels, rank, shade) for shade in self.shades.T], -1)).astype(np.float32)
        return table[np.clip((pattern + 3.0) * ((LEVELS - 1) / 6.0) + 0.5, 0, LEVELS - 1).astype(np.int16)]


def paint_hair(
    texels: Texels, triangles: Array, photos: Sequence[HairPhoto], skin: Array, hair: HairColour, pattern: Array
) -> HairPaint:
    """What photos show of a hair mesh with triangles (F,3), and what goes with it; the last of them lies uppermost.

    skin (F',3): triangles of what hair may be hidden behind. pattern (S,S): strands, of deviation 1.
    """
    size = texels.size
    picture = np.broadcast_to(hair.tone.astype(np.float32), (size, size, 3)).copy()
    views = [[_project(texels, triangles, photo, skin, mirrored) for photo in photos] for mirrored in (False, True)]
    own, lent = ([(view.colour, view.weight) for view in side] for side in views)
    known = _mixed([*own, *((c, 0.5 * w) for c, w in lent)])
    mean, reach = smooth_within(texels.image(known[0]), texels.image(known[1]), SMOOTH * size)
    picture += np.clip(reach * 3, 0, 1)[..., None] * (mean - picture)
    picture *= hair.strands(pattern)
    for colour, weight in (*lent, *own):
        picture = lay_over(picture, texels.image(colour), texels.image(weight))
    seen = texels.image(np.max([w for _, w in own], 0))
    albedo = texels.padded(linear_to_srgb(picture))
    faced = np.sum([view.faced for view in views[0]], 0)
    cover = np.sum([view.faced * view.cover for view in views[0]], 0) / np.maximum(faced, 1e-6)
    return HairPaint(
        np.dstack([albedo, np.broadcast_to([ROUGHNESS, SPECULAR], (size, size, 2))]).astype(np.float32),
        seen,
        texels.image(cover.astype(np.float32)),
        texels.image(np.minimum(faced, 1.0).astype(np.float32)),
    )


def hair_colour(
    photos: Sequence[tuple[Projected, Array]], grey: Sequence[bool], worn: Sequence[int] | None = None
) -> HairColour:
    """Of photographs and their masks of hair (S,S). grey: which of them have no colours; beside others, of these the
    lightness alone counts. worn: numbers of those that show this hair, not another style of it; all if not given."""
    chosen = tuple(range(len(photos)) if worn is None else worn)
    even = [photo.linear / _usual_light(photo) for photo, _ in photos]
    hairs = [even[k][photos[k][1] > 0.8] for k in chosen]
    found = np.concatenate([hair for hair, k in zip(hairs, chosen, strict=True) if not grey[k]] or hairs)
    found = found if len(found) > FEWEST else np.concatenate(hairs)
    raw = _body(_lab(found)) if len(found) > FEWEST else _lab(0.3 * photos[0][0].tone[None])[0]
    tone = natural(raw)
    washed = ramp(tone[0], *WASHED) * (1 - _coloured(tone))
    sheen = (1 - _lightness(tone)) * (1 - SHEEN_KEPT[0] - washed * (SHEEN_KEPT[1] - SHEEN_KEPT[0]))
    pictures = []
    for picture, (_, mask), without in zip(even, photos, grey, strict=True):
        toned = picture.copy()
        pictures.append(toned)
        hair = cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0  # all that is ever sampled, a fifth of the picture
        if not hair.any():
            continue
        lab = _lab(picture[hair])
        if without and not all(grey):
            lab[:, 1:] = raw[1:]
        hues = np.zeros((*mask.shape, 2), np.float32)
        hues[hair] = lab[:, 1:]
        wide, near = (field[hair] for field in smooth_within(hues, mask, PATCH * len(mask)))
        wide = raw[1:] + np.clip(8 * near, 0, 1)[:, None] * (wide - raw[1:])
        hue = tone[1:] + HUE_KEPT[0] * (wide - raw[1:]) + HUE_KEPT[1] * np.clip(lab[:, 1:] - wide, -12, 12)
        light = lab[:, :1] - sheen * np.maximum(lab[:, :1] - tone[0], 0.0)
        light = light + (1 - SHADE_KEPT) * np.maximum(SHADE * tone[0] - light, 0.0)
        toned[hair] = _linear(natural(np.concatenate([light, hue], 1)))
    shades = _shades([pictures[k] for k in chosen], [photos[k][1] for k in chosen], _coloured(tone))
    return HairColour(_linear(tone[None])[0], tuple(pictures), shades, chosen)


def _shades(pictures: Sequence[Array], masks: Sequence[Array], coloured: float) -> Array:
    apart = [np.zeros((SHADES, 3), np.float32)]
    for picture, mask in zip(pictures, masks, strict=True):
        inside = mask > 0.9
        around, _ = smooth_within(picture, inside.astype(np.float32), NEARBY * len(mask))
        apart.append(np.log(np.maximum(picture, 1e-3) / np.maximum(around, 1e-3))[inside])
    all_of = np.concatenate(apart)
    all_of = all_of[:: 1 + len(all_of) // ENOUGH]
    ranked = all_of[np.argsort(all_of.mean(1), kind="stable")]
    shades = np.stack([part.mean(0) for part in np.array_split(ranked, SHADES)])
    shades -= shades.mean(0)
    # Strands of grey and white hair differ in lightness; what differs in hue is light and skin that shows through.
    grey = shades.mean(1, keepdims=True)
    shades = grey + coloured * (shades - grey)
    contrast = float(shades.mean(1).std())
    if contrast < 0.01 * CONTRAST[0]:  # no photo tells
        shades, contrast = _ranks()[:, None] * np.ones(3, np.float32), 1.0
    return shades * (np.clip(contrast, *CONTRAST) / contrast)


def _ranks() -> Array:
    """(SHADES,) standard normal: the middles of as many equally likely parts."""
    return ndtri((np.arange(SHADES) + 0.5) / SHADES)


def natural(lab: Array) -> Array:
    """Colours (...,3) L*a*b* with the hue that hair can have: neither blue nor olive, red only as far as yellow and
    dark, since pink is skin's, and goes with skin's yellow; but for strong colours, which are dye."""
    light, a, b = np.moveaxis(lab, -1, 0)
    share, least = (np.interp(light, *np.transpose(limits)) for limits in (REDNESS, LEAST_RED))
    yellow = np.maximum(b - PINK * np.maximum(a - share * np.maximum(b, 0.0) - 1.5, 0.0), 0.0)
    yellow = yellow * (1.0 - ramp(light, *YELLOWED[0]) * (1.0 - ramp(yellow, *YELLOWED[1])))
    red = np.clip(a, 0.0, share * yellow + 1.5)
    dyed = np.clip((np.hypot(a - red, b - yellow) - DYED[0]) / (DYED[1] - DYED[0]), 0.0, 1.0)
    red = np.maximum(red, least * yellow)
    light = np.interp(light, *np.transpose(WHITE))
    return np.stack([light, red + dyed * (a - red), yellow + dyed * (b - yellow)], -1)


def hair_on_skin(
    texels: Texels, photo: Projected, picture: Array, mask: Array, mirror: Array | None
) -> tuple[Array, Array]:
    """Colours (N,3) and weights (N,) of hair at texels of the skin that it grows on, or of their mirror images; picture
    (S,S,3): the hair in even light, mask (S,S) of it."""
    values = np.c_[photo.pixel, photo.height, photo.facing, _lit(photo, photo.shade)]
    at = texels.at(values) if mirror is None else texels.at_mirrored(values, mirror)
    seen = replace(photo, usable=photo.usable * mask)
    return sample(picture, at[:, :2]) / at[:, 4:], seen_weights(seen, at[:, :2], at[:, 2], at[:, 3])


def _lit(photo: Projected, shade: Array) -> Array:
    """(N,) how much more light than usual hair gets where skin gets shade (N,3). Of one hue: the pictures of hair have
    hair's hues already."""
    ratio: Array = (shade / _usual_light(photo)).mean(1) ** LIT
    return ratio


def _usual_light(photo: Projected) -> Array:
    """(3,) irradiance over pi of what faces the camera."""
    return np.average(photo.shade, axis=0, weights=np.clip(photo.facing, 1e-3, 1.0))


def _lightness(lab: Array) -> float:
    """0 of dark hair, 1 of light."""
    return float(np.clip((lab[0] - LIGHT[0]) / (LIGHT[1] - LIGHT[0]), 0.0, 1.0))


def _body(lab: Array) -> Array:
    """(3,) L*a*b* of hair's body in its pixels (N,3)."""
    middle = np.median(lab, 0)
    coloured = max(_coloured(middle), _lightness(middle))
    ordered, washed, usual = np.sort(lab[:, 0]), WASHED_BODY, BODY[0] + coloured * (BODY[1] - BODY[0])
    dark, light = (ordered[int(0.8 * at * len(lab)) : int(1.2 * at * len(lab)) + 1].mean() for at in (washed, usual))
    light -= (1 - coloured) * max(light - max(dark, WASHED[0]), 0.0)
    # The hue is all hair's: what is of middle lightness has more of it than lights and shades.
    mean = lab.mean(0)
    return np.r_[light, mean[1:] * min(light / max(mean[0], 1.0), 1.0)]


def _coloured(lab: Array) -> float:
    """0 of grey hair, 1 of coloured."""
    return float(np.clip((np.hypot(*lab[1:]) - COLOURED[0]) / (COLOURED[1] - COLOURED[0]), 0.0, 1.0))


def _lab(linear: Array) -> Array:
    """L*a*b* of linear colours (N,3) or (S,S,3)."""
    srgb = linear_to_srgb(linear)
    return cv2.cvtColor(srgb.reshape(-1, 1, 3), cv2.COLOR_RGB2LAB).reshape(linear.shape)


def _linear(lab: Array) -> Array:
    """The inverse."""
    srgb = cv2.cvtColor(lab.astype(np.float32).reshape(-1, 1, 3), cv2.COLOR_LAB2RGB).reshape(lab.shape)
    return srgb_to_linear(srgb)


@dataclass(frozen=True, eq=False)
class _View:
    """Of a photo, at N texels: colour (N,3) linear, de-lit, and its weight (N,); cover (N,) 0..1: whether that is
    hair; faced (N,) 0..1: how well it shows the place."""

    colour: Array
    weight: Array
    cover: Array
    faced: Array


def _project(texels: Texels, triangles: Array, photo: HairPhoto, skin_triangles: Array, mirrored: bool) -> _View:
    """How a photo shows the texels, or their mirror images."""
    camera, size = photo.camera, len(photo.photo.linear)
    posed = photo.posed
    normal = vertex_normals(posed, triangles)
    buffer = draw_depth(
        resized(camera, DEPTH_SIZE / size),
        np.concatenate([photo.skin, posed]),
        np.concatenate([skin_triangles, triangles + len(photo.skin)]),
        DEPTH_SIZE,
    )
    points = posed * [-1, 1, 1] if mirrored else posed
    normals = normal * [-1, 1, 1] if mirrored else normal
    pixel, height = camera.project(points)
    facing = (normals * camera.towards(points)).sum(1)
    lit = _lit(photo.photo, shading(photo.photo.light, normals))
    at = texels.at(np.c_[pixel, height, facing, lit])
    tolerance = BEHIND if mirrored else 0.008
    front = front_at(buffer.height, at[:, :2], DEPTH_SIZE / size)
    weight = smoothstep(at[:, 3], *FACING) * (front - at[:, 2] < tolerance) * np.isfinite(front)
    weight *= ((at[:, :2] > 1) & (at[:, :2] < size - 2)).all(1) * (sample(photo.inside, at[:, :2]) > 0.99)
    hair = sample(photo.hair, at[:, :2])
    share = ramp(hair, 0.4, 0.8) * (0.8 if mirrored else 1.0)
    return _View(sample(photo.colour, at[:, :2]) / at[:, 4:], (weight * share).astype(np.float32), hair, weight)


def _mixed(layers: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    total = np.sum([w for _, w in layers], 0)
    colour = np.sum([c * w[:, None] for c, w in layers], 0) / np.maximum(total, 1e-6)[:, None]
    return colour.astype(np.float32), np.clip(total, 0, 1).astype(np.float32)
