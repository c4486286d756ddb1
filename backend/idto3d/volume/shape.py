# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of hair as maps over the hood: where it grows or hangs, and how far it reaches.

What photographs show: the outline, so the radius where the outline is; whether the scalp that is seen is covered; how
far down hair comes on either side. The rest is completed smoothly: the crown and the back are as full as the outline
around them, the back is as long as the longer side. Where there is hair at all, `hairline` says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..arrays import Array
from ..headmodel import HeadModel
from ..headmodel.model import SKIN_PARTS
from ..ramps import ramp, smoothstep
from .flow import plan_flow, strand_flow
from .hairline import Curtain, border_distance, find_border, find_curtain, see_skin, with_better_temple
from .head_view import distance
from .hood import PIXEL, Hood, flatten_skin, read_at, read_map
from .observe import HairView, without_holes
from .spread import SmoothMap

THIN = 0.004  # metres that hair stands off the skin at least
LAYER = (0.003, 0.008)  # metres of hair that lies on the face
ON_BODY = 0.007  # metres of hair that hangs, on neck and shoulders
SOCKET = 0.012  # metres: hair bridges hollows of twice that width
PIECE = 0.008  # metres: half the width of hair that has a volume; narrower locks lie on the skin, painted
CLOSE = (0.004, 0.01)  # metres of a photo from the border of hair, between which they come to be metres of skin
RISE = (0.02, 0.8)  # metres that hair stands over the forehead at its line, and a metre behind the line
FRONT = (-15.0, 25.0)  # degrees from its border between which hair beside the face comes to its full radius
BORDER = (60.0, 75.0)  # degrees from the front of that border, at the temples and at most
OFF_SKIN = 0.02  # metres of hair that is no ear
WIDER = 0.6  # radians: no wider than hair that far behind the outline
FULLER = 15.0  # degrees less of hair that stands off five centimetres
ROOTED = 0.03  # metres around the model's scalp in which skin has hair where hair is seen
EAR = 85.0  # degrees from the front of the ears
NAPE = (95.0, 135.0)  # degrees from the front over which short hair comes to be cut to the neck
BACK = (100.0, 150.0)  # degrees between which the sides' length goes over into the back's
HANGING = (0.02, 0.05)  # metres below its lowest roots from which hair hangs, and from which it is all free
DROP = 0.012  # metres that hanging hair comes in over DROP_WAY
DROP_WAY = 0.1
FRINGE = (35.0, 0.025)  # degrees from the front, and metres below the scalp, where a fringe is looked for
OFF_FOREHEAD = 0.0022  # metres that a fringe's ends hang off the skin
OVERHANG, TEMPLES = (0.006, 0.014), (60.0, 80.0)  # metres below the scalp, degrees from the front between which it does
BUST = -0.005  # metres below the model's end to which hair is built: strands fray over it
STEEP = 2.5  # metres that hanging hair stands off a metre from its border beside the face: at its end it is all free
FLARE = 0.08  # metres that it falls until it stands so: above it lies beside where it grows
AREA = 1.5e-3  # square metres: less is no hair


@dataclass(frozen=True, eq=False)
class HairShape:
    """Maps (side,side) over the hood, metres. outer: hair's radius; skin: the skin's, without hollows; inner: where the
    skin is left first; domain: to the border of where there is hair, positive there; depth: to that which photos draw,
    0 beyond it; grown: to that of where it grows, or lies on the skin that it grows from; rim: by which the domain
    reaches beyond its border, that photos draw it; hanging 0..1: hair that does not grow where it is; stands: how far
    such hair may stand off; tapered 0..1: hair that is cut to the neck; flow (side,side,2): how strands run; curl 0..1:
    how much they curl."""

    hood: Hood
    outer: Array
    skin: Array
    inner: Array
    domain: Array
    depth: Array
    grown: Array
    rim: Array
    hanging: Array
    tapered: Array
    stands: Array
    flow: Array
    curl: float


def find_shape(hood: Hood, model: HeadModel, neutral: Array, views: Sequence[HairView]) -> HairShape | None:
    """None where there is no hair."""
    maps = flatten_skin(hood, model, neutral)
    scalp = maps.scalp > 0.5
    skin = _without_hollows(maps.outer)
    spread = SmoothMap(hood)
    lengths = _lengths(hood, model, neutral, scalp, views)
    seen = see_skin(hood, skin, scalp, views)
    rims = [view.rim_points(hood) for view in views]
    turn, down, radius = (np.concatenate(column) for column in zip(*rims, strict=True))
    thick = radius > _read(skin, hood, turn, down) + OFF_SKIN
    curtain = find_curtain(hood, seen, lengths.end, lengths.long, (turn[thick], down[thick]))
    seen = with_better_temple(hood, seen, curtain.long)
    rim = _behind(hood, curtain, turn, down, radius)
    base = _base(hood, skin, lengths.long)
    outer, layer = _outer(spread, scalp, skin, base, rim, curtain)
    covered = seen.covered
    outer = np.where(covered & ~scalp, np.maximum(outer, skin + layer), outer)
    points = hood.point(*hood.map_coordinates(), outer)
    hangs = np.min([view.hangs(points) for view in views], 0)
    inside = find_border(hood, scalp, seen, curtain, outer - skin, hangs)
    inside = np.where(_bald(spread, scalp, covered, seen.bare, rim), np.minimum(inside, -PIXEL), inside)
    within = _smoothed(inside)
    grown = np.minimum(within, ROOTED - distance(~scalp, 1.0 / PIXEL))
    beyond = seen.rim
    inside = inside + beyond
    domain = without_holes(_rooted(_opened(inside > 0, PIECE), scalp), 1.0 / PIXEL)
    around, below = hood.map_coordinates()
    domain &= below < hood.reach - 2 * PIXEL
    if domain.sum() * PIXEL**2 < AREA:
        return None
    border = _smoothed(border_distance(domain))
    # Over skin that turns away from a camera millimetres of its picture are centimetres.
    farther = np.maximum(border - beyond - within, 0.0) * ramp(within, *CLOSE)
    depth = np.maximum(np.minimum(within + farther, border), 0.0)
    outer = cv2.GaussianBlur(outer.astype(np.float32), (0, 0), 1.0)
    curl = float(np.average([view.curl for view in views], weights=[view.area + 1e-6 for view in views]))
    fringe = _fringe(hood, scalp, covered)
    flow = strand_flow(hood, outer, _plan(hood, domain, fringe), views)
    hanging = lengths.free * (below > hood.equator)
    sideways = border_distance(domain | (below > lengths.end - PIECE))
    tapered = smoothstep(np.degrees(np.abs(around)), *NAPE) * (1.0 - hanging)
    fallen = smoothstep(below, hood.equator, hood.equator + FLARE)
    stands = STEEP * lengths.free * fallen * np.maximum(_smoothed(sideways), 0.0)
    stands += fringe * _smoothed(_off_forehead(hood, scalp))
    return HairShape(hood, outer, skin, maps.inner, border, depth, grown, beyond, hanging, tapered, stands, flow, curl)


def _behind(hood: Hood, curtain: Curtain, turn: Array, down: Array, radius: Array) -> tuple[Array, Array, Array]:
    """An outline beside the neck, of hair that is nowhere before the curtain's border: as far behind, as much wider."""
    front = np.radians(_read(curtain.front, hood, turn, down))
    back = np.maximum(front - np.abs(turn), 0.0) * (down > hood.equator)
    return turn + np.sign(turn) * back, down, radius / np.cos(np.minimum(back, WIDER))


def _read(values: Array, hood: Hood, turn: Array, down: Array) -> Array:
    """(K,) values of a map (side,side)."""
    return read_at(values, np.stack(hood.place(turn, down), 1))


def _without_hollows(outer: Array) -> Array:
    size = 2 * int(SOCKET / PIXEL) + 1
    closed = cv2.morphologyEx(outer, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    # Where the model ends blurring would sink it.
    return np.maximum(cv2.GaussianBlur(closed, (0, 0), 1.5), outer)


@dataclass(frozen=True, eq=False)
class _Lengths:
    """Maps (side,side). end: `down` to which hair comes in each direction; free 0..1: it ends below the roots of that
    direction, as over the ears; long 0..1: below all roots, so that it falls past the neck."""

    end: Array
    free: Array
    long: Array


def _lengths(hood: Hood, model: HeadModel, neutral: Array, scalp: Array, views: Sequence[HairView]) -> _Lengths:
    sides = np.array([view.lengths(hood) for view in views])
    # Where one photo shows hair tied back and another loose, the volume is what both allow.
    seen = np.where(np.isnan(sides), sides[:, ::-1], sides)
    root = hood.down_to(float(neutral[model.scalp > 0.5][:, 1].min()))
    bust = hood.down_to(float(neutral[model.vertices_of(*SKIN_PARTS)][:, 1].min()))
    seen = np.where(np.isinf(seen) & np.isfinite(seen).any(0), np.nan, seen)  # another photo shows where it ends
    seen = np.where(np.isnan(seen).all(0), 0.0, seen)
    left, right = np.minimum(np.nanmedian(seen, 0), bust)
    shorter, longer = min(left, right), max(left, right)
    if shorter > root - 0.005:
        back = longer
    else:
        back = min(longer, root + 0.05) if longer > root + 0.02 else 0.0
    turn, down = hood.map_coordinates()
    side = np.where(turn >= 0, left, right)
    behind = smoothstep(np.abs(turn), *np.radians(BACK))
    end = np.minimum(side * (1 - behind) + back * behind, bust + BUST)
    long = smoothstep(end - root, *HANGING)
    # The lowest roots at either side and behind; before the ears hair is taken to come from over them.
    angle = np.linspace(0.0, np.pi, 37)
    ways = np.linspace(0.0, hood.reach, 100)
    column, row = hood.place(*np.meshgrid(np.concatenate([angle, -angle]), ways))
    roots = np.where(read_map(scalp, column, row) > 0.5, ways[:, None], 0.0).max(0).reshape(2, 37).mean(0)
    free = smoothstep(end - np.interp(np.maximum(np.abs(turn), np.radians(EAR)), angle, roots), *HANGING)
    return _Lengths(end, np.maximum(free, long), long)


def _base(hood: Hood, skin: Array, long: Array) -> Array:
    """(side,side): the radius from which hair's thickness counts: the skin, and where hair hangs a pillar as wide as
    the skull, flat in front."""
    angle = np.linspace(-np.pi, np.pi, 361)
    column, row = hood.place(angle, np.full(361, hood.equator + 0.02))
    ring = read_map(skin, column[None], row[None])[0]
    side = float(np.interp(0.5 * np.pi, angle, ring))
    flat = side / np.sqrt(np.sin(angle) ** 2 + (np.cos(angle) / 0.6) ** 2)
    back = smoothstep(np.abs(angle), 0.35 * np.pi, 0.55 * np.pi)
    ring = gaussian_filter1d(flat * (1 - back) + ring * back, 12, mode="wrap")
    turn, down = hood.map_coordinates()
    pillar = np.interp(turn.ravel(), angle, ring).reshape(turn.shape)
    pillar -= DROP * smoothstep(down, hood.equator + 0.02, hood.equator + 0.02 + DROP_WAY)
    fall = smoothstep(down, hood.equator, hood.equator + 0.02) * long
    return cv2.GaussianBlur((skin * (1 - fall) + pillar * fall).astype(np.float32), (0, 0), 2.0)


def _outer(
    spread: SmoothMap, scalp: Array, skin: Array, base: Array, rim: tuple[Array, ...], curtain: Curtain
) -> tuple[Array, float]:
    """(side,side) hair's radius, and the thickness in metres of hair on the face."""
    hood = spread.hood
    turn, down = hood.map_coordinates()
    at_turn, at_down, radius = rim
    lift = radius - _read(base, hood, at_turn, at_down)
    typical = float(np.median(lift)) if len(lift) else THIN
    lifts = spread(at_turn, at_down, lift, np.ones_like(lift), (0.004, 0.01), float(np.clip(typical, 0.0, 0.05)))
    layer = float(np.clip(0.35 * np.percentile(np.maximum(lift, 0.0), 60), *LAYER)) if len(lift) else LAYER[0]
    outer = np.maximum(base + lifts, skin + THIN)
    # From its line over the forehead hair rises, and before it lies down; beside the face and on the chest it need not.
    risen = np.minimum(outer, skin + layer + np.maximum(RISE[0] + RISE[1] * border_distance(scalp), 0.0))
    bushy = np.clip(lifts / 0.05, 0.0, 1.0)
    beside = smoothstep(down, hood.equator - 0.02, hood.equator + 0.02)
    border = BORDER[0] + beside * (np.minimum(curtain.front, BORDER[1]) - BORDER[0])
    free = np.maximum(
        smoothstep(np.degrees(np.abs(turn)) + FULLER * bushy - border, *FRONT),
        smoothstep(down, hood.equator + 0.12, hood.equator + 0.17),
    )
    outer = risen + (outer - risen) * free
    body = cv2.dilate(skin, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))  # shoulders are steep here
    return np.where((curtain.long > 0.5) & (down > hood.equator), np.maximum(outer, body + ON_BODY), outer), layer


def _opened(domain: Array, reach: float) -> Array:
    """Domain (side,side) bool without what is narrower than twice a reach in metres."""
    size = 2 * round(reach / PIXEL) + 1
    round_one = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.morphologyEx(domain.astype(np.uint8), cv2.MORPH_OPEN, round_one) > 0


def _smoothed(values: Array) -> Array:
    return cv2.GaussianBlur(values.astype(np.float32), (0, 0), 1.0)


def _rooted(domain: Array, scalp: Array) -> Array:
    """The parts of domain that reach the scalp."""
    _, label = cv2.connectedComponents(domain.astype(np.uint8), connectivity=4)
    return domain & np.isin(label, np.unique(label[domain & scalp]))


def _in_front(hood: Hood) -> Array:
    turn, down = hood.map_coordinates()
    return (np.degrees(np.abs(turn)) < FRINGE[0]) & (down < hood.equator)


def _fringe(hood: Hood, scalp: Array, covered: Array) -> float:
    """0..1: whether hair covers the forehead; covered (side,side) bool: it is seen to."""
    below = _in_front(hood) & ~scalp & (distance(~scalp, 1.0 / PIXEL) < FRINGE[1])
    return float(np.clip(2.0 * covered[below].mean() - 0.2, 0.0, 1.0)) if below.any() else 0.0


def _off_forehead(hood: Hood, scalp: Array) -> Array:
    """(side,side) metres that a fringe's ends hang off the skin: brows rise under them, and what is painted on skin for
    them would rise along."""
    turn, down = hood.map_coordinates()
    front = ramp(np.degrees(np.abs(turn)), TEMPLES[1], TEMPLES[0]) * (down < hood.equator)
    return OFF_FOREHEAD * front * ramp(distance(~scalp, 1.0 / PIXEL), *OVERHANG)


def _plan(hood: Hood, domain: Array, fringe: float) -> Array:
    """`plan_flow` of hair (side,side) bool with or without a fringe."""
    turn, down = hood.map_coordinates()
    line = float(down[_in_front(hood) & domain & (np.abs(turn) < 0.2)].max(initial=0.0))
    return plan_flow(hood, line, fringe)


def _bald(spread: SmoothMap, scalp: Array, covered: Array, bare: Array, rim: tuple[Array, ...]) -> Array:
    """(side,side) bool: scalp without hair, as seen from where it is seen, spread over the rest."""
    seen = (covered | bare) & scalp
    if (bare & scalp).sum() <= 0.25 * max(int(seen.sum()), 1):
        return np.zeros(scalp.shape, bool)
    turn, down = spread.hood.map_coordinates()
    vote = np.concatenate([np.where(covered[seen], 1.0, -1.0), np.ones(len(rim[0]))])
    weight = np.concatenate([np.full(int(seen.sum()), 0.25), np.ones(len(rim[0]))])
    likely = spread(
        np.concatenate([turn[seen], rim[0]]), np.concatenate([down[seen], rim[1]]), vote, weight, (0.3, 0.003), 1.0
    )
    return (likely < -0.2) & scalp & ~covered
