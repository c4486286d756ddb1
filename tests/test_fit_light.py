# SPDX-License-Identifier: GPL-3.0-or-later
"""A known light on a known shape is found, whatever grows or shines on the skin."""

import numpy as np
import pytest
import torch

from idto3d.arrays import Array
from idto3d.fit.light import FLOOR, fit_light, harmonics, shading
from idto3d.render.lights import sh_basis

ALBEDO = np.array([0.4, 0.22, 0.15])


def front(count: int = 3000) -> Array:
    """Normals of the half that a camera sees."""
    normals = np.random.default_rng(0).normal(size=(count, 3))
    normals[:, 2] = np.abs(normals[:, 2])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return normals[normals[:, 2] > 0.25]


def side_light(strength: float = 0.5) -> Array:
    """Warm light from the person's left and above, a bluish one from everywhere."""
    light = np.zeros((9, 3))
    light[0] = np.array([0.9, 1.0, 1.2]) / 0.28209479
    light[3] = strength * np.array([1.2, 1.0, 0.7]) / 0.48860251
    light[1] = 0.5 * light[3]
    return light


def test_the_basis_is_the_renderers() -> None:
    normals = front(50)
    np.testing.assert_allclose(harmonics(normals), sh_basis(torch.from_numpy(normals)).numpy(), atol=1e-7)


def error(light: Array, tone: Array, truth: Array, normals: Array) -> float:
    """Largest relative error of what the skin looks like, where it is not all but black."""
    found, wanted = tone * (harmonics(normals) @ light), ALBEDO * (harmonics(normals) @ truth)
    lit = wanted > 0.4 * wanted.mean(0)
    return float(np.abs(found / wanted - 1)[lit].max())


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.6])
def test_a_known_light_is_found(strength: float) -> None:
    normals, truth = front(), side_light(strength)
    colours = ALBEDO * (harmonics(normals) @ truth)
    tone, light = fit_light(colours, normals, np.ones(len(normals)))
    assert error(light, tone, truth, normals) < 0.06
    np.testing.assert_allclose(tone, np.median(colours, 0), rtol=0.1)


def test_even_light_is_even() -> None:
    normals = front()
    truth = np.zeros((9, 3))
    truth[0] = 1 / 0.28209479
    tone, light = fit_light(np.tile(ALBEDO, (len(normals), 1)), normals, np.ones(len(normals)))
    np.testing.assert_allclose(tone, ALBEDO)
    np.testing.assert_allclose(shading(light, normals), 1, atol=1e-6)


@pytest.mark.parametrize("what", ["beard", "highlights", "red lips"])
def test_outliers_do_not_move_it(what: str) -> None:
    normals, truth = front(), side_light()
    clean = ALBEDO * (harmonics(normals) @ truth)
    colours = clean.copy()
    there = {
        "beard": (normals[:, 1] < -0.35) & (normals[:, 2] > 0.5),
        "highlights": (normals[:, 0] > 0.3) & (normals[:, 1] > 0.5),
        "red lips": (np.abs(normals[:, 0]) < 0.2) & (normals[:, 1] < 0),
    }[what]
    assert 0.03 < there.mean() < 0.25
    colours[there] = {"beard": 0.02, "highlights": 1.0, "red lips": clean[there] * [1, 0.3, 0.3]}[what]
    ones = np.ones(len(normals))
    bad = fit_light(colours, normals, ones)
    # by a plain least squares fit the same outliers spoil it
    plain = np.linalg.lstsq(harmonics(normals), colours, rcond=None)[0]
    spoilt = np.abs(harmonics(normals) @ plain / clean - 1).max()
    rest = ~there
    found = bad[0] * (harmonics(normals) @ bad[1])
    assert np.abs(found / clean - 1)[rest].max() < 0.2
    assert np.abs(found / clean - 1).mean() < 0.05 < spoilt


def test_pixels_without_weight_have_no_say() -> None:
    normals, truth = front(), side_light()
    colours = ALBEDO * (harmonics(normals) @ truth)
    weights = np.where(normals[:, 0] < 0.2, 1.0, 0.0)
    spoilt = np.where(weights[:, None] > 0, colours, 0.9)
    for a, b in zip(fit_light(colours, normals, weights), fit_light(spoilt, normals, weights), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


def test_shading_never_reaches_zero() -> None:
    light = np.zeros((9, 3))
    light[0], light[2] = 1 / 0.28209479, 3 / 0.48860251
    away = np.array([[0.0, 0, -1]])
    np.testing.assert_allclose(shading(light, away), FLOOR)
    np.testing.assert_allclose(shading(light, -away), 4.0, rtol=1e-6)
