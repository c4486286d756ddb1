# SPDX-License-Identifier: GPL-3.0-or-later
"""A photograph with the fitted head drawn over it, for people to judge the fit."""

import cv2
import numpy as np

from ..arrays import Array
from ..headmodel import HeadModel
from ..mesh.surface import vertex_normals
from ..photos.faces import Face
from ..photos.landmarks import LIPS
from .camera import PhotoCamera
from .projection import BROWS, EYES, OVAL
from .visibility import draw_depth, resized

SIZE = 512
LINE, SHEET = (255, 176, 64), (120, 200, 255)
GRID_SHARE = 0.33  # opacity of the quads' edges


def overlay(model: HeadModel, face: Face, camera: PhotoCamera, posed: Array) -> Array:
    """(SIZE,SIZE,3) uint8: the picture, the head's own quads over it, and eyes, brows and lips as the head has them."""
    picture = cv2.resize(face.picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)
    camera = resized(camera, SIZE / len(face.picture))
    skin = model.triangles_of("face", "back_head")
    buffer = draw_depth(camera, posed, skin, SIZE)
    drawn = buffer.triangle >= 0
    normal = vertex_normals(posed, skin)[skin[buffer.triangle[drawn]]].mean(1)
    shade = np.clip(0.35 + 0.65 * (normal * camera.towards(posed)[skin[buffer.triangle[drawn], 0]]).sum(1), 0, 1)
    picture[drawn] = 0.72 * picture[drawn] + 0.28 * shade[:, None] * SHEET
    pixel, height = camera.project(posed)
    wires = _wires(model, posed, pixel, camera)
    lined = picture + GRID_SHARE * wires[..., None] * (255 - picture) * drawn[..., None]
    out = np.clip(lined, 0, 255).astype(np.uint8)
    place = model.landmarks(pixel)
    for outline, closed in (*((e, True) for e in EYES), *((b, True) for b in BROWS), (LIPS, True), (OVAL, True)):
        rows = [k for k in outline if model.landmark_trust[k] > 0]
        points = np.rint(place[rows] * 16).astype(np.int32)
        cv2.polylines(out, [points], closed, LINE, 1, cv2.LINE_AA, 4)
    return out


def _wires(model: HeadModel, posed: Array, pixel: Array, camera: PhotoCamera) -> Array:
    """(SIZE,SIZE) 0..1: every other of the face's quads, where they face the camera."""
    quads = model.quads[model.faces_of("face")]
    quads = quads[(quads[:, 3] >= 0)][::2]
    normal = vertex_normals(posed, model.triangles_of("face", "back_head"))
    facing = (normal * camera.towards(posed)).sum(1)
    quads = quads[(facing[quads] > 0.1).all(1)]
    image = np.zeros((SIZE, SIZE), np.uint8)
    points = np.rint(pixel[quads] * 16).astype(np.int32)
    cv2.polylines(image, list(points), True, 255, 1, cv2.LINE_AA, 4)
    return image.astype(np.float32) / 255
