# SPDX-License-Identifier: GPL-3.0-or-later
"""Attachment of points to a mesh: hand-computed nearest points, and fields carried to them."""

import numpy as np
import pytest

from idto3d.mesh.attach import ProximityQuery, closest_on_triangles

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
    surface = ProximityQuery(vertices, np.array([[0, 1, 2], [3, 4, 5]]))
    attached = surface.attach(np.array([[0.2, 0.2, 0.1], [0.2, 0.2, 0.8]]))
    np.testing.assert_allclose(attached.gap, [0.1, 0.2], rtol=1e-6)
    assert attached.corners.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_reader_reproduces_a_linear_field() -> None:
    reader = ProximityQuery(TRIANGLE, np.array([[0, 1, 2]])).attach(np.array([[0.3, 0.5, 0.4]])).reader(len(TRIANGLE))
    field = TRIANGLE @ np.array([[2.0, 1.0], [3.0, -1.0], [0.0, 0.0]])
    np.testing.assert_allclose(reader @ field, [[2 * 0.3 + 3 * 0.5, 0.3 - 0.5]], rtol=1e-6)
