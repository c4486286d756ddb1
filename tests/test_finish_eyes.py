# SPDX-License-Identifier: GPL-3.0-or-later
"""The eye's normal map on a ball whose normals are known."""

import numpy as np
import pytest

from idto3d.finish.eye_relief import HOLLOW, iris_relief
from idto3d.headmodel.eyeballs import IRIS_RADIUS
from idto3d.mesh.texels import make_texels

RADIUS, BULGE = 0.012, 0.0003


def test_iris_is_a_hollow_disc_and_the_white_is_as_the_ball_is() -> None:
    """A half ball that faces +Z, laid flat as seen from the front: u runs to +X, v to +Y."""
    side = np.linspace(-0.95, 0.95, 81)
    x, y = (a.ravel() for a in np.meshgrid(side, side))
    inside = x**2 + y**2 < 0.9
    z = np.sqrt(np.maximum(1 - x**2 - y**2, 0.05))
    bulge = 1 + BULGE / RADIUS * np.exp(-((np.hypot(x, y) / 0.3) ** 2))
    vertices = RADIUS * bulge[:, None] * np.stack([x, y, z], 1) + [0.03, 0.0, 0.08]
    uv = np.stack([x, y], 1) / 2 + 0.5
    n = len(side)
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    triangles = np.concatenate([np.stack([corner, corner + 1, corner + n + 1], 1),
                                np.stack([corner, corner + n + 1, corner + n], 1)])  # fmt: skip
    triangles = triangles[inside[triangles].all(1)]
    size = 128
    relief = iris_relief(make_texels(uv, triangles, triangles, size), vertices).astype(float) / 255 * 2 - 1

    def at(px: float, py: float) -> np.ndarray:
        """The normal in the head's axes at a place of the flat picture."""
        normal = relief[round((1 - (py / 2 + 0.5)) * size), round((px / 2 + 0.5) * size)]
        height = np.sqrt(1 - px**2 - py**2)
        along = np.array([1, 0, -px / height]) / np.linalg.norm([1, 0, px / height])
        out = np.array([px, py, height])
        up = np.cross(out, along)
        return normal[0] * along + normal[1] * up + normal[2] * out

    assert at(0, 0)[2] > 0.995
    rim = np.sin(0.8 * IRIS_RADIUS / RADIUS)
    for px, py in ((rim, 0), (-rim, 0), (0, rim), (0, -rim)):
        normal = at(px, py)
        leaning = -(normal[0] * np.sign(px) + normal[1] * np.sign(py))
        assert leaning == pytest.approx(np.sin(0.8 * HOLLOW), abs=0.12), "towards the middle, not outwards as the ball"
    np.testing.assert_allclose(at(0.75, 0.1), [0.75, 0.1, np.sqrt(1 - 0.5725)], atol=0.08)
