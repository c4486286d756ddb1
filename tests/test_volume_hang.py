# SPDX-License-Identifier: GPL-3.0-or-later
"""How hair goes with an expression: a flat forehead, whose normal is +Z."""

import numpy as np

from idto3d.volume.hang import CLEAR, hung

ROWS, COLUMNS = np.mgrid[:11, :11]
SKIN = np.stack([COLUMNS.ravel(), ROWS.ravel(), 0 * ROWS.ravel()], 1) * 0.004
CELLS = (ROWS * 11 + COLUMNS)[:10, :10].ravel()
TRIANGLES = np.concatenate([CELLS[:, None] + [0, 1, 12], CELLS[:, None] + [0, 12, 11]])
UP, OUT = np.array([0.0, 0.004, 0.0]), np.array([0.0, 0.0, 0.002])


def moved(height: float, away: float, offset: np.ndarray) -> np.ndarray:
    """Motion of hair over the middle of skin that moves by offset (3,)."""
    hair, every = np.array([[0.02, 0.02, height]]), np.broadcast_to(offset, SKIN.shape)
    return next(hung(hair, np.array([away]), (SKIN, TRIANGLES), [(every, offset[None])]))[0]


def test_short_hair_goes_with_its_scalp_and_a_fringe_stays() -> None:
    np.testing.assert_allclose(moved(0.004, 0.004, UP), UP, atol=1e-9)
    np.testing.assert_allclose(moved(0.004, 0.03, UP), 0.0, atol=1e-9)
    np.testing.assert_allclose(moved(0.02, 0.01, UP), UP / 2, atol=1e-9)


def test_rising_skin_lifts_what_it_would_come_through() -> None:
    """To as much over it as before, but no more than CLEAR; what is farther off stays."""
    np.testing.assert_allclose(moved(0.001, 0.03, OUT), OUT, atol=1e-7)
    np.testing.assert_allclose(moved(0.004, 0.03, OUT), [0, 0, CLEAR + OUT[2] - 0.004], atol=1e-7)
    np.testing.assert_allclose(moved(0.006, 0.03, OUT), 0.0, atol=1e-9)


def test_skin_that_stays_moves_nothing() -> None:
    np.testing.assert_allclose(moved(0.001, 0.03, 0 * OUT), 0.0, atol=0)


def test_hair_beside_the_skin_is_not_thrown_about() -> None:
    """Of a forehead that turns up, hair below its edge is lifted by no more than the edge moves."""
    hair = np.array([[0.02, -0.015, 0.0]])
    turned = SKIN[:, 1:2] * np.array([0.0, 0.0, 1.0]) + [0.0, 0.0, 0.001]
    found = next(hung(hair, np.array([0.03]), (SKIN, TRIANGLES), [(turned, 0 * hair)]))[0]
    assert np.linalg.norm(found) < 0.0011
