# SPDX-License-Identifier: GPL-3.0-or-later
"""All keys of a finished head: its expressions, ARKit's 52, and the 15 visemes, which are sums of the 52.

Eyes, teeth and tongue move along, and skin stays out of eyeballs and teeth in each key and in natural mixtures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..fit.untangle import untangle
from ..headmodel import HeadModel
from ..headmodel.eyeballs import EYEBALLS, find_eyeballs, look
from ..headmodel.follow import FILMS
from ..headmodel.model import SKIN_PARTS
from ..mesh.intersections import self_intersections
from .arkit import ARKIT, TONGUE_OUT, in_head_model
from .clear import ALONE, MOVES, Moving, Skin, clear_keys, clear_rest, near_skin
from .lids import SOCKET, find_lids
from .mixtures import LOWER, draw, in_mirror, limited, together, with_shape
from .obstacles import RESTING, TEETH, Obstacle, eyeball_obstacle, pushes, teeth_obstacles
from .tongue import at_rest, on_the_floor, opening, tongue_out
from .visemes import VISEMES

Group = Literal["expression", "arkit", "viseme"]

HELD = "face"
"""The part that may not enter eyeballs and teeth; parts attached to it follow."""
TURNS = 4  # in which skin at rest is moved out of obstacles, then out of itself
LID_TURNS = 2  # in which lids are brought together, then moved out of the balls, which opens them again
ROOTS = 0.0015  # metres from the skin within which a film is attached to it
Where = Literal["eye", "mouth"]
NEAR: dict[Where, float] = {"eye": 0.003, "mouth": 0.004}  # metres from an obstacle within which skin is a seed
REACH: dict[Where, float] = {"eye": 0.014, "mouth": 0.02}  # geodesic metres from the seeds that are corrected
KEPT: dict[Where, float] = {"eye": 0.6, "mouth": 1.0}  # of its clearance at rest that skin keeps
MARGIN: dict[Where, tuple[float, float]] = {"eye": (2e-4, 9e-4), "mouth": (7e-4, 7e-4)}
"""Metres that skin keeps at least, and need not keep more of: a lid's outside does not sink through its inside."""
SPREAD: dict[Where, int] = {"eye": 48, "mouth": 8}  # edges over which corrections fade: a lid bulges as one, or its
# fold stays behind and the rim turns inside out
MIXTURES: dict[Where, int] = {"eye": 120, "mouth": 400}  # random mixtures, and as many mirrored
TOGETHER: dict[Where, tuple[str, ...]] = {"eye": (), "mouth": (*LOWER, "cheekSquint", "noseSneer")}
"""Shapes of which all pairs and triples are checked, at full strength and at some others."""
WEAKEST, STRENGTHS = 0.2, 3
BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")
SLIDES = "mouthLeft"
"""The shape that moves lips over teeth the furthest: it is added to all mixtures."""
SEED = 52
SHOWS = {"jawOpen": {"mouthUpperUp": 0.2}}
"""Shapes that are added to a shape: with an open mouth a millimetre of the upper teeth shows."""


@dataclass(frozen=True, eq=False)
class Keys:
    """neutral (P,3) and the offsets (P,3) of each key."""

    neutral: Array
    offsets: Mapping[str, Array]


def group_of(name: str) -> Group:
    """The group of a key's name."""
    return "viseme" if name in VISEMES else "arkit" if name in ARKIT else "expression"


def all_keys(model: HeadModel, neutral: Array, resting: Array, expressions: Mapping[str, Array]) -> Keys:
    """The keys of a head (P,3): its expressions (P,3) as given, and ARKit's 52 from the head model's shapes.
    resting (E,): how much of the model's expressions the neutral face already has, see `HeadFit`."""
    names = (*expressions, *ARKIT)
    jaw = {"jawOpen": 1.0} if "jawOpen" in model.expression_names else {}
    lay = at_rest(model, neutral, model.motion(model.expression_vector(jaw)))
    neutral = np.asarray(neutral, np.float64) + lay
    made = np.stack([*expressions.values(), *arkit_shapes(model, neutral, resting)]).astype(np.float64)
    opened = made[names.index("jawOpen")].copy()
    jaws = _jaws(model, made, opened) * [name != TONGUE_OUT for name in names]
    made += jaws[:, None, None] * on_the_floor(model, neutral, lay)
    balls = [eyeball_obstacle(model, neutral, eye, EYEBALLS[0]) for eye in find_eyeballs(model, neutral)]
    blink = made[[names.index(n) for n in BLINKS]].sum(0)
    both = find_lids(model, neutral)
    closing = [[lids.closed_by(key, blink) for lids in both] for key in made]
    for _ in range(LID_TURNS):
        _close_lids(model, neutral, made, closing)
        for ball in balls:
            _keep_clear(model, neutral, made, names, "eye", [ball])
    teeth = teeth_obstacles(model, neutral, opened)
    if teeth:
        _keep_clear(model, neutral, made, names, "mouth", teeth)
    offsets = dict(zip(names, made.astype(np.float32), strict=True))
    for viseme, weights in VISEMES.items():
        offsets[viseme] = sum((w * offsets[n] for n, w in weights.items()), np.zeros_like(offsets[ARKIT[0]]))
    return Keys(neutral, offsets)


def arkit_shapes(model: HeadModel, neutral: Array, resting: Array) -> list[Array]:
    """(P,3) offsets of each of `ARKIT` for a head (P,3), zero for a shape that the head model lacks."""
    known = {name.removesuffix("_L").removesuffix("_R") for name in model.expression_names}
    known |= set(model.expression_names)

    def moved(weights: Mapping[str, float]) -> Array:
        vector = model.expression_vector({name: w for name, w in weights.items() if name in known})
        return model.motion(np.where(vector != 0, vector - resting, 0.0))

    eyeballs = find_eyeballs(model, neutral)
    out = []
    for name in ARKIT:
        if name == TONGUE_OUT:
            out.append(tongue_out(model, neutral, moved(opening(model.expression_names))))
            continue
        shape = moved({in_head_model(name): 1.0, **SHOWS.get(name, {})})
        out.append(shape + look(neutral, eyeballs, name) if name.startswith("eyeLook") else shape)
    return out


def _jaws(model: HeadModel, keys: Array, opened: Array) -> Array:
    """(K,) 0..1: how far each of keys (K,P,3) opens the jaw, relative to opened (P,3)."""
    teeth = np.flatnonzero(model.vertices_of(TEETH))
    size = float((opened[teeth, 1] ** 2).sum())
    return np.clip(keys[:, teeth, 1] @ opened[teeth, 1] / size, 0, 1) if size else np.zeros(len(keys))


def _keep_clear(
    model: HeadModel, neutral: Array, keys: Array, names: tuple[str, ...], where: Where,
    obstacles: list[Obstacle],
) -> None:  # fmt: skip
    """Change neutral (P,3) and keys (K,P,3) of `names` in place so that skin stays out of obstacles."""
    skin = _skin_near(model, neutral, obstacles, where)
    if not len(skin.vertices):
        return
    own = skin.vertices
    _clear_rest(model, neutral, skin, obstacles)
    touched = [*own, *np.concatenate([o.vertices for o in obstacles])]
    active = np.flatnonzero(np.abs(keys[:, touched]).max((1, 2)) > MOVES)
    weights = _poses([names[k] for k in active], where)
    moving = [Moving.of(o, neutral, keys[active]) for o in obstacles]
    follow = _Following(model, neutral, own)
    added = clear_keys(neutral[own], keys[np.ix_(active, own)], skin, moving, weights, SPREAD[where])
    for k, change in zip(active, added, strict=True):
        keys[k][own] += change
        follow(keys[k], change)


def _close_lids(model: HeadModel, neutral: Array, keys: Array, closing: list[list[bool]]) -> None:
    """Change keys (K,P,3) of a head (P,3) in place so that lids meet in those that are closing (K) an eye."""
    for n, lids in enumerate(find_lids(model, neutral)):
        follow = _Following(model, neutral, lids.vertices)
        for key in (key for key, closes in zip(keys, closing, strict=True) if closes[n]):
            change = (lids.factors(key) - 1)[:, None] * key[lids.vertices]
            key[lids.vertices] += change
            follow(key, change)


def _clear_rest(model: HeadModel, neutral: Array, skin: Skin, obstacles: list[Obstacle]) -> None:
    """Change neutral (P,3) in place so that its skin stays out of obstacles and out of itself. Where both cannot be
    had, it may enter an obstacle by some tenths of a millimetre."""
    own = skin.vertices
    near = model.triangles_of(HELD)
    near = near[np.isin(near, own).any(1)]
    for _ in range(TURNS):
        moved = clear_rest(neutral[own], skin, obstacles)
        if not moved.any():
            return
        _Following(model, neutral, own)(neutral, moved)
        neutral[own] += moved
        if not len(self_intersections(neutral, near)):
            return
        neutral += untangle(model, neutral)


def _poses(names: list[str], where: Where) -> Array:
    """(N,K) weights of names (K,) to check: each alone at several weights, natural mixtures, and the visemes."""
    alone = np.concatenate([weight * np.eye(len(names)) for weight in ALONE])
    column = {name: n for n, name in enumerate(names)}
    rng = np.random.default_rng(SEED)
    mixed = draw(rng, MIXTURES[where])
    if where == "mouth":
        mixed = np.concatenate([mixed, with_shape(mixed, SLIDES)])
    spoken = [[weights.get(name, 0.0) for name in ARKIT] for weights in VISEMES.values()]
    two, three = (together(TOGETHER[where], n) for n in (2, 3))
    weaker = [limited(three * rng.uniform(WEAKEST, 1, three.shape)) for _ in range(STRENGTHS)]
    drawn = np.concatenate([mixed, *weaker])
    # What is drawn for one side is checked on the other, too, or keys of the two would not be mirror images.
    arkit = np.concatenate([drawn, in_mirror(drawn), spoken, two, three])
    rows = np.zeros((len(arkit), len(names)))
    for n, name in enumerate(ARKIT):
        if name in column:
            rows[:, column[name]] = arkit[:, n]
    return np.concatenate([alone, rows[(rows > 0).sum(1) > 1]])


def _skin_near(model: HeadModel, neutral: Array, obstacles: list[Obstacle], where: Where) -> Skin:
    held = model.vertices_of(HELD)
    surface = np.concatenate([neutral[o.vertices] for o in obstacles])
    candidates = np.flatnonzero(held)
    distance, _ = cKDTree(surface).query(neutral[candidates], distance_upper_bound=NEAR[where])
    seeds = candidates[np.isfinite(distance)]
    least, most = MARGIN[where]
    _, missing = pushes(neutral[None], np.full(len(neutral), most / KEPT[where]), [(o, RESTING) for o in obstacles])
    margins = np.maximum(most - KEPT[where] * missing[0], least)
    hanging = model.triangles[~model.faces_of(TEETH, *EYEBALLS, *FILMS)[model.triangle_quad]]
    # What moves a lid's outside far out of a ball must not take its inside along, which would come out in front.
    corners = model.vertices_of(SOCKET)[hanging].sum(1)
    hanging = hanging[(corners == 0) | (corners == 3)]
    return near_skin(neutral, hanging, seeds, held, REACH[where], margins)


class _Following:
    """Gives films the motion of the skin that they are attached to."""

    def __init__(self, model: HeadModel, neutral: Array, skin: Array) -> None:
        films = np.flatnonzero(model.vertices_of(*FILMS))
        own = skin[model.vertices_of(*SKIN_PARTS)[skin]]
        self.vertices, self.source = films[:0], films[:0]
        if not len(films) or not len(own):
            return
        distance, nearest = cKDTree(neutral[own]).query(neutral[films])
        roots = np.flatnonzero(distance < ROOTS)
        if not len(roots):
            return
        away, root = cKDTree(neutral[films[roots]]).query(neutral[films])
        same_eye = away < 0.02
        place = np.full(len(neutral), -1)
        place[skin] = np.arange(len(skin))
        self.vertices = films[same_eye]
        self.source = place[own[nearest[roots[root[same_eye]]]]]

    def __call__(self, out: Array, change: Array) -> None:
        """Add the skin's change (S,3) to the films in out (P,3)."""
        out[self.vertices] += change[self.source]
