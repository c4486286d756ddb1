# SPDX-License-Identifier: GPL-3.0-or-later
"""From a take as it was recorded to values at the scene's frames: calibrate, smooth, gain, trim, retime. No bpy."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .one_euro import one_euro, without_lag
from .table import EYE_ANGLES, SHAPES, FaceTake

Array = NDArray[Any]

REGIONS = ("brow", "eye", "cheek", "jaw", "mouth")
"""What shapes' names begin with; the nose's and the tongue's go with cheeks and mouth."""
_REGION_OF = {"nose": "cheek", "tongue": "mouth"}
# Shapes of two ways, which rest between: a gaze that is a little off at rest has its whole way on either side.
_PAIRS = (
    *((f"eyeLookIn{side}", f"eyeLookOut{side}") for side in ("Left", "Right")),
    *((f"eyeLookUp{side}", f"eyeLookDown{side}") for side in ("Left", "Right")),
    ("jawLeft", "jawRight"),
    ("mouthLeft", "mouthRight"),
)
# What the strongest blinks of a take reach at least, if there are any: the least that is one, and the share of moments
# that are stronger than a "strongest" one.
_LEAST_BLINK, _STRONGEST = 0.2, 0.005
# Where nothing of a shape's way is left, the person's rest was no rest.
_MOST_REST = 0.8
# Units a second of shapes and radians a second of angles differ: a turn of the head by 0.5 is a large one.
_ANGLE_BETA = 2.0


@dataclass(frozen=True)
class Treatment:
    """rest: seconds from and to of the take in which the face is at rest, or None; cutoff: hertz, 0 for no smoothing;
    beta and zero_lag: see one_euro; gain: of all shapes; gains: further ones by region; blinks: the take's strongest
    blinks close the eyes, whatever they scored; turn: how much of the head's rotations is kept; flips: 1 or -1 of yaw,
    pitch, roll, as recordings with the telephone on its side have some the wrong way; swap_mouth: mouthLeft and
    mouthRight, which versions of the app exchange; trim: seconds from and to; start: the frame of the first moment;
    fps: of the scene."""

    rest: tuple[float, float] | None = None
    cutoff: float = 0.0
    beta: float = 0.0
    zero_lag: bool = True
    gain: float = 1.0
    gains: Mapping[str, float] = field(default_factory=dict)
    blinks: bool = True
    turn: float = 1.0
    flips: tuple[float, float, float] = (1.0, 1.0, 1.0)
    swap_mouth: bool = False
    trim: tuple[float, float] = (0.0, float("inf"))
    start: int = 1
    fps: float = 24.0


@dataclass(frozen=True, eq=False)
class Treated:
    """frames (F,) whole numbers, one after the other; shapes (F,52) 0..1; head (F,3) and eyes (F,2,3) yaw, pitch, roll
    in radians, as the table has them; gaze and turned: whether it has the eyes' and the head's at all, which other
    programs than the app leave out, or at 0."""

    frames: Array
    shapes: Array
    head: Array
    eyes: Array
    gaze: bool = True
    turned: bool = True


def treat(take: FaceTake, how: Treatment) -> Treated:
    """The take at the scene's frames. Raises ValueError where the trim or the rest holds no moment of it."""
    shapes, head, eyes = take.shapes.copy(), take.head * how.flips, take.eyes.copy()
    if how.swap_mouth:
        both = [SHAPES.index("mouthLeft"), SHAPES.index("mouthRight")]
        shapes[:, both] = shapes[:, both[::-1]]
    if how.rest is not None:
        at_rest = _at_rest(take, *how.rest)
        shapes, head, eyes = _calibrated(at_rest, shapes, head, eyes)
    channels = np.concatenate([shapes, np.unwrap(head, axis=0), eyes.reshape(-1, 6)], 1)
    if how.cutoff > 0 and len(channels) > 1:
        beta = np.where(np.arange(channels.shape[1]) < len(SHAPES), how.beta, _ANGLE_BETA * how.beta)
        smooth = without_lag if how.zero_lag else one_euro
        channels = smooth(take.times, channels, how.cutoff, beta)
    n = len(SHAPES)
    frames, at = _at_frames(take.times, channels, how)
    if how.blinks:  # after smoothing and retiming, which take most from what is short
        _close_blinks(at[:, :n], _at_frames(take.times, channels[:, :n], replace(how, trim=(0.0, float("inf"))))[1])
    at[:, :n] *= how.gain * np.array([how.gains.get(region_of(name), 1.0) for name in SHAPES])
    at[:, :n] = np.clip(at[:, :n], 0.0, 1.0)
    at[:, n : n + 3] *= how.turn
    at[:, n + 3 :] *= how.gain * how.gains.get("eye", 1.0)
    gaze = bool(take.eyes.any()) and not set(EYE_ANGLES) & set(take.absent)
    eyes = at[:, n + 3 :].reshape(-1, 2, 3)
    return Treated(frames, at[:, :n], at[:, n : n + 3], eyes, gaze, bool(take.head.any()))


def region_of(shape: str) -> str:
    """ "mouthSmileLeft" -> "mouth"."""
    stem = next(stem for stem in (*REGIONS, *_REGION_OF) if shape.startswith(stem))
    return _REGION_OF.get(stem, stem)


def _at_rest(take: FaceTake, first: float, last: float) -> Array:
    """(T,) bool: moments from first to last in which the face was seen: bridged ones tell nothing of it."""
    rows = (take.times >= first - 1e-9) & (take.times <= last + 1e-9)
    if not rows.any():
        raise ValueError("The time at rest lies outside the take")
    if not (rows & take.tracked).any():
        raise ValueError("The face was not seen in the time at rest")
    return rows & take.tracked


def _calibrated(rows: Array, shapes: Array, head: Array, eyes: Array) -> tuple[Array, Array, Array]:
    """What is more than at rest, in the moments rows (T,) bool, stretched so that full stays full; rotations from those
    at rest."""
    base = np.minimum(np.median(shapes[rows], 0), _MOST_REST)
    out = np.clip((shapes - base) / (1 - base), 0.0, 1.0)
    for one, other in _PAIRS:
        a, b = SHAPES.index(one), SHAPES.index(other)
        way = shapes[:, b] - shapes[:, a]
        way -= np.clip(np.median(way[rows]), -_MOST_REST, _MOST_REST)
        out[:, a], out[:, b] = np.clip(-way, 0, 1), np.clip(way, 0, 1)
    turns = matrices(head)
    # The mean of rotations: what is nearest to their sum (Moakher 2002).
    u, _, vt = np.linalg.svd(turns[rows].sum(0))
    mean = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    return out, angles(mean.T @ turns), eyes - np.median(eyes[rows], 0)


def _close_blinks(shapes: Array, whole: Array) -> None:
    """Nets see the lids of some people half closed when they are closed. whole (T,52): shapes of the whole take."""
    for side in ("Left", "Right"):
        column = SHAPES.index(f"eyeBlink{side}")
        strongest = float(np.quantile(whole[:, column], 1 - _STRONGEST))
        if _LEAST_BLINK < strongest < 1.0:
            shapes[:, column] /= strongest


def matrices(turns: Array) -> Array:
    """(...,3,3) rotations of (...,3) yaw, pitch, roll: Ry(yaw) Rx(pitch) Rz(roll)."""
    (sy, sp, sr), (cy, cp, cr) = np.moveaxis(np.sin(turns), -1, 0), np.moveaxis(np.cos(turns), -1, 0)
    rows = [
        [cy * cr + sy * sp * sr, -cy * sr + sy * sp * cr, sy * cp],
        [cp * sr, cp * cr, -sp],
        [-sy * cr + cy * sp * sr, sy * sr + cy * sp * cr, cy * cp],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def angles(rotations: Array) -> Array:
    """(...,3) yaw, pitch, roll of rotations (...,3,3)."""
    r = rotations
    yaw, roll = np.arctan2(r[..., 0, 2], r[..., 2, 2]), np.arctan2(r[..., 1, 0], r[..., 1, 1])
    return np.stack([yaw, np.arcsin(np.clip(-r[..., 1, 2], -1, 1)), roll], -1)


def _at_frames(times: Array, channels: Array, how: Treatment) -> tuple[Array, Array]:
    """Frames (F,) and channels (F,C) there: the mean over the time that a frame lasts where the take has several
    moments in it, so that none is skipped; else between two moments."""
    begin, end = max(how.trim[0], float(times[0])), min(how.trim[1], float(times[-1]))
    if end < begin:
        raise ValueError("What is left after trimming holds no moment of the take")
    count = int(np.floor((end - begin) * how.fps + 1e-6)) + 1
    moments = begin + np.arange(count) / how.fps
    if len(times) > 2 and float(np.median(np.diff(times))) < 0.6 / how.fps:
        area = np.concatenate(
            [
                np.zeros((1, channels.shape[1])),
                np.cumsum(np.diff(times)[:, None] * (channels[1:] + channels[:-1]) / 2, 0),
            ]
        )
        low, high = (np.clip(moments + s / how.fps, times[0], times[-1]) for s in (-0.5, 0.5))
        at = (_integral(times, channels, area, high) - _integral(times, channels, area, low)) / (high - low)[:, None]
    else:
        at = np.stack([np.interp(moments, times, column) for column in channels.T], 1)
    return how.start + np.arange(count), at


def _integral(times: Array, channels: Array, area: Array, moments: Array) -> Array:
    """(F,C) of straight lines between the times, from the first on."""
    left = np.clip(np.searchsorted(times, moments, "right") - 1, 0, len(times) - 2)
    into = (moments - times[left])[:, None]
    slope = (channels[left + 1] - channels[left]) / (times[left + 1] - times[left])[:, None]
    return area[left] + into * channels[left] + into**2 / 2 * slope
