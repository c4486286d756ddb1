# SPDX-License-Identifier: GPL-3.0-or-later
"""Albedo, normal and coverage of textured, alpha-tested meshes: the picture data that training reads.

Not the differentiable rasteriser of render/: hair cards need a texture lookup inside the depth test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from ..render.cameras import Camera, view_matrix
from .population import Similarity, triangulate

Array = NDArray[Any]
SUPERSAMPLE = 2


@nb.njit(cache=True, nogil=True)
def _draw(p, inv_z, tri, uvt, uv, tex, tex_off, tex_w, tex_h, mat, tid, bary, zbuf):  # type: ignore[no-untyped-def]
    size = tid.shape[0]
    for t in range(tri.shape[0]):
        a, b, c = tri[t, 0], tri[t, 1], tri[t, 2]
        x0, y0, x1, y1, x2, y2 = p[a, 0], p[a, 1], p[b, 0], p[b, 1], p[c, 0], p[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        xa = max(0, int(np.floor(min(x0, x1, x2) - 0.5)))
        xb = min(size - 1, int(np.ceil(max(x0, x1, x2) - 0.5)))
        ya = max(0, int(np.floor(min(y0, y1, y2) - 0.5)))
        yb = min(size - 1, int(np.ceil(max(y0, y1, y2) - 0.5)))
        m = mat[t]
        for y in range(ya, yb + 1):
            for x in range(xa, xb + 1):
                px, py = x + 0.5, y + 0.5
                w1 = ((px - x0) * (y2 - y0) - (x2 - x0) * (py - y0)) / area
                w2 = ((x1 - x0) * (py - y0) - (px - x0) * (y1 - y0)) / area
                w0 = 1.0 - w1 - w2
                if w0 < -1e-7 or w1 < -1e-7 or w2 < -1e-7:
                    continue
                q0, q1, q2 = w0 * inv_z[a], w1 * inv_z[b], w2 * inv_z[c]
                q = q0 + q1 + q2
                if q <= zbuf[y, x]:
                    continue
                q0, q1, q2 = q0 / q, q1 / q, q2 / q
                u = q0 * uv[uvt[t, 0], 0] + q1 * uv[uvt[t, 1], 0] + q2 * uv[uvt[t, 2], 0]
                v = q0 * uv[uvt[t, 0], 1] + q1 * uv[uvt[t, 1], 1] + q2 * uv[uvt[t, 2], 1]
                i = min(tex_w[m] - 1, max(0, int(u * tex_w[m])))
                j = min(tex_h[m] - 1, max(0, int((1.0 - v) * tex_h[m])))
                # an ordered threshold per sub-sample becomes alpha-to-coverage when the image is averaged down
                if tex[tex_off[m] + j * tex_w[m] + i, 3] < 26 + 51 * ((x % 2) * 2 + (y % 2)):
                    continue
                zbuf[y, x] = q
                tid[y, x] = t
                bary[y, x, 0] = q0
                bary[y, x, 1] = q1
                bary[y, x, 2] = q2


@nb.njit(cache=True, nogil=True)
def _shade(tid, bary, tri, uvt, uv, normals, tex, tex_off, tex_w, tex_h, mat, rot, vertices, albedo, normal, position):  # type: ignore[no-untyped-def]
    for y in range(tid.shape[0]):
        for x in range(tid.shape[1]):
            t = tid[y, x]
            if t < 0:
                continue
            m = mat[t]
            w, h, o = tex_w[m], tex_h[m], tex_off[m]
            u = 0.0
            v = 0.0
            nx = 0.0
            ny = 0.0
            nz = 0.0
            for k in range(3):
                b = bary[y, x, k]
                u += b * uv[uvt[t, k], 0]
                v += b * uv[uvt[t, k], 1]
                nx += b * normals[tri[t, k], 0]
                ny += b * normals[tri[t, k], 1]
                nz += b * normals[tri[t, k], 2]
                for d in range(3):
                    position[y, x, d] += b * vertices[tri[t, k], d]
            fx = min(max(u * w - 0.5, 0.0), w - 1.001)
            fy = min(max((1.0 - v) * h - 0.5, 0.0), h - 1.001)
            i, j = int(fx), int(fy)
            fx -= i
            fy -= j
            for c in range(3):
                albedo[y, x, c] = (
                    (1 - fx) * (1 - fy) * tex[o + j * w + i, c]
                    + fx * (1 - fy) * tex[o + j * w + i + 1, c]
                    + (1 - fx) * fy * tex[o + (j + 1) * w + i, c]
                    + fx * fy * tex[o + (j + 1) * w + i + 1, c]
                ) / 255.0
            ax = rot[0, 0] * nx + rot[0, 1] * ny + rot[0, 2] * nz
            ay = rot[1, 0] * nx + rot[1, 1] * ny + rot[1, 2] * nz
            az = rot[2, 0] * nx + rot[2, 1] * ny + rot[2, 2] * nz
            s = 1.0 / max(np.sqrt(ax * ax + ay * ay + az * az), 1e-9)
            if az < 0:  # hair cards are seen from both sides
                s = -s
            normal[y, x, 0] = ax * s
            normal[y, x, 1] = ay * s
            normal[y, x, 2] = az * s


@dataclass(frozen=True)
class Look:
    """Textures of one person, packed: RGBA uint8 rows, and where each part's image starts."""

    texels: Array
    offset: Array
    width: Array
    height: Array


def person_look(kit: Any, identity: Array, mesh: Any, skin_size: int = 256) -> Look:
    """Part textures pooled to what a 128..176 px picture can show."""
    images = []
    for part in mesh.parts:
        if part.kind == "head":
            rgb = kit.texture(identity, skin_size)
            images.append(np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]))
            continue
        image = kit.part_texture(identity, part)
        step = max(1, image.shape[0] // 256)
        images.append(np.ascontiguousarray(image[::step, ::step]))
    width = np.array([i.shape[1] for i in images])
    height = np.array([i.shape[0] for i in images])
    offset = np.concatenate([[0], np.cumsum(width * height)[:-1]])
    return Look(np.concatenate([i.reshape(-1, 4) for i in images]), offset, width, height)


def vertex_normals(v: Array, tri: Array) -> Array:
    """Area-weighted unit normals (V,3)."""
    n = np.cross(v[tri[:, 1]] - v[tri[:, 0]], v[tri[:, 2]] - v[tri[:, 0]])
    out = np.stack([np.bincount(tri.ravel(), np.repeat(n[:, a], 3), len(v)) for a in range(3)], 1)
    unit: Array = out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
    return unit


@dataclass(frozen=True)
class Scene:
    """One posed person ready to draw: all parts merged."""

    vertices: Array
    normals: Array
    tri: Array
    uv: Array
    uv_tri: Array
    material: Array
    # which materials are hair
    hair: Array
    look: Look


def build_scene(mesh: Any, align: Similarity, look: Look) -> Scene:
    """Merge the parts of a kit mesh. Hair cards get the normals of the volume that they stand for: a card's own normal
    is noise, and hair comes out carved as a volume."""
    from scipy.spatial import cKDTree

    vs, ns, tris, uvs, uvts, mats = [], [], [], [], [], []
    ov = ou = 0
    skin_v = skin_n = None
    for index, part in enumerate(mesh.parts):
        v = align(part.vertices)
        tri, uv_tri = triangulate(part.faces, part.uv_faces)
        if part.kind == "hair" and skin_v is not None:
            gap, near = cKDTree(skin_v).query(v, k=8)
            hug = np.exp(-((gap.mean(1) / 0.015) ** 2))[:, None]  # hanging hair turns away from the head's axis instead
            n = hug * skin_n[near].mean(1) + (1.35 - hug) * _outward(v)  # type: ignore[index]
        else:
            n = vertex_normals(v, tri)
        if part.kind == "head":
            skin_v, skin_n = v, n
        vs.append(v)
        ns.append(n)
        tris.append(tri + ov)
        uvs.append(part.uv)
        uvts.append(uv_tri + ou)
        mats.append(np.full(len(tri), index))
        ov += len(v)
        ou += len(part.uv)
    return Scene(
        np.concatenate(vs).astype(np.float64),
        np.concatenate(ns),
        np.concatenate(tris),
        np.concatenate(uvs),
        np.concatenate(uvts),
        np.concatenate(mats),
        np.array([part.kind == "hair" for part in mesh.parts]),
        look,
    )


def _outward(v: Array) -> Array:
    d = v - np.array([0.0, -0.02, 0.01])
    d[:, 1] = np.maximum(d[:, 1], 0.0)
    out: Array = d / np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-9)
    return out


def project(points: Array, camera: Camera, size: int) -> tuple[Array, Array]:
    """Pixel positions (V,2) and distances along the view axis (V,)."""
    view = np.asarray(view_matrix(camera), np.float64)
    local = points @ view[:3, :3].T + view[:3, 3]
    depth = -local[:, 2]
    focal = 0.5 * size / np.tan(np.radians(camera.fov) / 2)
    return np.stack([size / 2 + focal * local[:, 0] / depth, size / 2 - focal * local[:, 1] / depth], 1), depth


@nb.njit(cache=True, nogil=True)
def _depth_map(p, depth, tri, zmap):  # type: ignore[no-untyped-def]
    """Nearest depth per texel under an orthographic light; p in texels."""
    h, w = zmap.shape
    for t in range(tri.shape[0]):
        a, b, c = tri[t, 0], tri[t, 1], tri[t, 2]
        x0, y0, x1, y1, x2, y2 = p[a, 0], p[a, 1], p[b, 0], p[b, 1], p[c, 0], p[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        for y in range(max(0, int(min(y0, y1, y2) - 0.5)), min(h - 1, int(max(y0, y1, y2) + 0.5)) + 1):
            for x in range(max(0, int(min(x0, x1, x2) - 0.5)), min(w - 1, int(max(x0, x1, x2) + 0.5)) + 1):
                px, py = x + 0.5, y + 0.5
                w1 = ((px - x0) * (y2 - y0) - (x2 - x0) * (py - y0)) / area
                w2 = ((x1 - x0) * (py - y0) - (px - x0) * (y1 - y0)) / area
                if w1 < 0 or w2 < 0 or w1 + w2 > 1:
                    continue
                z = (1 - w1 - w2) * depth[a] + w1 * depth[b] + w2 * depth[c]
                if z < zmap[y, x]:
                    zmap[y, x] = z


@dataclass(frozen=True)
class Picture:
    """albedo (S,S,3) sRGB 0..1 and normal (S,S,3) camera space, both premultiplied by coverage (S,S);
    lit (S,S): share of each pixel that a given directional light reaches (1 where no light was asked for);
    hair (S,S): share that shows hair."""

    albedo: Array
    normal: Array
    coverage: Array
    lit: Array
    hair: Array


def draw(scene: Scene, camera: Camera, size: int, light: Array | None = None) -> Picture:
    """Rasterise a scene. light: unit vector (3,) towards a distant light, world space, for cast shadows."""
    n = size * SUPERSAMPLE
    pixels, depth = project(scene.vertices, camera, n)
    tid = np.full((n, n), -1, np.int32)
    bary = np.zeros((n, n, 3), np.float32)
    zbuf = np.zeros((n, n), np.float64)
    look = scene.look
    args = (look.texels, look.offset, look.width, look.height, scene.material)
    _draw(pixels, 1.0 / depth, scene.tri, scene.uv_tri, scene.uv, *args, tid, bary, zbuf)
    albedo, normal, position = (np.zeros((n, n, 3), np.float32) for _ in range(3))
    rotation = np.asarray(view_matrix(camera), np.float64)[:3, :3]
    _shade(
        tid,
        bary,
        scene.tri,
        scene.uv_tri,
        scene.uv,
        scene.normals,
        *args,
        rotation,
        scene.vertices,
        albedo,
        normal,
        position,
    )
    covered = tid >= 0
    hair = covered & scene.hair[scene.material[tid]]
    lit = np.ones((n, n), np.float32)
    if light is not None:
        lit = _visible_from(scene, light, position) * covered

    def pool(a: Array) -> Array:
        out: Array = a.reshape(size, SUPERSAMPLE, size, SUPERSAMPLE, -1).mean((1, 3))
        return out

    masks = (pool(np.asarray(mask, np.float32))[..., 0] for mask in (covered, lit, hair))
    return Picture(pool(albedo), pool(normal), *masks)


def _visible_from(scene: Scene, light: Array, position: Array, texels: int = 320, extent: float = 0.2) -> Array:
    """1 where a position (H,W,3) sees the light; bias 4 mm hides the faceting of the coarse skin."""
    up = np.array([0.0, 1.0, 0.0]) if abs(light[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    right = np.cross(up, light)
    right /= np.linalg.norm(right)
    frame = np.stack([right, np.cross(light, right)])

    def to_map(p: Array) -> Array:
        uv: Array = (p @ frame.T / extent + 1) * texels / 2
        return uv

    zmap = np.full((texels, texels), 1e9)
    _depth_map(to_map(scene.vertices), -(scene.vertices @ light), scene.tri, zmap)
    uv = np.clip(to_map(position.astype(np.float64)).astype(np.int64), 0, texels - 1)
    lit: Array = (-(position @ light) < zmap[uv[..., 1], uv[..., 0]] + 0.004).astype(np.float32)
    return lit
