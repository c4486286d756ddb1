# SPDX-License-Identifier: GPL-3.0-or-later
"""A portrait studio round a head: camera, four lights, a grey gradient behind."""

import math
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from ..head import mesh_data

LENS = 85.0
SENSOR = 36.0
_BACKDROP, _AMBIENT = (0.32, 0.10), 0.12  # linear grey: behind the head from below to above; all around
MOVED = 0.02  # of the head's height: what moves less is no longer the face


@dataclass(frozen=True)
class Framing:
    """target: the point looked at, metres; distance of the camera from it, metres; height of the head, metres."""

    target: tuple[float, float, float]
    distance: float
    height: float


def frame_head(obj: Any) -> Framing:
    """Frame the neutral head of ``obj``, which has shape keys, for the square picture of an 85 mm lens, the cut of the
    neck just outside."""
    local = mesh_data.places(obj.data.shape_keys.key_blocks[0])
    matrix = np.array(obj.matrix_world)
    world = local @ matrix[:3, :3].T + matrix[:3, 3]
    low, high = world.min(axis=0), world.max(axis=0)
    width, depth, height = (float(size) for size in high - low)
    field = max(1.02 * height, 1.08 * width, 1.08 * depth)
    # Above the upper edge stays 6 % of the field.
    centre_z = float(high[2]) - 0.44 * field
    target = (float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2, centre_z)
    # The near side of the head lies half its depth before the target plane.
    distance = field / 2 / math.tan(math.atan(SENSOR / 2 / LENS)) + depth / 4
    return Framing(target, distance, height)


def frame_face(obj: Any) -> Framing:
    """Frame what the shape keys of ``obj`` move, before and after: the face, closer than ``frame_head``. Hair may be
    cut off. Falls back on the head where nothing moves."""
    framing = frame_head(obj)
    blocks = obj.data.shape_keys.key_blocks
    points = np.stack([mesh_data.places(block) for block in blocks])
    moved = np.linalg.norm(points[1:] - points[:1], axis=2) > MOVED * framing.height
    seen = np.concatenate([points[1:][moved], points[0][moved.any(axis=0)]])
    if not len(seen):
        return framing
    matrix = np.array(obj.matrix_world)
    world = seen @ matrix[:3, :3].T + matrix[:3, 3]
    low, high = world.min(axis=0), world.max(axis=0)
    field = 1.06 * float(max(high[0] - low[0], high[2] - low[2]))
    target = (float(low[0] + high[0]) / 2, framing.target[1], float(low[2] + high[2]) / 2)
    # The face lies before the plane of the target by about as much as it is high.
    distance = field / 2 / math.tan(math.atan(SENSOR / 2 / LENS)) + framing.target[1] - float(low[1])
    return Framing(target, distance, framing.height)


def direction(azimuth: float, elevation: float) -> Vector:
    """Unit vector from the head; degrees, azimuth 0 is before the face, +90 the person's left."""
    a, e = math.radians(azimuth), math.radians(elevation)
    return Vector((math.sin(a) * math.cos(e), -math.cos(a) * math.cos(e), math.sin(e)))


def add_camera(scene: Any, framing: Framing) -> Any:
    """A camera before the face, made the scene's own."""
    data = bpy.data.cameras.new("Portrait camera")
    data.lens = LENS
    data.sensor_width = SENSOR
    data.clip_start, data.clip_end = 0.01 * framing.height, max(data.clip_end, 100.0 * framing.height)
    camera = bpy.data.objects.new(data.name, data)
    scene.collection.objects.link(camera)
    scene.camera = camera
    place(camera, framing, 0.0, 0.0, framing.distance)
    return camera


def place(obj: Any, framing: Framing, azimuth: float, elevation: float, distance: float) -> None:
    """Put a camera or a light at (azimuth, elevation) in degrees and distance in metres, looking at the head."""
    away = direction(azimuth, elevation)
    obj.location = Vector(framing.target) + away * distance
    obj.rotation_euler = (-away).to_track_quat("-Z", "Y").to_euler()


def add_lights(scene: Any, framing: Framing) -> list[Any]:
    """Soft key light, fill, front and rim; powers follow the square of the head's size. No brighter: AgX takes the
    colour out of bright skin, and Standard clips it."""
    size = framing.height
    lights = []
    for name, azimuth, elevation, distance, side, watts, colour in (
        ("Key light", 36.0, 32.0, 3.2, 2.2, 100.0, (1.0, 0.96, 0.91)),
        ("Fill light", -50.0, 8.0, 3.6, 3.2, 35.0, (0.92, 0.96, 1.0)),
        # From just below the camera: else no light passes between open lips.
        ("Front light", 0.0, -8.0, 3.2, 1.2, 28.0, (1.0, 0.98, 0.96)),
        ("Rim light", -150.0, 35.0, 3.0, 1.2, 77.0, (1.0, 1.0, 1.0)),
    ):
        data = bpy.data.lights.new(name, "AREA")
        data.size = side * size
        data.use_shadow_jitter = True  # else EEVEE lights nostrils and mouth through the skin
        data.energy = watts * size * size
        data.color = colour
        light = bpy.data.objects.new(name, data)
        scene.collection.objects.link(light)
        place(light, framing, azimuth, elevation, distance * size)
        lights.append(light)
    return lights


def grey_world() -> Any:
    """A world that lights with an even grey, and that the camera sees as a vertical gradient (linear values)."""
    world = bpy.data.worlds.new("Portrait background")
    world.use_nodes = True
    tree = world.node_tree
    tree.nodes.clear()
    window = tree.nodes.new("ShaderNodeTexCoord")
    split = tree.nodes.new("ShaderNodeSeparateXYZ")
    gradient = tree.nodes.new("ShaderNodeMapRange")
    gradient.inputs["To Min"].default_value = _BACKDROP[0]
    gradient.inputs["To Max"].default_value = _BACKDROP[1]
    seen = tree.nodes.new("ShaderNodeBackground")
    even = tree.nodes.new("ShaderNodeBackground")
    even.inputs["Color"].default_value = (_AMBIENT, _AMBIENT, _AMBIENT, 1.0)
    path = tree.nodes.new("ShaderNodeLightPath")
    mix = tree.nodes.new("ShaderNodeMixShader")
    output = tree.nodes.new("ShaderNodeOutputWorld")
    tree.links.new(window.outputs["Window"], split.inputs["Vector"])
    tree.links.new(split.outputs["Y"], gradient.inputs["Value"])
    tree.links.new(gradient.outputs["Result"], seen.inputs["Color"])
    tree.links.new(path.outputs["Is Camera Ray"], mix.inputs["Fac"])
    tree.links.new(even.outputs["Background"], mix.inputs[1])
    tree.links.new(seen.outputs["Background"], mix.inputs[2])
    tree.links.new(mix.outputs["Shader"], output.inputs["Surface"])
    return world


def black_world() -> Any:
    """A world without light."""
    world = bpy.data.worlds.new("Black background")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.0, 0.0, 0.0, 1.0)
    return world
