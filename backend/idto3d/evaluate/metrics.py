# SPDX-License-Identifier: GPL-3.0-or-later
"""Distances between heads, colours and masks."""

import numpy as np
from scipy.spatial.transform import Rotation
from skimage.color import deltaE_ciede2000, rgb2lab

from ..arrays import Array
from ..fit.camera import PhotoCamera
from ..mesh.attach import ProximityQuery
from ..training.registration import similarity

ROUNDS = 20


def align(points: Array, surface: ProximityQuery) -> Array:
    """points (N,3) aligned to a surface by a similarity, with iterated closest points (Besl and McKay 1992)."""
    moved = points.astype(np.float64)
    for _ in range(ROUNDS):
        moved = similarity(moved, closest(moved, surface))(moved).astype(np.float64)
    return moved


def closest(points: Array, surface: ProximityQuery) -> Array:
    """(N,3) nearest surface points."""
    at = surface.attach(points)
    return np.einsum("nk,nkc->nc", at.bary, surface.vertices[at.corners])


def surface_error(points: Array, surface: ProximityQuery) -> float:
    """Mean distance (mm) of true face points (N,3) to a head's surface after similarity alignment."""
    aligned = align(points, surface)
    return float(np.linalg.norm(aligned - closest(aligned, surface), axis=1).mean() * 1000)


def apart(a: Array, b: Array) -> float:
    """Mean distance (mm) of corresponding points (N,3) after the least-squares similarity from a to b."""
    return float(np.linalg.norm(similarity(a, b)(a) - b, axis=1).mean() * 1000)


def colour_difference(a: Array, b: Array) -> Array:
    """(N,) CIEDE2000 of sRGB colours (N,3) 0..1, for D65 (Sharma, Wu and Dalal 2005)."""
    return deltaE_ciede2000(lab(a), lab(b))


def lab(colours: Array) -> Array:
    """(N,3) CIE L*a*b* of sRGB colours (N,3) 0..1."""
    return rgb2lab(np.clip(np.asarray(colours, np.float64), 0, 1)[None])[0]


def overlap(a: Array, b: Array) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


def turn_between(a: Array, b: Array) -> float:
    """Degrees of the rotation between two rotations (3,3)."""
    return float(np.degrees(np.arccos(np.clip((np.trace(a @ b.T) - 1) / 2, -1, 1))))


def facing(camera: PhotoCamera, point: Array) -> Array:
    """(3,3) rotation of the camera turned the shortest way to look straight at a point (3,), as cameras that are told
    from a face do: the same face in the same picture."""
    towards = camera.rotation @ (point - camera.position)
    turn, _ = Rotation.align_vectors([[0.0, 0.0, -1.0]], [towards])
    return np.asarray(turn.as_matrix() @ camera.rotation)


def fifths(order: Array, values: Array) -> list[float]:
    """Mean of values (N,) in each fifth of the people (of the N if there are fewer than five), sorted by order (N,)."""
    ranked = np.asarray(values, np.float64)[np.argsort(order, kind="stable")]
    return [float(part.mean()) for part in np.array_split(ranked, min(5, len(ranked)))]
