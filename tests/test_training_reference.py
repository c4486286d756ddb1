# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pictures a prior sees while it learns to: other views, from the front, of what faced the camera."""

import numpy as np
import torch

from idto3d.training.prior import PriorData
from idto3d.training.reference import References, reference_pictures, reference_rows


def test_references_are_frontal_and_of_people_as_they_are() -> None:
    traits = np.zeros((4, 3), int)
    edited = traits.copy()
    edited[2, 1] = 1
    camera = np.array([[-59.0, 0.0], [300.5, 20.0], [0.0, 0.0], [61.0, 0.0]])
    views = {"camera": camera, "traits": edited, "own_traits": traits}
    np.testing.assert_array_equal(reference_rows(views), [0, 1])


def test_what_turned_away_is_black_and_tone_is_off() -> None:
    """A ball: its rim is gone; the rest keeps its pattern but for smooth factors."""
    side = 32
    y, x = (np.mgrid[:side, :side] + 0.5) / side * 2 - 1
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    cover = (x**2 + y**2 < 1).astype(np.float32)
    normal = np.stack([x, -y, z], -1) * cover[..., None]
    encoded = ((normal + cover[..., None]) * 127.5 + 0.5).astype(np.uint8)
    albedo = (np.where(np.arange(side) % 2, 120, 60)[None, :, None] * cover[..., None] * np.ones(3)).astype(np.uint8)
    views = {n: np.stack([v] * 6) for n, v in (("normal", encoded), ("albedo", albedo))}
    views["coverage"] = np.stack([(cover * 255).astype(np.uint8)] * 6)
    shapes = reference_pictures("normal", views, np.random.default_rng(0))
    colours = reference_pictures("albedo", views, np.random.default_rng(0))
    for picture, other in zip(shapes, colours, strict=True):
        shown = picture.any(-1)
        assert shown[z > 0.65].all() and not shown[z < 0.15].any()
        np.testing.assert_array_equal(picture[shown], encoded[shown])
        np.testing.assert_array_equal(other.any(-1), shown)
        ratio = other[shown] / albedo[shown].astype(float)
        assert 0.5 < ratio.min() and ratio.max() < 2.0 and abs(ratio - 1).max() > 0.01
        inner = z > 0.8
        odd = inner & (np.arange(side)[None] % 2 == 1)
        assert 1.8 < other[odd].mean() / other[inner & ~odd].mean() < 2.2
    assert len({p.tobytes() for p in colours}) == 6


def test_nobody_sees_the_picture_that_they_are_to_draw() -> None:
    person = np.array([0, 0, 0, 1, 1, 2])
    empty = torch.zeros(0)
    data = PriorData({}, {}, empty, empty, person, person, np.arange(6))
    references = References(torch.arange(4.0).view(4, 1, 1, 1), np.array([0, 1, 4, 5]))
    for seed in range(8):
        latents, there = references.draw(data, np.arange(6), np.random.default_rng(seed))
        assert there.tolist() == [1, 1, 1, 1, 0, 0]
        chosen = latents.view(-1).tolist()
        assert chosen[0] == 1 and chosen[1] == 0 and chosen[2] in (0, 1) and chosen[3] == 2


def test_nor_the_picture_that_it_is_the_mirror_image_of() -> None:
    """Two people of two views each, then the mirror images of these."""
    person, view = np.tile([0, 0, 1, 1], 2), np.tile(np.arange(4), 2)
    empty = torch.zeros(0)
    data = PriorData({}, {}, empty, empty, person, person, view)
    references = References(torch.arange(4.0).view(4, 1, 1, 1), np.arange(4))
    for seed in range(8):
        latents, _ = references.draw(data, np.arange(8), np.random.default_rng(seed))
        assert latents.view(-1).tolist() == [1, 0, 3, 2] * 2
