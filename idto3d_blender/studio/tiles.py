# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of a contact sheet: which there are, and how Cycles renders each."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import bpy

from ..head.bundle import FitPhoto
from ..head.material import alpha_socket, base_colour_socket
from . import as_photographed, stage

Look = Literal["skin", "photo", "normals", "albedo"]
THREE_QUARTER = 40.0
DATA_SAMPLES = 8


@dataclass(frozen=True)
class Tile:
    """name: file name without ending; azimuth: degrees, positive shows the person's left; look:
    "photo" is through the first photo's camera, in its light; expression: the key at 1; large: twice the size; close:
    the face alone."""

    name: str
    azimuth: float = 0.0
    look: Look = "skin"
    expression: str = ""
    large: bool = False
    close: bool = False


def tiles(expressions: list[str], photographed: bool = False) -> list[Tile]:
    """The tiles of a head with these shape keys. Those without denoising come last: switching it on costs seconds.
    photographed: it is known how a photo shows it."""
    return [
        *([Tile("photographed", look="photo", large=True)] if photographed else []),
        Tile("neutral_right", -THREE_QUARTER),
        Tile("neutral_front", large=not photographed),
        Tile("neutral_left", THREE_QUARTER),
        Tile("neutral_back", 180.0),
        *(Tile(f"expr_{name}", expression=name, close=True) for name in expressions),
        Tile("normals", look="normals"),
        Tile("albedo", look="albedo"),
    ]


def set_up_cycles(scene: Any, size: int, samples: int) -> None:
    """Cycles on the CPU, cheap: few bounces, adaptive sampling, denoising where the build can."""
    scene.render.engine = "CYCLES"
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.render.use_persistent_data = True
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples = samples
    cycles.use_adaptive_sampling = True
    cycles.max_bounces = 4
    cycles.diffuse_bounces = 2
    cycles.glossy_bounces = 2
    cycles.caustics_reflective = cycles.caustics_refractive = False
    try:
        # A distribution's build may lack the library, and then the name is not in the list.
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.use_denoising = True
    except TypeError:
        cycles.use_denoising = False


@dataclass(frozen=True)
class Sitting:
    """Who sits for the pictures. scene: needs a camera, lights and a world; framing: of the head from the front; photo:
    that through whose camera a tile may be asked for."""

    scene: Any
    head: Any
    framing: stage.Framing
    photo: FitPhoto | None


def render_tiles(
    sitting: Sitting, wanted: Iterable[Tile], folder: Path, done: Callable[[Tile, Path, float], None]
) -> None:
    """Render tiles into ``folder``; ``done`` gets the tile, its file and the seconds it took.

    The scene is left with other materials, worlds, lights and sizes: save before.
    """
    scene, head = sitting.scene, sitting.head
    blocks, portrait = head.data.shape_keys.key_blocks, scene.camera
    looks, face, size = _looks(sitting), stage.frame_face(head), scene.render.resolution_x
    lights = [obj for obj in scene.objects if obj.type == "LIGHT"]
    folder.mkdir(parents=True, exist_ok=True)
    for tile in wanted:
        start = time.monotonic()
        for key in blocks[1:]:
            key.value = 1.0 if key.name == tile.expression else 0.0
        seen = face if tile.close else sitting.framing
        stage.place(portrait, seen, tile.azimuth, 0.0, seen.distance)
        scene.render.resolution_x = scene.render.resolution_y = size * 2 if tile.large else size
        look = looks[tile.look]
        scene.camera = look.camera
        for light in lights:
            light.hide_render = tile.look == "photo"
        for slot, material in enumerate(look.materials):
            head.data.materials[slot] = material
        scene.world = look.world
        scene.cycles.samples, scene.cycles.use_denoising = look.samples, look.denoise
        scene.render.dither_intensity = look.dither
        # The transform first: it decides which contrast looks there are.
        scene.view_settings.view_transform = look.view_transform
        scene.view_settings.look = look.contrast
        file = folder / f"{tile.name}.png"
        scene.render.filepath = str(file)
        bpy.ops.render.render(write_still=True)
        done(tile, file, time.monotonic() - start)


@dataclass(frozen=True)
class _Look:
    camera: Any
    materials: list[Any]
    world: Any
    samples: int
    denoise: bool
    dither: float
    view_transform: str
    contrast: str


def _looks(sitting: Sitting) -> dict[Look, _Look]:
    """How each look is rendered. Data is shown as it is: albedo as sRGB, normals unchanged; both free of noise."""
    scene, head, camera = sitting.scene, sitting.head, sitting.scene.camera
    view, samples, denoise = scene.view_settings, scene.cycles.samples, scene.cycles.use_denoising
    own, black = list(head.data.materials), stage.black_world()
    normals, albedo = ([material.copy() for material in own] for _ in range(2))
    for material in normals:
        _show(material, _normals(material.node_tree))
    for material in albedo:
        _show(material, base_colour_socket(material))
    looks: dict[Look, _Look] = {
        "skin": _Look(camera, own, scene.world, samples, denoise, 1.0, view.view_transform, view.look),
        "normals": _Look(camera, normals, black, DATA_SAMPLES, False, 0.0, "Raw", "None"),
        "albedo": _Look(camera, albedo, black, DATA_SAMPLES, False, 0.0, "Standard", "None"),
    }
    if sitting.photo is not None:
        theirs = as_photographed.add_camera(scene, head, sitting.photo)
        light = as_photographed.world(sitting.photo.light)
        looks["photo"] = _Look(theirs, own, light, samples, denoise, 1.0, "Standard", "None")
    return looks


def _show(material: Any, colour: Any) -> None:
    """The material glows in ``colour``, an output socket of its tree, and is seen through where it was before."""
    tree, clear = material.node_tree, alpha_socket(material)
    output = next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL")
    if clear is None:
        # A colour in a shader socket is an emission.
        tree.links.new(colour, output.inputs["Surface"])
        return
    emission = tree.nodes.new("ShaderNodeEmission")
    mix = tree.nodes.new("ShaderNodeMixShader")
    tree.links.new(colour, emission.inputs["Color"])
    tree.links.new(clear, mix.inputs["Fac"])
    tree.links.new(tree.nodes.new("ShaderNodeBsdfTransparent").outputs["BSDF"], mix.inputs[1])
    tree.links.new(emission.outputs["Emission"], mix.inputs[2])
    tree.links.new(mix.outputs["Shader"], output.inputs["Surface"])


def _normals(tree: Any) -> Any:
    """A socket with camera-space normals, x right, y up, z to the camera, as colours (n + 1) / 2."""
    geometry = tree.nodes.new("ShaderNodeNewGeometry")
    transform = tree.nodes.new("ShaderNodeVectorTransform")
    transform.vector_type = "NORMAL"
    transform.convert_from, transform.convert_to = "WORLD", "CAMERA"
    encode = tree.nodes.new("ShaderNodeVectorMath")
    encode.operation = "MULTIPLY_ADD"
    # Cycles' camera looks along +Z.
    encode.inputs[1].default_value = (0.5, 0.5, -0.5)
    encode.inputs[2].default_value = (0.5, 0.5, 0.5)
    tree.links.new(geometry.outputs["Normal"], transform.inputs["Vector"])
    tree.links.new(transform.outputs["Vector"], encode.inputs[0])
    return encode.outputs["Vector"]
