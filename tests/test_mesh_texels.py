# SPDX-License-Identifier: GPL-3.0-or-later
"""Which point of the surface each texel is, on a map that can be counted by hand."""

import numpy as np

from idto3d.mesh.texels import make_texels

UV = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
LOWER = np.array([[0, 1, 2]])  # the half of the map below the diagonal that goes down to the right


def test_texels_are_centres_in_barycentric_coordinates() -> None:
    texels = make_texels(UV, LOWER, np.array([[7, 8, 9]]), 2)
    assert texels.index.tolist() == [0, 2, 3]  # the centre of texel 1 lies beyond the diagonal; those on it are in
    assert texels.triangle.tolist() == [0, 0, 0] and texels.corners.tolist() == [[7, 8, 9]] * 3
    np.testing.assert_allclose(texels.weights, [[0.0, 0.25, 0.75], [0.5, 0.25, 0.25], [0.0, 0.75, 0.25]], atol=1e-7)
    places = np.zeros((10, 2))
    places[7:] = UV[:3]
    np.testing.assert_allclose(texels.at(places), [[0.25, 0.75], [0.25, 0.25], [0.75, 0.25]], atol=1e-6)


def test_the_first_of_two_triangles_wins() -> None:
    twice = np.array([[0, 1, 3], [0, 1, 2]])
    texels = make_texels(UV, twice, twice, 4)
    first = make_texels(UV, twice[:1], twice[:1], 4)
    assert set(texels.index[texels.triangle == 0]) == set(first.index) and (texels.triangle == 1).any()


def test_empty_texels_take_the_nearest_covered_ones_value() -> None:
    texels = make_texels(0.5 * UV, LOWER, LOWER, 4)  # in the lower left quarter of the map
    assert texels.index.tolist() == [8, 12, 13]
    values = np.array([[1.0], [2.0], [3.0]])
    spread = texels.spread(values)
    np.testing.assert_array_equal(spread[:3, 0, 0], [1, 1, 1])
    np.testing.assert_array_equal(spread[3, :, 0], [2, 3, 3, 3])
    given = texels.image(values, fill=-1)
    np.testing.assert_array_equal(texels.padded(given), spread)
    assert (given == -1).sum() == 13  # as it was
