# SPDX-License-Identifier: GPL-3.0-or-later
"""Natural mixtures of ARKit's shapes: which shapes a face shows together, and how much of each.

Mixtures are sums of keys, so arbitrary weights can distort a face. Real faces, and captures of them, are limited:
muscles work against each other, and an eye closes only once. `limited` applies these limits to weights, and `draw`
makes random mixtures within them.
"""

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np

from ..arrays import Array
from .arkit import ARKIT, other_side

_INDEX = {name: n for n, name in enumerate(ARKIT)}
AT_MOST_ONE: tuple[tuple[str, ...], ...] = (
    # what closes an eye
    *((f"eyeBlink{s}", f"eyeSquint{s}", f"cheekSquint{s}", f"eyeLookDown{s}") for s in ("Left", "Right")),
    *((f"eyeBlink{s}", f"eyeSquint{s}", f"eyeWide{s}", f"eyeLookDown{s}") for s in ("Left", "Right")),
    # brows go up or down
    *((f"browDown{s}", f"browOuterUp{s}") for s in ("Left", "Right")),
    # corners of the mouth
    *(
        (f"mouthSmile{s}", f"mouthFrown{s}", f"mouthStretch{s}", "mouthPucker", "mouthFunnel")
        for s in ("Left", "Right")
    ),
    *((f"mouthSmile{s}", f"mouthDimple{s}", f"mouthPress{s}") for s in ("Left", "Right")),
    # a mouth that is drawn to one side is not drawn to the other
    ("mouthLeft", "mouthRight", "mouthPucker", "mouthFunnel"),
    ("mouthLeft", "mouthSmileRight", "mouthStretchRight", "mouthDimpleRight"),
    ("mouthRight", "mouthSmileLeft", "mouthStretchLeft", "mouthDimpleLeft"),
    ("jawLeft", "jawRight", "jawForward", "jawOpen"),
    # each lip
    *(("mouthRollUpper", "mouthShrugUpper", "mouthFunnel", f"mouthUpperUp{s}") for s in ("Left", "Right")),
    *(("mouthRollLower", "mouthShrugLower", "mouthFunnel", f"mouthLowerDown{s}") for s in ("Left", "Right")),
    *((f"mouthPress{s}", f"mouthUpperUp{s}", f"mouthLowerDown{s}") for s in ("Left", "Right")),
    # air and tongue need room
    ("cheekPuff", "jawOpen", "mouthSmileLeft", "mouthUpperUpLeft"),
    ("cheekPuff", "jawOpen", "mouthSmileRight", "mouthUpperUpRight"),
    *(("tongueOut", other) for other in (
        "mouthRollUpper", "mouthRollLower", "mouthPucker", "mouthFunnel", "mouthClose", "cheekPuff",
        "mouthPressLeft", "mouthPressRight", "mouthShrugUpper", "mouthShrugLower", "jawLeft", "jawRight",
        "mouthLeft", "mouthRight",
    )),
)  # fmt: skip
"""Shapes whose weights sum to one at most."""
_HEIGHTS = (("eyeLookUp", "eyeLookUp"), ("eyeLookDown", "eyeLookDown"))
_SIDES = (("eyeLookOut", "eyeLookIn"), ("eyeLookIn", "eyeLookOut"))
"""Shapes of the left eye and the matching ones of the right."""
UPPER = ("eyeBlink", "eyeSquint", "eyeWide", "browDown", "browInnerUp", "browOuterUp", "cheekSquint", "noseSneer")
LOWER = (
    "jawOpen", "jawForward", "jawLeft", "jawRight", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmile", "mouthFrown",
    "mouthStretch", "mouthDimple", "mouthLowerDown", "mouthPress", "mouthUpperUp", "cheekPuff", "tongueOut",
)  # fmt: skip
ONE_SIDED = 0.25  # probability that a two-sided shape shows on one side only


def limited(weights: Array) -> Array:
    """weights (N,52) in the order of `ARKIT` with mouthClose limited to jawOpen, the gaze to a circle, and the sum of
    each group of AT_MOST_ONE to one."""
    out: Array = np.clip(weights, 0, 1)
    out[:, _INDEX["mouthClose"]] = np.minimum(out[:, _INDEX["mouthClose"]], out[:, _INDEX["jawOpen"]])
    for side in ("Left", "Right"):
        looks = [_INDEX[f"eyeLook{way}{side}"] for way in ("Up", "Down", "In", "Out")]
        out[:, looks] /= np.maximum(np.linalg.norm(out[:, looks], axis=1, keepdims=True), 1)
    for group in AT_MOST_ONE:
        columns = [_INDEX[name] for name in group]
        out[:, columns] /= np.maximum(out[:, columns].sum(1, keepdims=True), 1)
    out[:, _INDEX["mouthClose"]] = np.minimum(out[:, _INDEX["mouthClose"]], out[:, _INDEX["jawOpen"]])
    return out


def draw(rng: np.random.Generator, count: int) -> Array:
    """(count,52) random natural mixtures in the order of `ARKIT`: one or two shapes of brows and eyes, a gaze in half
    of them, two or three shapes of mouth, jaw, cheeks and tongue, each from a fifth to full strength."""
    out = np.zeros((count, len(ARKIT)))
    for row in out:
        for base in rng.choice(UPPER, rng.integers(1, 3), replace=False):
            _add(rng, row, base)
        for base in rng.choice(LOWER, rng.integers(2, 4), replace=False):
            _add(rng, row, base)
        if rng.random() < 0.5:
            for left, right in (_HEIGHTS[rng.integers(0, 2)], _SIDES[rng.integers(0, 2)]):
                strength = rng.random()
                row[_INDEX[f"{left}Left"]] = row[_INDEX[f"{right}Right"]] = strength
        if row[_INDEX["mouthClose"]]:
            _add(rng, row, "jawOpen")
    return limited(out)


def with_shape(weights: Array, name: str) -> Array:
    """weights (N,52) with one shape added at full strength, then `limited`."""
    out = weights.copy()
    out[:, _INDEX[name]] = 1.0
    return limited(out)


def in_mirror(weights: Array) -> Array:
    """weights (N,52) with left and right exchanged."""
    return weights[:, [_INDEX[other_side(name)] for name in ARKIT]]


def together(bases: Sequence[str], count: int) -> Array:
    """(N,52) all combinations of `count` shapes, both sides at full strength, `limited`."""
    out = np.zeros((comb(len(bases), count), len(ARKIT)))
    for row, names in zip(out, combinations(bases, count), strict=True):
        for name in names:
            row[[_INDEX[n] for n in (name, f"{name}Left", f"{name}Right") if n in _INDEX]] = 1.0
    jaw, closed = _INDEX["jawOpen"], _INDEX["mouthClose"]
    out[:, jaw] = np.maximum(out[:, jaw], out[:, closed])  # mouthClose only acts with an open jaw
    return limited(out)


def _add(rng: np.random.Generator, row: Array, base: str) -> None:
    strength = rng.uniform(0.2, 1.0)
    if base in _INDEX:
        row[_INDEX[base]] = strength
        return
    shares = np.clip(strength * rng.uniform(0.85, 1.15, 2), 0, 1)
    if rng.random() < ONE_SIDED:
        shares[rng.integers(0, 2)] = 0.0
    row[_INDEX[f"{base}Left"]], row[_INDEX[f"{base}Right"]] = shares
