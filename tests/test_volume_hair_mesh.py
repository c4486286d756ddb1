# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left of a mesh of hair when edges have been collapsed."""

import numpy as np

from idto3d.volume.hair_mesh import without_fins


def test_two_faces_back_to_back_go_with_their_tip() -> None:
    """Seen: a bundle was refused, as no face may be there twice. A tetrahedron, and a fin on one of its edges."""
    solid = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 2, 2]])
    kept, triangles = without_fins(vertices, np.concatenate([solid, [[0, 1, 4], [1, 0, 4]]]))
    np.testing.assert_array_equal(kept, vertices[:4])
    np.testing.assert_array_equal(triangles, solid)
