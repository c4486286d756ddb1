# SPDX-License-Identifier: GPL-3.0-or-later
"""Where there is hair, as a smooth field over the hood, metres to its border: people's hairlines, moved to where the
photographs show this one.

An outline has no depth: hair that is seen beside the neck may hang before or behind an ear, and a cheek that turns away
shows neither skin nor hair. There the hairline is what people's are: from the temple down a sideburn, about an ear that
is seen and down behind it, or over an ear that is covered. Where skin is seen, the photo's border counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..arrays import Array
from ..ramps import ramp, smoothstep
from .head_view import distance
from .hood import PIXEL, Hood, read_map
from .observe import HairView

EAR = ((86.0, 108.0), (0.025, 0.07))  # degrees from the front, and metres below the equator, of ears
BESIDE = 10  # pixels of an outline beside an ear that cannot be seen: hair covers it
SIDEBURN = (80.0, 0.03, 0.009)  # degrees from the front; metres below the equator of its end; half its width
CURTAIN = (72.0, 60.0, 108.0)  # degrees from the front of hair's border: over an ear, short or long, and behind one
FORWARD = (12.0, 0.07, 0.14)  # degrees that long hair comes forward behind an ear; metres below the equator
NAPE = (115.0, 0.03)  # degrees from the front, and metres below the scalp, to which short hair grows behind the ears
ROUND = 0.012  # metres of the rounding where borders meet
FACING = (0.15, 0.45)  # cosine to the camera from which a border on skin counts, and counts in full
CERTAIN = (0.003, 0.012)  # metres of a photo from its border from which skin that turns away counts all the same
TURNED = (0.2, 0.35)  # cosine to it from which that skin does: edge-on a sideburn is a line
EDGE = 0.006  # metres of a photo from the head's edge to which hair that is seen is taken to lie behind it
LENT = (0.35, 0.8)  # of that cosine, between which a side comes to be better seen than the other
TEMPLE = (-0.05, -0.02)  # metres below the equator from which hair is no fringe
SPECKLED = 0.005  # metres over which what is seen is averaged
FARTHEST = 0.02  # metres from a photo's border beyond which it does not matter how many
NEAR, WIDE = 0.006, 0.014  # metres over which what is seen moves the border beside it
FAINT = 0.05  # of what is seen nearby: below, the border stays where people's is
LOOSE = 0.03  # metres that hair seen before the skin counts less where it may as well hang behind
OFF = (0.015, 0.04)  # metres of hair's thickness over which the skin's border says less of it
BEFORE_EAR = (42.0, 57.0)  # degrees from the front between which hair comes to hang over an ear
OVER = 2.0  # of that thickness more where hair hangs over an ear
BELOW = 0.01  # metres that such locks reach below the others, and as much again over an ear
FRONT_LOCKS = (0.04, 0.16)  # metres below the equator from which hair that is seen hangs before the shoulders
FORWARD_SLOPE = 1.2  # metres that hair which hangs comes forward a metre
BEHIND_SHOULDER = 12.0  # degrees by which such a front goes back: what hangs behind a shoulder comes forward no more
EVEN = 0.008  # metres over which its front is smooth: seen from the front, jags are drawn out


@dataclass(frozen=True, eq=False)
class SkinSeen:
    """What photos show of the skin, (side,side): value: metres from the border of hair, positive in hair; weight 0..1
    how surely; facing 0..1: how far the skin there is turned to a camera; rim: metres that hair's surface goes on
    beyond its border, that photos draw it."""

    value: Array
    weight: Array
    facing: Array
    rim: Array

    @property
    def covered(self) -> Array:
        return (self.weight > 0.5) & (self.value > 0.0)

    @property
    def bare(self) -> Array:
        return (self.weight > 0.5) & (self.value < 0.0)


def see_skin(hood: Hood, skin: Array, scalp: Array, views: Sequence[HairView]) -> SkinSeen:
    """skin (side,side): its radius; scalp (side,side) bool."""
    points = hood.point(*hood.map_coordinates(), np.maximum(skin, 0.02) + 0.002)
    normal = hood.normals(skin)
    total, weight, turned, rim = np.zeros((4, *skin.shape), np.float32)
    for view in views:
        seen, outline = view.look_at(points)
        # Where the skin turns away a pixel at the border would cover centimetres of cheek.
        cosine = (normal * view.camera.towards(points)).sum(-1)
        certain = ramp(np.abs(outline), *CERTAIN) * ramp(cosine, *TURNED)
        w = seen * (skin > 0) * np.maximum(ramp(cosine, *FACING), certain)
        w *= (outline < 0.0) | view.shows_skin(points)
        # Hair behind a cheek's or a brow's edge is not on it, though the fit's edge lies a little over it.
        w *= scalp | (outline >= 0.0) | (view.sample(view.view.within, points)[0] > EDGE)
        total -= w * np.clip(outline, -FARTHEST, FARTHEST)
        weight += w
        rim += w * view.sample(view.rim, points)[0]
        turned = np.maximum(turned, w * ramp(cosine, *LENT))
    total, weight, turned, rim = (cv2.GaussianBlur(m, (0, 0), SPECKLED / PIXEL) for m in (total, weight, turned, rim))
    most = np.maximum(weight, 1.0)
    return SkinSeen(total / np.maximum(weight, 1e-6), np.minimum(weight, 1.0), turned, rim / most)


def with_better_temple(hood: Hood, seen: SkinSeen, long: Array) -> SkinSeen:
    """The hairline of the temple that is seen better copied to the other one, as that of short hair is symmetrical;
    long (side,side) 0..1: hair that keeps its own."""
    below = hood.map_coordinates()[1] - hood.equator
    share = np.maximum(seen.facing[:, ::-1] - seen.facing, 0.0) * ramp(below, *TEMPLE) * (1.0 - long)
    value = seen.value + share * (seen.value[:, ::-1] - seen.value)
    rim = seen.rim + share * (seen.rim[:, ::-1] - seen.rim)
    return SkinSeen(value, np.maximum(seen.weight, share), seen.facing, rim)


@dataclass(frozen=True, eq=False)
class Curtain:
    """Hair that hangs, (side,side): 0..1 how far it covers the ear of that side, degrees from the front of its border,
    `down` to which it comes, and 0..1 whether that is below all roots."""

    over: Array
    front: Array
    end: Array
    long: Array


def find_curtain(hood: Hood, seen: SkinSeen, end: Array, long: Array, beside: tuple[Array, Array]) -> Curtain:
    """end, long (side,side): see `Curtain`; beside: turn and down (K,) of the outline of hair that stands off skin."""
    turn, down = hood.map_coordinates()
    over = np.where(turn >= 0, *_ears_covered(hood, seen, *beside))
    before = CURTAIN[0] + (CURTAIN[1] - CURTAIN[0]) * long
    behind = CURTAIN[2] - FORWARD[0] * smoothstep(down - hood.equator, *FORWARD[1:])
    return Curtain(over, behind + over * (before - behind), end, long)


def find_border(hood: Hood, scalp: Array, seen: SkinSeen, curtain: Curtain, thick: Array, hangs: Array) -> Array:
    """(side,side) metres to the border of hair, positive in hair.

    scalp bool; thick: metres from skin to the surface of hair; hangs: metres to the border of hair on photos at that
    surface.
    """
    turn, down = hood.map_coordinates()
    away, below = np.degrees(np.abs(turn)), down - hood.equator
    arc = np.radians(1.0) * hood.skull  # metres of a degree
    at, low, half = SIDEBURN
    burn = half - np.hypot((away - at) * arc, below - np.clip(below, -low, low))
    root = float(down[scalp & (away > NAPE[0])].max(initial=0.0))
    nape = root + NAPE[1] * (0.4 + 0.6 * smoothstep(away, NAPE[0], 150.0))
    curtained = _both((away - curtain.front) * arc, np.maximum(curtain.end, nape) - down)
    # What hangs before the shoulders or an ear is seen to; what is seen beside the face may as well hang behind.
    over = curtain.over * ramp(away, *BEFORE_EAR)
    free = np.maximum(ramp(below, *FRONT_LOCKS), over) * (away < CURTAIN[2])
    locks = np.minimum(np.minimum(hangs, FARTHEST) - LOOSE * (1 - free), curtain.end + BELOW * (1 + over) - down)
    usual = _either(_either(border_distance(scalp), burn), np.maximum(curtained, locks))
    # Skin says nothing of hair that stands off it.
    known = seen.weight * (1.0 - ramp(thick * (1.0 + OVER * over), *OFF))
    return _one_curtain(hood, curtain, _moved(usual, seen.value, known), (known > 0.5) & seen.bare)


def _one_curtain(hood: Hood, curtain: Curtain, border: Array, bare: Array) -> Array:
    """A border in which hair that hangs is one volume with the back's: from an ear down, or from over one that it
    covers, all behind the foremost is hair, which comes forward no faster than strands do. bare: skin that is seen."""
    turn, down = hood.map_coordinates()
    arc = np.radians(1.0) * hood.skull
    levels = np.arange(hood.equator, hood.reach, PIXEL)
    out = border
    for sign in (1.0, -1.0):
        side = hood.place(*np.meshgrid(sign * np.radians(np.arange(CURTAIN[2])), levels))
        at_ear = hood.place(np.full((1, 1), sign * np.radians(EAR[0][1])), np.full((1, 1), hood.equator + EAR[1][1]))
        over, end = (float(read_map(m, *at_ear)[0, 0]) for m in (curtain.over, curtain.end))
        start = hood.equator + (0.0 if over > 0.5 else EAR[1][1])
        hair = read_map(border, *side) > 0
        front = np.where(hair.any(1), hair.argmax(1), CURTAIN[2]).astype(float)
        front[levels < start] = CURTAIN[2]
        foremost, bound = CURTAIN[2], 0.0
        for k in range(max(int((levels < start).sum()), 1), len(levels)):
            front[k] = max(front[k], front[k - 1] - FORWARD_SLOPE * PIXEL / arc, bound)
            foremost = min(foremost, front[k])
            if front[k] > foremost + BEHIND_SHOULDER:
                bound = max(bound, front[k] - BEHIND_SHOULDER)
        front = gaussian_filter1d(front, EVEN / PIXEL)
        behind = (np.degrees(np.abs(turn)) - np.interp(down, levels, front)) * arc
        hangs = (turn * sign >= 0) & (down > start) & (down < end)
        filled = np.where(bare, out, np.maximum(out, _both(behind, end + BELOW - down)))
        out = np.where(hangs, np.where(behind > 0, filled, np.minimum(out, behind)), out)
    return out


def _either(a: Array, b: Array) -> Array:
    return -_both(-a, -b)


def _both(a: Array, b: Array) -> Array:
    """Metres to the border of what lies in two regions, whose corners are rounded."""
    h = np.maximum(ROUND - np.abs(a - b), 0.0)
    return np.minimum(a, b) - h * h / (4 * ROUND)


def _ears_covered(hood: Hood, seen: SkinSeen, at_turn: Array, at_down: Array) -> tuple[float, float]:
    """0..1 how far hair covers the left ear and the right one. Of an ear that is turned away the outline tells, and
    else the other one."""
    turn, down = hood.map_coordinates()
    away, below = np.degrees(np.abs(turn)), down - hood.equator
    low, high = EAR[1]
    place = (away > EAR[0][0]) & (away < EAR[0][1]) & (below > low) & (below < high)
    level = (at_down > hood.equator + low) & (at_down < hood.equator + high)
    found: list[float | None] = []
    for sign in (1.0, -1.0):
        side = place & (turn * sign >= 0)
        known = float(seen.weight[side].mean()) if side.any() else 0.0
        if known > 0.05:
            found.append(float((seen.weight[side] * (seen.value[side] > 0)).mean()) / known)
        else:
            found.append(1.0 if (level & (at_turn * sign > 0)).sum() > BESIDE else None)
    left, right = (found[k] if found[k] is not None else found[1 - k] for k in (0, 1))
    return (1.0 if left is None else left), (1.0 if right is None else right)


def _moved(usual: Array, value: Array, weight: Array) -> Array:
    """A border that is where it was seen, and beside that goes on as it is there."""
    weight = weight.astype(np.float32)
    step = (weight * (value - usual)).astype(np.float32)
    near, wide = (cv2.GaussianBlur(np.dstack([step, weight]), (0, 0), s / PIXEL) for s in (NEAR, WIDE))
    far = wide[..., 0] / (wide[..., 1] + FAINT)
    sure = np.clip(near[..., 1] / 0.5, 0.0, 1.0)
    beside = sure * near[..., 0] / np.maximum(near[..., 1], 1e-6) + (1 - sure) * far
    return usual + step + (1 - weight) * beside


def border_distance(region: Array) -> Array:
    """(side,side) metres to the border of region (side,side) bool, positive in it."""
    return distance(region, 1.0 / PIXEL) - distance(~region, 1.0 / PIXEL)
