# SPDX-License-Identifier: GPL-3.0-or-later
"""A head as one of its photos shows it: through that photo's camera, in its light."""

from dataclasses import replace
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ..head import frame
from ..head.bundle import FitPhoto, close_up
from ..match.lens import SENSOR, lens_of
from . import stage

WIDTH, HEIGHT = 64, 32
_BANDS = np.repeat((1.0, 2.0 / 3.0, 0.25), (1, 3, 5))
"""What the cosine lobe leaves of each harmonic (Ramamoorthi and Hanrahan 2001, equation 8, over pi)."""


def add_camera(scene: Any, obj: Any, photo: FitPhoto) -> Any:
    """A camera that shows of the photo what `close_up` says, in a square picture."""
    left, top, side = close_up(photo.landmarks)
    near = replace(photo.camera, principal=photo.camera.principal - (left, top))
    lens = lens_of(near, (round(side), round(side)), np.array(obj.data.get(frame.ORIGIN, (0.0, 0.0, 0.0))))
    data = bpy.data.cameras.new("As photographed")
    data.sensor_fit, data.sensor_width, data.clip_start = "HORIZONTAL", SENSOR, 0.01
    data.lens, data.shift_x, data.shift_y = lens.lens, lens.shift_x, lens.shift_y
    camera = bpy.data.objects.new(data.name, data)
    camera.matrix_world = obj.matrix_world @ Matrix(lens.matrix.tolist())
    scene.collection.objects.link(camera)
    return camera


def radiance(light: NDArray[np.floating]) -> NDArray[np.float32]:
    """(HEIGHT, WIDTH, 3) of a photo's light (9,3) as Blender's equirectangular picture, first row at the bottom."""
    bands = light / _BANDS[:, None]
    turn = -((np.arange(WIDTH) + 0.5) / WIDTH - 0.5) * 2 * np.pi
    rise = ((np.arange(HEIGHT) + 0.5) / HEIGHT - 0.5) * np.pi
    angle, height = np.meshgrid(turn, rise)
    # From Blender's axes to those of the head: Y up, Z out of the face.
    x, y, z = np.cos(angle) * np.cos(height), np.sin(height), -np.sin(angle) * np.cos(height)
    first = [0.28209479 + 0 * x, 0.48860251 * y, 0.48860251 * z, 0.48860251 * x]
    second = [x * y, y * z, 0.28867513 * (3 * z * z - 1), x * z, 0.5 * (x * x - y * y)]
    basis = [*first, *(1.09254843 * each for each in second)]
    return np.maximum(np.stack(basis, axis=-1) @ bands, 0.0).astype(np.float32)


def world(photo: FitPhoto) -> Any:
    """A world with the photo's light; the camera sees grey."""
    image = bpy.data.images.new("Light of the photo", WIDTH, HEIGHT, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    pixels = np.ones((HEIGHT, WIDTH, 4), np.float32)
    pixels[..., :3] = radiance(photo.light)
    image.pixels.foreach_set(pixels.ravel())
    made = stage.grey_world()
    tree = made.node_tree
    texture = tree.nodes.new("ShaderNodeTexEnvironment")
    texture.image = image
    mix = next(node for node in tree.nodes if node.type == "MIX_SHADER")
    even = mix.inputs[1].links[0].from_node
    tree.links.new(texture.outputs["Color"], even.inputs["Color"])
    return made
