# SPDX-License-Identifier: GPL-3.0-or-later
"""Beards around the jaw's line, where the face's outline ends. Beyond it only colours like skin's are believed, since
collars lie there, too; a beard is not like skin, but goes on from one on the chin, also to where no photograph sees."""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..fit.projection import OVAL
from ..headmodel import HeadModel
from ..mesh.texels import Texels
from ..ramps import ramp
from .blend import smooth_within
from .delight import hairiness

DARK, HUE = (-0.25, -0.7), (0.06, -0.01)  # log lightness, and red over green, over skin: from stubble to beard
PALE, GREY = (0.15, 0.4), (-0.15, -0.35)  # the same of white ones, which are nothing like skin
SOFT = 1 / 250  # of a map's side
CHIN, NOSE = (152, 199), 2  # landmarks
NEAR_CHIN, SHARE = 0.016, 0.3  # metres from the chin; share that a beard covers there
BORDER, WHOLE = (0.2, 0.8), 1.3  # of a beard, on its border; how much more lies inside: shade is all border
JAW = 13  # landmarks of the face's outline: those around the chin, up to the jaw's corners
REACH = (0.018, 0.030)  # metres from the jaw's line in which a beard goes on
OUTLINED = 0.2  # of a beard that lies within the face's outline
FEWEST = 50  # texels of a beard that tell its colour
AROUND, FAR = 0.006, 0.020  # metres within which what is seen of a beard tells of what is not; where nothing else does
GROWN = (0.3, 0.7)  # share of what is near that is beard, on skin where none grows and where one does
SPREAD = (0.1, 0.4)  # deviation of the lightness of a beard's hairs, at least and at most
EARS, BEHIND, BELOW = (234, 454), 0.036, 0.012  # landmarks before the ears; metres from there, and below jaw's corners
EDGE = 0.004  # metres over which a beard ends


def beard_colour(colour: Array, tone: Array) -> Array:
    """(S,S) 0..1: how far colours (S,S,3) linear are those of a beard on skin of a tone (3,)."""
    # channel by channel: NumPy is slow over so short an axis
    red, green, blue = (np.log(np.maximum(colour[..., c], 1e-3) / np.float32(tone[c])) for c in range(3))
    of = (red + green + blue) / 3, red - green, SOFT * len(colour)
    return np.maximum(hairiness(*of, DARK, HUE), hairiness(*of, PALE, GREY))


def jaw_of(model: HeadModel) -> Array:
    """(P,6) 0..1: around the jaw's line; at the chin's front; around the line and on the face up to the nose; at the
    jaw's corners; between them and the ears; from their height up to the nose and the ears."""
    marks, middle = model.landmarks(model.neutral), OVAL.index(CHIN[0])
    line = marks[list(OVAL[middle - JAW // 2 : middle + JAW // 2 + 1])]
    between = [np.linspace(a, b, 9) for a, b in zip(line[:-1], line[1:], strict=True)]
    away, _ = cKDTree(np.concatenate(between)).query(model.neutral)
    chin = np.linalg.norm(model.neutral - marks[list(CHIN)].mean(0), axis=1) < NEAR_CHIN
    around = ramp(away, *REACH[::-1])
    face = model.vertices_of("face") * ramp(marks[NOSE, 1] - model.neutral[:, 1], 0.0, 0.004)
    corner = line[[0, -1]]
    at_corner = np.linalg.norm(model.neutral[:, None] - corner, axis=2).min(1) < NEAR_CHIN
    beside, burns = _beside_jaw(model, marks, corner.mean(0))
    lower = np.maximum(around, face * (model.neutral[:, 2] > line[:, 2].min()))
    return np.stack([around, chin, lower, at_corner, burns, beside], 1)


def _beside_jaw(model: HeadModel, marks: Array, corner: Array) -> tuple[Array, Array]:
    """(P,) 0..1 from the height of the jaw's corners (y, z of (3,)) up to the ears, before them, and below a line from
    there to the nose's base; and (P,) the part of it behind the corners, which narrows towards the ears."""
    nose, ears = marks[NOSE], marks[list(EARS)]
    out, height, depth = np.abs(model.neutral - [nose[0], 0, 0]).T[0], model.neutral[:, 1], model.neutral[:, 2]
    far, ear = np.abs(ears[:, 0] - nose[0]).mean(), ears.mean(0)
    top = nose[1] + np.clip(out / far, 0, 1) ** 2 * (ear[1] - nose[1])
    inside = (top - height, height - corner[1] + BELOW, depth - ear[2] + BEHIND)
    beside: Array = model.vertices_of("face") * np.min([ramp(metres, 0.0, EDGE) for metres in inside], 0)
    front = np.interp(height, [corner[1], ear[1]], [corner[2], ear[2] - BEHIND / 2])
    return beside, beside * ramp(front - depth, 0.0, EDGE)


def is_beard(found: Array, chin: Array, lower: Array) -> bool:
    """found (N,) 0..1: how much places have a beard's colour; chin, lower (N,) 0..1: whether they lie at the chin's
    front, and where beards grow. A beard covers the chin and ends within millimetres; shade under a lip or from below
    has its colour, too, on dark skin above all, but fades."""
    border, whole = ((found > BORDER[0]) & (found < BORDER[1]), found >= BORDER[1])
    covered = (chin * found).sum() > SHARE * chin.sum()
    return bool(covered and (lower * whole).sum() > WHOLE * (lower * border).sum())


def beard_of(at: Texels, colour: Array, tone: Array, inside: Array, jaw: Array) -> Array:
    """(N,) 0..1: texels that show a beard which covers the chin, also below the face's outline.

    colour (N,3) linear; inside (N,) 0..1: how well they are seen within the outline; jaw (N,6): as `jaw_of`.
    """
    chin = inside * jaw[:, 1]
    found = at.of_image(beard_colour(at.image(colour), tone)) if chin.any() else chin
    if not is_beard(found, chin, inside * jaw[:, 2]):
        return np.zeros(len(found), np.float32)
    _, parts = cv2.connectedComponents(at.image(((jaw[:, 2] > 0) & (found > 0.5)).astype(np.uint8)))
    part = at.of_image(parts)
    count, within = np.bincount(part), np.bincount(part, inside)
    own = within > OUTLINED * count  # a collar lies outside
    return (jaw[:, 2] * found * (own & (np.arange(len(own)) > 0))[part]).astype(np.float32)


def hairs_of(at: Texels, layers: Sequence[tuple[Array, Array]], tone: Array, jaw: Array) -> tuple[Array, float] | None:
    """A beard's colour (3,) linear and the deviation of its hairs' lightness (logarithm); None where there is none.

    layers: albedo (S,S,3) and weight (S,S) of what is surely skin or beard; jaw (N,6): as `jaw_of`.
    """
    if not jaw[:, 1].any():
        return None
    known = np.sum([weight for _, weight in layers], 0)
    found = [beard_colour(colour, tone) for colour, _ in layers]
    hair = np.sum([weight * f for (_, weight), f in zip(layers, found, strict=True)], 0)
    chin, around = at.image(jaw[:, 1].astype(np.float32)), at.image(jaw[:, 0]) > 0
    hairs = np.concatenate([c[(w * f > 0.5) & around] for (c, w), f in zip(layers, found, strict=True)])
    covered = hair / np.maximum(known, 1e-6)
    if len(hairs) < FEWEST or not is_beard(covered, chin * known, at.image(jaw[:, 2]) * known):
        return None
    logs = np.log(np.maximum(hairs, 1e-3))
    unlike = np.abs(logs - np.log(tone)).mean(1)
    pure = hairs[unlike >= np.median(unlike)]  # through the others skin shows
    return pure.mean(0), float(np.clip(logs.mean(1).std(), *SPREAD))


def beyond(
    at: Texels, layers: Sequence[tuple[Array, Array]], whole: Sequence[tuple[Array, Array]], tone: Array, jaw: Array,
    texel: float,
) -> Array:  # fmt: skip
    """(N,) 0..1: how far a beard that there is covers texels that may not have been seen.

    layers: as `hairs_of`'s; whole: albedo (N,3) and weight (N,) of all that photographs show there and at the mirrored
    places. It counts above the jaw, since before the ears a beard is hair to others; below are collars. jaw (N,6): as
    `jaw_of`; texel: metres.
    """
    above, below = jaw[:, 5], jaw[:, 0] * (1 - jaw[:, 5])
    seen = [(at.image(colour), at.image(weight * above)) for colour, weight in whole]
    seen += [(colour, weight * at.image(below)) for colour, weight in layers]
    known = np.sum([weight for _, weight in seen], 0)
    hair = np.sum([weight * beard_colour(colour, tone) for colour, weight in seen], 0)
    covered = hair / np.maximum(known, 1e-6)
    near, reach = smooth_within(covered, known, AROUND / texel)
    far, _ = smooth_within(covered, known, FAR / texel)
    # A beard that covers the jaw's corners goes on to the ears.
    corners = at.image(jaw[:, 3]) * known
    if (corners * covered).sum() > SHARE * corners.sum():
        far = np.maximum(far, at.image(jaw[:, 4]))
    share = ramp(far + np.clip(4 * reach, 0, 1) * (near - far), *GROWN)
    return np.maximum(jaw[:, 0], above) * at.of_image(share)
