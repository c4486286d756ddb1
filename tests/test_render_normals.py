# SPDX-License-Identifier: GPL-3.0-or-later
"""Vertex normals and normal maps against a sphere's analytic ones."""

import math

import numpy as np
import torch
import trimesh
from torch import Tensor

from idto3d.render.cameras import Camera
from idto3d.render.normals import normal_map, vertex_normals


def sphere(subdivisions: int) -> tuple[Tensor, Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    return torch.tensor(np.array(mesh.vertices), dtype=torch.float32), torch.tensor(np.array(mesh.faces)).long()


def test_vertex_normals_of_a_small_sphere_point_outward() -> None:
    vertices, faces = sphere(4)
    normals = vertex_normals(vertices * 1e-3, faces)
    assert (normals * vertices).sum(1).min() > 0.999
    batch = vertex_normals(torch.stack([vertices, vertices * 2.0]), faces)
    torch.testing.assert_close(batch[1], normals, atol=1e-4, rtol=0)


def test_a_vertex_in_no_face_gets_zero_and_slivers_stay_finite() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [5.0, 5, 5], [2.0, 0, 0]], requires_grad=True)
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [0, 1, 4]]))
    assert normals[2].tolist() == [0.0, 0.0, 1.0]
    assert normals[3].tolist() == [0.0, 0.0, 0.0]
    normals.square().sum().backward()
    assert vertices.grad is not None and torch.isfinite(vertices.grad).all()


def test_normal_map_of_a_sphere_is_analytic() -> None:
    vertices, faces = sphere(5)
    radius, distance, fov, size = 0.12, 0.6, 32.0, 128
    target = (0.03, -0.02, 0.01)
    cams = [Camera(0.0, 0.0, distance, fov, target), Camera(130.0, 35.0, distance, fov, target)]
    image, mask = normal_map(vertices * radius + torch.tensor(target), faces, cams, size)
    assert image.shape == (2, size, size, 3) and mask.shape == (2, size, size, 1)

    # A sphere round the target looks alike from everywhere: intersect the pixel rays in camera space.
    span = (2.0 * torch.arange(size) + 1.0) / size - 1.0
    x, y = torch.meshgrid(span, -span, indexing="xy")
    tangent = math.tan(math.radians(fov / 2))
    ray = torch.nn.functional.normalize(torch.stack([x * tangent, y * tangent, -torch.ones_like(x)], -1), dim=-1)
    centre = torch.tensor([0.0, 0.0, -distance])
    along = ray @ centre
    discriminant = along**2 - distance**2 + radius**2
    hit = (along - discriminant.clamp_min(0.0).sqrt())[..., None] * ray
    expected = ((hit - centre) / radius + 1.0) / 2.0
    inside = (mask > 0.999)[..., 0] & (discriminant > 2e-4)
    assert inside[0].sum() > 4000
    for b in range(2):
        assert (image[b] - expected)[inside[b]].abs().max() < 0.01
    # x grows to the right, y upward; the middle faces the camera.
    assert image[0, 64, 90, 0] > 0.6 and image[0, 30, 64, 1] > 0.6
    torch.testing.assert_close(image[0, 64, 64], torch.tensor([0.5, 0.5, 1.0]), atol=0.02, rtol=0)


def test_background_is_black_and_the_outline_soft() -> None:
    vertices, faces = sphere(3)
    image, mask = normal_map(vertices * 0.1, faces, [Camera(10.0, 0.0, 0.5, 35.0)], 64)
    assert image[mask.expand_as(image) == 0].abs().max() == 0
    assert image.min() >= 0 and image.max() <= 1 and mask.min() == 0 and mask.max() == 1
    soft = (mask > 0.01) & (mask < 0.99)
    assert soft.sum() > 40


def test_normal_map_gradient_moves_the_surface() -> None:
    """The gradient of a loss against a dented sphere's picture points out of the dent."""
    vertices, faces = sphere(3)
    dent = 1.0 - 0.15 * torch.exp(-((vertices - torch.tensor([0.0, 0.0, 1.0])) ** 2).sum(1, keepdim=True) / 0.1)
    cams = [Camera(0.0, 0.0, 0.5, 30.0), Camera(40.0, 0.0, 0.5, 30.0)]
    goal, _ = normal_map(vertices * 0.1, faces, cams, 64)
    depth = torch.zeros((), requires_grad=True)
    image, _ = normal_map(vertices * 0.1 * (dent + depth * (1.0 - dent)), faces, cams, 64)
    (image - goal).square().sum().backward()
    assert depth.grad is not None and depth.grad < -0.1
