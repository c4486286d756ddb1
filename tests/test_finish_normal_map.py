# SPDX-License-Identifier: GPL-3.0-or-later
"""Relief that the skin's colours tell of."""

import numpy as np

from idto3d.finish.normal_map import skin_relief
from idto3d.mesh.texels import make_texels

S = 256
ROW = np.mgrid[:S, :S][0]


def test_dark_lines_are_grooves_and_up_is_green() -> None:
    corners = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    square = np.array([[0, 1, 2], [0, 2, 3]])
    vertices = np.c_[corners, np.zeros(4)] * 0.1  # 10 cm: texels of 0.4 mm
    at = make_texels(corners, square, square, S)
    albedo = np.full((S, S, 3), 0.6)
    albedo[128] *= 0.9  # a line across
    normal = skin_relief(albedo, at, vertices).astype(np.float64) / 255 * 2 - 1
    np.testing.assert_allclose(np.linalg.norm(normal, axis=2), 1, atol=0.02)
    # the upper bank of a groove falls towards the row below: its normal points down, the lower one's up
    assert normal[127, :, 1].mean() < -0.02 and normal[129, :, 1].mean() > 0.02
    assert np.abs(normal[..., 0]).mean() < 0.1 and normal[..., 2].min() > 0.8
    brow = albedo * np.where(ROW % 4 < 2, 0.2, 1.0)[..., None]
    assert np.abs(skin_relief(brow, at, vertices) / 127.5 - 1)[..., 1].mean() < 0.2  # hair is no range of mountains
