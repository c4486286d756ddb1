# SPDX-License-Identifier: GPL-3.0-or-later
"""A square before the camera, textured and lit."""

import pytest
import torch
from torch import Tensor

from idto3d.render.cameras import make_camera
from idto3d.render.lights import EnvironmentLight, FlatLight, Light
from idto3d.render.skin import Covered, Textured, render_skin, sample_map

SQUARE = torch.tensor([[-0.1, -0.1, 0.0], [0.1, -0.1, 0.0], [0.1, 0.1, 0.0], [-0.1, 0.1, 0.0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
UV = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
CAMERA = make_camera(0.0, 0.0, 20.0, 0.4, (0, 0, 0))


def picture(maps: Tensor, light: Light, background: float = 0.0) -> Tensor:
    def channels(covered: Covered) -> Tensor:
        return sample_map(maps, covered(UV, FACES))

    return render_skin(SQUARE, FACES, channels, [CAMERA], 64, light, background)[0]


def test_flat_light_shows_the_albedo_the_right_way_up() -> None:
    maps = torch.full((1, 5, 2, 2), 0.5)
    maps[0, :3, 0] = torch.tensor([0.9, 0.2, 0.1])[:, None]  # row 0 of an image is its top, v = 1
    image = picture(maps, FlatLight(), background=0.25)
    torch.testing.assert_close(image[24, 32], torch.tensor([0.9, 0.2, 0.1]), atol=0.02, rtol=0)
    torch.testing.assert_close(image[40, 32], torch.tensor([0.5, 0.5, 0.5]), atol=0.02, rtol=0)
    torch.testing.assert_close(image[0, 0], torch.full((3,), 0.25))


def test_more_light_is_brighter_and_gradients_reach_the_maps() -> None:
    maps = torch.full((1, 5, 4, 4), 0.4).requires_grad_()
    dim, bright = (picture(maps, EnvironmentLight(torch.eye(9)[:, :1] * s * torch.ones(1, 3))) for s in (1.0, 2.5))
    assert float((bright - dim).detach()[32, 32].sum()) > 0.1
    bright.sum().backward()
    assert maps.grad is not None and float(maps.grad[0, :3].abs().sum()) > 0


def test_faces_take_their_looks_from_their_own_maps() -> None:
    """The lower triangle shows one map, the upper one another of another size; gradients keep apart."""
    red = torch.tensor([0.9, 0.1, 0.1, 0.5, 0.5]).expand(1, 1, 5)
    green = torch.tensor([0.1, 0.8, 0.1, 0.5, 0.5]).repeat(4, 4, 1).requires_grad_()
    mesh = Textured(FACES, UV, FACES, torch.tensor([1, 0]))
    image = render_skin(SQUARE, FACES, mesh.channels([red, green]), [CAMERA], 64, FlatLight())[0]
    torch.testing.assert_close(image[26, 20], red[0, 0, :3], atol=1e-4, rtol=0)
    torch.testing.assert_close(image[38, 44], green[0, 0, :3].detach(), atol=1e-4, rtol=0)
    image[38, 44].sum().backward()
    assert green.grad is not None and float(green.grad[..., :3].sum()) == pytest.approx(3.0, abs=1e-4)
