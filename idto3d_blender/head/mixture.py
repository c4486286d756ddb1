# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of mixing people: shares, shapes, hair carried to another head, pictures. No bpy."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_REACH = 0.04  # metres over which the motion of the skin carries hair


def shares(others: Sequence[float]) -> list[float]:
    """Sliders 0..1 of the second person, the third, ... -> the share of each, the first's before them; 1 together."""
    total = sum(others)
    if total > 1.0:
        return [0.0, *(other / total for other in others)]
    return [1.0 - total, *others]


def where_bare(given: Sequence[float], covers: Sequence[Array], donor: int) -> list[Array]:
    """The share (S,S,1) that each head's maps have at each place. given: of skin that nothing hides; covers (S,S,1):
    1 where a head's hair hides its skin, to 0 where that is not even near; donor: number of the head whose hair it is.
    The donor's skin comes whole with the hair that grows on it, and stands in for skin that others hide."""
    out = [share * (1.0 - _painted(cover)) * _bare(covers[donor]) for share, cover in zip(given, covers, strict=True)]
    out[donor] = np.subtract(1.0, sum(share for number, share in enumerate(out) if number != donor))
    return [np.asarray(share, np.float32) for share in out]


def stand_in(given: Sequence[float], covers: Sequence[Array], donor: int, tones: Sequence[Array]) -> Array:
    """What to add to the donor's share where it stands in for others' skin, so that it has their colour (S,S,4).
    tones (4,): of each head's bare skin."""
    out = np.zeros((*covers[donor].shape[:2], 4), np.float32)
    for number, (share, cover) in enumerate(zip(given, covers, strict=True)):
        if number != donor:
            change = tones[number] / np.maximum(tones[donor], 1e-3) - 1.0
            out += share * _painted(cover) * _bare(covers[donor]) * change
    return out


def _painted(cover: Array) -> Array:
    """How far skin is painted like hair: strands are, beyond the mesh of the hair, too."""
    return np.minimum(2.0 * cover, 1.0)


def _bare(cover: Array) -> Array:
    return np.minimum(2.0 * (1.0 - cover), 1.0)


def stretched(field: Array, height: int, width: int) -> Array:
    """A field (h,w,C), between whose middles of texels is interpolated, at another size."""
    rows, columns = _between(field.shape[0], height), _between(field.shape[1], width)
    down = (rows @ field.reshape(len(field), -1)).reshape(height, *field.shape[1:])
    return np.matmul(columns, down)


@lru_cache(maxsize=16)
def _between(old: int, new: int) -> Array:
    """(new,old) linear interpolation of values in the middles of texels, kept for sliders."""
    to, given = ((np.arange(count) + 0.5) / count for count in (new, old))
    return np.stack([np.interp(to, given, one) for one in np.eye(old)], 1).astype(np.float32)


def mixed(arrays: Sequence[Array], weights: Sequence[Any]) -> Array:
    """Sum of weight times array; arrays whose weight is 0 are not read. A weight is a number or an array."""
    wanted = [(array, np.float32(weight)) for array, weight in zip(arrays, weights, strict=True) if np.any(weight)]
    out = np.multiply(wanted[0][0], wanted[0][1], dtype=np.float32)
    for array, weight in wanted[1:]:
        out += weight * array
    return out


def carried(hair: Array, before: Array, after: Array) -> Array:
    """Hair (H,3) metres on a skin whose places (A,3) went from ``before`` to ``after``: each vertex moves as the skin
    around it does, weighted by a Gaussian of the distance."""
    if not len(hair) or not len(before):
        return hair
    away = (hair**2).sum(axis=1)[:, None] + (before**2).sum(axis=1)[None] - 2.0 * (hair @ before.T)
    # Relative to the nearest: far from all skin, the nearest still carries.
    away -= away.min(axis=1, keepdims=True)
    weight = np.exp(away * np.float32(-0.5 / _REACH**2))
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray(hair + weight @ (after - before), np.float32)


def mixed_picture(pictures: Sequence[Array], weights: Sequence[Any], normals: bool) -> Array:
    """(H,W,4) 0..1 of pictures of one size, as they are stored: even steps of sRGB look even. weights: numbers, or
    fields (S,S,C) of another size. normals: tangent space normals, which are made as long as normals are again."""
    height, width = pictures[0].shape[:2]
    each = [stretched(one, height, width) if np.ndim(one) else one for one in weights]
    out = mixed(pictures, each)
    if normals:
        ways = 2.0 * out[..., :3] - 1.0
        length = np.maximum(np.linalg.norm(ways, axis=-1, keepdims=True), 1e-6)
        out[..., :3] = 0.5 + 0.5 * ways / length
    return out
