# SPDX-License-Identifier: GPL-3.0-or-later
"""Which point of a surface each texel is, worked out by hand."""

import numpy as np
import pytest

from idto3d.mesh.surface import edges_of, uniform_laplacian, vertex_normals
from idto3d.mesh.texels import make_texels

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]])


@pytest.mark.parametrize("size", [1, 4, 7])
def test_texels_of_a_square_that_fills_its_map(size: int) -> None:
    texels = make_texels(SQUARE, TRIANGLES, TRIANGLES, size)
    np.testing.assert_array_equal(texels.index, np.arange(size * size))
    image = texels.image(texels.at(SQUARE))
    middles = (np.arange(size) + 0.5) / size
    np.testing.assert_allclose(image[..., 0], np.tile(middles, (size, 1)), atol=1e-6)  # u to the right
    np.testing.assert_allclose(image[..., 1], np.tile(1 - middles[:, None], (1, size)), atol=1e-6)  # v up, row 0 on top
    np.testing.assert_allclose(texels.weights.sum(1), 1, atol=1e-6)


def test_corners_are_the_meshs_not_the_uvs() -> None:
    texels = make_texels(SQUARE, TRIANGLES, TRIANGLES + 10, 4)
    assert set(texels.corners.ravel()) == {10, 11, 12, 13}
    values = np.zeros((14, 1))
    values[10:] = SQUARE[:, :1]
    np.testing.assert_allclose(texels.image(texels.at(values))[0, :, 0], [0.125, 0.375, 0.625, 0.875])


def test_the_mirrored_place() -> None:
    texels = make_texels(SQUARE, TRIANGLES, TRIANGLES, 4)
    other = np.array([1, 0, 3, 2])
    np.testing.assert_allclose(texels.at_mirrored(SQUARE, other), (1, 0) + texels.at(SQUARE) * (-1, 1), atol=1e-6)


def test_the_first_of_two_that_overlap_wins() -> None:
    texels = make_texels(SQUARE, np.concatenate([TRIANGLES, TRIANGLES]), np.arange(12).reshape(4, 3), 4)
    assert set(texels.triangle) == {0, 1}


def test_a_triangle_without_area_covers_nothing() -> None:
    assert len(make_texels(SQUARE, np.array([[0, 1, 1]]), np.array([[0, 1, 1]]), 4).index) == 0


def test_images_and_back_and_what_is_empty() -> None:
    """The left half of a map: its right half takes the colour of the edge."""
    texels = make_texels(SQUARE * [0.5, 1], TRIANGLES, TRIANGLES, 4)
    values = np.arange(8.0)
    image = texels.image(values, fill=-1.0)
    np.testing.assert_array_equal(image, [[0, 1, -1, -1], [2, 3, -1, -1], [4, 5, -1, -1], [6, 7, -1, -1]])
    np.testing.assert_array_equal(texels.of_image(image), values)
    np.testing.assert_array_equal(texels.padded(image), [[0, 1, 1, 1], [2, 3, 3, 3], [4, 5, 5, 5], [6, 7, 7, 7]])
    np.testing.assert_array_equal(texels.spread(values), texels.padded(image))
    assert (image == -1).sum() == 8  # as it was
    colours = texels.image(np.stack([values, -values], 1))
    assert colours.shape == (4, 4, 2) and texels.padded(colours)[3, 3].tolist() == [7, -7]


def test_normals_edges_and_laplacian_of_a_square() -> None:
    points = np.c_[SQUARE, np.zeros(4)]
    lonely = np.concatenate([points, [[5.0, 5, 5]]])
    normals = vertex_normals(lonely, TRIANGLES)
    np.testing.assert_allclose(normals[:4], [[0, 0, 1]] * 4)
    np.testing.assert_array_equal(normals[4], 0)
    np.testing.assert_array_equal(edges_of(TRIANGLES), [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]])
    laplacian = uniform_laplacian(TRIANGLES, 5).toarray()
    np.testing.assert_array_equal(np.diag(laplacian), [3, 2, 3, 2, 0])
    assert laplacian[0, 1] == laplacian[1, 0] == -1 and laplacian[1, 3] == 0
    np.testing.assert_array_equal(laplacian.sum(1), 0)
