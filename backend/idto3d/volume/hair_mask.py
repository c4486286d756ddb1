# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pixels of a photograph are hair, from the person's mask, the fitted head and the colours.

Three kinds of pixel lie within the person's mask: hair, skin, and anything else (clothes, hands, other people). Each
has a probability by place, which the fitted head gives, and a histogram of colours, learnt from where place makes it
sure and then, as in expectation maximisation, from what was found. Hair that hangs is believed where it passes the jaw
in one piece; else what has its colour below the chin are clothes.
"""

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from ..arrays import Array
from ..fit.camera import PhotoCamera
from ..headmodel import HeadModel
from ..photos.guided_filter import guided_upsample
from ..ramps import ramp
from .bald import is_bald
from .head_view import HeadView, SeenFace, head_view

SIZE = 256  # pixels of the picture in which kinds are told apart
FINE = 768  # pixels in which single strands are followed
ROUNDS = 6
HAIR, SKIN, OTHER = 0, 1, 2
_GRAINS, _GRAIN_WEIGHT = 16, 0.6
_BINS = (25, 30, 30)  # of L*, a*, b*, 4 each
SHADES = (0.75, 0.5, 0.3)  # of its colour that hair in hair's shade has: between fringe and temple it is all but black
SHADED = 0.15  # of hair that is
RING = 4e-4  # square metres of hair over the skull from which its colour is known
SKIN_BLUR = (3.0, 1.2, 1.2)  # bins: the forehead is the cheeks' colour in another light
THROAT = 0.035  # metres from the middle
BESIDE_EYE = (0.003, 0.018)  # metres from brows and eyes over which hair becomes as likely as elsewhere
AROUND, BURIED = 0.006, (0.7, 0.9)  # metres around a place; share of hair's colours there that buries it
LIKELIER = 4.0  # times as likely hair's colour as skin's
CURTAIN, REACH = 0.018, 0.13  # metres of hair beside the jaw, at least, and of its reach where clothes are alike
LIKE_OTHER = 0.5  # of that width where hair hangs on the other side
GAP, SHOULDER = 0.003, 0.035  # metres of hair's colour in a row beside the face, and a centimetre below
_COLOUR_WEIGHT = 0.8  # neighbouring pixels are not independent


def hair_mask(face: SeenFace, model: HeadModel, vertices: Array, camera: PhotoCamera) -> Array:
    """(S,S) float32, 0..1: how far each pixel of the face's picture shows hair of the head.

    vertices (P,3): the fitted head as on the photo; camera: of the picture.
    """
    view = head_view(face, model, vertices, camera, SIZE)
    if not (view.person & view.skin).any():
        return np.zeros(face.picture.shape[:2], np.float32)
    kinds = tell_kinds(view)
    sharp = np.clip((kinds[..., HAIR] - 0.3) / 0.4, 0.0, 1.0).astype(np.float32)
    whole = face.picture.shape[0]
    fine = min(whole, FINE)
    small, large = (
        np.asarray(cv2.resize(face.picture, (n, n), interpolation=cv2.INTER_AREA), np.uint8) for n in (SIZE, fine)
    )
    out = np.clip(guided_upsample(small, large, sharp, 3, 1e-3), 0.0, 1.0)
    out *= cv2.resize(view.person.astype(np.float32), (fine, fine))
    mask = cv2.resize(out, (whole, whole), interpolation=cv2.INTER_LINEAR)
    seen: Array = mask * np.clip(face.person * 2.0 - 0.5, 0.0, 1.0) * face.inside
    return seen.astype(np.float32)


def tell_kinds(view: HeadView) -> Array:
    """(size,size,3) probabilities of hair, skin and other; zero off the person."""
    weight = view.person.astype(np.float32)
    histogram = _Histogram(view.colour)
    long = np.ones(view.person.shape, bool)
    place, far = place_prior(view, long, np.zeros(long.shape))
    ring = np.exp(-view.outside / 0.012) * (view.outside > 0.004) * (view.above > view.brow + 0.02) * weight
    known = min(float(ring.sum()) / view.camera.scale**2 / RING, 1.0)
    unlike_ring = known * (1.0 - _share_of_peak(histogram.learn(ring, 1.3), 0.9)[histogram.index])
    skin_0 = histogram.learn((view.sure_skin + unlike_ring * view.forehead) * weight, SKIN_BLUR)
    like_skin = _share_of_peak(skin_0, 0.9)[histogram.index]
    if is_bald(view, ring, like_skin):
        return np.stack([np.zeros_like(weight), weight, np.zeros_like(weight)], -1)
    sure_hair = ring + 0.6 * (view.scalp > 0.9) * weight * (1.0 - (1.0 - 0.2 * known) * like_skin) * (1.0 - unlike_ring)
    hair_0, every = histogram.learn(sure_hair, 1.3, SHADED), histogram.learn(weight, 1.3)
    unlike_hair = 1.0 - _share_of_peak(hair_0, 0.85)[histogram.index]
    below = view.above < view.chin
    shoulder = below * ramp(np.abs(view.across - view.middle), 0.14, 0.18)
    other_0 = histogram.learn(weight * (below * far * np.maximum(unlike_hair, shoulder) + 1e-6), 1.3)
    hair, skin, other = hair_0, skin_0, 0.6 * other_0 + 0.4 * every
    likelier = hair_0[histogram.index] > LIKELIER * skin_0[histogram.index] + 2e-5
    buried = _buried(view, likelier & view.person)
    place, far = place_prior(view, long, buried)
    # Until it is known whether hair hangs, its colour is learnt near the skull only: it would drift to what is beside.
    close = view.outside < 0.04
    near = close & (view.above > view.mouth)
    grain = _grain(view)
    sure = (sure_hair, view.sure_skin * weight, weight * below * far * unlike_hair)
    grains = [_learn_grain(grain, w) for w in sure]
    kinds = place
    for step in range(ROUNDS):
        likely = np.stack([hair, skin, other], -1)[histogram.index] + np.array([2e-5, 2e-5, 5e-5])
        rough = np.stack(grains, -1)[grain]
        kinds = _normalised(np.log(place) + _COLOUR_WEIGHT * np.log(likely) + _GRAIN_WEIGHT * np.log(rough))
        kinds = cv2.blur(kinds * weight[..., None], (3, 3)) / np.maximum(cv2.blur(weight, (3, 3)), 1e-3)[..., None]
        kinds *= weight[..., None]
        loose = (kinds[..., HAIR] > 0.5) & ~_grown_from_head(view, kinds[..., HAIR] > 0.5)
        loose |= out_of_reach(view, long, kinds[..., HAIR] > 0.5)
        kinds[loose, OTHER] += kinds[loose, HAIR]
        kinds[loose, HAIR] = 0.0
        _clear_features(view, kinds)
        if step in (1, 3):
            found = kinds[..., HAIR] > 0.5
            long = hangs(view, found) & long
            place, far = place_prior(view, long, buried)
            near = close & ((view.above > view.mouth) | (long & (view.above > view.chin - 0.06)))
        # Only the sure teach, and not much: strips of the one among the other would draw it over; a black collar on the
        # neck, pupils and an open mouth would teach that skin may be black.
        hair = 0.8 * hair_0 + 0.2 * histogram.learn(kinds[..., HAIR] ** 3 * near)
        skin = 0.8 * skin_0 + 0.2 * histogram.learn(kinds[..., SKIN] ** 3 * like_skin)
        other = 0.4 * other_0 + 0.3 * every + 0.3 * histogram.learn(kinds[..., OTHER] * (0.2 + 0.8 * unlike_hair))
        grains = [0.7 * g + 0.3 * _learn_grain(grain, kinds[..., k] ** 3) for k, g in enumerate(grains)]
    return kinds


def place_prior(view: HeadView, long: Array, buried: Array) -> tuple[Array, Array]:
    """(size,size,3) probabilities of hair, skin, other by place, and (size,size) 0..1 how surely too far for hair.

    long (size,size) bool: hair may hang below the chin there; buried (size,size) 0..1: hair may lie over brows and
    eyes there. Lengths in metres.
    """
    over_chin = view.above - view.chin
    high = ramp(over_chin, 0.0, 0.05)
    ear = ramp(-view.outside, -0.03, -0.01) * ramp(over_chin, 0.0, 0.03)
    ear *= ramp(-view.above, -view.brow - 0.01, -view.brow)
    hair = high * (0.88 - 0.5 * ear - 0.3 * ramp(view.outside, 0.02, 0.06)) + (1 - high) * np.where(long, 0.55, 0.08)
    skin = high * (0.04 + 0.46 * ear) + (1 - high) * 0.12
    start = np.where(long, 0.12, 0.02)
    below = ramp(-over_chin - start, 0.0, 0.20)
    beside = ramp(np.abs(view.across - view.middle), 0.13, 0.21) * (over_chin < 0.03)
    away = ramp(view.outside, 0.06, 0.11) * ramp(over_chin, 0.0, 0.03)
    far = 1.0 - (1.0 - below) * (1.0 - beside) * (1.0 - away)
    hair = hair * (1 - far) + far * np.where(away > 0.5, 0.03, np.where(long, 0.2, 0.02))
    skin = skin * (1 - far) + far * 0.1
    out = np.stack([hair, skin, 1.0 - hair - skin], -1)

    throat = np.abs(view.across - view.middle) < 0.045
    neck_hair = np.where(long & ~throat, 0.3, 0.05)
    low = np.stack([neck_hair, np.full_like(neck_hair, 0.5), 0.5 - neck_hair], -1)
    t = ramp(over_chin, 0.01, 0.03)[..., None]
    neck = view.skin & ~view.face
    out[neck] = (t * np.array([0.45, 0.5, 0.05]) + (1 - t) * low)[neck]

    depth_in_scalp = view.metres_into(view.scalp >= 0.5) - view.metres_into(view.scalp < 0.5)
    fringe = 0.02 + ramp(view.above, view.brow, view.brow + 0.01) * (0.25 + 0.53 * ramp(depth_in_scalp, -0.02, 0.02))
    rim = 0.3 * ramp(-view.within, -0.02, 0.0) * (over_chin > 0)
    apart = ramp(view.metres_into(~np.any(view.features, 0)), *BESIDE_EYE)
    fringe = np.maximum(0.01 + apart * np.maximum(fringe, rim), 0.5 * buried)
    out[view.face] = np.stack([fringe, 0.97 - fringe, np.full_like(fringe, 0.03)], -1)[view.face]
    out = np.clip(out, 0.01, 1.0)
    return out / out.sum(-1, keepdims=True), far


def _buried(view: HeadView, alike: Array) -> Array:
    """(size,size) 0..1: from the eyes upwards, where all around has hair's colour, alike (size,size) bool. Brows have
    skin on both sides; shadows of the cheeks lie lower."""
    blur = AROUND * view.camera.scale
    share, known = (cv2.GaussianBlur(x.astype(np.float32), (0, 0), blur) for x in (alike, view.person))
    return ramp(share / np.maximum(known, 1e-3), *BURIED) * (view.above > view.eye)


def hangs(view: HeadView, hair: Array) -> Array:
    """(size,size) bool: on which half of the picture hair (size,size) bool comes down past the jaw without a gap,
    beside the head: on it, jaws are as dark in the shade."""

    def widths(top: float, low: float, rows: int) -> Array:
        """(rows,) metres of the half's hair beside the head, from one height down to another."""
        row = np.floor((top - view.above) / max(top - low, 1e-3) * rows)
        count = np.array([(beside & half & (row == k)).sum() for k in range(rows)])
        return count / view.camera.scale**2 / max(top - low, 1e-3) * rows

    def curtain(top: float, low: float, least: float = CURTAIN) -> bool:
        return bool(np.sort(widths(top, low, 8))[1] > least)

    beside = hair & (view.outside < 0.05) & ~view.skin
    low = hair & (view.above < view.chin)
    wide = low & (np.abs(view.across - view.middle) > 0.16)
    left, right = view.across > view.middle, view.across <= view.middle
    out = np.zeros(hair.shape, bool)
    for half, other in ((left, right), (right, left), (left, right)):  # the left again, now that the right is known
        # What goes on over the shoulder is clothes of hair's colour, but for a curtain that surely hangs before them.
        spills = (wide & half).sum() > max(0.1 * (low & half).sum(), 8e-4 * view.camera.scale**2)
        # Hair that comes from behind an ear widens by and by; a shoulder begins with its full width.
        down = widths(view.eye, view.chin, 16)
        shoulder = ((down[:-2] < GAP) & (down[2:] > SHOULDER)).any()
        least = LIKE_OTHER * CURTAIN if out[other].any() else CURTAIN
        if curtain(view.mouth, view.chin, least) and not shoulder and (not spills or curtain(view.eye, view.mouth)):
            out |= half & (np.abs(view.across - view.middle) < (REACH if spills else np.inf))
    return out


def out_of_reach(view: HeadView, long: Array, hair: Array) -> Array:
    """(size,size) bool: where hair (size,size) bool cannot be: before the throat, where dark collars are; and where it
    does not hang, below the chin, on the jaw, which is its beard, and beside the face where none comes down from over
    the eyes."""
    low = view.above < view.chin
    throat = low & (np.abs(view.across - view.middle) < THROAT)
    below = low | (view.skin & (view.above < view.mouth))
    _, label = cv2.connectedComponents((hair & ~view.skin).astype(np.uint8), connectivity=4)
    from_above = np.isin(label, np.unique(label[view.above > view.eye]))
    return throat | ((below | ((label > 0) & ~from_above)) & ~long)


def _grown_from_head(view: HeadView, hair: Array) -> Array:
    """The part of hair (size,size) bool that is connected, not by a thread, to hair close to the head; ears may part
    it from hair on top."""
    solid = cv2.morphologyEx(hair.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, label = cv2.connectedComponents(solid, connectivity=4)
    close = (label > 0) & (view.above > view.mouth) & (view.outside < 0.015)
    kept = np.isin(label, np.unique(label[close]))
    return _wider(kept & (label > 0), 5) | (view.outside == 0)


def _clear_features(view: HeadView, kinds: Array) -> None:
    """Brows and eyes, dark as they are, are hair only where hair lies around them."""
    for feature in view.features:
        own = _wider(feature, 3)
        around = _wider(own, 7) & ~own & view.person
        if around.any() and kinds[around, HAIR].mean() < 0.5:
            kinds[own, SKIN] += kinds[own, HAIR]
            kinds[own, HAIR] = 0.0


def _wider(region: Array, width: int) -> Array:
    """Region (size,size) bool dilated by a square of so many pixels."""
    return cv2.dilate(region.astype(np.uint8), np.ones((width, width), np.uint8)) > 0


def _grain(view: HeadView) -> Array:
    """(size,size) int: how rough the person is there, in classes of doubling contrast."""
    light, inside = view.colour[..., 0], cv2.erode(view.person.astype(np.float32), np.ones((3, 3), np.uint8))

    def mean(values: Array, blur: float) -> Array:
        total = cv2.GaussianBlur(inside, (0, 0), blur)
        return cv2.GaussianBlur(values * inside, (0, 0), blur) / np.maximum(total, 1e-3)

    contrast = mean(np.abs(light - mean(light, 1.5)), 2.0)
    return np.clip(2.0 * np.log2(np.maximum(contrast, 0.1)) + 4.0, 0, _GRAINS - 1).astype(int)


def _learn_grain(grain: Array, weight: Array) -> Array:
    """(_GRAINS,) density of a roughness (h,w) where weight (h,w) is."""
    count = np.bincount(grain.ravel(), weight.ravel(), _GRAINS)
    smooth = gaussian_filter(count, 1.0) + 1e-6
    return smooth / smooth.sum() + 0.03


class _Histogram:
    """Smoothed histograms of a picture's colours (h,w,3) L*a*b*; index (h,w): the bin of each pixel."""

    def __init__(self, colour: Array) -> None:
        self.index, *self._darker = (_bins(share * colour) for share in (1.0, *SHADES))

    def learn(self, weight: Array, blur: float | tuple[float, float, float] = 1.0, shaded: float = 0.0) -> Array:
        """(bins,) density, which sums to 1; weight (h,w); blur in bins, one for all axes or L*, a*, b*; shaded: the
        share of it that is taken to be in its own shade."""

        def count(index: Array) -> Array:
            return np.bincount(index.ravel(), weight.ravel(), int(np.prod(_BINS)))

        total = count(self.index)
        if shaded:
            total = (1 - shaded) * total + shaded * np.mean([count(index) for index in self._darker], 0)
        out: Array = gaussian_filter(total.reshape(_BINS), blur).ravel()
        return out / max(float(out.sum()), 1e-6)


def _bins(colour: Array) -> Array:
    """(h,w) int of colours (h,w,3)."""
    from_zero = (colour + np.array([0.0, 60.0, 60.0])) / 4.0
    bins = [np.clip(from_zero[..., k], 0, n - 1).astype(int) for k, n in enumerate(_BINS)]
    return (bins[0] * _BINS[1] + bins[1]) * _BINS[2] + bins[2]


def _share_of_peak(density: Array, mass: float) -> Array:
    """0..1 by bin: 1 in the densest bins that together hold `mass`, falling towards 0 in proportion elsewhere."""
    order = np.sort(density)[::-1]
    level = order[min(int(np.searchsorted(np.cumsum(order), mass * order.sum())), len(order) - 1)]
    return np.clip(density / max(float(level), 1e-12), 0.0, 1.0)


def _normalised(logarithm: Array) -> Array:
    out: Array = np.exp(logarithm - logarithm.max(-1, keepdims=True))
    out /= out.sum(-1, keepdims=True)
    return out
