# SPDX-License-Identifier: GPL-3.0-or-later
"""Cleaning of the decimated mesh."""

import numpy as np

from idto3d.head.finish import without_fins


def test_fins_and_collapsed_faces_go() -> None:
    faces = np.array([[0, 1, 2], [2, 3, 0], [4, 4, 5], [6, 7, 8], [8, 7, 6], [1, 2, 9]])
    assert without_fins(faces).tolist() == [[0, 1, 2], [2, 3, 0], [1, 2, 9]]


def test_a_sound_mesh_stays() -> None:
    tetrahedron = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    assert without_fins(tetrahedron).tolist() == tetrahedron.tolist()
