# SPDX-License-Identifier: GPL-3.0-or-later
"""Lights for the texture stage: flat, a soft environment in spherical harmonics, a point with ambient.

Radiances are linear RGB; 1 makes a white diffuse surface white. Directions and positions are in the world (metres).
Random near-white light keeps shading from being baked into the albedo: what changes at every step cannot be cancelled.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize


@dataclass(frozen=True)
class FlatLight:
    """No shading at all: the picture is the albedo."""


@dataclass(frozen=True, eq=False)
class EnvironmentLight:
    """Distant light; coefficients (9,3) of its radiance in the real spherical harmonics of ``sh_basis``. window 0..1:
    share of the light that mirrors show where it is brightest, as small as a window: harmonics lie on eyes like fog."""

    coefficients: Tensor
    window: float = 0.0


@dataclass(frozen=True, eq=False)
class PointLight:
    """One point and an even surround.

    position (3,) metres; intensity (3,): radiance of a white diffuse surface that faces the point at 1 m, falling
    with the squared distance; ambient (3,): radiance from every direction.
    """

    position: Tensor
    intensity: Tensor
    ambient: Tensor


Light = FlatLight | EnvironmentLight | PointLight


def sh_basis(directions: Tensor) -> Tensor:
    """Real orthonormal spherical harmonics to order 2 of unit directions (...,3), as (...,9).

    Order: Y00, Y1-1, Y10, Y11, Y2-2, Y2-1, Y20, Y21, Y22 (Ramamoorthi and Hanrahan 2001, equation 3).
    """
    x, y, z = directions.unbind(-1)
    return torch.stack(
        [
            torch.full_like(x, 0.28209479),
            0.48860251 * y,
            0.48860251 * z,
            0.48860251 * x,
            1.09254843 * x * y,
            1.09254843 * y * z,
            0.31539157 * (3.0 * z * z - 1.0),
            1.09254843 * x * z,
            0.54627422 * (x * x - y * y),
        ],
        dim=-1,
    )


def lobe(direction: Tensor, linear: float, quadratic: float) -> Tensor:
    """Coefficients (9,) of the radiance 1 + linear*P1(c) + quadratic*P2(c), c the cosine to direction (3,).

    By the addition theorem a zonal function's coefficients are 4*pi/(2l+1) times the basis at its axis.
    """
    weights = torch.tensor([1.0] + [linear / 3.0] * 3 + [quadratic / 5.0] * 5, dtype=direction.dtype)
    return 4.0 * math.pi * weights * sh_basis(direction)


def random_light(generator: torch.Generator) -> Light:
    """A light for one optimisation step: 40 % flat, 40 % soft environment of mean radiance 0.6..1.4, 20 % point.

    The draws come from generator (on the CPU) alone, so a seed repeats them. Tensors are float32 on the CPU.
    """
    kind = _uniform(generator, 0.0, 1.0)
    if kind < 0.4:
        return FlatLight()
    if kind < 0.8:
        return _random_environment(generator)
    return _random_point(generator)


def _random_environment(generator: torch.Generator) -> EnvironmentLight:
    # Two broad lobes, a key and a fill; with these ranges the radiance stays positive in every direction.
    share = _uniform(generator, 0.5, 0.8)
    total = torch.zeros(9, 3)
    for weight in (share, 1.0 - share):
        linear, quadratic = _uniform(generator, 0.2, 0.8), _uniform(generator, 0.1, 0.3)
        total += weight * lobe(_direction(generator), linear, quadratic)[:, None] * _tint(generator)
    return EnvironmentLight(total * _uniform(generator, 0.6, 1.4))


def _random_point(generator: torch.Generator) -> PointLight:
    distance = _uniform(generator, 0.5, 2.0)
    brightness = _uniform(generator, 0.4, 1.0) * distance**2
    ambient = _uniform(generator, 0.2, 0.5)
    return PointLight(
        position=distance * _direction(generator),
        intensity=brightness * _tint(generator),
        ambient=ambient * _tint(generator),
    )


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _direction(generator: torch.Generator) -> Tensor:
    """Uniform on the sphere."""
    return normalize(torch.randn(3, generator=generator), dim=0)


def _tint(generator: torch.Generator) -> Tensor:
    """Near-white colour (3,) of mean 1."""
    colour = 1.0 + 0.1 * (2.0 * torch.rand(3, generator=generator) - 1.0)
    return colour / colour.mean()
