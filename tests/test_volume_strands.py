# SPDX-License-Identifier: GPL-3.0-or-later
"""Straight hair is told from curls, patterns run with the strands, and the plan runs down from whorl or parting."""

import cv2
import numpy as np
import pytest

from idto3d.volume.flow import plan_flow
from idto3d.volume.hood import PIXEL, Hood
from idto3d.volume.ribbons import OVER, Cover, continued, ribbons
from idto3d.volume.strands import directions, on_disk, strand_pattern

HOOD = Hood(np.zeros(3), 0.09, 0.3)
WHOLE = np.ones((256, 256), np.float32)


def shades(noise: np.ndarray) -> np.ndarray:
    scaled = 128 + 60 * noise / noise.std()
    return np.repeat(scaled.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


@pytest.mark.parametrize(("upright", "cosine"), [(True, -1.0), (False, 1.0)])
def test_strands_that_run_alike_are_straight_and_specks_curl(upright: bool, cosine: float) -> None:
    noise = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    sigma = (0.8, 15.0) if upright else (15.0, 0.8)
    lines, straight = directions(shades(cv2.GaussianBlur(noise, (0, 0), sigma[0], sigmaY=sigma[1])), WHOLE, 1000.0)
    assert straight == 0.0
    twice = lines[len(lines) // 2, len(lines) // 2]
    np.testing.assert_allclose(twice / np.hypot(*twice), [cosine, 0.0], atol=0.15)
    assert directions(shades(cv2.GaussianBlur(noise, (0, 0), 1.5)), WHOLE, 1000.0)[1] > 0.8


def test_nothing_is_told_of_even_colour_or_without_hair() -> None:
    for picture, mask in ((np.full((256, 256, 3), 90, np.uint8), WHOLE), (shades(np.eye(256)), 0 * WHOLE)):
        lines, curl = directions(picture, mask, 1000.0)
        assert curl == 0.0 and np.abs(lines).max() < 1e-3


def test_a_pattern_changes_slowly_along_the_strands() -> None:
    flow = np.zeros((HOOD.side, HOOD.side, 2), np.float32)
    flow[..., 0] = 1.0
    pattern = strand_pattern(HOOD, flow, 0.0, 256, 0.004)
    along, across = (np.abs(np.diff(pattern, axis=axis)).mean() for axis in (1, 0))
    assert abs(pattern.mean()) < 1e-3 and abs(pattern.std() - 1) < 1e-3 and across > 4 * along
    curled = strand_pattern(HOOD, flow, 1.0, 256, 0.004)
    assert np.abs(np.diff(curled, axis=1)).mean() > 2 * along


def test_strands_run_down_from_the_whorl_and_back_from_a_free_forehead() -> None:
    middle, ahead = HOOD.side // 2, int(0.06 / PIXEL)
    over_forehead = middle + ahead, middle
    assert plan_flow(HOOD, 0.1, 1.0)[over_forehead][1] > 0.9
    combed = plan_flow(HOOD, 0.1, 0.0)
    assert combed[middle + ahead, middle + 3][0] > 0.5 and combed[middle + ahead, middle - 3][0] < -0.5
    low = combed[middle, middle + int(0.2 / PIXEL)]
    np.testing.assert_allclose(low, [1.0, 0.0], atol=0.05)


def test_ribbons_lie_on_hair_and_end_at_its_border() -> None:
    turn, down = HOOD.map_coordinates()
    skin, border = np.full(down.shape, 0.09, np.float32), (0.12 - down).astype(np.float32)
    radius = continued(np.where(border > 0, 0.11, 0.0), border > 0).astype(np.float32)
    np.testing.assert_allclose(radius[np.abs(border) < 0.02], 0.11, atol=1e-3)
    cover = Cover(HOOD, radius, skin, border, plan_flow(HOOD, 0.1, 1.0), 0.0)
    ways = np.random.default_rng(1).uniform([-3.0, 0.03, 0.11], [3.0, 0.12, 0.11], (200, 3)).T
    vertices, triangles, places = ribbons(cover, HOOD.point(*ways), 0.01)
    assert len(places) == len(vertices) == triangles.max() + 1
    _, low, high = HOOD.coordinates(vertices)
    assert low.max() < 0.12 + OVER + 0.02 and 0.105 < high.min() and high.max() < 0.125
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    assert ((np.cross(b - a, c - a) * a).sum(1) > 0).mean() > 0.95, "they face outwards"
    assert np.hypot(*(places - HOOD.side // 2).T).max() * PIXEL < 0.112
    none = ribbons(cover, HOOD.point(*ways) + [0.0, -0.5, 0.0], 0.01)
    assert [a.shape for a in none] == [(0, 3), (0, 3), (0, 2)]


def test_ribbons_do_not_fold_where_strands_meet() -> None:
    _, down = HOOD.map_coordinates()
    flow = np.zeros((*down.shape, 2), np.float32)
    flow[..., 0] = np.sign(HOOD.side // 2 - np.arange(HOOD.side))  # to the middle, from both sides
    cover = Cover(HOOD, np.full_like(down, 0.11), np.full_like(down, 0.09), np.full_like(down, 0.1), flow, 0.0)
    ways = np.random.default_rng(1).uniform([0.5, 0.001, 0.11], [1.0, 0.04, 0.11], (200, 3)).T
    vertices = ribbons(cover, HOOD.point(*ways), 0.01)[0]
    middles = vertices.reshape(200, -1, 3)[:, :-1].reshape(200, -1, 2, 3).mean(2)
    steps = np.diff(HOOD.places(middles.reshape(-1, 3))[:, 0].reshape(200, -1), axis=1)
    assert steps.max() < 0.5, "pixels the other way"


def test_a_map_fills_the_disk_of_the_texture() -> None:
    _, down = HOOD.map_coordinates()
    image = on_disk(HOOD, down, 200)
    assert image[100, 100] < 0.003 and abs(image[100, 199] - HOOD.reach * 99.5 / 100 / 0.99) < 0.003
