# SPDX-License-Identifier: GPL-3.0-or-later
"""Sheets of lashes turned up about a lid's rim, and how they go along with it."""

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from idto3d.arrays import Array
from idto3d.finish.lashes import sheets_of
from idto3d.headmodel import HeadModel
from idto3d.training.lash_curl import INNER, LIFT, _columns, _curled, _turned_along

COLUMNS, ROWS, PIECE = 11, 6, 0.0018


def straight() -> Array:
    """(COLUMNS,ROWS,3): lashes that point straight ahead, on a rim along x from the nose outwards."""
    x, z = np.meshgrid(np.linspace(0.018, 0.048, COLUMNS), PIECE * np.arange(ROWS), indexing="ij")
    return np.stack([x, np.zeros_like(x), z], 2)


def test_a_lash_goes_up_by_the_lift_at_its_root_and_at_its_tip() -> None:
    for side in (1.0, -1.0):
        new = _curled(straight() * [side, 1, 1])
        pieces = np.diff(new, axis=1)
        np.testing.assert_array_equal(new[:, 0], straight()[:, 0] * [side, 1, 1])
        steep = np.degrees(np.arctan2(pieces[..., 1], pieces[..., 2]))
        np.testing.assert_allclose(steep[:, 0], LIFT[0])
        np.testing.assert_allclose(steep[:, -1], LIFT[1])
        length = np.linalg.norm(pieces, axis=2) / PIECE
        np.testing.assert_allclose(length[0], INNER[0])  # short in the inner corner
        np.testing.assert_allclose(length[COLUMNS // 2 :], 1.0)


def test_a_sheet_turns_about_its_roots_as_the_old_one_did() -> None:
    old = straight()
    new, turn, shift = _curled(old), Rotation.from_euler("x", 40, degrees=True), np.array([0.0, -0.008, 0.001])
    moved = turn.apply(old.reshape(-1, 3)).reshape(old.shape) + shift - old
    expected = turn.apply(new.reshape(-1, 3)).reshape(new.shape) + shift - new
    np.testing.assert_allclose(_turned_along(old, new, moved), expected, atol=1e-12)


def test_upper_lashes_of_the_shipped_head_rise_over_their_roots(starter: HeadModel) -> None:
    skin = cKDTree(starter.neutral[starter.vertices_of("face", "back_head")])
    for sheet in sheets_of(starter):
        grid = starter.neutral[_columns(starter, sheet.quads, skin)]
        rises = np.median(grid[:, -1, 1] - grid[:, 0, 1])
        assert rises < 0 if sheet.lower else rises > 0.002
