# SPDX-License-Identifier: GPL-3.0-or-later
"""Accessories of synthetic people: glasses as a mesh, clothes as paint on neck and shoulders."""

import numpy as np

from ..arrays import Array
from ..headmodel import HeadModel
from ..headmodel.model import SKIN_PARTS

_EYES = ((33, 133), (362, 263))  # corners of the person's right and left eye among the landmarks
_RING = 6  # corners of a tube's cross-section


def make_glasses(model: HeadModel, head: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Frames on a neutral head (P,3): vertices (V,3), triangles (F,3). Two rims, a bridge, two temples."""
    marks = model.landmarks(head)
    skin = head[model.vertices_of(*SKIN_PARTS)]
    half = np.array([rng.uniform(0.021, 0.027), rng.uniform(0.014, 0.021)])
    power, tube = rng.uniform(2.0, 5.0), rng.uniform(0.0009, 0.0022)
    centres = [marks[list(corners)].mean(0) for corners in _EYES]
    near = (np.abs(skin[:, 0]) < 0.05) & (np.abs(skin[:, 1] - centres[0][1]) < 0.02) & (np.abs(skin[:, 0]) > 0.015)
    depth = skin[near, 2].max() + 0.004
    angle = np.linspace(0, 2 * np.pi, 33)[:-1]
    outline = np.sign(np.stack([np.cos(angle), np.sin(angle)], 1)) * np.abs(
        np.stack([np.cos(angle), np.sin(angle)], 1)
    ) ** (2 / power)
    pieces = []
    for centre in centres:
        middle = centre + [np.sign(centre[0]) * 0.002, -0.004, 0.0]
        xy = middle[:2] + outline * half
        # rims follow the face a little round the sides
        z = depth - 0.15 * np.maximum(np.abs(xy[:, 0]) - 0.03, 0.0) ** 2 / 0.03
        pieces.append(_tube(np.column_stack([xy, z]), tube, closed=True))
        side, end = np.sign(centre[0]), np.abs(xy[:, 0]).max()
        pieces.append(_tube(_temple(skin, side * end, middle[1] + 0.4 * half[1], depth), tube, closed=False))
    inner = [c[0] + np.sign(c[0]) * 0.002 - np.sign(c[0]) * half[0] for c in centres]
    t = np.linspace(0, 1, 7)
    bridge = np.column_stack(
        [
            inner[0] + (inner[1] - inner[0]) * t,
            centres[0][1] + 0.25 * half[1] + 0.003 * np.sin(np.pi * t),
            depth + 0 * t,
        ]
    )
    pieces.append(_tube(bridge, tube, closed=False))
    starts = np.cumsum([0] + [len(v) for v, _ in pieces])
    return (
        np.concatenate([v for v, _ in pieces]),
        np.concatenate([f + s for (_, f), s in zip(pieces, starts[:-1], strict=True)]),
    )


def paint_clothes(maps: dict[str, Array], position: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """The maps with a shirt: a colour below a neckline. position: material -> (S,S,3) of the texels on the neutral."""
    colour = rng.uniform(0.03, 0.9) * np.clip(rng.normal(1.0, 0.25, 3), 0.3, 1.6)
    top, vee = rng.uniform(-0.16, -0.11), rng.uniform(0.0, 0.06)
    stripes = rng.random() < 0.2
    out = {}
    for name, picture in maps.items():
        if name not in position:
            out[name] = picture
            continue
        x, y, z = np.moveaxis(position[name], -1, 0)
        line = top - vee * np.exp(-((x / 0.03) ** 2)) * (z > 0.0) + 0.3 * np.maximum(0.02 - z, 0.0) * 0.5
        cover = np.clip((line - y) / 0.002, 0.0, 1.0)[..., None]
        cloth = np.clip(colour * (1.0 - 0.3 * stripes * (np.sin(y / 0.002) > 0)[..., None]), 0.0, 1.0)
        out[name] = (picture * (1 - cover) + cloth * cover).astype(np.float32)
    return out


def _temple(skin: Array, start: float, height: float, depth: float) -> Array:
    """A line from the rim's end back over the ear, just outside the skin."""
    side = np.sign(start)
    points = [[start, height, depth - 0.004]]
    for z in np.linspace(depth - 0.03, 0.0, 6):
        near = (np.abs(skin[:, 2] - z) < 0.008) & (np.abs(skin[:, 1] - height) < 0.008) & (skin[:, 0] * side > 0)
        reach = np.abs(skin[near, 0]).max() + 0.0015 if near.any() else abs(points[-1][0])
        points.append([side * max(reach, abs(start) if z > depth - 0.04 else 0.0), height, z])
    return np.array(points)


def _tube(line: Array, radius: float, closed: bool) -> tuple[Array, Array]:
    """A round tube along line (N,3)."""
    step = np.roll(line, -1, 0) - np.roll(line, 1, 0) if closed else np.gradient(line, axis=0)
    step /= np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-9)
    up = np.where(np.abs(step[:, 2:]) < 0.9, [0.0, 0.0, 1.0], [0.0, 1.0, 0.0])
    across = np.cross(step, up)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    up = np.cross(across, step)
    angle = 2 * np.pi * np.arange(_RING) / _RING
    ring = np.cos(angle)[None, :, None] * across[:, None] + np.sin(angle)[None, :, None] * up[:, None]
    vertices = (line[:, None] + radius * ring).reshape(-1, 3)
    faces = []
    for n in range(len(line) if closed else len(line) - 1):
        a, b = n * _RING, (n + 1) % len(line) * _RING
        for k in range(_RING):
            j = (k + 1) % _RING
            faces += [(a + k, b + k, b + j), (a + k, b + j, a + j)]
    return vertices, np.array(faces, np.int64)
