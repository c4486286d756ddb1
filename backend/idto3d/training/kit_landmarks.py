# SPDX-License-Identifier: GPL-3.0-or-later
"""Where MediaPipe's 468 landmarks lie on the head kit's skin: drawings of its average head in many looks, each shown to
the landmark net, and a vote."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn.functional import normalize

from ..arrays import Array
from ..mesh.surface import vertex_normals
from ..photos.landmarks import MESH
from ..render.cameras import make_camera
from .kit import Skin, average_identity, cut_cards, triangulate
from .pictures import Drawing, draw
from .registration import Landmarks
from .surface import closest_places

_LOOKS = 24
_SIZE, _CROP = 512, 256
_SPREAD = 2.5e-3  # metres over which the net disagrees with itself: no landmark


def find_landmarks(kit: Any, skin: Skin, net: Path) -> Landmarks:
    """Landmarks on the average skin. net: face_landmarks_detector.onnx."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(net), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    found = np.full((_LOOKS, MESH, 3), np.nan)
    for n in range(_LOOKS):
        picture, position, covered = _portrait(kit, n, rng)
        pixels = _read(session, picture)
        column, row = np.clip(np.round(pixels).astype(int), 0, _SIZE - 1).T
        inside = covered[row, column] > 0.99
        found[n, inside] = position[row[inside], column[inside]]
    times = np.isfinite(found[..., 0]).sum(0)
    found[:, times == 0] = 0.0
    middle = np.nanmedian(found, 0)
    spread = np.nanmedian(np.linalg.norm(found - middle, axis=2), 0)
    places = closest_places(middle, skin.vertices, skin.triangles)
    weight = np.where((times >= 0.4 * _LOOKS) & (spread < _SPREAD), 1.0 / (1.0 + (spread / 1e-3) ** 2), 0.0)
    return Landmarks(places.triangle, places.barycentric, weight)


def _portrait(kit: Any, number: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Picture (S,S,3) 0..1, positions (S,S,3) and coverage (S,S) of the average head from about the front."""
    identity = average_identity(kit, brow_style=float(number % 12), lash_style=-1.0)
    look = average_identity(
        kit,
        brow_style=float(number % 12),
        eye_style=float(number % 9),
        gender=float(number % 2),
        asian=float(number % 3),
    )
    camera = make_camera(rng.uniform(-12, 12), rng.uniform(-8, 8), 25.0, 0.24, (0.0, -0.01, 0.05))
    picture = draw(_drawing(kit, identity, look), [camera], _SIZE)
    light = normalize(torch.tensor([rng.normal() * 0.3, 0.4, 0.85]), dim=0).float()
    shade = 0.45 + 0.6 * (picture.normal @ light).clamp(min=0)[..., None]
    image = picture.albedo * shade + 0.5 * (1 - picture.coverage[..., None])
    return image[0].clamp(0, 1).numpy(), picture.position[0].numpy(), picture.coverage[0].numpy()


def _drawing(kit: Any, identity: Array, look: Array) -> Drawing:
    vertices, normals, triangles, uvs, triangles_uv, kinds, textures = ([] for _ in range(7))
    count = count_uv = 0
    for n, part in enumerate(kit.mesh(identity, parts=("head", "eyes", "brows")).parts):
        image = kit.part_texture(look, part).astype(np.float32) / 255
        if part.kind == "head":
            corners, corners_uv = triangulate(part.faces, part.uv_faces)
            own, uv = part.vertices, part.uv
        else:  # brows, and the cornea over the iris, are see-through
            cards = cut_cards(part, image[..., 3], 7e-4)
            own, uv, corners, corners_uv = cards.vertices(part.vertices), cards.uv, cards.triangles, cards.triangles
        vertices.append(own)
        normals.append(vertex_normals(own, corners))
        triangles.append(corners + count)
        uvs.append(uv)
        triangles_uv.append(corners_uv + count_uv)
        kinds.append(np.full(len(corners), n))
        textures.append(torch.from_numpy(image[..., :3].copy()))
        count, count_uv = count + len(own), count_uv + len(uv)
    v, m, t, u, w, k = (
        torch.from_numpy(np.concatenate(a)) for a in (vertices, normals, triangles, uvs, triangles_uv, kinds)
    )
    return Drawing(v.float(), m.float(), t, u.float(), w, k, tuple(textures), torch.zeros(len(t), dtype=torch.bool))


def _read(session: Any, picture: Array) -> Array:
    """(468,2) pixels, from a crop that is fitted to the points three times."""
    left, top, side = 0.12 * _SIZE, 0.12 * _SIZE, 0.76 * _SIZE
    points = np.zeros((MESH, 2))
    for _ in range(3):
        scale = _CROP / side
        matrix = np.array([[scale, 0.0, -left * scale], [0.0, scale, -top * scale]])
        crop = cv2.warpAffine(picture, matrix, (_CROP, _CROP)).astype(np.float32)
        answer = session.run(None, {session.get_inputs()[0].name: crop[None]})[0]
        points = (answer.reshape(-1, 3)[:MESH, :2] - matrix[:, 2]) / scale
        centre, side = (points.min(0) + points.max(0)) / 2, 1.5 * float(np.ptp(points, axis=0).max())
        left, top = centre - side / 2
    return points
