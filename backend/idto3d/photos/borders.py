# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a picture is photograph. Bars, frames, and what a round picture leaves of its square, of one colour or
transparent, lie beyond the photograph's edge: they tell nothing of a head's outline."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_SIZE, _NARROWEST = 512, 8  # longer side of the copy that is looked at, and the least of the shorter one
_PLAIN = 8  # 0..255: how far a colour of a border strays, as by a JPEG's compression
_LEAST, _MOST = 0.15, 0.99  # share of the picture that is photograph, where it has a border at all
# Share of a line that is all of a bar's colour; and of one just within its edge that may be, too. A plain wall goes on
# beside hair.
_BAR, _BESIDE = 0.98, 0.5
_FRAYED, _SHORT = 10.0, 0.015  # pixels, and share of a side: at a bar's edge at most so much is frayed by a JPEG
# Share of its area that a round opening has in common with its mirror images, and that it fills of its convex hull:
# what is cut out along a person does neither.
_SYMMETRIC, _CONVEX = 0.97, 0.98


@dataclass(frozen=True, eq=False)
class Shown:
    """The photograph in a picture: image (H,W,3) within its bounding box; left, top: where that begins; mask (H,W)
    bool: where there is photograph in it, None for everywhere."""

    image: NDArray[np.uint8]
    left: int = 0
    top: int = 0
    mask: NDArray[np.bool_] | None = None


def within_borders(image: NDArray[np.uint8], opaque: NDArray[np.bool_] | None = None) -> Shown:
    """The photograph in a picture (H,W,3) whose pixels are opaque (H,W), None for all of them."""
    share = min(1.0, _SIZE / max(image.shape[:2]))
    size = [max(1, round(share * side)) for side in image.shape[1::-1]]
    if min(size) < _NARROWEST:
        return Shown(image)
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    for outside in _outsides(small, opaque):
        rows, columns = _between_bars(outside, max(1, round(share * min(_FRAYED, _SHORT * max(image.shape[:2])))))
        if _LEAST * outside.size < (rows.stop - rows.start) * (columns.stop - columns.start) < outside.size:
            down, across = _full(rows, size[1], image.shape[0]), _full(columns, size[0], image.shape[1])
            return Shown(np.ascontiguousarray(image[down, across]), across.start, down.start)
        opening = _round_opening(outside)
        if opening is not None:
            mask = cv2.resize(opening.astype(np.float32), image.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5
            filled = image.copy()
            filled[~mask] = np.rint(image[mask].mean(0)).astype(np.uint8)
            return Shown(filled, mask=mask)
    return Shown(image)


def _full(lines: slice, small: int, full: int) -> slice:
    """The lines of a picture that some of its copy stand for, but for those that a bar has a share of."""
    scale, rim = full / small, int(small < full)
    first = round(scale * (lines.start + rim)) if lines.start else 0
    return slice(first, round(scale * (lines.stop - rim)) if lines.stop < small else full)


def _outsides(small: NDArray[np.uint8], opaque: NDArray[np.bool_] | None) -> Iterator[NDArray[np.bool_]]:
    """(h,w) each: what is transparent; what of one colour is connected with corners."""
    height, width = small.shape[:2]
    if opaque is not None and not opaque.all():
        yield cv2.resize(opaque.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) < 0.99
    corners = [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]
    colours = np.array([small[y, x] for x, y in corners], int)
    left = set(range(4))
    while left:
        first = min(left)
        alike = [n for n in left if np.abs(colours[n] - colours[first]).max() <= _PLAIN]
        left -= set(alike)
        filled = np.zeros((height + 2, width + 2), np.uint8)
        for n in alike:
            flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | 1 << 8
            cv2.floodFill(small, filled, corners[n], (0, 0, 0), (_PLAIN,) * 3, (_PLAIN,) * 3, flags)
        yield filled[1:-1, 1:-1] > 0


def _between_bars(outside: NDArray[np.bool_], frayed: int) -> tuple[slice, slice]:
    """The rows and the columns that are not outside (h,w) from an edge on; see `_inner`."""
    rows = _inner(outside, frayed)
    columns = _inner(outside[rows].T, frayed) if rows.stop > rows.start else slice(0, 0)
    return rows, columns


def _inner(outside: NDArray[np.bool_], frayed: int) -> slice:
    """The rows (h,w) between bars. frayed: how many at most are neither a bar's nor free of it: what goes on beside
    more of them is a wall."""
    ends = []
    for lines in (outside, outside[::-1]):
        share = lines.mean(1)
        bar, end = (int(np.argmin(np.append(share > least, False))) for least in (_BAR, _BESIDE))
        ends.append(end if bar and end - bar <= frayed else 0)
    return slice(ends[0], max(ends[0], len(outside) - ends[1]))


def _round_opening(outside: NDArray[np.bool_]) -> NDArray[np.uint8] | None:
    """(h,w) 0 or 1: what of a circle, or a rectangle with round corners, lies well within its rim; None where outside
    (h,w) leaves something else."""
    inner = cv2.morphologyEx((~outside).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    contours, _ = cv2.findContours(inner, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(contours, key=cv2.contourArea, default=None)
    if largest is None or not _LEAST < cv2.contourArea(largest) / inner.size < _MOST:
        return None
    inner = np.asarray(cv2.drawContours(np.zeros_like(inner), [largest], -1, (1,), cv2.FILLED), np.uint8)
    hull = cv2.fillConvexPoly(np.zeros_like(inner), np.asarray(cv2.convexHull(largest), np.int32), (1,))
    left, top, width, height = cv2.boundingRect(largest)
    within = inner[top : top + height, left : left + width].astype(bool)
    if within[:: height - 1, :: width - 1].any() or inner.sum() < _CONVEX * hull.sum():
        return None
    flips = within[::-1], within[:, ::-1]
    if any((within & flip).sum() < _SYMMETRIC * (within | flip).sum() for flip in flips):
        return None
    return np.asarray(cv2.erode(inner, np.ones((5, 5), np.uint8)), np.uint8)
