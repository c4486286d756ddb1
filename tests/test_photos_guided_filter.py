# SPDX-License-Identifier: GPL-3.0-or-later
"""The guided filter, on pictures whose answer is plain."""

import numpy as np
import pytest

from idto3d.photos.guided_filter import guided_filter, guided_upsample


def test_guided_filter_moves_the_border_to_the_edge() -> None:
    guide = np.full((64, 64, 3), (0.1, 0.2, 0.5), np.float32)
    guide[:, 32:] = (0.8, 0.6, 0.4)
    rough = np.zeros((64, 64), np.float32)
    rough[:, 30:] = 1.0  # two pixels off
    slope, offset = guided_filter(guide, rough, 6, 1e-4)
    refined = (slope * guide).sum(-1) + offset
    assert refined[32, 30:32].max() < 0.45 and refined[32, 32:34].min() > 0.9
    assert refined[32, 8] == pytest.approx(0, abs=1e-3) and refined[32, 56] == pytest.approx(1, abs=1e-3)


def test_guided_filter_of_an_even_guide_is_a_blur() -> None:
    guide = np.full((32, 32, 3), 0.5, np.float32)
    step = np.zeros((32, 32), np.float32)
    step[:, 16:] = 1.0
    slope, offset = guided_filter(guide, step, 2, 1e-4)
    np.testing.assert_allclose(slope, 0, atol=1e-3)
    # Twice a mean over five columns.
    np.testing.assert_allclose(offset[16, 11:21], np.array([0, 1, 3, 6, 10, 15, 19, 22, 24, 25]) / 25, atol=1e-3)


def test_a_guided_filter_keeps_an_edge_of_the_guide_and_levels_what_is_even() -> None:
    guide = np.zeros((40, 40, 3), np.uint8)
    guide[:, 20:] = 200
    rough = (guide[..., 0] > 0).astype(np.float32)
    rough[np.random.default_rng(0).random(rough.shape) < 0.1] = 0.5
    fine = guided_upsample(guide, np.repeat(np.repeat(guide, 2, 0), 2, 1), rough, 3, 1e-4)
    assert fine.shape == (80, 80)
    assert fine[10:70, 10:38].max() < 0.2 and fine[10:70, 42:70].min() > 0.8
