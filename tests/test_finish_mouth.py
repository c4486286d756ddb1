# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps of teeth, gums and tongue: painted from where things lie."""

import numpy as np

from idto3d.arrays import Array
from idto3d.finish.head import assemble
from idto3d.finish.mouth import SIZE, has_mouth_map, mouth_map
from idto3d.headmodel import HeadModel
from idto3d.mesh.texels import make_texels


def _texels(model: HeadModel, name: str) -> tuple[Array, Array, Array, Array]:
    """Places (N,3) and parts (N,) of a map's texels, what is painted there (N,5), whether they go with the jaw (N,)."""
    material = next(m for m in model.materials if m.name == name)
    rows = (model.material == model.materials.index(material))[model.triangle_quad]
    at = make_texels(model.uv, model.triangles_uv[rows], model.triangles[rows], SIZE)
    part = model.part[model.triangle_quad][rows][at.triangle]
    falls = at.at(model.motion(model.expression_vector({"jawOpen": 1.0})))[:, 1] < -0.005
    return at.at(model.neutral), part, at.of_image(mouth_map(model, material)), falls


def test_only_a_mouth_is_painted(starter: HeadModel) -> None:
    assert [m.name for m in starter.materials if has_mouth_map(starter, m)] == ["mouth", "teeth"]


def test_teeth_are_yellower_at_the_neck_and_darker_inside(starter: HeadModel) -> None:
    points, _, look, falls = _texels(starter, "teeth")
    assert 0 <= look.min() and look.max() <= 1
    front = (np.abs(points[:, 0]) < 0.004) & (points[:, 2] > points[:, 2].max() - 0.004)
    edge = points[front & ~falls, 1].min()
    upper = front & ~falls
    body = look[upper & (points[:, 1] > edge + 0.003) & (points[:, 1] < edge + 0.005), :3].mean(0)
    neck = look[upper & (points[:, 1] > edge + 0.009) & (points[:, 1] < edge + 0.011), :3].mean(0)
    assert neck[2] / neck[0] < body[2] / body[0] - 0.05 and neck[1] < body[1]
    assert 0.7 < body[1] < 0.85, "no paper white"
    back = points[:, 2] < points[:, 2].min() + 0.01
    assert look[back, 1].mean() < 0.6 * look[front, 1].mean()


def test_gums_are_pale_at_the_teeth_and_the_throat_is_dark(starter: HeadModel) -> None:
    points, part, look, _ = _texels(starter, "mouth")
    gums = part == starter.part_names.index("gums")
    teeth = starter.neutral[starter.vertices_of("teeth")]
    front = gums & (points[:, 2] > points[:, 2].max() - 0.01)
    near = np.linalg.norm(points[front][:, None] - teeth[None, ::7], axis=2).min(1) < 0.002
    assert look[front][near, 1].mean() > 1.15 * look[front][~near, 1].mean()
    throat = gums & (points[:, 2] < 0.04)
    assert look[throat, :3].max() < 0.35 and look[throat, 4].max() < 0.1, "neither bright nor shining"


def test_a_head_has_them(starter: HeadModel) -> None:
    head = assemble(starter, starter.neutral, {}, np.zeros(len(starter.neutral)), {}, None)
    material = next(m for m in starter.materials if m.name == "teeth")
    np.testing.assert_array_equal(head.maps["teeth"], mouth_map(starter, material))
    assert head.maps["skin"].shape[0] < SIZE
