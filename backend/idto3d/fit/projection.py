# SPDX-License-Identifier: GPL-3.0-or-later
"""A photograph projected onto the head: how well each vertex is seen, and the de-lit colour of each texel."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from ..headmodel import HeadModel
from ..headmodel.follow import FILMS
from ..mesh.surface import vertex_normals
from ..mesh.texels import Texels
from ..photos.faces import Face, in_colour
from ..photos.landmarks import LIPS
from ..ramps import ramp, smoothstep
from .camera import PhotoCamera
from .light import coat, fit_light, shading, under_coat
from .tone import USUAL_FACING, Reading, brighter_white, likely_tone
from .visibility import draw_depth, front_at, resized

FACING = (0.12, 0.45)  # cosine to the camera at which a surface begins to count, and counts fully
BEHIND = (0.004, 0.008)  # metres behind the frontmost surface: still visible, no longer visible
EDGE, OVERHUNG = 0.003, (0.012, 0.02)  # metres beside an edge, and behind it, where its blur or a fit's error may show
DARK = (0.2, 0.55)  # of the mean irradiance: darker places show noise and reflected light
CLIPPED = (0.85, 0.97)  # linear: where the camera's sensor saturates
DEPTH_SIZE = 512
# Of the face's height: how far within its outline what is no person is before it, not beside it, and how far this may
# reach beyond its edge in the mask; share of the face that it takes at least.
HELD_WITHIN, HELD_EDGE, HELD_LEAST = 0.08, 0.09, 0.01
REDDER, GREY_HAIR = 0.6, (0.5, 0.75)  # quantile of red over green taken for skin's; log below it that is grey hair's
TONES_APART = (0.2, 5.0)  # limits of what one photo's light is changed by, so that its skin has the others' tone
# outlines in MediaPipe's mesh: of the eyes' openings and the mouth's
EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
MOUTH = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
        152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Projected:
    """A posed head in its photograph. Per vertex: pixel (P,2), height (P,), facing (P,) the cosine to the camera,
    normal (P,3), shade (P,3) irradiance over pi. linear (S,S,3): the picture in linear light; usable (S,S) 0..1: where
    it shows the person's outside, neither the openings of eyes and mouth nor what lies beyond the person; tone (3,)
    linear: the skin's likely albedo, by the reading; light (9,3); height_buffer (D,D), and edge_buffer (D,D): the
    greatest height within EDGE beside."""

    pixel: Array
    height: Array
    facing: Array
    normal: Array
    shade: Array
    linear: Array
    usable: Array
    reading: Reading
    tone: Array
    light: Array
    height_buffer: Array
    edge_buffer: Array


def srgb_to_linear(values: Array) -> Array:
    """sRGB, bytes or code values 0..1, to linear float32."""
    if values.dtype == np.uint8:
        return srgb_to_linear(np.arange(256) / 255.0)[values]
    out: Array = np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0.04045) + 0.055) / 1.055) ** 2.4)
    return out.astype(np.float32)


def linear_to_srgb(values: Array) -> Array:
    """Linear to sRGB code values 0..1, float32."""
    v = np.clip(values, 0.0, 1.0)
    out: Array = np.where(v <= 0.0031308, 12.92 * v, 1.055 * np.maximum(v, 1e-8) ** (1 / 2.4) - 0.055)
    return out.astype(np.float32)


def polygon_mask(size: int, landmarks: Array, outline: tuple[int, ...]) -> Array:
    """(S,S) bool: inside the outline through the named landmarks (478,2)."""
    image = np.zeros((size, size), np.uint8)
    cv2.fillPoly(image, [np.rint(landmarks[list(outline)] * 16).astype(np.int32)], 1, shift=4)
    return image.astype(bool)


def skin_mask(size: int, landmarks: Array) -> Array:
    """(S,S) bool: skin between brows, eyes, lips and the face's outline."""
    skin = polygon_mask(size, landmarks, OVAL)
    for outline in (*BROWS, *EYES, LIPS):
        skin &= ~polygon_mask(size, landmarks, outline)
    return skin


def project_photo(model: HeadModel, face: Face, camera: PhotoCamera, posed: Array) -> Projected:
    """Project a posed head (P,3) into its photograph and fit the light."""
    size = len(face.picture)
    normal = vertex_normals(posed, model.triangles)
    pixel, height = camera.project(posed)
    facing = (normal * camera.towards(posed)).sum(1)
    solid = [part for part in model.part_names if part not in FILMS]
    small = resized(camera, DEPTH_SIZE / size)
    height_buffer = draw_depth(small, posed, model.triangles_of(*solid), DEPTH_SIZE).height
    beside = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(EDGE * small.scale) + 1,) * 2)
    linear = srgb_to_linear(face.picture)
    usable = usable_pixels(face)
    bright, light = _light(model, face, (pixel, normal, facing), linear, usable)
    shade = shading(light, normal)
    reading = _reading(model, face, (pixel, facing, shade), linear, bright)
    tone = likely_tone([reading])
    mirrored = coat(np.full(1, USUAL_FACING))
    gain = bright / ((1 - mirrored) * tone + mirrored)
    light, shade = light * gain, shade * gain
    buffers = height_buffer, cv2.dilate(height_buffer, beside)
    return Projected(pixel, height, facing, normal, shade, linear, usable, reading, tone, light, *buffers)


def with_common_tone(faces: Sequence[Face], photos: Sequence[Projected]) -> list[Projected]:
    """Photographs of one person, one a face, whose skin has one tone, what is likely by those that have colours. Their
    light changes so that it explains the same colours."""
    tone = likely_tone([photo.reading for photo in in_colour(faces, photos)])
    mirrored = coat(np.full(1, USUAL_FACING))
    out = []
    for photo in photos:
        gain = ((1 - mirrored) * photo.tone + mirrored) / ((1 - mirrored) * tone + mirrored)
        gain = np.clip(gain, *TONES_APART)
        out.append(replace(photo, tone=tone, light=photo.light * gain, shade=photo.shade * gain))
    return out


def usable_pixels(face: Face) -> Array:
    """(S,S) float32: 1 on the person, 0 in the openings of eyes and mouth."""
    size = len(face.picture)
    unit = max(1.0, float(np.ptp(face.landmarks[:468, 1])) / 150)
    person = np.clip((face.person - 0.5) / 0.3, 0, 1) * face.inside * (1 - _held_before(face))
    person = cv2.erode(person.astype(np.float32), np.ones((3, 3), np.uint8), iterations=int(np.ceil(unit)))
    openings = np.zeros((size, size), np.uint8)
    for outline in (*EYES, MOUTH):
        openings |= polygon_mask(size, face.landmarks, outline).astype(np.uint8)
    wider = cv2.dilate(openings, np.ones((3, 3), np.uint8), iterations=max(1, int(round(0.7 * unit))))
    return cv2.GaussianBlur(person * (1.0 - wider), (0, 0), 0.7 * unit)


def _held_before(face: Face) -> Array:
    """(S,S) 0 or 1: things before the face, and what is beside them: the net's edges of them are rough."""
    size, height = len(face.picture), float(np.ptp(face.landmarks[:468, 1]))
    oval = polygon_mask(size, face.landmarks, OVAL).astype(np.uint8)
    other = (face.person < 0.5) & face.inside
    deep = other & (cv2.erode(oval, _disc(HELD_WITHIN * height), borderValue=0) > 0)
    if deep.sum() < HELD_LEAST * oval.sum():
        return np.zeros((size, size), np.float32)
    held = other & (cv2.dilate(deep.astype(np.uint8), _disc(HELD_WITHIN * height)) > 0)
    return cv2.dilate(held.astype(np.float32), _disc(HELD_EDGE * height)).astype(np.float32)


def _disc(radius: float) -> NDArray[np.uint8]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(radius) + 1,) * 2).astype(np.uint8)


def _light(
    model: HeadModel, face: Face, laid: tuple[Array, Array, Array], linear: Array, usable: Array
) -> tuple[Array, Array]:
    """Brightness (3,) of the face's skin, and the light (9,3) on it; laid: pixel, normal and facing (P,...)."""
    (pixel, normal, facing), size = laid, len(linear)
    soft = cv2.GaussianBlur(skin_mask(size, face.landmarks).astype(np.float32) * (usable > 0.5), (0, 0), size / 300)
    rows = np.flatnonzero(model.vertices_of("face") & (facing > 0.25) & _within(pixel, size))
    blurred = cv2.GaussianBlur(linear, (0, 0), size / 300)
    colours = sample(blurred, pixel[rows])
    weights = sample(soft, pixel[rows]) * facing[rows]
    weights = weights * (1 - smoothstep(greyer(colours, weights), *GREY_HAIR))
    if weights.sum() < 20:  # hardly any skin is seen: one even light
        weights = np.maximum(weights, 1e-3)
    return fit_light(colours.astype(np.float64), normal[rows], weights.astype(np.float64))


def greyer(colours: Array, weights: Array) -> Array:
    """(N,) by how much the log of red over green of colours (N,3) is below their weighted (N,) quantile REDDER."""
    red = np.log(np.maximum(colours[:, 0], 1e-3) / np.maximum(colours[:, 1], 1e-3))
    order = np.argsort(red)
    share = np.cumsum(weights[order])
    return red[order[np.searchsorted(share, REDDER * share[-1])]] - red if len(red) else red


def _reading(model: HeadModel, face: Face, laid: tuple[Array, Array, Array], linear: Array, bright: Array) -> Reading:
    """`fit.tone`'s input, of skin of brightness bright (3,); laid: pixel, facing and shade (P,...)."""
    pixel, facing, shade = laid
    balls = model.vertices_of("sclera") & (facing > 0.3)
    openings = [polygon_mask(len(linear), face.landmarks, outline) for outline in EYES]
    white = brighter_white(face.landmarks, openings, linear, pixel[balls], shade[balls], face.enlarged)
    brightest = float(srgb_to_linear(np.array([face.brightest], np.uint8))[0])
    return Reading(bright, white, face.grey, brightest)


def read_light(model: HeadModel, face: Face, camera: PhotoCamera, posed: Array) -> Reading:
    """`fit.tone`'s input for a posed head (P,3) in its photograph."""
    normal = vertex_normals(posed, model.triangles)
    pixel, _ = camera.project(posed)
    facing = (normal * camera.towards(posed)).sum(1)
    linear = srgb_to_linear(face.picture)
    bright, light = _light(model, face, (pixel, normal, facing), linear, usable_pixels(face))
    return _reading(model, face, (pixel, facing, shading(light, normal)), linear, bright)


def sample(image: Array, pixel: Array) -> Array:
    """Bilinear values of image (S,S[,C]) at pixels (N,2): (N[,C]) float32, edges repeated."""
    at = np.asarray(pixel, np.float32)
    rows = max(1, -(-len(at) // 16384))  # remap takes images of 1 to 32767 a side
    padded = np.zeros((rows * 16384, 2), np.float32)
    padded[: len(at)] = at
    grid = padded.reshape(rows, 16384, 2)
    out = cv2.remap(image, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return out.reshape(rows * 16384, *image.shape[2:])[: len(at)]


def _within(pixel: Array, size: int) -> Array:
    x, y = pixel.T
    return np.asarray((x > 0.5) & (x < size - 1.5) & (y > 0.5) & (y < size - 1.5))


def seen_weights(photo: Projected, pixel: Array, height: Array, facing: Array) -> Array:
    """(N,) 0..1: how well points of the surface are seen: turned to the camera, frontmost, on the person."""
    size = len(photo.linear)
    behind = front_at(photo.height_buffer, pixel, len(photo.height_buffer) / size) - height
    weight = smoothstep(facing, *FACING) * (1 - ramp(behind, *BEHIND))
    weight *= _within(pixel, size)
    return (weight * sample(photo.usable, pixel)).astype(np.float32)


def vertex_seen(model: HeadModel, photo: Projected) -> Array:
    """(P,) 0..1: how well each vertex of the skin is seen, 0 for other parts."""
    skin = model.vertices_of("face", "back_head")
    weight = seen_weights(photo, photo.pixel, photo.height, photo.facing)
    return np.where(skin, weight, 0.0)


def project_texels(texels: Texels, photo: Projected, mirror: Array | None = None) -> tuple[Array, Array]:
    """De-lit colours (N,3) linear and weights (N,) of a map's texels; with `mirror` (P,), of the other side's."""
    # divides by the diffuse share, too: the rest of the light is the coat's reflection
    values = np.c_[photo.pixel, photo.height, photo.facing, photo.shade / under_coat(photo.tone, photo.facing)]
    at = texels.at(values) if mirror is None else texels.at_mirrored(values, mirror)
    weight = seen_weights(photo, at[:, :2], at[:, 2], at[:, 3])
    overhang = front_at(photo.edge_buffer, at[:, :2], len(photo.edge_buffer) / len(photo.linear)) - at[:, 2]
    weight = weight * (1 - ramp(overhang, *OVERHUNG))
    colour, shade = sample(photo.linear, at[:, :2]), at[:, 4:7]
    lit = (shade[:, 0] + shade[:, 1] + shade[:, 2]) / 3
    usual = np.average(lit, weights=weight + 1e-6)
    brightest = np.maximum(np.maximum(colour[:, 0], colour[:, 1]), colour[:, 2])
    weight = weight * smoothstep(lit / usual, *DARK) * (1 - 0.8 * smoothstep(brightest, *CLIPPED))
    return colour / shade, weight
