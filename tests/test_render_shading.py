# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits, energy and mutual agreement of the lights; the sRGB curve."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from idto3d.render.lights import EnvironmentLight, FlatLight, Light, PointLight, lobe, random_light, sh_basis
from idto3d.render.shading import coat_albedo, linear_to_srgb, shade, srgb_to_linear

UP = torch.tensor([0.0, 0.0, 1.0])


def directions(count: int) -> Tensor:
    """Evenly spread unit vectors (count,3) on a Fibonacci spiral."""
    i = torch.arange(count, dtype=torch.float64) + 0.5
    z, turn = 1.0 - 2.0 * i / count, math.pi * (1.0 + math.sqrt(5.0)) * i
    r = (1.0 - z * z).sqrt()
    return torch.stack([r * turn.cos(), r * turn.sin(), z], dim=1)


def at_angle(cosine: float) -> Tensor:
    return torch.tensor([math.sqrt(1.0 - cosine**2), 0.0, cosine], dtype=torch.float64)


def lit_by_far_points(
    albedo: float, roughness: float, specular: float, eye: Tensor, radiance: Tensor, w: Tensor
) -> Tensor:
    """Sum of distant point lights from directions w (N,3) with radiance (N,3), on a surface facing +z."""
    far = 1e3
    n = len(w)
    position = torch.zeros(n, 3, dtype=torch.float64)
    # Light i lights only row i: put the surface point at minus the light's place.
    moved = -far * w
    light = PointLight(torch.zeros(3), torch.full((3,), far**2), torch.zeros(3))
    one = torch.ones(n, 1, dtype=torch.float64)
    out = shade(
        albedo * one.expand(n, 3), roughness * one, specular * one, UP.double().expand(n, 3), position + moved,
        moved + eye, light,
    )  # fmt: skip
    # Intensity 1 is irradiance pi; a patch of solid angle 4 pi / n and radiance L gives irradiance L 4 pi / n.
    return (out * radiance * 4.0 / n).sum(0)


def test_flat_light_returns_the_albedo() -> None:
    albedo = torch.rand(5, 3)
    one = torch.ones(5, 1)
    assert shade(albedo, one, 0.04 * one, UP.expand(5, 3), torch.zeros(5, 3), UP, FlatLight()) is albedo


def test_spherical_harmonics_are_orthonormal() -> None:
    basis = sh_basis(directions(20000))
    torch.testing.assert_close(basis.T @ basis * (4 * math.pi / 20000), torch.eye(9).double(), atol=2e-4, rtol=0)


def test_lobe_is_the_zonal_function_it_says() -> None:
    axis = torch.nn.functional.normalize(torch.tensor([0.3, -0.5, 0.8]), dim=0)
    w = directions(100).float()
    c = w @ axis
    torch.testing.assert_close(sh_basis(w) @ lobe(axis, 0.6, 0.2), 1 + 0.6 * c + 0.2 * (1.5 * c * c - 0.5))


@pytest.mark.parametrize("roughness", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("cosine", [0.1, 0.6, 1.0])
def test_white_furnace(roughness: float, cosine: float) -> None:
    """A white surface in an even white surround is exactly white; a grey one is darker than white, never brighter."""
    eye, one = at_angle(cosine).float(), torch.ones(1, 1)
    even: list[Light] = [
        EnvironmentLight(lobe(UP, 0.0, 0.0)[:, None].expand(9, 3)),
        PointLight(torch.tensor([0.0, 0.0, 1.0]), torch.zeros(3), torch.ones(3)),
    ]
    for light in even:
        white = shade(torch.ones(1, 3), roughness * one, 0.04 * one, UP[None], torch.zeros(1, 3), eye, light)
        torch.testing.assert_close(white, torch.ones(1, 3), atol=1e-5, rtol=0)
        grey = shade(torch.full((1, 3), 0.5), roughness * one, 0.04 * one, UP[None], torch.zeros(1, 3), eye, light)
        assert (grey > 0.5).all() and (grey < 1.0).all()


@pytest.mark.parametrize("roughness", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("cosine", [0.2, 0.6, 1.0])
@pytest.mark.parametrize("specular", [0.04, 0.004])  # of a substance, and of one in the shadow
def test_point_light_keeps_energy_and_agrees_with_the_even_surround(
    roughness: float, cosine: float, specular: float
) -> None:
    w = directions(40000)
    everything = lit_by_far_points(1.0, roughness, specular, at_angle(cosine), torch.ones(1, 3).double(), w)
    assert float(everything[0]) == pytest.approx(1.0, abs=0.03)
    coat = lit_by_far_points(0.0, roughness, specular, at_angle(cosine), torch.ones(1, 3).double(), w)
    share = coat_albedo(torch.tensor([[cosine]]), torch.tensor([[roughness]]), torch.tensor([[specular]]))
    assert float(coat[0]) == pytest.approx(float(share), abs=0.03 if specular > 0.02 else 0.008)


def test_nothing_is_mirrored_where_specular_is_none() -> None:
    assert not coat_albedo(torch.tensor([0.0, 0.3, 1.0]), torch.tensor(0.4), torch.tensor(0.0)).any()


@pytest.mark.parametrize("roughness", [0.4, 0.7])
def test_environment_agrees_with_the_points_it_stands_for(roughness: float) -> None:
    axis = torch.nn.functional.normalize(torch.tensor([0.6, 0.2, 0.7], dtype=torch.float64), dim=0)
    coefficients = lobe(axis, 0.7, 0.25)[:, None].expand(9, 3)
    w, eye, one = directions(40000), at_angle(0.8), torch.ones(1, 1, dtype=torch.float64)
    summed = lit_by_far_points(0.5, roughness, 0.04, eye, sh_basis(w) @ coefficients, w)
    closed = shade(
        0.5 * one.expand(1, 3), roughness * one, 0.04 * one, UP.double()[None], torch.zeros(1, 3), eye,
        EnvironmentLight(coefficients),
    )  # fmt: skip
    torch.testing.assert_close(closed[0], summed, atol=0.02, rtol=0)


def test_a_mirror_shows_a_window_where_the_light_is_brightest_and_cloth_does_not() -> None:
    """A black ball seen from everywhere: normals half way between the eye and directions all around."""
    axis = torch.nn.functional.normalize(torch.tensor([0.6, 0.2, 0.7], dtype=torch.float64), dim=0)
    smooth = EnvironmentLight(lobe(axis, 0.7, 0.25)[:, None].expand(9, 3))
    w, eye = directions(20000), torch.tensor([[0.0, 0.0, 1e6]], dtype=torch.float64)
    normals = torch.nn.functional.normalize(w + torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), dim=1)

    def seen(roughness: float, window: float) -> Tensor:
        one = torch.ones(len(w), 1, dtype=torch.float64)
        light = replace(smooth, window=window)
        return shade(0 * w, roughness * one, 0.04 * one, normals, 0 * w, eye, light)[:, 0]

    reflected = coat_albedo(normals[:, 2:], torch.tensor(0.05), torch.tensor(0.04))[:, 0]
    mirror, fog = seen(0.05, 1.0) / reflected, seen(0.05, 0.0) / reflected
    assert mirror.max() > 10 * fog.max() and mirror.median() < 0.5 * fog.median()
    assert w[mirror.argmax()] @ axis > math.cos(math.radians(3))
    torch.testing.assert_close(seen(0.5, 1.0), seen(0.5, 0.0))
    even = EnvironmentLight(lobe(axis, 0.0, 0.0)[:, None].expand(9, 3), window=1.0)
    one = torch.ones(len(w), 1, dtype=torch.float64)
    assert shade(0 * w, 0.05 * one, 0.04 * one, normals, 0 * w, eye, even).isfinite().all()


def test_diffuse_point_light_by_hand() -> None:
    # No coat at a specular of 0 but for the grazing rim: seen and lit along the normal at 2 m, intensity 4 gives 1.
    one = torch.ones(1, 1)
    light = PointLight(torch.tensor([0.0, 0.0, 2.0]), torch.tensor([4.0, 2.0, 0.0]), torch.zeros(3))
    out = shade(torch.full((1, 3), 0.8), one, 0.0 * one, UP[None], torch.zeros(1, 3), UP, light)
    torch.testing.assert_close(out, torch.tensor([[0.8, 0.4, 0.0]]), atol=0.015, rtol=0)
    behind = PointLight(torch.tensor([0.0, 0.0, -2.0]), torch.full((3,), 4.0), torch.zeros(3))
    assert shade(torch.ones(1, 3), one, one, UP[None], torch.zeros(1, 3), UP, behind).abs().max() == 0


def test_gradients_are_finite_everywhere() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        light = random_light(generator)
        albedo, rough, specular = (torch.rand(64, c, generator=generator, requires_grad=True) for c in (3, 1, 1))
        normal = torch.nn.functional.normalize(torch.randn(64, 3, generator=generator), dim=-1)
        normal[:8] = 0.0  # empty pixels
        shade(albedo, rough, specular, normal.requires_grad_(), torch.zeros(64, 3), UP, light).sum().backward()
        assert albedo.grad is not None
        for tensor in (albedo, rough, specular, normal):
            assert tensor.grad is None or bool(torch.isfinite(tensor.grad).all())


def test_random_lights_keep_their_shares_and_ranges() -> None:
    generator = torch.Generator().manual_seed(1)
    lights = [random_light(generator) for _ in range(2000)]
    kinds = {kind: [light for light in lights if isinstance(light, kind)] for kind in (FlatLight, EnvironmentLight)}
    # Four standard deviations of a binomial share.
    for group, share in ((kinds[FlatLight], 0.4), (kinds[EnvironmentLight], 0.4)):
        assert abs(len(group) / 2000 - share) < 4 * math.sqrt(share * (1 - share) / 2000)
    w = directions(200).float()
    for light in kinds[EnvironmentLight][:200]:
        assert isinstance(light, EnvironmentLight)
        radiance = sh_basis(w) @ light.coefficients
        assert radiance.min() > 0.0
        assert 0.59 < float(radiance.mean()) < 1.41
        tint = radiance.mean(0) / radiance.mean()
        assert (tint - 1.0).abs().max() < 0.16
    again = random_light(torch.Generator().manual_seed(1))
    assert type(again) is type(lights[0])


def test_srgb_curve() -> None:
    code = torch.linspace(0.0, 1.0, 256)
    torch.testing.assert_close(linear_to_srgb(srgb_to_linear(code)), code, atol=1e-5, rtol=0)
    torch.testing.assert_close(srgb_to_linear(torch.tensor([0.5])), torch.tensor([0.21404]), atol=1e-5, rtol=0)
    start = torch.zeros(3, requires_grad=True)
    linear_to_srgb(start).sum().backward()
    assert start.grad is not None and start.grad.tolist() == pytest.approx([12.92] * 3)
