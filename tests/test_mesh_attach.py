# SPDX-License-Identifier: GPL-3.0-or-later
"""Attachment of points to a mesh: hand-computed nearest points, and fields carried to them."""

import numpy as np
import pytest
import torch

from idto3d.mesh.attach import Surface, carry, closest_on_triangles

TRIANGLE = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize(
    ("point", "bary"),
    [
        ((0.25, 0.25, 0.7), (0.5, 0.25, 0.25)),  # above the inside
        ((-1, -1, 0), (1, 0, 0)),  # past a corner
        ((2, -0.5, 0), (0, 1, 0)),
        ((-0.3, 2, 0.1), (0, 0, 1)),
        ((0.5, -1, 0), (0.5, 0.5, 0)),  # past an edge
        ((-1, 0.25, 0), (0.75, 0, 0.25)),
        ((1, 1, 0), (0, 0.5, 0.5)),
    ],
)
def test_closest_on_triangle(point: tuple[float, ...], bary: tuple[float, ...]) -> None:
    a, b, c = (TRIANGLE[None, k] for k in range(3))
    np.testing.assert_allclose(closest_on_triangles(np.array([point]), a, b, c), [bary], atol=1e-12)


def test_attach_finds_the_nearest_triangle_and_gap() -> None:
    vertices = np.concatenate([TRIANGLE, TRIANGLE + [0, 0, 1]])
    surface = Surface(vertices, np.array([[0, 1, 2], [3, 4, 5]]))
    attached = surface.attach(np.array([[0.2, 0.2, 0.1], [0.2, 0.2, 0.8]]))
    assert attached.face.tolist() == [0, 1]
    torch.testing.assert_close(attached.gap, torch.tensor([0.1, 0.2]))


def test_carry_reproduces_a_linear_field() -> None:
    faces = np.array([[0, 1, 2]])
    attached = Surface(TRIANGLE, faces).attach(np.array([[0.3, 0.5, 0.4]]))
    field = torch.from_numpy(TRIANGLE @ np.array([[2.0, 1.0], [3.0, -1.0], [0.0, 0.0]])).float()
    expected = torch.tensor([[2 * 0.3 + 3 * 0.5, 0.3 - 0.5]])
    torch.testing.assert_close(carry(field, torch.from_numpy(faces), attached), expected)
    batched = carry(torch.stack([field, 2 * field]), torch.from_numpy(faces), attached)
    torch.testing.assert_close(batched[1], 2 * expected)
