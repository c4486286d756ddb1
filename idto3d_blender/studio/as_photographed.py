# SPDX-License-Identifier: GPL-3.0-or-later
"""A head as one of its photos shows it: through that photo's camera, in its light."""

from dataclasses import replace
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ..head import colour_space, frame
from ..head.bundle import FitPhoto, close_up
from ..match.lens import SENSOR, lens_of
from . import stage

WIDTH, HEIGHT = 64, 32
_BANDS = np.repeat((1.0, 2.0 / 3.0, 0.25), (1, 3, 5))
"""What the cosine lobe leaves of each harmonic (Ramamoorthi and Hanrahan 2001, equation 8, over pi)."""
LAMP = 60.0
"""Exponent that narrows the brightest place of a smooth light to some twenty degrees, as lamps and windows have."""
AROUND = 0.25  # share of what is mirrored that comes from the smooth light


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


def mirrored(smooth: NDArray[np.float32]) -> NDArray[np.float32]:
    """What eyes and wet lips mirror of a smooth light (HEIGHT, WIDTH, 3): the same power, most of it from where the
    light is brightest. Nine harmonics, which are all that skin tells of a light, would lie on a cornea like fog."""
    rise = ((np.arange(HEIGHT) + 0.5) / HEIGHT - 0.5) * np.pi
    share = np.repeat(np.cos(rise)[:, None], WIDTH, axis=1)
    share /= share.sum()
    lightness = smooth.mean(axis=-1)
    lamp = (lightness / max(float(lightness.max()), 1e-6)) ** LAMP
    lamp /= max(float((lamp * share).sum()), 1e-6)
    power = (smooth * share[..., None]).sum(axis=(0, 1))
    return (AROUND * smooth + (1 - AROUND) * lamp[..., None] * power).astype(np.float32)


def world(light: NDArray[np.floating]) -> Any:
    """A world with a photo's light (9,3); the camera sees grey."""
    made = stage.grey_world()
    tree = made.node_tree
    mix = next(node for node in tree.nodes if node.type == "MIX_SHADER")
    tree.nodes.remove(mix.inputs[1].links[0].from_node)  # the even grey
    path = next(node for node in tree.nodes if node.type == "LIGHT_PATH")
    smooth = radiance(light)
    lit = tree.nodes.new("ShaderNodeMixShader")
    tree.links.new(path.outputs["Is Glossy Ray"], lit.inputs["Fac"])
    tree.links.new(_sky(tree, "Light of the photo", smooth), lit.inputs[1])
    tree.links.new(_sky(tree, "Light of the photo, mirrored", mirrored(smooth)), lit.inputs[2])
    tree.links.new(lit.outputs["Shader"], mix.inputs[1])
    return made


def _sky(tree: Any, name: str, colours: NDArray[np.float32]) -> Any:
    """The output of a background node in `tree` that shows (HEIGHT, WIDTH, 3) of radiance."""
    image = bpy.data.images.new(name, WIDTH, HEIGHT, float_buffer=True)
    colour_space.set_data(image)
    image.pixels.foreach_set(np.dstack([colours, np.ones((HEIGHT, WIDTH), np.float32)]).ravel())
    texture, background = tree.nodes.new("ShaderNodeTexEnvironment"), tree.nodes.new("ShaderNodeBackground")
    texture.image = image
    tree.links.new(texture.outputs["Color"], background.inputs["Color"])
    return background.outputs["Background"]
