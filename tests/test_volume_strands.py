# SPDX-License-Identifier: GPL-3.0-or-later
"""Straight hair is told from curls, and its locks run down from the crown."""

from __future__ import annotations

import cv2
import numpy as np

from idto3d.volume.hood import Hood
from idto3d.volume.strands import curliness, relief, uneven_tips

HOOD = Hood(np.zeros(3), 0.09, 0.3)
WHOLE = np.ones((256, 256), np.float32)


def shades(noise: np.ndarray) -> np.ndarray:
    scaled = 128 + 60 * noise / noise.std()
    return np.repeat(scaled.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def test_strands_that_run_alike_are_straight_and_specks_curl() -> None:
    noise = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    straight = shades(cv2.GaussianBlur(noise, (5, 61), 0.8, None, 15.0))
    curled = shades(cv2.GaussianBlur(noise, (0, 0), 1.5))
    assert curliness(straight, WHOLE, 1000.0) == 0.0
    assert curliness(curled, WHOLE, 1000.0) > 0.8


def test_nothing_is_told_of_even_colour_or_without_hair() -> None:
    assert curliness(np.full((256, 256, 3), 90, np.uint8), WHOLE, 1000.0) == 0.0
    assert curliness(shades(np.random.default_rng(0).normal(size=(256, 256))), 0 * WHOLE, 1000.0) == 0.0


def test_locks_change_fast_around_the_head_and_slowly_down() -> None:
    turn = np.linspace(-np.pi, np.pi, 400, endpoint=False)
    down = np.linspace(0.1, 0.25, 400)

    def changes(curl: float, a: np.ndarray, b: np.ndarray) -> float:
        column, row = HOOD.place(a, b)
        line = cv2.remap(relief(HOOD, curl).astype(np.float32), column[None], row[None], cv2.INTER_LINEAR)[0]
        return float(np.abs(np.diff(line)).sum() / np.hypot(np.diff(column), np.diff(row)).sum())

    around, along = (turn, np.full(400, 0.14)), (np.full(400, 0.4), down)
    assert changes(0.0, *around) > 2.0 * changes(0.0, *along)
    assert changes(1.0, *around) < 1.6 * changes(1.0, *along)
    assert abs(relief(HOOD, 0.5)).max() < 0.01 and abs(uneven_tips(HOOD)).max() < 0.03
