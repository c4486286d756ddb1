# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of the sky skin sees, and the dark of cavities."""

import numpy as np

from idto3d.evidence.cavities import DEEPEST, darkened, light_in, sky
from idto3d.evidence.gather import material_texels
from idto3d.headmodel import HeadModel
from tests.tiny_head import tiny_head_model

NOSTRILS, CHEEKS, LIPS = (60, 290), (50, 280), (13, 14)


def test_a_ball_sees_all_of_its_sky() -> None:
    tiny = tiny_head_model(48, 32)
    seen = sky(tiny)
    assert np.median(seen[tiny.vertices_of("face")]) > 0.97
    assert (seen[tiny.vertices_of("sclera")] == 1).all(), "no skin"


def test_nostrils_are_dark_and_cheeks_and_lips_are_not(starter: HeadModel) -> None:
    seen, marks = sky(starter), starter.landmarks(starter.neutral)
    near = {k: np.linalg.norm(starter.neutral - marks[k], axis=1) < 0.007 for k in (*NOSTRILS, *CHEEKS)}
    assert all(seen[near[k] & starter.vertices_of("face")].min() < 0.05 for k in NOSTRILS)
    assert all(seen[near[k]].min() > 0.8 for k in CHEEKS)
    assert all(seen[starter.landmark_triangle[k]].min() > 0.3 for k in LIPS), "they open"


def test_where_no_light_gets_in_the_albedo_is_the_darkest(starter: HeadModel) -> None:
    at = material_texels(starter, next(m for m in starter.materials if m.name == "skin"), 256)
    light = light_in(starter, at)
    albedo = darkened(np.full((256, 256, 3), 0.5, np.float32), at.image(light, fill=1.0))
    darkest = at.of_image(albedo)[light == 0]
    np.testing.assert_allclose(darkest, np.broadcast_to(0.5 * np.array(DEEPEST), darkest.shape), rtol=1e-5)
    np.testing.assert_array_equal(at.of_image(albedo)[light == 1], 0.5)
    assert len(darkest) > 20 and (light == 1).mean() > 0.7
