# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs of synthetic people, as a casual camera takes them, by the project's own rasteriser and shading: a lamp
that casts shadows, a sky, gloss, a room, exposure, noise and JPEG. Everything that is hidden from the fit is kept."""

import io
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..arrays import Array
from ..expressions import EXPRESSIONS
from ..fit.camera import PhotoCamera
from ..fit.visibility import draw_depth, front_at
from ..render.cameras import Camera, camera_positions, make_camera, view_matrix
from ..render.lights import EnvironmentLight, PointLight, lobe
from ..render.shading import linear_to_srgb, shade, srgb_to_linear
from .augment import backdrop
from .pictures import Drawing, Pictures, draw
from .population import Person, Population

SIZE = 640  # pixels
CENTRE = (0.0, 0.0, 0.03)  # metres: what the lamp shines on
BOTTOM = -0.165  # metres: where the picture ends below, above the end of the head's own shoulders
ROUGHNESS, F0 = 0.48, 0.028  # of skin; hair is rough, as its strands hide most of their gloss
LAMP_DISTANCE, LAMP_RADIUS, LAMP_SAMPLES = 1.6, 0.12, 6  # metres; points of the lamp that shadows are drawn from
SHADOW_PIXELS, SHADOW_BIAS = 1.2, 0.005  # for one of the photograph; metres in which a surface does not shade itself
EXPRESSIVE = 0.6  # share of the photographs that show an expression


@dataclass(frozen=True)
class Setting:
    """How a photograph is taken. Degrees; expression: name of one of the product's and its strength; lamp: azimuth and
    elevation, head frame, and its share of the light; exposure: factor; seed: of sky, room, tints and noise."""

    azimuth: float
    elevation: float
    fov: float
    frame: float
    expression: str
    strength: float
    lamp: tuple[float, float, float]
    exposure: float
    seed: int


@dataclass(frozen=True, eq=False)
class Photograph:
    """image (S,S,3) uint8 sRGB; camera, exact, in its pixels; posed (P,3) the head model's vertices in it; hair (S,S)
    0..1: where it shows any."""

    image: NDArray[np.uint8]
    camera: PhotoCamera
    posed: Array
    setting: Setting
    hair: Array


def random_setting(rng: np.random.Generator) -> Setting:
    """A casual portrait: within some 35 degrees of the front, the lamp up to 90 degrees aside."""
    names = [name for name in EXPRESSIONS if name != "neutral"]
    expressive = rng.random() < EXPRESSIVE
    return Setting(
        azimuth=float(np.clip(rng.normal(0, 16), -38, 38)),
        elevation=float(np.clip(rng.normal(2, 7), -15, 18)),
        fov=float(rng.uniform(9, 30)),
        frame=float(rng.uniform(0.36, 0.5)),
        expression=str(rng.choice(names)) if expressive else "neutral",
        strength=float(rng.uniform(0.3, 0.9)),
        lamp=(float(rng.uniform(-90, 90)), float(rng.uniform(-5, 55)), float(rng.uniform(0.3, 0.7))),
        exposure=float(np.exp(rng.normal(0, 0.1))),
        seed=int(rng.integers(2**31)),
    )


def varied_setting(rng: np.random.Generator) -> Setting:
    """A portrait that is less usual: heads farther aside, nearer cameras, harder light."""
    return replace(
        random_setting(rng),
        azimuth=float(np.clip(rng.normal(0, 20), -48, 48)),
        elevation=float(np.clip(rng.normal(2, 9), -22, 25)),
        fov=float(rng.uniform(9, 40)),
        lamp=(float(rng.uniform(-120, 120)), float(rng.uniform(-15, 65)), float(rng.uniform(0.2, 0.85))),
        exposure=float(np.exp(rng.normal(0, 0.2))),
    )


def take_photograph(population: Population, person: Person, setting: Setting, size: int = SIZE) -> Photograph:
    """The person in a setting; size: pixels along a side."""
    model = population.model
    weights = setting.strength * model.expression_vector(EXPRESSIONS[setting.expression].weights)
    drawing = population.drawing(person, weights)
    camera = _camera(setting)
    picture = draw(drawing, [camera], size)
    light = _lit(drawing, picture, camera, setting)
    posed = drawing.vertices.numpy()[: len(model.neutral)].astype(np.float64)
    image = _developed(light, picture.coverage[0], setting)
    return Photograph(image, photo_camera(camera, size), posed, setting, picture.hair[0].numpy())


def _camera(setting: Setting) -> Camera:
    target = (0.0, BOTTOM + setting.frame / 2, 0.03)
    return make_camera(setting.azimuth, setting.elevation, setting.fov, setting.frame, target)


def photo_camera(camera: Camera, size: int) -> PhotoCamera:
    """The same camera in the fit's terms, for a picture of size x size pixels."""
    distance = camera.distance
    scale = size / (2 * distance * np.tan(np.radians(camera.fov) / 2))
    middle = np.full(2, (size - 1) / 2)
    return PhotoCamera(view_matrix(camera)[:3, :3].numpy(), np.array(camera.target), scale, middle, 1 / distance)


def _lit(drawing: Drawing, picture: Pictures, camera: Camera, setting: Setting) -> Tensor:
    """(S,S,3) linear radiance of what is covered, so exposed that its mean irradiance over pi is 1."""
    g = torch.Generator().manual_seed(setting.seed)
    cover = picture.coverage[0, ..., None].clamp(min=1e-3)
    albedo = srgb_to_linear((picture.albedo[0] / cover).clamp(0, 1))
    rotation = view_matrix(camera)[:3, :3].float()
    normal = F.normalize(picture.normal[0] / cover, dim=-1, eps=1e-6) @ rotation
    position, eye = picture.position[0], camera_positions([camera])[0]
    above = F.normalize(torch.randn(3, generator=g) * 0.6 + torch.tensor([0.0, 0.8, 0.4]), dim=0)
    sky = EnvironmentLight(lobe(above, _uniform(g, 0.1, 0.6), 0.1)[:, None] * _tint(g, 0.05))
    azimuth, elevation, share = setting.lamp
    a, e = np.radians(azimuth), np.radians(elevation)
    towards = torch.tensor([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], dtype=torch.float32)
    place = torch.tensor(CENTRE) + LAMP_DISTANCE * towards
    lamp = PointLight(place, LAMP_DISTANCE**2 * _tint(g, 0.06), torch.zeros(3))
    visible = _unshadowed(drawing, position, place, g)
    roughness = ROUGHNESS + (1 - ROUGHNESS) * picture.hair[0, ..., None] / cover

    def both(colour: Tensor) -> Tensor:
        look = (roughness, torch.full_like(cover, F0), normal, position, eye)
        return (1 - share) * shade(colour, *look, sky) + 2 * share * visible * shade(colour, *look, lamp)

    even = both(torch.ones_like(albedo)).mean(-1, keepdim=True)
    return both(albedo) * cover.sum() / (even * cover).sum()


def _unshadowed(drawing: Drawing, position: Tensor, lamp: Tensor, g: torch.Generator) -> Tensor:
    """(S,S,1) share of the lamp that each place (S,S,3) sees."""
    vertices, triangles = drawing.vertices.numpy().astype(np.float64), drawing.triangles.numpy()
    centre = np.array(CENTRE)
    points = position.numpy().astype(np.float64)
    size = round(SHADOW_PIXELS * len(points))
    total = np.zeros(points.shape[:2])
    for _ in range(LAMP_SAMPLES):
        at = (lamp + LAMP_RADIUS * torch.randn(3, generator=g)).numpy().astype(np.float64)
        camera = _looking(at, centre, size)
        height = draw_depth(camera, vertices, triangles, size).height
        pixel, own = camera.project(points)
        total += np.where(front_at(height, pixel) - own > SHADOW_BIAS, 0.0, 1.0)
    return torch.from_numpy(total / LAMP_SAMPLES).float()[..., None]


def _looking(position: Array, centre: Array, size: int) -> PhotoCamera:
    """A camera of size x size pixels at a lamp's place that sees the whole head."""
    back = position - centre
    distance = float(np.linalg.norm(back))
    back = back / distance
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= max(np.linalg.norm(right), 1e-9)
    rotation = np.stack([right, np.cross(back, right), back])
    return PhotoCamera(rotation, centre, size / 0.5, np.full(2, (size - 1) / 2), 1 / distance)


def _developed(radiance: Tensor, coverage: Tensor, setting: Setting) -> NDArray[np.uint8]:
    """What the camera makes of radiance: exposure drawn a little towards mid grey, white balance, noise, JPEG."""
    g = torch.Generator().manual_seed(setting.seed + 1)
    cover = coverage[..., None]
    room = srgb_to_linear(_room(len(radiance), g))
    linear = radiance * cover + room * (1 - cover)
    metered = float((0.2 / linear.mean()).clamp(0.4, 2.5)) ** 0.25
    colour = linear_to_srgb((linear * setting.exposure * metered * _tint(g, 0.03)).clamp(0, 1))
    colour = colour + torch.randn(colour.shape, generator=g) * _uniform(g, 0.002, 0.012)
    stream = io.BytesIO()
    Image.fromarray((colour.clamp(0, 1) * 255 + 0.5).byte().numpy()).save(stream, "JPEG", quality=90)
    return np.array(Image.open(stream).convert("RGB"))


def _room(size: int, g: torch.Generator) -> Tensor:
    """(S,S,3) sRGB: training's backdrop out of focus."""
    sharp = backdrop(1, size, g).permute(0, 3, 1, 2)
    soft = F.interpolate(F.avg_pool2d(sharp, size // 16), size=size, mode="bicubic", align_corners=False).clamp(0, 1)
    return (0.6 * soft + 0.4 * soft.mean((1, 2, 3), keepdim=True))[0].permute(1, 2, 0)


def _tint(g: torch.Generator, strength: float) -> Tensor:
    """A light's colour (3,) of mean 1, from warm to cool."""
    warm = strength * float(torch.randn((), generator=g))
    colour = torch.tensor([np.exp(warm), 1.0, np.exp(-warm)], dtype=torch.float32)
    return colour / colour.mean()


def _uniform(g: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=g))
