# SPDX-License-Identifier: GPL-3.0-or-later
"""The made-up head that other tests lean on is a head model in every respect that they may ask for."""

from pathlib import Path

import numpy as np
import pytest

from idto3d.headmodel import HeadModel, load_head_model, save_head_model
from tests.tiny_head import EXPRESSION_NAMES, tiny_head_model


@pytest.mark.parametrize(("columns", "rows", "eyes"), [(24, 16, True), (32, 20, False), (16, 9, True)])
def test_it_is_whole(columns: int, rows: int, eyes: bool, tmp_path: Path) -> None:
    model = tiny_head_model(columns, rows, eyes=eyes)
    save_head_model(model, tmp_path / "head.safetensors")
    again = load_head_model(tmp_path / "head.safetensors")
    np.testing.assert_allclose(again.expression, model.expression, atol=2e-5)
    balls = 2 * (8 * 5 + 2) if eyes else 0
    assert len(model.neutral) == (rows - 1) * columns + 2 + balls
    points = model.neutral[model.triangles].astype(np.float64)
    directed = np.concatenate([model.triangles[:, [0, 1]], model.triangles[:, [1, 2]], model.triangles[:, [2, 0]]])
    pairs = {(int(a), int(b)) for a, b in directed}
    assert len(pairs) == len(directed) and all((b, a) in pairs for a, b in pairs)  # closed, wound alike
    volume = (np.cross(points[:, 1], points[:, 2]) * points[:, 0]).sum(1) / 6
    skin = model.faces_of("face", "back_head")[model.triangle_quad]
    assert volume[skin].sum() == pytest.approx(4 / 3 * np.pi * 0.075 * 0.11 * 0.095, rel=0.1)
    if eyes:
        assert volume[~skin].sum() > 0
    assert model.uv.min() >= 0 and model.uv.max() <= 1
    corners = model.uv[model.triangles_uv]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    assert (area[skin] > 0).all()  # in the UV as seen from outside


def test_it_has_two_sides_alike() -> None:
    model = tiny_head_model()
    flip = np.array([-1, 1, 1], np.float32)
    np.testing.assert_allclose(model.neutral[model.mirror] * flip, model.neutral, atol=1e-6)
    np.testing.assert_array_equal(model.mirror[model.mirror], np.arange(len(model.neutral)))
    index = {name: n for n, name in enumerate(EXPRESSION_NAMES)}
    left, right = model.expression[index["mouthSmile_L"]], model.expression[index["mouthSmile_R"]]
    np.testing.assert_allclose(right[model.mirror] * flip, left, atol=1e-6)
    jaw = model.expression[index["jawOpen"]]
    np.testing.assert_allclose(jaw[model.mirror] * flip, jaw, atol=1e-6)
    assert np.abs(jaw).max() > 0.008 and np.abs(jaw[model.rigid == 1]).max() < 1e-3


def places(model: HeadModel) -> np.ndarray:
    return (model.neutral[model.landmark_triangle] * model.landmark_barycentric[..., None]).sum(1)


def test_landmarks_lie_where_they_are_named() -> None:
    at = places(tiny_head_model())
    assert at[263, 0] > 0.03 and at[33, 0] < -0.03  # outer corners of the eyes, the person's left and right
    assert at[10, 1] > at[168, 1] > at[1, 1] > at[0, 1] > at[17, 1] > at[152, 1]
    assert at[1, 2] == at[:468, 2].max()  # the tip of the nose
    assert at[473, 0] > 0.015 and at[468, 0] < -0.015
    assert (at[468:, 2] > 0.06).all()
    assert len(np.unique(at.round(6), axis=0)) > 470
