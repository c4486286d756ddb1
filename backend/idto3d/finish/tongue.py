# SPDX-License-Identifier: GPL-3.0-or-later
"""The tongue: at rest behind the teeth, on the floor of an open mouth, and out of it, which head models lack.

ARKit's tongueOut opens the mouth, and the tongue comes out over the lower teeth and lip, flatter and narrower, its tip
hanging down. A key moves vertices along straight lines, so a tongue resting below the teeth's edge would pass through
it: at rest the tip lies at the height of that edge, some way behind, as in people (Schwarz 1926), and the teeth are
apart when the tongue reaches them.
"""

from collections.abc import Mapping

import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..headmodel import HeadModel
from ..ramps import smoothstep

TONGUE, TEETH, LIPS = "tongue", "teeth", "face"
MOUTH = {"jawOpen": 0.65, "mouthLowerDown": 0.4, "mouthUpperUp": 0.4}
"""Shapes that open the mouth for tongueOut."""
BEYOND = 0.013  # metres that the tip comes out beyond the lips
DROOP, BEND = 0.6, 0.02  # slope at which it finally falls beyond the teeth, and metres over which it bends
FLAT, NARROW = 0.38, 0.72  # share of thickness and width that is left outside
ABOVE = 0.003  # metres between the tongue's underside and the lower teeth, where there is room
ROOT = 0.016  # metres from its attachment to the gums over which it becomes free to move
MIDDLE = 0.006  # metres from the midline within which front teeth and lips are measured
WAY = (0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.65, 0.8, 1.0)
"""Weights of the key at which it must pass between teeth and lips."""
CLEAR, STEP = 0.0005, 0.001  # metres that it keeps from them, and the resolution of their profile
GIVE = 0.0015  # metres that lips may yield
TIP = 0.8  # of its length: from here on it is not stretched, which would make it pointed
SECTIONS = 12  # from root to tip; one height is found for each
BEHIND, OVER = 0.011, 0.0005  # metres that the tip rests behind the lower teeth's edge, and its underside above it
SLENDER = 0.9  # width at rest, relative to the model's: it must fit between the upper molars
LOW = 0.72  # thickness on the floor of an open mouth, relative to that at rest


def at_rest(model: HeadModel, neutral: Array, opened: Array) -> Array:
    """(P,3) displacement of a head's (P,3) tongue to its resting place; opened (P,3): offsets of an open jaw, which
    identify the lower teeth."""
    out = np.zeros_like(neutral)
    own, lower = np.flatnonzero(model.vertices_of(TONGUE)), _lower_teeth(model, neutral, opened)
    if not len(own) or not len(lower):
        return out
    tongue, edge = neutral[own], neutral[lower[neutral[lower, 1].argmax()]]
    along = _along(tongue)
    share = (smoothstep(along) * _free(model, neutral, own))[:, None]
    underside = float(tongue[along > 0.85, 1].min())
    rise, back = edge[1] + OVER - underside, min(edge[2] - BEHIND - float(tongue[:, 2].max()), 0.0)
    wide = np.c_[tongue[:, 0] * (SLENDER - 1), np.zeros((len(own), 2))]
    out[own] = share * [0.0, max(rise, 0.0), back] + share * wide
    return out


def on_the_floor(model: HeadModel, neutral: Array, rest: Array) -> Array:
    """(P,3) what an open jaw further adds to the tongue of a head (P,3): it undoes rest (P,3) and flattens it."""
    out = -rest * [0.0, 1.0, 1.0]
    own = np.flatnonzero(model.vertices_of(TONGUE))
    if len(own):
        down = neutral[own] - rest[own]
        along = _along(down)
        under = _profile_along(down, along)[1]
        out[own, 1] -= (1 - LOW) * (down[:, 1] - under) * _free(model, neutral, own)
    return out


def _along(tongue: Array) -> Array:
    """(N,) 0 at the root, 1 at the tip."""
    back, tip = float(tongue[:, 2].min()), float(tongue[:, 2].max())
    return np.clip((tongue[:, 2] - back) / (tip - back), 0, 1)


def tongue_out(model: HeadModel, neutral: Array, opened: Array) -> Array:
    """(P,3) the tongueOut key of a head (P,3); opened (P,3): the offsets of `MOUTH`, all there is without a tongue."""
    own = np.flatnonzero(model.vertices_of(TONGUE))
    out = opened.copy()
    lower = _lower_teeth(model, neutral, opened)
    if not len(own) or not len(lower):
        return out
    posed = neutral + opened
    tongue = posed[own]
    back, tip = float(tongue[:, 2].min()), float(tongue[:, 2].max())
    along = _along(tongue)
    teeth = posed[lower[posed[lower, 1].argmax()]]
    lips = posed[model.vertices_of(LIPS) & (np.abs(neutral[:, 0]) < MIDDLE)]
    lip = float(lips[np.abs(lips[:, 1] - teeth[1]) < 4 * MIDDLE, 2].max())
    share = smoothstep(along / TIP)
    z = tongue[:, 2] + (lip + BEYOND - tip) * share
    middle = _middle_line(tongue, along)
    flat = 1 - (1 - FLAT) * share
    half = float(np.abs(tongue[:, 1] - middle)[along > 0.75].max()) * FLAT
    over = teeth[1] + ABOVE + half
    # The centre line rises from the root to the height of the teeth's edge, and falls beyond them.
    rise = smoothstep(z, back, teeth[2])
    beyond = np.clip(z - teeth[2], 0, None)
    fall = DROOP * beyond**2 / (beyond + BEND)
    line = middle * (1 - rise) + over * rise - fall
    goal = np.stack([tongue[:, 0] * (1 + (NARROW - 1) * share), (tongue[:, 1] - middle) * flat, z], 1)
    passing = _Passage(model, neutral, opened)
    goal[:, 1] += passing.line(neutral[own], goal, along, line)
    out[own] += _free(model, neutral, own)[:, None] * (goal - tongue)
    return out


class _Passage:
    """The front teeth and lips above and below the tongue's path, as they open."""

    def __init__(self, model: HeadModel, neutral: Array, opened: Array) -> None:
        front = np.abs(neutral[:, 0]) < 1.5 * MIDDLE
        teeth = np.flatnonzero(model.vertices_of(TEETH) & front)
        falls = -opened[:, 1] > 0.5 * -opened[teeth, 1].min()
        edge = float(neutral[teeth, 1].mean())
        near = front & (np.abs(neutral[:, 1] - edge) < 4 * MIDDLE) & (neutral[:, 2] > neutral[teeth, 2].min())
        walls = np.flatnonzero((model.vertices_of(LIPS) & near) | (model.vertices_of(TEETH) & front))
        below = falls[walls] | ((opened[walls, 1] < 0) & (neutral[walls, 1] < edge))
        soft = np.where(model.vertices_of(LIPS), GIVE, 0.0)[:, None] * [0.0, 1.0, 0.0]
        self._floor, self._roof = (
            (neutral[w] + side * soft[w], opened[w]) for w, side in ((walls[below], -1.0), (walls[~below], 1.0))
        )

    def line(self, rest: Array, goal: Array, along: Array, line: Array) -> Array:
        """(N,) heights of the tongue's centre line, as near to `line` (N,) as its passage allows, one for each section
        of `along` (N,). rest (N,3): its points at rest; goal (N,3): out of the mouth, relative to that line."""
        least, most = np.full(len(rest), -np.inf), np.full(len(rest), np.inf)
        for weight in WAY:
            z = rest[:, 2] + weight * (goal[:, 2] - rest[:, 2])
            for walls, sign, bound in ((self._floor, 1.0, least), (self._roof, -1.0, most)):
                wall = sign * _profile(walls[0] + weight * walls[1], z, sign) + CLEAR
                height = (sign * wall - (1 - weight) * rest[:, 1]) / weight - goal[:, 1]
                keep = np.isfinite(height)
                better = np.maximum if sign > 0 else np.minimum
                bound[keep] = better(bound[keep], height[keep])
        places = np.linspace(0, 1, SECTIONS)
        heights = np.zeros(SECTIONS)
        for n, place in enumerate(places):
            own = np.abs(along - place) < 0.75 / SECTIONS
            wanted = float(line[own].mean()) if own.any() else heights[n - 1]
            low, high = (float(least[own].max()), float(most[own].min())) if own.any() else (-np.inf, np.inf)
            heights[n] = (low + high) / 2 if low > high else np.clip(wanted, low, high)
        return np.interp(along, places, heights)


def _profile(points: Array, z: Array, sign: float) -> Array:
    """(N,) height of the highest (sign 1) or lowest (-1) of points (W,3) at depths z (N,); not finite where there is
    none."""
    low = points[:, 2].min()
    cell = np.rint((points[:, 2] - low) / STEP).astype(int)
    best = np.full(cell.max() + 3, -np.inf)
    np.maximum.at(best, cell + 1, sign * points[:, 1])
    best = np.maximum(best, np.maximum(np.roll(best, 1), np.roll(best, -1)))
    at = np.rint((z - low) / STEP).astype(int) + 1
    inside = (at >= 0) & (at < len(best))
    out = np.full(len(z), -np.inf)
    out[inside] = best[at[inside]]
    return sign * out


def opening(names: tuple[str, ...]) -> Mapping[str, float]:
    """The shapes of `MOUTH` that a head model has."""
    bases = {name.partition("_")[0] for name in names}
    return {name: weight for name, weight in MOUTH.items() if name in bases}


def _free(model: HeadModel, neutral: Array, own: Array) -> Array:
    """(N,) 0..1: 0 where the tongue (N,) is attached to the gums, 1 at a distance of `ROOT`."""
    others = model.triangles[~model.faces_of(TONGUE)[model.triangle_quad]]
    grown = own[np.isin(own, others)]
    if not len(grown):
        return np.ones(len(own))
    away, _ = cKDTree(neutral[grown]).query(neutral[own])
    return smoothstep(away / ROOT)


def _lower_teeth(model: HeadModel, neutral: Array, opened: Array) -> Array:
    """Vertices of the front teeth that move with the jaw."""
    teeth = model.vertices_of(TEETH) & (np.abs(neutral[:, 0]) < MIDDLE)
    moved = np.linalg.norm(opened, axis=1)
    return np.flatnonzero(teeth & (moved > 0.5 * moved[teeth].max(initial=0)) & (moved > 0))


def _middle_line(tongue: Array, along: Array) -> Array:
    """(N,) height of the centre line at each vertex."""
    top, under = _profile_along(tongue, along)
    return (top + under) / 2


def _profile_along(tongue: Array, along: Array) -> tuple[Array, Array]:
    """(N,) heights of the tongue's (N,3) top and of its underside at each vertex's `along` (N,)."""
    bins = np.linspace(0, 1, 9)
    near = [tongue[np.abs(along - at) < 0.09, 1] for at in bins]
    known = [n for n, heights in enumerate(near) if len(heights)]
    top, under = (np.interp(along, bins[known], [pick(near[n]) for n in known]) for pick in (np.max, np.min))
    return top, under
