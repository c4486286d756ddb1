# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed distances of the mean head with parted lips, and of the head kit's hair, on the canonical grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from ..head.parts import inside_mouth
from ..mesh.attach import Surface
from .nets import HAIR_STYLES
from .population import CANONICAL, Population, triangulate
from .shape import ControlTopology, ShapeModel
from .store import Arrays, stored
from .texture import surface_samples

Array = NDArray[Any]
HAIR_STEP = 0.004
HAIR_LOW = np.array([-0.15, -0.19, -0.17])
HAIR_HIGH = np.array([0.15, 0.16, 0.13])
FAR = 0.03  # distances are cut here
NECK_CUT = -0.142
WALL = 0.0035  # metres of flesh that cheeks have at least
LIPS = -0.078, -0.05  # the height between which lips part, the side of the mouth, how far back its front is
MOUTH_SIDE, LIPS_FRONT = 0.05, 0.11


def canonical_axes() -> tuple[Array, Array, Array]:
    """Grid coordinates: cells of 2.2 to 3.6 mm on the face (finest at lids and lips) and the ears, 6 mm elsewhere."""

    def axis(knots: list[float], steps: list[float]) -> Array:
        pieces = [
            np.linspace(a, b, round((b - a) / s), endpoint=False)
            for a, b, s in zip(knots[:-1], knots[1:], steps, strict=True)
        ]
        return np.concatenate([*pieces, [knots[-1]]])

    x = axis([-0.15, -0.09, 0.09, 0.15], [0.006, 0.0031, 0.006])
    y = axis(
        [-0.18, -0.12, -0.085, -0.042, -0.016, 0.016, 0.05, 0.16],
        [0.006, 0.0036, 0.0023, 0.0032, 0.0021, 0.0036, 0.006],
    )
    z = axis([-0.17, -0.035, 0.03, 0.125], [0.006, 0.0034, 0.0028])
    return x, y, z


@nb.njit(cache=True, nogil=True)
def winding_number(points, a, b, c):  # type: ignore[no-untyped-def]
    """Generalised winding number (N,) of points (N,3) in triangles a, b, c (T,3) (Jacobson et al. 2013)."""
    out = np.zeros(len(points))
    for i in range(len(points)):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        total = 0.0
        for t in range(len(a)):
            ax, ay, az = a[t, 0] - px, a[t, 1] - py, a[t, 2] - pz
            bx, by, bz = b[t, 0] - px, b[t, 1] - py, b[t, 2] - pz
            cx, cy, cz = c[t, 0] - px, c[t, 1] - py, c[t, 2] - pz
            la = np.sqrt(ax * ax + ay * ay + az * az)
            lb = np.sqrt(bx * bx + by * by + bz * bz)
            lc = np.sqrt(cx * cx + cy * cy + cz * cz)
            det = ax * (by * cz - bz * cy) - ay * (bx * cz - bz * cx) + az * (bx * cy - by * cx)
            dot = (
                la * lb * lc
                + (ax * bx + ay * by + az * bz) * lc
                + (bx * cx + by * cy + bz * cz) * la
                + (cx * ax + cy * ay + cz * az) * lb
            )
            total += np.arctan2(det, dot)
        out[i] = total / (2 * np.pi)
    return out


def close_neck(vertices: Array, faces: Array) -> tuple[Array, Array]:
    """Fill every boundary loop with a fan around its centre, wound like the mesh."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    keys = {(int(a), int(b)) for a, b in edges}
    following = {b: a for a, b in keys if (b, a) not in keys}  # along the hole, against the mesh
    points, extra = [vertices], []
    count = len(vertices)
    while following:
        start = next(iter(following))
        loop = [start]
        while (n := following.pop(loop[-1], None)) is not None and n != start:
            loop.append(n)
        points.append(vertices[loop].mean(0, keepdims=True))
        extra += [(loop[i], loop[(i + 1) % len(loop)], count) for i in range(len(loop))]
        count += 1
    return np.concatenate(points), np.concatenate([faces, np.array(extra, faces.dtype).reshape(-1, 3)])


def solid_sdf(points: Array, vertices: Array, topology: ControlTopology) -> Array:
    """Signed distance (N,) to the union of the solid parts, negative inside. Signs are exact within 5 mm of the
    surface; beyond that a point takes the sign of its nearest neighbour nearer to the surface."""
    skin = topology.faces[topology.part == 0]
    used = int(skin.max()) + 1
    closed_v, closed_f = close_neck(vertices[:used], skin)
    others = [topology.faces[topology.part == k] for k in range(1, int(topology.part.max()) + 1)]
    parts = [(closed_v, closed_f)] + [(vertices, f) for f in others]
    distance = np.full(len(points), FAR)
    for v, f in parts:
        low, high = v[f].reshape(-1, 3).min(0) - FAR, v[f].reshape(-1, 3).max(0) + FAR
        close = np.nonzero(((points > low) & (points < high)).all(1))[0]
        distance[close] = np.minimum(distance[close], Surface(v, f).attach(points[close]).gap.numpy())
    near = np.nonzero(distance < 0.005)[0]
    inside_near = np.zeros(len(near), bool)
    for v, f in parts:
        low, high = v[f].reshape(-1, 3).min(0) - 1e-3, v[f].reshape(-1, 3).max(0) + 1e-3
        candidates = np.nonzero(((points[near] > low) & (points[near] < high)).all(1) & ~inside_near)[0]
        w = winding_number(
            points[near[candidates]].astype(np.float64), *(v[f[:, k]].astype(np.float64) for k in range(3))
        )
        inside_near[candidates] |= w > 0.5
    sign = np.ones(len(points))
    sign[near[inside_near]] = -1
    far = np.nonzero(distance >= 0.005)[0]
    ring = near[distance[near] > 0.002]
    _, closest = cKDTree(points[ring]).query(points[far])
    sign[far] = sign[ring[closest]]
    return sign * distance


def tidy(sdf: Array, y: Array, radius: float = 0.002) -> Array:
    """One solid on a grid (nx,ny,nz): air without a way out is filled (sockets behind the eyes), loose bits go,
    and the neck ends in a plane, because the kit's own cut is ragged at the shoulders."""
    sdf = np.maximum(sdf, (NECK_CUT - y)[None, :, None])
    labels, _ = ndimage.label(sdf > 0)
    sdf = np.where((sdf > 0) & (labels != labels[0, -1, 0]), -radius, sdf)
    labels, count = ndimage.label(sdf < 0)
    largest = 1 + int(np.argmax(ndimage.sum_labels(np.ones_like(sdf), labels, range(1, count + 1))))
    out: Array = np.where((sdf < 0) & (labels != largest), radius, sdf)
    return out


def thicken_walls(sdf: Array, points: Array, vertices: Array, topology: ControlTopology) -> Array:
    """Distances (N,) with the cavity of the mouth pushed off the cheeks from inside to WALL, because a wall thinner
    than a cell would leave holes in it; not at the lips, which are to stay apart."""
    skin = topology.part == 0
    outer = topology.faces[skin][~inside_mouth(topology.uv[topology.uv_faces[skin]])]
    low, high = vertices[topology.faces[topology.part == 2]].reshape(-1, 3).min(0), LIPS_FRONT
    candidate = (sdf > 0) & (points[:, 2] > low[2]) & (points[:, 2] < high)
    candidate &= (np.abs(points[:, 0]) < MOUTH_SIDE) & ((points[:, 1] > LIPS[1]) | (points[:, 1] < LIPS[0]))
    rows = np.nonzero(candidate)[0]
    depth = Surface(vertices, outer).attach(points[rows])
    corners = vertices[outer[depth.face.numpy()]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    place = np.einsum("nk,nkc->nc", depth.bary.numpy(), corners)
    gap = depth.gap.numpy()
    inside = ((points[rows] - place) * normal).sum(1) < 0
    out = sdf.copy()
    out[rows[inside]] = np.minimum(sdf[rows[inside]], gap[inside] - WALL)
    return out


def skin_grid(vertices: Array, topology: ControlTopology) -> Array:
    """Signed distances (nx,ny,nz) of the solid parts on canonical_axes()."""
    axes = canonical_axes()
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    flat = points.reshape(-1, 3)
    skin = thicken_walls(solid_sdf(flat, vertices, topology), flat, vertices, topology)
    return tidy(skin.reshape(points.shape[:3]), axes[1])


def hair_grid_shape() -> tuple[int, int, int]:
    n = np.round((HAIR_HIGH - HAIR_LOW) / HAIR_STEP).astype(int) + 1
    return int(n[0]), int(n[1]), int(n[2])


def hair_sdf(population: Population, identity: Array, style: int) -> Array:
    """Distance field (nx,ny,nz) of the volume between scalp and hair cards for one style, on the coarse hair grid."""
    shape = hair_grid_shape()
    if style < 0:
        return np.full(shape, FAR)
    z = identity.copy()
    z[population.kit.identity_names.index("hair_style")] = style
    mesh = population.kit.mesh(z, CANONICAL, parts=("head", "hair"), lip_seal=0.0)
    align = population.alignment(z)
    part = mesh["hair"]
    tri, uv_tri = triangulate(part.faces, part.uv_faces)
    cards, uv = surface_samples(align(part.vertices), tri, part.uv, uv_tri, 24)
    image = population.kit.part_texture(z, part)
    rows = np.clip(((1 - uv[:, 1]) * image.shape[0]).astype(int), 0, image.shape[0] - 1)
    cols = np.clip((uv[:, 0] * image.shape[1]).astype(int), 0, image.shape[1] - 1)
    cards = cards[image[rows, cols, 3] > 110]
    skin_tri, skin_uv_tri = triangulate(mesh.head[1], mesh.head[3])
    head, _ = surface_samples(align(mesh.head[0]), skin_tri, mesh.head[2], skin_uv_tri, 12)
    gap, nearest = cKDTree(head).query(cards)
    # Fill from the scalp out to the cards: a card 2 cm above the skull has hair all the way down.
    fill = [cards]
    for s in np.linspace(0.1, 0.9, 6):
        thin = gap < 0.045
        fill.append(cards[thin] * s + head[nearest[thin]] * (1 - s))
    index = np.round((np.concatenate(fill) - HAIR_LOW) / HAIR_STEP).astype(int)
    ok = ((index >= 0) & (index < np.array(shape))).all(1)
    occupied = np.zeros(shape)
    np.add.at(occupied, tuple(index[ok].T), 1)
    solid = ndimage.binary_closing(np.pad(occupied >= 2, 4), iterations=2)[4:-4, 4:-4, 4:-4]
    sdf = (ndimage.distance_transform_edt(~solid) - ndimage.distance_transform_edt(solid)) * HAIR_STEP
    out: Array = np.clip(ndimage.gaussian_filter(sdf, 0.8), -FAR, FAR)
    return out


@dataclass(frozen=True)
class Template:
    """skin_sdf (nx,ny,nz) on canonical_axes(); hair_sdf (9,hx,hy,hz) on the hair grid, style `none` first."""

    skin_sdf: Array
    hair_sdf: Array


def load_or_build(
    path: Path, population: Population, shape: ShapeModel, topology: ControlTopology, mean_identity: Array
) -> Template:
    """The template, built once a data folder, and again where the grid has changed."""
    sides = tuple(len(a) for a in canonical_axes())

    def build() -> Arrays:
        hair = np.stack([hair_sdf(population, mean_identity, s - 1) for s in range(HAIR_STYLES)])
        skin = skin_grid(shape.canonical, topology)
        return {"skin_sdf": skin.astype(np.float32), "hair_sdf": hair.astype(np.float32)}

    return Template(**stored(path, build, lambda arrays: arrays["skin_sdf"].shape == sides))
