# SPDX-License-Identifier: GPL-3.0-or-later
"""The ablation's bound: maps fitted to what the prior draws from views of the start."""

from typing import Any

import pytest

from idto3d.evaluate import prior_samples
from idto3d.evaluate.prior_samples import paint_samples
from tests.known_prior import KnownPrior, quick_config, someone, tiny_scene
from tests.test_distill_texture import BLUE, away, wishing


def test_unseen_places_become_what_the_prior_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = tiny_scene()
    prior: Any = KnownPrior(wishing(scene, BLUE), monkeypatch)
    monkeypatch.setattr(prior_samples, "conditions", prior._conditions)
    painted = paint_samples(scene, prior, someone(), quick_config(1), seed=0, count=4)
    assert prior.domains == ["albedo"] and prior.encoded == 4
    middle, left = slice(12, 22), slice(24, 32)
    assert away(painted, "skin", middle, left) < 0.5 * away(scene, "skin", middle, left)
    seen = scene.map_seen["skin"] == 1
    assert float((painted.maps["skin"] - scene.maps["skin"])[seen].abs().max()) < 0.01
