# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundle's preview: the photograph, the head by the photo's camera and light, and from other sides."""

from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from idto3d_shared.fit_file import close_up as square_of_head

from .bundle import to_uint8
from .finish.head import Head
from .finish.picture import GREY, portrait, render_head
from .fit.camera import PhotoCamera
from .fit.result import PhotoFit
from .fit.visibility import resized
from .photos import Face
from .render.lights import EnvironmentLight
from .render.shading import diffuse_bands
from .render.studio import portrait_light

SIZE = 320
LOOK_BACK_SIZE = 384
ANGLES = (0.0, 35.0, 90.0, 180.0)


def preview_sheet(face: Face, photo: PhotoFit, head: Head) -> NDArray[np.uint8]:
    """(SIZE, 6 SIZE, 3): photo, neutral head from its camera and in its light, front, three-quarter, side, back."""
    crop, camera = close_up(face, photo.camera, SIZE)
    light, studio = (replace(light, window=1.0) for light in (photo_light(photo), portrait_light()))
    # the photo's own mean background, since a face looks lighter before a dark one
    around = face.picture[(face.person < 0.2) & face.inside]
    grey = float(np.median(around)) / 255 if len(around) else GREY
    matched = to_uint8(render_head(head, camera, SIZE, light, grey))
    if face.grey:  # its light is said to have the hue that makes skin grey: gloss would be blue
        matched = np.repeat(cv2.cvtColor(matched, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    tiles = [crop, matched]
    for azimuth in ANGLES:
        tiles.append(to_uint8(render_head(head, portrait(head, azimuth, SIZE, elevation=4.0), SIZE, studio)))
    return np.concatenate(tiles, 1)


def close_up(face: Face, camera: PhotoCamera, size: int) -> tuple[NDArray[np.uint8], PhotoCamera]:
    """The part of a photo that shows the head, (size,size,3), and its camera."""
    left, top, side = square_of_head(face.landmarks)
    factor = size / side
    shift = -factor * np.array([left, top])
    flags = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    small = cv2.resize(face.picture, None, fx=factor, fy=factor, interpolation=flags)
    moved = np.c_[np.eye(2), shift]
    crop = cv2.warpAffine(small, moved, (size, size), borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
    near = resized(camera, factor)
    return crop, replace(near, shift=near.shift + shift)


def photo_light(photo: PhotoFit) -> EnvironmentLight:
    """A photo's irradiance over pi as radiance: its bands divided by the cosine lobe's."""
    light = torch.from_numpy(photo.light).float()
    return EnvironmentLight(light / diffuse_bands(light)[:, None])


def plain_portrait(head: Head) -> tuple[PhotoCamera, NDArray[np.uint8]]:
    """A picture of the head from the front, and its camera, for `fit.check.look_back`."""
    camera = portrait(head, 0.0, LOOK_BACK_SIZE)
    return camera, to_uint8(render_head(head, camera, LOOK_BACK_SIZE, portrait_light(), 0.5))


def photo_portrait(head: Head, face: Face, photo: PhotoFit) -> tuple[PhotoCamera, NDArray[np.uint8]]:
    """A close-up of the head by a photo's camera, and that camera."""
    _, camera = close_up(face, photo.camera, LOOK_BACK_SIZE)
    return camera, to_uint8(render_head(head, camera, LOOK_BACK_SIZE, portrait_light(), 0.5))
