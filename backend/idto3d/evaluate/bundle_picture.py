# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders a bundle's head.glb for the second recogniser. It shares no code with the product's renderer, so that results
are independent of it and comparable between versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..arrays import Array

SIZE = 420
WIDTH, DISTANCE = 0.30, 0.9  # metres: what the picture shows, and how far the camera is
LIGHT = np.array([0.25, 0.45, 0.85]) / np.linalg.norm([0.25, 0.45, 0.85])
AMBIENT, DIRECT, GAIN, GROUND = 0.55, 0.45, 1.15, 0.35


@dataclass(frozen=True, eq=False)
class Part:
    """vertices (V,3), +Y up, +Z out of the face; triangles (F,3); uv of corners (F,3,2), v up; texture (h,w,3) linear;
    alpha (h,w)."""

    vertices: Array
    triangles: Array
    uv: Array
    texture: Array
    alpha: Array


def read_glb(path: Path) -> list[Part]:
    """The parts of a glTF file, in the head's frame."""
    import trimesh

    scene: Any = trimesh.load(path, force="scene", process=False)
    parts = []
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        mesh = scene.geometry[name]
        material = mesh.visual.material
        factor = getattr(material, "baseColorFactor", None)
        image = getattr(material, "baseColorTexture", None)
        if image is not None:
            texture = np.array(image.convert("RGBA")) / 255.0
        else:
            texture = np.tile(np.asarray([255] * 4 if factor is None else factor) / 255.0, (2, 2, 1))
        uv = np.zeros((len(mesh.vertices), 2)) if mesh.visual.uv is None else np.asarray(mesh.visual.uv)
        vertices = np.c_[mesh.vertices, np.ones(len(mesh.vertices))] @ transform.T
        triangles = np.asarray(mesh.faces, np.int64)
        parts.append(Part(vertices[:, :3], triangles, uv[triangles], _linear(texture[..., :3]), texture[..., 3]))
    return parts


def render(parts: Sequence[Part], yaw: float, size: int = SIZE) -> NDArray[np.uint8]:
    """(size,size,3): the head turned by yaw degrees under one soft light."""
    everything = np.concatenate([p.vertices for p in parts])
    middle = (everything.max(0) + everything.min(0)) / 2
    middle[0] = 0
    angle = np.radians(yaw)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    vertices = (everything - middle) @ turn.T
    first = np.cumsum([0, *(len(p.vertices) for p in parts)])
    triangles = np.concatenate([p.triangles + start for p, start in zip(parts, first[:-1], strict=True)])
    part = np.concatenate([np.full(len(p.triangles), n) for n, p in enumerate(parts)])
    normals = _normals(vertices, triangles)
    away = 1 - vertices[:, 2] / DISTANCE
    scale = size / WIDTH
    pixel = np.stack([vertices[:, 0] / away * scale + size / 2, -vertices[:, 1] / away * scale + size / 2], 1)
    # lashes and films are left out: they are mostly clear
    solid = np.flatnonzero(np.array([_opacity(p) for p in parts])[part] > 0.5)
    shown, weights = _front(pixel, vertices[:, 2], triangles[solid], size)
    hit = shown >= 0
    triangle, weight = solid[shown[hit]], weights[hit][..., None]
    uv = (np.concatenate([p.uv for p in parts])[triangle] * weight).sum(1)
    colour = np.zeros((len(triangle), 3))
    for n, p in enumerate(parts):
        own = part[triangle] == n
        colour[own] = p.texture[_texel(p.texture, uv[own])]
    normal = (normals[triangles[triangle]] * weight).sum(1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    shade = np.clip(AMBIENT + DIRECT * (normal @ LIGHT), 0, 2)[:, None]
    picture = np.full((size, size, 3), GROUND)
    picture[hit] = np.clip(colour * shade * GAIN, 0, 1)
    return (_srgb(picture) * 255).astype(np.uint8)


def _normals(vertices: Array, triangles: Array) -> Array:
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    facing = np.cross(b - a, c - a)
    out = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(out, triangles[:, k], facing)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)


def _opacity(part: Part) -> float:
    return 1.0 if part.alpha.min() >= 1 else float(part.alpha[_texel(part.alpha, part.uv.mean(1))].mean())


def _texel(image: Array, uv: Array) -> tuple[Array, Array]:
    height, width = image.shape[:2]
    row = np.clip((1 - uv[:, 1] % 1.0) * height, 0, height - 1).astype(int)
    return row, np.clip(uv[:, 0] % 1.0 * width, 0, width - 1).astype(int)


def _linear(c: Array) -> Array:
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def _srgb(c: Array) -> Array:
    return np.where(c <= 0.0031308, c * 12.92, 1.055 * np.maximum(c, 1e-8) ** (1 / 2.4) - 0.055)


@njit(cache=True)
def _front(pixel, depth, triangles, size):  # type: ignore[no-untyped-def]
    """The triangle (size,size) in front at each pixel, -1 for none, and its weights (size,size,3); integer pixels."""
    nearest = np.full((size, size), -1e18)
    shown = np.full((size, size), -1)
    weights = np.zeros((size, size, 3))
    for k in range(triangles.shape[0]):
        a, b, c = triangles[k]
        abx, aby = pixel[b, 0] - pixel[a, 0], pixel[b, 1] - pixel[a, 1]
        acx, acy = pixel[c, 0] - pixel[a, 0], pixel[c, 1] - pixel[a, 1]
        area = abx * acy - acx * aby
        if abs(area) < 1e-9:
            continue
        left, right = min(pixel[a, 0], pixel[b, 0], pixel[c, 0]), max(pixel[a, 0], pixel[b, 0], pixel[c, 0])
        top, bottom = min(pixel[a, 1], pixel[b, 1], pixel[c, 1]), max(pixel[a, 1], pixel[b, 1], pixel[c, 1])
        for y in range(max(0, int(np.floor(top))), min(size - 1, int(np.ceil(bottom))) + 1):
            for x in range(max(0, int(np.floor(left))), min(size - 1, int(np.ceil(right))) + 1):
                u = ((x - pixel[a, 0]) * acy - acx * (y - pixel[a, 1])) / area
                v = (abx * (y - pixel[a, 1]) - (x - pixel[a, 0]) * aby) / area
                if u >= -1e-6 and v >= -1e-6 and u + v <= 1 + 1e-6:
                    z = depth[a] * (1 - u - v) + depth[b] * u + depth[c] * v
                    if z > nearest[y, x]:
                        nearest[y, x], shown[y, x] = z, k
                        weights[y, x, 0], weights[y, x, 1], weights[y, x, 2] = 1 - u - v, u, v
    return shown, weights
