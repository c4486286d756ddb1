# SPDX-License-Identifier: GPL-3.0-or-later
"""Laying a head over a photograph, and telling its light from its albedo, on cases with a known answer."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from idto3d.likeness.detail import detail_of
from idto3d.likeness.overlay import Overlay, Texels, View, blur, fit_irradiance, warp_to
from idto3d.photos.faces import PORTRAIT_SIZE
from idto3d.render.lights import lobe, sh_basis
from idto3d.render.shading import linear_to_srgb

KEYPOINTS = torch.tensor([[200.0, 240], [312, 240], [256, 310], [215, 356], [297, 356]])


def test_warp_brings_source_to_target() -> None:
    image = torch.zeros(64, 64, 1)
    image[20, 30] = 1.0
    source, target = torch.tensor([[30.0, 20.0], [0.0, 63.0]]), torch.tensor([[34.0, 25.0], [0.0, 63.0]])
    moved = warp_to(image, source, target, torch.ones(2), reach=8.0)
    y, x = divmod(int(moved[..., 0].argmax()), 64)
    assert abs(x - 34) <= 1 and abs(y - 25) <= 1


def test_blur_keeps_a_constant_and_the_sum() -> None:
    torch.testing.assert_close(blur(torch.full((40, 40, 2), 0.3), 3.0), torch.full((40, 40, 2), 0.3))
    dot = torch.zeros(41, 41, 1)
    dot[20, 20] = 1
    assert float(blur(dot, 3.0).sum()) == pytest.approx(1.0, abs=1e-4)


def light() -> Tensor:
    return (0.25 * lobe(torch.nn.functional.normalize(torch.tensor([0.6, 0.5, 0.7]), dim=0), 0.9, 0.3))[:, None].expand(
        -1, 3
    )


def test_irradiance_is_recovered_through_outliers() -> None:
    g = torch.Generator().manual_seed(0)
    normal = torch.nn.functional.normalize(torch.randn((4000, 3), generator=g) + torch.tensor([0, 0, 1.5]), dim=1)
    albedo = 0.2 + 0.3 * torch.rand((4000, 3), generator=g)
    photo = albedo * (sh_basis(normal) @ light())
    photo[::8] *= 3.0  # highlights
    got = sh_basis(normal) @ fit_irradiance(photo, albedo, normal, torch.ones(4000))
    wanted = sh_basis(normal) @ light()
    assert float(((got - wanted).abs() / wanted).median()) < 0.05


def portrait_case(brow: float = 1.0, hair: float = 1.0, iris: float = 1.0, unit: float = 90.0) -> View:
    """A ball of even albedo under a light. In the photograph a strip over one eye is `brow` times as dark, its upper
    end, where hair is guessed, `hair` times, and a spot, where an iris is guessed, `iris` times."""
    size = PORTRAIT_SIZE
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    x, y = xs / 0.9, -ys / 0.9
    inside = (x**2 + y**2 < 0.9).float()
    normal = torch.stack([x, y, (1 - x**2 - y**2).clamp(min=0.01).sqrt()], -1)
    albedo = torch.tensor([0.35, 0.25, 0.18]).expand(size, size, 3)
    top, spot = (ys < -0.6) & (inside > 0), (xs.abs() < 0.03) & ((ys + 0.06).abs() < 0.03)
    gaze = torch.where(spot, 0.3, torch.pi)
    skin = inside * ~top * ~spot
    seen = Overlay(albedo, normal, skin, top.float(), gaze, torch.zeros(size, size), torch.zeros(size, size))
    real = albedo.clone()
    real[198:212, 160:230] *= brow
    real[top] *= hair
    real[spot] *= iris
    picture = linear_to_srgb((real * (sh_basis(normal) @ light())).clamp(0, 1))
    nowhere = Texels(torch.zeros(1, 2), torch.ones(1))
    return View(torch.cat([picture, torch.ones(size, size, 1)], -1), KEYPOINTS, unit, seen, nowhere, nowhere)


def test_detail_is_what_the_lit_guess_does_not_explain() -> None:
    detail = detail_of(portrait_case(brow=0.4))
    assert float(detail.weight[205, 195]) > 0.5
    assert float(detail.albedo[205, 195].mean()) < -0.5  # ln 0.4 = -0.92, less what the blur takes away
    plain = detail.weight > 0.5
    plain[180:230, 130:260] = False
    assert float(detail.albedo[plain].abs().mean()) < 0.03


def test_a_brow_has_no_halo() -> None:
    detail = detail_of(portrait_case(brow=0.4))
    around = torch.zeros(PORTRAIT_SIZE, PORTRAIT_SIZE, dtype=torch.bool)
    around[214:220, 165:225] = True  # right below the strip, where the band of features reaches
    around &= detail.weight > 0.3
    assert int(around.sum()) > 100
    assert float(detail.albedo[around].mean()) < 0.04  # measured against an average with the brow in it: 0.13


def test_a_fringe_over_the_forehead_is_not_painted_on() -> None:
    view = portrait_case()
    view.picture[176:194, :, :3] *= 0.5  # hair that the guess does not have there
    assert float(detail_of(view).weight[184, 220:290].mean()) < 0.2


def test_a_photograph_that_agrees_adds_nothing() -> None:
    detail = detail_of(portrait_case())
    assert float(detail.albedo[detail.weight > 0.5].abs().max()) < 0.1
    assert float(detail.hair[0].abs().max()) < 0.1 and float(detail.iris[0].abs().max()) < 0.1


def test_lines_of_an_expression_are_not_the_persons_own() -> None:
    view = portrait_case(brow=0.4)
    smiling = replace(view.seen, moved=torch.full_like(view.seen.moved, 0.008))
    assert float(detail_of(replace(view, seen=smiling)).weight[205, 195]) < 0.05


def test_colours_of_hair_and_iris_are_measured() -> None:
    detail = detail_of(portrait_case(hair=0.5, iris=2.0))
    torch.testing.assert_close(detail.hair[0], torch.full((3,), math.log(0.5)), atol=0.15, rtol=0)
    torch.testing.assert_close(detail.iris[0], torch.full((3,), math.log(2.0)), atol=0.15, rtol=0)
    assert detail.iris[1] == 1.0
    assert detail_of(portrait_case(iris=2.0, unit=25.0)).iris[1] == 0.0  # a smudge in so small a picture


def test_a_picture_in_black_and_white_changes_no_hue() -> None:
    view = portrait_case(hair=0.5)
    view.picture[..., :3] = view.picture[..., :3].mean(-1, keepdim=True)
    detail = detail_of(view)
    assert float(detail.hair[0].max() - detail.hair[0].min()) < 1e-5
    torch.testing.assert_close(detail.hair[0][0], torch.tensor(math.log(0.5)), atol=0.2, rtol=0)


def test_nothing_is_taken_from_where_the_photo_has_ended() -> None:
    view = portrait_case(brow=0.4)
    view.picture[..., 3] = 0
    assert float(detail_of(view).weight.max()) == 0
