# SPDX-License-Identifier: GPL-3.0-or-later
"""Shading of a rough dielectric: a Lambertian base under a GGX coat, and the sRGB transfer function.

The base is dimmed by what the coat reflects toward the viewer, as in Blender's Principled BSDF; a white base in an even
white surround therefore stays exactly white.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from idto3d.render.lights import EnvironmentLight, FlatLight, Light, PointLight, sh_basis

# GGX tends to a mirror, and its peak to infinity, as the roughness goes to zero.
MIN_ROUGHNESS = 0.05
BLURRED = 0.3  # roughness from which on a coat shows no windows
WINDOW = 60.0  # exponent of a Phong lobe as wide as a window or a soft lamp: 17 degrees between its half values


def shade(
    albedo: Tensor,
    roughness: Tensor,
    specular: Tensor,
    normal: Tensor,
    position: Tensor,
    camera_position: Tensor,
    light: Light,
) -> Tensor:
    """Outgoing radiance (...,3), linear, differentiable in everything but the kind of light.

    albedo (...,3) linear 0..1; roughness (...,1) perceptual (alpha = roughness^2); specular (...,1) reflectance at
    normal incidence, about 0.028 for skin; normal (...,3) unit and position (...,3) metres, both in the world;
    camera_position broadcastable to position, e.g. (3,) or (B,1,1,3). There are no cast shadows. Empty pixels shade
    like any other: multiply by the mask, or shade the covered rows only.
    """
    if isinstance(light, FlatLight):
        return albedo
    to_eye = normalize(camera_position - position, dim=-1)
    # Interpolated normals may lean away from the viewer at the outline.
    cos_eye = _dot(normal, to_eye).clamp(1e-4, 1.0)
    roughness = roughness.clamp(MIN_ROUGHNESS, 1.0)
    coat = coat_albedo(cos_eye, roughness, specular)
    base = albedo * (1.0 - coat)
    if isinstance(light, EnvironmentLight):
        coefficients = light.coefficients.to(albedo)
        mirror = 2.0 * _dot(normal, to_eye) * normal - to_eye
        diffuse = sh_basis(normal) * diffuse_bands(albedo) @ coefficients
        glossy = (sh_basis(mirror) * glossy_bands(roughness) @ coefficients).clamp_min(0.0)
        if light.window:
            share = light.window * (1.0 - roughness / BLURRED).clamp_min(0.0)
            glossy = glossy + share * (_window(mirror, roughness, coefficients) - glossy)
        return base * diffuse.clamp_min(0.0) + coat * glossy
    return (base + coat) * light.ambient.to(albedo) + _point(
        base, roughness, specular, normal, position, to_eye, cos_eye, light
    )


def coat_albedo(cos_eye: Tensor, roughness: Tensor, specular: Tensor) -> Tensor:
    """Share of an even surround that the coat reflects to the viewer, 0..1 (Karis 2014, "Physically Based Shading on
    Mobile", EnvBRDFApprox: a fit to the integrated GGX lobe)."""
    peak = 1.0 - roughness
    tail = torch.minimum(peak * peak, torch.exp2(-9.28 * cos_eye)) * peak + 0.0425 - 0.0275 * roughness
    scale = -1.04 * tail + 1.04 - 0.572 * roughness
    offset = 1.04 * tail - 0.04 + 0.022 * roughness
    return (specular * scale + _grazing(specular) * offset).clamp(0.0, 1.0)


def _grazing(specular: Tensor) -> Tensor:
    """Reflectance at grazing angles: less than 2 % head-on is no substance's, but stands for shadow (Karis 2014)."""
    return (50.0 * specular).clamp(max=1.0)


def _point(
    base: Tensor,
    roughness: Tensor,
    specular: Tensor,
    normal: Tensor,
    position: Tensor,
    to_eye: Tensor,
    cos_eye: Tensor,
    light: PointLight,
) -> Tensor:
    """Direct light of the point: GGX with the height-correlated Smith term (Heitz 2014) and Schlick's Fresnel."""
    offset = light.position.to(base) - position
    squared = _dot(offset, offset).clamp_min(1e-6)
    to_light = offset * squared.rsqrt()
    cos_light = _dot(normal, to_light).clamp(0.0, 1.0)
    half = normalize(to_light + to_eye, dim=-1)
    a2 = roughness**4
    distribution = a2 / (math.pi * (_dot(normal, half).clamp(0.0, 1.0) ** 2 * (a2 - 1.0) + 1.0) ** 2)
    visibility = 0.5 / (
        cos_light * (cos_eye**2 * (1.0 - a2) + a2).sqrt() + cos_eye * (cos_light**2 * (1.0 - a2) + a2).sqrt()
    )
    fresnel = (
        specular + (_grazing(specular) - specular).clamp_min(0.0) * (1.0 - _dot(to_eye, half).clamp(0.0, 1.0)) ** 5
    )
    # A white diffuse surface has radiance irradiance/pi; the light is given in those units.
    return light.intensity.to(base) / squared * cos_light * (base + math.pi * distribution * visibility * fresnel)


def _window(mirror: Tensor, roughness: Tensor, light: Tensor) -> Tensor:
    """Radiance (...,3) in mirror directions (...,3) of a light (9,3) that all comes from its brightest side: a Phong
    lobe as small as WINDOW, wider by the coat's (see `glossy_bands`)."""
    towards = normalize(light[[3, 1, 2]].mean(1), dim=0)
    a2 = roughness**4
    exponent = 1.0 / (1.0 / WINDOW + 2.0 * a2 / (1.0 - a2).clamp_min(1e-4))
    lobe = 2.0 * (exponent + 1.0) * (mirror @ towards)[..., None].clamp_min(0.0) ** exponent
    return lobe * light[0] * sh_basis(towards)[0]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


def diffuse_bands(like: Tensor) -> Tensor:
    """Cosine lobe over pi, by band: 1, 2/3, 1/4 (Ramamoorthi and Hanrahan 2001, equation 8, divided by pi)."""
    return like.new_tensor([1.0] + [2.0 / 3.0] * 3 + [0.25] * 5)


def glossy_bands(roughness: Tensor) -> Tensor:
    """Blur of the surround by the coat, (...,1) -> (...,9).

    Band l falls as exp(-l^2/(2s)) for a Phong lobe of exponent s (Ramamoorthi and Hanrahan 2002, "Frequency Space
    Environment Map Rendering"); s = (2/alpha^2 - 2)/4 is the exponent about the mirror direction that matches GGX.
    """
    a2 = roughness**4
    fall = torch.exp(-a2 / (1.0 - a2).clamp_min(1e-4))
    bands = fall.new_tensor([0.0] + [1.0] * 3 + [4.0] * 5)
    return fall**bands


def linear_to_srgb(linear: Tensor) -> Tensor:
    """Linear light to sRGB code values (IEC 61966-2-1), any shape; values below 0 stay on the straight part."""
    curve = 1.055 * linear.clamp_min(0.0031308) ** (1.0 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curve)


def srgb_to_linear(srgb: Tensor) -> Tensor:
    """sRGB code values to linear light (IEC 61966-2-1), any shape."""
    curve = ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= 0.04045, srgb / 12.92, curve)
