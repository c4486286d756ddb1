# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of a face's movements, and its file: the CSV of Epic's app Live Link Face.

A row is a moment: ``Timecode`` hh:mm:ss:ff.fraction, ``BlendShapeCount``, ARKit's 52 shapes from 0 to 1, then nine
angles in radians. The angles are of ARKit's face frame (ARFaceAnchor: x to the person's left, y up, z out of the
face), which is our head frame: yaw turns about y, towards the person's left where it is positive; pitch about x, down
where it is positive; roll about z, the crown to the person's right where it is positive. Together they are
R = Ry(yaw) Rx(pitch) Rz(roll). The eyes turn likewise within the head. A moment in which the app saw no face has a
count of 0 and no values.

Files differ: other orders of columns, 51 shapes before iOS 12, no angles in some or blank ones, names that begin with a
small letter where other programs wrote them, a byte order mark, moments left out (dropped frames), ";" before the
frames of drop-frame timecode. Columns go by their names; what is not known is passed over.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UserError

Array = NDArray[Any]

SHAPES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawRight", "jawLeft", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthRight", "mouthLeft", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp",
    "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft",
    "noseSneerRight", "tongueOut",
)  # fmt: skip
"""ARKit's 52, in the order of the app's columns."""
ANGLES = (
    "HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch",
    "RightEyeRoll",
)  # fmt: skip
EYE_ANGLES = ANGLES[3:]
USUAL_BASE = 60
"""Frames in a second of the app's timecode, where a take is too short to tell; we write no other."""

_BASES = (24, 25, 30, 48, 50, 60, 90, 100, 120, 240)
_LEAST_SHAPES = 8  # columns by which a file is known
_LEAST_OF_ROW = 0.5  # of the columns that hold anything: a row with less is cut off, or shows no face
_MOST_OF_ROW = 1.5  # of the columns that have names: more are halves of numbers with decimal commas
_MOST_BYTES = 1 << 29
_DAY = 86400.0
_MOST_ANGLE = math.pi  # more than that are degrees
_SET_BACK, _SET_FORWARD = -1.0, 60.0  # seconds between two rows: somebody has set the clock
_TIMECODE, _COUNT = "timecode", "blendshapecount"


class TakeError(UserError):
    """A file that is no such table (E_CAPTURE_...)."""


@dataclass(frozen=True, eq=False)
class FaceTake:
    """times (T,) seconds from the first row, rising; shapes (T,52) as SHAPES; head (T,3) yaw, pitch, roll in radians;
    eyes (T,2,3) the left one's and the right one's; tracked (T,) bool, where the face was seen: the others are bridged;
    begin: seconds since midnight of the first row; absent: columns that the file does not have, or has without
    values, which are 0 here."""

    times: Array
    shapes: Array
    head: Array
    eyes: Array
    tracked: NDArray[np.bool_]
    begin: float = 0.0
    absent: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds from the first row to the last."""
        return float(self.times[-1] - self.times[0])

    @property
    def rate(self) -> float:
        """Rows a second, as most of them follow each other."""
        return 1.0 / float(np.median(np.diff(self.times))) if len(self.times) > 1 else float(USUAL_BASE)

    @property
    def channels(self) -> Array:
        """(T,61): shapes, head, eyes."""
        return np.concatenate([self.shapes, self.head, self.eyes.reshape(-1, 6)], 1)


def take_of(times: Array, channels: Array, tracked: Array, begin: float = 0.0) -> FaceTake:
    """A take of channels (T,61): SHAPES and ANGLES. Rows that were not tracked are bridged: straight lines between
    those that were, held at both ends; angles go the short way round."""
    seen = np.asarray(tracked, bool)
    bridged = np.array(channels, np.float64)
    n = len(SHAPES)
    if seen.any() and not seen.all():
        known = bridged[seen]
        known[:, n:] = np.unwrap(known[:, n:], axis=0)
        for column, values in zip(bridged.T, known.T, strict=True):
            column[~seen] = np.interp(times[~seen], times[seen], values)
        # More than half a turn would be read as degrees.
        bridged[~seen, n:] = (bridged[~seen, n:] + np.pi) % (2 * np.pi) - np.pi
    eyes = bridged[:, n + 3 :].reshape(-1, 2, 3)
    return FaceTake(np.asarray(times, np.float64), bridged[:, :n], bridged[:, n : n + 3], eyes, seen, begin)


def read_take(file: str | Path) -> FaceTake:
    """Read a CSV. Raises TakeError: E_CAPTURE_MISSING, E_CAPTURE_CSV (no such table, or one without a face)."""
    path = Path(file)
    try:
        if not path.is_file():
            raise TakeError("E_CAPTURE_MISSING", f"{path.name} is not there.", "Choose it again.")
        if path.stat().st_size > _MOST_BYTES:
            raise _no_table(path.name, "it is too large")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise TakeError("E_CAPTURE_MISSING", f"{path.name} cannot be read: {reason}.", "Choose it again.") from error
    except UnicodeDecodeError as error:
        raise _no_table(path.name, "it is not text") from error
    if "\0" in text:
        raise _no_table(path.name, "it is not text")
    try:
        first = text.split("\n", 1)[0]
        mark = ";" if first.count(";") > first.count(",") else ","  # the former: saved again by a spreadsheet
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark))
    except csv.Error as error:
        raise _no_table(path.name, str(error)) from error
    return _parse(path.name, [row for row in rows if any(cell.strip() for cell in row)])


def write_take(take: FaceTake, file: str | Path) -> None:
    """Write the CSV as the app does. Raises OSError."""
    header = ["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in SHAPES), *ANGLES]
    lines = [",".join(header)]
    for time, values, seen in zip(take.times, take.channels, take.tracked, strict=True):
        code = timecode(take.begin + float(time))
        cells = [str(len(values)), *(f"{value:.9g}" for value in values)] if seen else ["0", *[""] * len(values)]
        lines.append(",".join([code, *cells]))
    Path(file).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def timecode(seconds: float) -> str:
    """hh:mm:ss:ff.fraction since midnight, the fraction in thousandths of a frame. Whatever the rate, a second has
    USUAL_BASE frames: a reader need not guess."""
    frames, fraction = divmod(round(seconds * USUAL_BASE * 1000), 1000)
    total, frame = divmod(frames, USUAL_BASE)
    minutes, second = divmod(total, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour % 24:02d}:{minute:02d}:{second:02d}:{frame:02d}.{fraction:03d}"


def _no_table(name: str, why: str) -> TakeError:
    return TakeError(
        "E_CAPTURE_CSV",
        f"{name} is no face capture: {why}.",
        "Choose the CSV that Live Link Face has saved beside the take.",
    )


def _parse(name: str, rows: Sequence[Sequence[str]]) -> FaceTake:
    if not rows:
        raise _no_table(name, "it is empty")
    columns = {cell.strip().lower(): n for n, cell in reversed(list(enumerate(rows[0])))}
    wanted = [*SHAPES, *ANGLES]
    place = [columns.get(channel.lower(), -1) for channel in wanted]
    if sum(n >= 0 for n in place[: len(SHAPES)]) < _LEAST_SHAPES:
        raise _no_table(name, "its first line does not name ARKit's shapes")
    body = rows[1:]
    if any(sum(map(bool, map(str.strip, row))) > _MOST_OF_ROW * len(rows[0]) for row in body):
        raise _no_table(name, "commas within its numbers part them")
    values = np.full((len(body), len(wanted)), np.nan)
    for k, row in enumerate(body):
        for c, n in enumerate(place):
            if 0 <= n < len(row):
                values[k, c] = _number(row[n])
    count = columns.get(_COUNT)
    seen = np.array([count is None or _number(_cell(row, count)) != 0 for row in body], bool)
    # Some programs name columns that they leave blank in each row or in some, or that their rows do not reach.
    there = np.isfinite(values[seen]).any(0)
    seen &= np.isfinite(values[:, there]).mean(1) >= _LEAST_OF_ROW if there.any() else False
    there = np.isfinite(values[seen]).any(0)
    if there[: len(SHAPES)].sum() < _LEAST_SHAPES or not seen.any():
        raise _no_table(name, "it holds no moment in which a face was seen")
    values[:, ~there] = 0.0
    for column in np.flatnonzero(there):
        known = np.flatnonzero(seen & np.isfinite(values[:, column]))
        blank = np.flatnonzero(~np.isfinite(values[:, column]))
        values[blank, column] = np.interp(blank, known, values[known, column])
    codes = [_cell(row, columns[_TIMECODE]) for row in body] if _TIMECODE in columns else []
    times = _times(codes, len(body))
    keep = _rising(times)
    times, values, seen = times[keep], values[keep], seen[keep]
    values[:, len(SHAPES) :] = _radians(values[:, len(SHAPES) :])
    take = take_of(times - times[0], values, seen, float(times[0]) % _DAY)
    absent = tuple(channel for channel, held in zip(wanted, there, strict=True) if not held)
    return replace(take, absent=absent)


def _cell(row: Sequence[str], n: int) -> str:
    return row[n].strip() if n < len(row) else ""


def _number(text: str) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return math.nan
    return value if math.isfinite(value) and abs(value) < 1e6 else math.nan


def _times(codes: Sequence[str], count: int) -> Array:
    """Seconds (T,) since midnight of timecodes; rows without a readable one follow the one before. A file that numbers
    its frames, or has no times, is taken at the usual rate."""
    parts = [_split(code) for code in codes]
    if not any(part is not None for part in parts):
        numbers = np.array([_number(code) for code in codes] or [math.nan] * count)
        frames = numbers if np.isfinite(numbers).all() else np.arange(count, dtype=np.float64)
        seconds = bool((frames % 1 != 0).any())
        return (frames - frames[0]) / (1 if seconds else USUAL_BASE)
    base = _base([part for part in parts if part is not None])
    times = np.full(count, np.nan)
    for n, part in enumerate(parts):
        if part is not None:
            times[n] = _drop_frame(*part, base) if ";" in codes[n] else part[0] + part[1] / base
    known = np.isfinite(times)
    # Past midnight the clock begins anew, and where it was set the take goes on.
    steps = np.diff(times[known])
    steps += np.where(steps < -_DAY / 2, _DAY, 0.0)
    forward = steps[(steps > 0) & (steps <= _SET_FORWARD)]
    usual = float(np.median(forward)) if len(forward) else 1.0 / base
    steps = np.where((steps < _SET_BACK) | (steps > _SET_FORWARD), usual, steps)
    times[known] = times[known][0] + np.concatenate([[0.0], np.cumsum(steps)])
    first = int(np.argmax(known))
    for n in range(first - 1, -1, -1):
        times[n] = times[n + 1] - 1.0 / base
    for n in range(first + 1, count):
        if not known[n]:
            times[n] = times[n - 1] + 1.0 / base
    return times


def _drop_frame(seconds: float, frame: float, base: int) -> float:
    """Seconds of a code that leaves out numbers, of 30 frames two in each minute but every tenth, so that it goes with
    29.97 frames a second (SMPTE 12M)."""
    minutes = int(seconds // 60)
    return (seconds * base + frame - round(base / 15) * (minutes - minutes // 10)) * 1.001 / base


def _split(code: str) -> tuple[float, float] | None:
    """Seconds since midnight, and frames with their fraction, none in a clock's hh:mm:ss.mmm. Whole seconds alone tell
    rows apart no better than their order does."""
    cells = code.replace(";", ":").split(":")
    numbers = [_number(cell) for cell in cells]
    fine = len(cells) == 4 or (len(cells) == 3 and not cells[2].strip().isdigit())
    if not fine or not all(number >= 0 for number in numbers):
        return None
    hour, minute, second, frame = (*numbers, 0.0)[:4]
    return 3600.0 * hour + 60.0 * minute + second, frame


def _base(parts: Sequence[tuple[float, float]]) -> int:
    """Frames in a second, by the highest number that a frame has: it is certain only where a second has ended, since
    before that the count need not have come to its end; and a slow film's numbers, as we write them, leave gaps."""
    most = max(int(frame) for _, frame in parts) + 1
    ended = parts[0][0] != parts[-1][0]
    least = most if ended else max(most, USUAL_BASE)
    return next((base for base in _BASES if base == least or base >= max(least, USUAL_BASE)), most)


def _rising(times: Array) -> NDArray[np.bool_]:
    """(T,) rows later than every one before."""
    before = np.concatenate([[-np.inf], np.maximum.accumulate(times)[:-1]])
    return times > before


def _radians(angles: Array) -> Array:
    """Some programs write degrees: a head cannot turn by more than a whole turn."""
    largest = np.nanmax(np.abs(angles), initial=0.0)
    return np.radians(angles) if largest > _MOST_ANGLE else angles
