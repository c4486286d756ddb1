# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks of a head, found by its parts and its shape, for wrapping another mesh. No bpy."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

_SLICES = 40


def landmarks(points: Floats, members: Mapping[str, Ints]) -> dict[str, Floats]:
    """Name -> (3,) place. points (V,3): the neutral head, metres, Z up, facing -Y; members: part -> its vertices. What
    a head does not have, such as a mouth's bag, it has no mark of."""
    face = members["face"]
    places = points[face]
    tip = places[np.argmin(places[:, 1] + 0.5 * np.abs(places[:, 0]))]
    out = {"nose tip": tip}
    rim = np.intersect1d(face, members.get("mouth_socket", face[:0]))
    if len(rim):
        out["mouth corner L"] = points[rim[np.argmax(points[rim, 0])]]
        out["mouth corner R"] = points[rim[np.argmin(points[rim, 0])]]
        # The chin: farthest forwards of what lies well below the mouth, in the middle.
        below = places[(np.abs(places[:, 0]) < 0.006) & (places[:, 2] < points[rim, 2].min() - 0.02)]
        if len(below):
            out["chin"] = below[np.argmin(below[:, 1] + 0.3 * below[:, 2])]
    lids = np.intersect1d(face, members.get("eye_socket", face[:0]))
    for side, sign in (("L", 1.0), ("R", -1.0)):
        own = lids[sign * points[lids, 0] > 0]
        if len(own):
            out[f"eye outer {side}"] = points[own[np.argmax(sign * points[own, 0])]]
            out[f"eye inner {side}"] = points[own[np.argmin(sign * points[own, 0])]]
    skin = np.concatenate([points[members[name]] for name in ("face", "back_head") if name in members])
    out["crown"] = skin[np.argmax(skin[:, 2])]
    level = skin[np.abs(skin[:, 2] - tip[2]) < 0.04]
    out["ear L"], out["ear R"] = level[np.argmax(level[:, 0])], level[np.argmin(level[:, 0])]
    return out


def guess(own: Floats, head: Floats, marks: Mapping[str, Floats]) -> dict[str, Floats]:
    """Where the marks may lie on another head, ``own`` (N,3), which faces the same way; ``head`` (M,3): this skin.
    Crown, front and the narrowest of the neck are laid on each other. Each mark is the nearest vertex; the user puts
    right what is off."""
    (low, high), (low_own, high_own) = _box(head), _box(own)
    scale = (high_own - low_own) / np.maximum(high - low, 1e-9)
    out = {}
    for name, place in marks.items():
        wanted = low_own + scale * (place - low)
        out[name] = own[np.argmin(((own - wanted) ** 2).sum(axis=1))]
    return out


def _box(points: Floats) -> tuple[Floats, Floats]:
    """Lowest and highest corner of a head above the narrowest of its neck."""
    low, high = points[:, 2].min(), points[:, 2].max()
    slices = np.minimum(((high - points[:, 2]) / max(high - low, 1e-9) * _SLICES).astype(int), _SLICES - 1)
    widths = np.array([np.ptp(points[slices == n, 0]) if (slices == n).any() else np.inf for n in range(_SLICES)])
    # Not the crown, which is narrow, too.
    widest = int(np.argmax(np.where(np.arange(_SLICES) < _SLICES // 2, np.where(np.isinf(widths), 0, widths), 0)))
    neck = widest + int(np.argmin(widths[widest:]))
    head = points[slices <= neck]
    return head.min(axis=0), head.max(axis=0)
