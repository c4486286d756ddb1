# SPDX-License-Identifier: GPL-3.0-or-later
"""Strain of a sheet whose motion is known by hand."""

import numpy as np

from idto3d.arrays import Array
from idto3d.mesh.strain import at_vertices, lengths, strain


def sheet(side: int = 5, tilt: float = 0.0) -> tuple[Array, Array]:
    """A square metre of quads halved, in the XY plane, or tilted about X by radians."""
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side)))
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    triangles = np.concatenate(
        [np.stack([corner, corner + 1, corner + side + 1], 1), np.stack([corner, corner + side + 1, corner + side], 1)]
    )
    return np.stack([x, y * np.cos(tilt), y * np.sin(tilt)], 1), triangles


def test_a_compressed_sheet() -> None:
    """0.8 times as wide and 1.1 times as high, on a slope, and turned and moved besides."""
    tilt = 0.7
    vertices, triangles = sheet(tilt=tilt)
    up = np.array([0, np.cos(tilt), np.sin(tilt)])
    moved = vertices * [0.8, 1.1, 1.1]
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    found = strain(vertices, moved @ turn.T + [3, 2, 1], triangles)
    expected = -0.2 * np.outer([1, 0, 0], [1, 0, 0]) + 0.1 * np.outer(up, up)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-9)
    np.testing.assert_allclose(at_vertices(found, vertices, triangles)[7], expected, atol=1e-9)


def test_shear_shortens_one_diagonal() -> None:
    """F = [[1, k], [0, 1]]: the stretches are √(1 + k²/4) ± k/2 (the golden ratio and its inverse for k = 1)."""
    vertices, triangles = sheet()
    moved = vertices + np.outer(vertices[:, 1], [1.0, 0, 0])
    values = np.linalg.eigvalsh(strain(vertices, moved, triangles))
    golden = (1 + np.sqrt(5)) / 2
    np.testing.assert_allclose(values, np.broadcast_to([1 / golden - 1, 0, golden - 1], values.shape), atol=1e-9)


def test_lengths_along_a_direction() -> None:
    vertices, triangles = sheet()
    offsets = np.stack([vertices * [-0.2, 0, 0], vertices * [0, 0.5, 0], np.zeros_like(vertices)])
    across = np.broadcast_to([1.0, 0, 0], (len(triangles), 3))
    expected = np.repeat([[0.8], [1.0], [1.0]], len(triangles), axis=1)
    np.testing.assert_allclose(lengths(vertices, offsets, triangles, across), expected)
    diagonal = np.broadcast_to(np.array([1.0, 1, 0]) / np.sqrt(2), (len(triangles), 3))
    np.testing.assert_allclose(lengths(vertices, offsets, triangles, diagonal)[0], np.sqrt((0.64 + 1) / 2))


def test_a_triangle_without_area_has_no_strain() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]])
    found = strain(vertices, 2 * vertices, np.array([[0, 1, 2], [0, 1, 3]]))
    assert not found[0].any() and np.allclose(np.linalg.eigvalsh(found[1]), [0, 1, 1])
