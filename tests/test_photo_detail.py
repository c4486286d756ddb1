# SPDX-License-Identifier: GPL-3.0-or-later
"""Laying a head over a photograph, and telling its light from its albedo, on cases with a known answer."""

import numpy as np
import pytest
import torch
from torch import Tensor

from idto3d.photo_detail import Overlay, blur, detail_of, fit_irradiance, fit_pose, warp_to
from idto3d.photos.faces import PORTRAIT_SIZE, Face
from idto3d.render.cameras import Camera, view_matrix
from idto3d.render.lights import lobe, sh_basis
from idto3d.render.shading import linear_to_srgb

# pupils, nose tip, mouth corners of a plausible head, metres
POINTS = np.array(
    [[-0.031, 0, 0.08], [0.031, 0, 0.08], [0, -0.035, 0.105], [-0.024, -0.068, 0.08], [0.024, -0.068, 0.08]]
)
KEYPOINTS = torch.tensor([[200.0, 240], [312, 240], [256, 310], [215, 356], [297, 356]])


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (25, 5), (-30, -10)])
def test_pose_is_recovered(azimuth: float, elevation: float) -> None:
    axes = view_matrix(Camera(azimuth, elevation, 1, 10))[:3, :3].numpy()
    local = POINTS @ axes.T
    keypoints = 1700 * local[:, :2] * [1, -1] + [250, 260]
    pose = fit_pose(POINTS, keypoints, azimuth + 6, elevation - 4)
    seen = pose.project(torch.from_numpy(POINTS))[0].numpy()
    assert np.abs(seen - keypoints).max() < 1.5  # of 116 pixels from eyes to mouth
    assert np.degrees(np.arccos(np.clip(pose.axes[2] @ axes[2], -1, 1))) < 4
    assert pose.scale == pytest.approx(1700, rel=0.05)


def test_pose_leans_on_the_nets_angles_where_the_points_say_little() -> None:
    flat = POINTS * [1, 1, 0]
    keypoints = 1700 * flat[:, :2] * [1, -1] + [250, 260]
    assert abs(np.degrees(np.arctan2(fit_pose(flat, keypoints, 0, 0).axes[2][0], 1))) < 2


def test_warp_brings_source_to_target() -> None:
    image = torch.zeros(64, 64, 1)
    image[20, 30] = 1.0
    moved = warp_to(image, torch.tensor([[30.0, 20.0]]), torch.tensor([[34.0, 25.0]]), reach=8.0)
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


def portrait_case(brow: float) -> tuple[Face, Overlay]:
    """A ball of even albedo under a light; the photograph's albedo is `brow` times as dark in a strip over one eye."""
    size = PORTRAIT_SIZE
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    x, y = xs / 0.9, -ys / 0.9
    inside = (x**2 + y**2 < 0.9).float()
    normal = torch.stack([x, y, (1 - x**2 - y**2).clamp(min=0.01).sqrt()], -1)
    albedo = torch.tensor([0.35, 0.25, 0.18]).expand(size, size, 3)
    seen = Overlay(albedo, normal, inside, torch.zeros(size, size))
    real = albedo.clone()
    real[198:212, 160:230] *= brow
    picture = linear_to_srgb((real * (sh_basis(normal) @ light())).clamp(0, 1)) * 255
    portrait = torch.cat([picture, torch.full((size, size, 1), 255.0)], -1).byte().numpy()
    # d such that the portrait is the head crop of these keypoints
    empty = np.zeros((1, 1, 3), np.uint8)
    return Face("ball", KEYPOINTS.double().numpy(), empty, empty, portrait, 0, 0, 9.0, ()), seen


def test_detail_is_what_the_lit_guess_does_not_explain() -> None:
    face, seen = portrait_case(brow=0.4)
    detail, weight = detail_of(face, KEYPOINTS, KEYPOINTS, seen)
    assert float(weight[205, 195]) > 0.5
    assert float(detail[205, 195].mean()) < -0.5  # ln 0.4 = -0.92, less what the blur takes away
    plain = weight > 0.5
    plain[180:230, 130:260] = False
    assert float(detail[plain].abs().mean()) < 0.03


def test_a_photograph_that_agrees_adds_nothing() -> None:
    face, seen = portrait_case(brow=1.0)
    detail, weight = detail_of(face, KEYPOINTS, KEYPOINTS, seen)
    assert float(detail[weight > 0.5].abs().max()) < 0.1


def test_nothing_is_taken_from_where_the_photo_has_ended() -> None:
    face, seen = portrait_case(brow=0.4)
    face.portrait[..., 3] = 0
    _, weight = detail_of(face, KEYPOINTS, KEYPOINTS, seen)
    assert float(weight.max()) == 0
