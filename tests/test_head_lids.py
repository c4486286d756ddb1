# SPDX-License-Identifier: GPL-3.0-or-later
"""Lids that close meet in one line off the eyeball, and a surface that runs through itself is taken apart."""

from __future__ import annotations

import numpy as np
import pytest

from idto3d.head.checks import self_intersections
from idto3d.head.lids import CLEAR, OVERLAP, Lids, closed_lids, lids_of, sphere
from idto3d.head.untangle import untangled

RADIUS = 0.012
HALF = 0.009  # of the opening's width


@pytest.fixture(scope="module")
def eye() -> tuple[np.ndarray, np.ndarray, Lids]:
    """A curved sheet over a ball, with an almond-shaped slot whose edge is the rim: vertices, faces, lids."""
    along, rings = np.linspace(0, 2 * np.pi, 48, endpoint=False), np.linspace(1, 2.2, 10)
    x = HALF * rings[:, None] * np.cos(along)
    y = 0.0045 * rings[:, None] * np.sin(along)
    z = np.sqrt(np.maximum((RADIUS + 0.001) ** 2 - x**2 - y**2, 1e-6))
    v = np.stack([x, y, z], 2).reshape(-1, 3)
    n = len(along)
    f = [
        t
        for r in range(len(rings) - 1)
        for k in range(n)
        for a, b, c, d in [(r * n + k, r * n + (k + 1) % n, (r + 1) * n + (k + 1) % n, (r + 1) * n + k)]
        for t in ((a, d, c), (a, c, b))
    ]
    ball = np.random.default_rng(0).normal(size=(200, 3))
    ball *= RADIUS / np.linalg.norm(ball, axis=1, keepdims=True)
    return v, np.array(f), lids_of(v, np.array(f), np.arange(n), ball)


def closing(v: np.ndarray, share: float) -> np.ndarray:
    """A ragged expression field that lowers the upper lid by a share of the opening."""
    offset = np.zeros_like(v)
    up = v[:, 1] > 0
    fall = np.exp(-((np.abs(v[:, 1]) / 0.006) ** 2))
    noise = np.random.default_rng(1).normal(size=len(v)) * 3e-4
    offset[:, 1] = np.where(up, -2 * share * np.abs(v[:, 1]) * fall * 1.3 + share * noise, 0)
    return offset


def test_the_sphere_is_found() -> None:
    points = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0.6, 0.8, 0]], float) * 2 + [3, 4, 5]
    centre, radius = sphere(points)
    assert np.allclose(centre, [3, 4, 5]) and np.isclose(radius, 2)


def test_closed_lids_meet_in_a_line_off_the_ball(eye: tuple[np.ndarray, np.ndarray, Lids]) -> None:
    v, f, lids = eye
    posed = v + closed_lids(v, closing(v, 1.0), f, lids)
    rim = posed[lids.rim]
    middle = np.abs(rim[:, 0]) < 0.7 * HALF
    upper = v[lids.rim, 1] > 0
    low = rim[middle & ~upper]
    at = np.interp(rim[middle & upper, 0], *low[np.argsort(low[:, 0])][:, :2].T)
    assert np.abs(rim[middle & upper, 1] - at).max() < 3 * OVERLAP
    assert np.linalg.norm(rim - lids.centre, axis=1).min() > lids.radius + 0.9 * CLEAR
    far = np.abs(v[:, 0]) > 0.0185
    assert np.allclose(posed[far], v[far] + closing(v, 1.0)[far])


def test_an_eye_that_stays_open_stays_as_it_is(eye: tuple[np.ndarray, np.ndarray, Lids]) -> None:
    v, f, lids = eye
    offset = closing(v, 0.3)
    assert np.array_equal(closed_lids(v, offset, f, lids), offset)


def test_a_spike_through_the_surface_goes_and_the_rest_stays() -> None:
    n = 20
    x, y = np.meshgrid(np.arange(n), np.arange(n), indexing="xy")
    v = np.stack([x.ravel(), y.ravel(), 0.0 * x.ravel()], 1).astype(float)
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).reshape(-1)
    sides = [[corner, corner + 1, corner + n], [corner + 1, corner + n + 1, corner + n]]
    f = np.concatenate([np.stack(s, 1) for s in sides])
    v[10 * n + 10] += [3.3, 0.4, 0.0]
    v[10 * n + 9] += [0.0, 0.0, 0.5]
    v[10 * n + 12] += [0.0, 0.0, 0.6]
    assert len(self_intersections(v, f))
    held = np.zeros(len(v), bool)
    out = untangled(v, f, held, 5.0)
    assert not len(self_intersections(out, f))
    assert np.array_equal(out[: 5 * n], v[: 5 * n])
    near = untangled(v, f, held, 0.1)
    assert 0 < np.linalg.norm(near - v, axis=1).max() < 0.1001
    assert np.array_equal(untangled(out, f, held, 5.0), out)
