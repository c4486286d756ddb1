# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers of colour joined without seams."""

import numpy as np
import pytest

from idto3d.evidence.blend import lay_over, smooth_within

SIZE = 256
BASE = np.full((SIZE, SIZE, 3), 0.2, np.float32)


def half() -> np.ndarray:
    weight = np.zeros((SIZE, SIZE), np.float32)
    weight[:, SIZE // 2 :] = 1.0
    return weight


def test_without_weight_nothing_changes_and_with_all_everything() -> None:
    picture = np.random.default_rng(0).uniform(0.1, 0.9, (SIZE, SIZE, 3)).astype(np.float32)
    layer = np.random.default_rng(1).uniform(0.1, 0.9, (SIZE, SIZE, 3)).astype(np.float32)
    np.testing.assert_allclose(lay_over(picture, layer, np.zeros((SIZE, SIZE))), picture, atol=1e-5)
    np.testing.assert_allclose(lay_over(picture, layer, np.ones((SIZE, SIZE))), layer, atol=1e-5)
    evenly = lay_over(picture, layer, np.full((SIZE, SIZE), 0.25))
    np.testing.assert_allclose(evenly, 0.75 * picture + 0.25 * layer, atol=1e-5)


def test_tone_crosses_a_seam_slowly_and_detail_at_once() -> None:
    y, x = np.mgrid[:SIZE, :SIZE]
    stripes = 0.05 * (-1.0) ** x[..., None]
    layer = (0.6 + stripes * np.ones(3)).astype(np.float32)
    out = lay_over(BASE, layer, half())
    row = out[SIZE // 2, :, 0]
    tone = (row[:-1] + row[1:]) / 2
    assert tone[0] == pytest.approx(0.2, abs=0.04) and tone[-1] == pytest.approx(0.6, abs=0.04)
    assert np.abs(np.diff(tone)).max() < 0.06  # of a step of 0.4
    detail = np.abs(np.diff(row))
    assert detail[: SIZE // 2 - 8].mean() < 0.02 and detail[SIZE // 2 + 8 :].mean() > 0.08


def test_colours_without_weight_do_not_leak() -> None:
    """What the layer holds where it has no say, such as black or a wall, is nobody's colour."""
    layer = np.where(half()[..., None] > 0, 0.3, 50.0).astype(np.float32)
    out = lay_over(BASE, layer, half())
    assert 0.15 < out.min() and out.max() < 0.35


def test_a_mean_within_a_mask_ignores_what_lies_outside() -> None:
    values = np.where(half() > 0, 0.7, 99.0).astype(np.float32)
    mean, weight = smooth_within(values, half(), 8.0)
    np.testing.assert_allclose(mean[:, SIZE // 2 + 8 :], 0.7, rtol=1e-4)
    np.testing.assert_allclose(mean[:, SIZE // 2 - 8], 0.7, rtol=1e-3)  # and reaches out of it
    assert weight[0, -1] > 0.95 and weight[0, 0] < 0.01
    colours, _ = smooth_within(np.stack([values] * 3, 2), half(), 8.0)
    np.testing.assert_allclose(colours[..., 1], mean, rtol=1e-5)
